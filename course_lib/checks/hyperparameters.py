"""Self-checks of chapter 17: what a report's numbers say, the disk that checkpoints take, and a paired interval.

Each check computes, beside the right answer, the ones that the likely mistakes give. An answer that equals one of them
gets that mistake's hint; any other gets the numbers side by side. The two exercises in words are in
`hyperparameters_words`.
"""

import math
import random
import statistics
from collections.abc import Callable, Sequence

from course_lib.checks.answers import Verdict, expect, judge
from course_lib.checks.hyperparameters_words import COMPARED, RESULTS, check_fair, check_verdicts
from course_lib.checks.probe import NOTHING, close, number

__all__ = ["COMPARED", "RESULTS", "disk", "fair", "over_reviews", "report", "verdicts"]

Table = list[list[int]]
"""A row for each review, in it a 1 (right) or a 0 (wrong) for each seed."""


def report(answer: tuple[float, float, float]) -> Verdict:
    """Check what the document's numbers say: training reviews, reviews behind one log line, the rate of step 280.

    Args:
        answer: The learner's three numbers.

    Returns:
        The verdict to show.
    """
    return judge(answer, _report)


def disk(answer: Callable[[int, int, int, int | None], float]) -> Verdict:
    """Check `disk(parameters, steps, every, keep)`: bytes of the checkpoints that a finished run leaves.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, _disk)


def fair(answer: tuple[str, str, str, str]) -> Verdict:
    """Check what differs, beside what was asked, in the four comparisons of COMPARED.

    Args:
        answer: The learner's four words, for A to D.

    Returns:
        The verdict to show.
    """
    return judge(answer, check_fair)


def over_reviews(answer: Callable[[Table, Table], tuple[float, float]]) -> Verdict:
    """Check `over_reviews(changed, base)`: the mean difference in accuracy and its half-width for other reviews.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, _over_reviews)


def verdicts(answer: tuple[str, str, str, str, str]) -> Verdict:
    """Check what can be concluded from the five lines of RESULTS.

    Args:
        answer: The learner's five verdicts, for A to E.

    Returns:
        The verdict to show.
    """
    return judge(answer, check_verdicts)


# --- the report ---

_STEPS, _EPOCHS, _BATCH, _EVERY, _PEAK = 375, 3, 16, 10, 2e-5
_RATE = _PEAK * (_STEPS - 279) / _STEPS
_REVIEWS = {
    6000: "that is how many were read in all three epochs; each epoch reads the same ones",
    375: "that is the number of updates. Each of them reads a batch",
    125: "that is the number of updates in an epoch. Each of them reads a batch",
    25_000: "that is the size of IMDb's training part. How many of them do 125 updates of 16 read?",
    18_000: "375 updates are the whole run and not one epoch of it",
}
_LINE = {
    16: "that is one batch. A line comes every 10 updates and shows the mean since the last one",
    10: "that is the number of batches. Each of them holds 16 reviews",
    1: "a line shows a mean: of all batches since the line before",
    4480: "that is all that was read since the start. A line shows the mean since the line before",
    2000: "that is the whole training set. A line comes every 10 updates",
}
_RATES = {
    _PEAK * (_STEPS - 280) / _STEPS: "that is the rate after step 280. This log prints the rate that the step was made "
    "with, when 279 were finished; the last line showed it in chapter 09",
    _PEAK * 280 / _STEPS: "that rises with the step. What falls in a line is the part of the run that is still to come",
    _PEAK * 279 / _STEPS: "that rises with the step. What falls in a line is the part of the run that is still to come",
    _PEAK: "that is the setting, the rate of the first step. It falls from there on",
    1 - 279 / _STEPS: "that is the share of the peak; multiply it by 2e-5",
}


def _report(answer: tuple[float, float, float]) -> str:
    expect(isinstance(answer, tuple) and len(answer) == 3, f"expected three numbers, got {answer!r}")
    reviews, line, rate = (number(part) for part in answer)
    hint = _REVIEWS.get(int(reviews), f"{_STEPS} updates, {_EPOCHS} epochs, {_BATCH} reviews each: not {reviews:g}")
    expect(reviews == 2000, f"training reviews: {hint}")
    hint = _LINE.get(int(line), f"updates between two lines, times reviews in each: not {line:g}")
    expect(line == _BATCH * _EVERY, f"behind one line: {hint}")
    for wrong, hint in _RATES.items():
        expect(not math.isclose(rate, wrong, rel_tol=3e-3), f"rate: {hint}")
    said = f"rate: a line from {_PEAK:g} at 0 finished steps to 0 at {_STEPS} does not stand at {rate:.3g} there"
    expect(math.isclose(rate, _RATE, rel_tol=5e-3), said)
    return "2,000 reviews, 160 of them behind the lowest loss, and a rate that had lost three quarters of its height"


# --- disk ---

_RUNS: tuple[tuple[int, int, int, int | None], ...] = (
    (1000, 375, 10, None),
    (1000, 375, 10, 2),
    (1000, 40, 10, None),
    (1000, 15, 10, 5),
)
"""Parameters, updates, updates between checkpoints, how many are kept."""


def _bytes(
    parameters: int, steps: int, every: int, keep: int | None, *, each: float = 12, count: str = "ceil"
) -> float:
    """What the checkpoints take, or one of the mistakes in it."""
    made = {"ceil": -(-steps // every), "floor": steps // every, "more": steps // every + 1, "steps": steps}[count]
    return each * parameters * (made if keep is None else min(made, keep))


_DISK_MISTAKES: dict[str, Callable[..., float]] = {
    "those are the weights alone. A checkpoint to go on from also holds AdamW's two moments of each": (
        lambda *run: _bytes(*run, each=4)
    ),
    "those are the two moments alone; the weights are in it too": lambda *run: _bytes(*run, each=8),
    "a gradient is made anew in each step and not saved: weights and two moments": lambda *run: _bytes(*run, each=16),
    "those are numbers; each of them takes 4 bytes": lambda *run: _bytes(*run, each=3),
    "in gigabytes; bytes were asked for": lambda *run: _bytes(*run, each=12e-9),
    "one is missing where the run does not end on a multiple: the last step is saved too": (
        lambda *run: _bytes(*run, count="floor")
    ),
    "one too many where the run ends on a multiple: 40 steps, every 10, are 4": lambda *run: _bytes(*run, count="more"),
    "that is a checkpoint at each update. One comes every `every` of them": lambda *run: _bytes(*run, count="steps"),
    "`keep` changes nothing in yours. With a limit, the oldest are deleted": lambda p, s, e, k: _bytes(p, s, e, None),
    "the limit is more than were made: with 2 made and a limit of 5 there are 2": (
        lambda p, s, e, k: 12 * p * (k or -(-s // e))
    ),
}


def _disk(answer: Callable[[int, int, int, int | None], float]) -> str:
    got = [number(answer(*run)) for run in _RUNS]
    for hint, mistake in _DISK_MISTAKES.items():
        expect(not close(got, [mistake(*run) for run in _RUNS]), hint)
    for run, mine in zip(_RUNS, got, strict=True):
        true = _bytes(*run)
        expect(close([mine], [true]), f"for {run} you gave {mine:,g} bytes, expected {true:,g}")
    return "12 bytes a parameter for each checkpoint that stays. The number that stay is a setting of one line"


# --- five models on the same reviews ---

_random = random.Random(17)
_EASE = [_random.random() ** 0.3 for _ in range(40)]
_BASE: Table = [[int(_random.random() < ease) for _ in range(5)] for ease in _EASE]
_CHANGED: Table = [[right | int(_random.random() < 0.25) for right in row] for row in _BASE]


def _differences(changed: Table, base: Table) -> list[float]:
    return [statistics.mean(a) - statistics.mean(b) for a, b in zip(changed, base, strict=True)]


def _columns(table: Table) -> list[float]:
    return [statistics.mean(column) for column in zip(*table, strict=True)]


def _halves() -> tuple[float, dict[str, Sequence[float]]]:
    """The right half-width, and those that the mistakes give."""
    each, n = _differences(_CHANGED, _BASE), len(_BASE)
    spread, root = statistics.stdev(each), math.sqrt(n)
    single = [a - b for x, y in zip(_CHANGED, _BASE, strict=True) for a, b in zip(x, y, strict=True)]
    seeds = statistics.stdev([a - b for a, b in zip(_columns(_CHANGED), _columns(_BASE), strict=True)])
    apart = math.hypot(*(statistics.stdev([statistics.mean(row) for row in t]) for t in (_CHANGED, _BASE)))
    return 1.96 * spread / root, {
        "you counted each answer as a review of its own. Five models read the same review, and a hard one is hard for "
        "all: average over the seeds first, then count reviews": (
            1.96 * statistics.stdev(single) / math.sqrt(len(single)),
            1.96 * statistics.pstdev(single) / math.sqrt(len(single)),
            1.96 * spread / math.sqrt(len(single)),
        ),
        "that is the spread between seeds. Here the chance is in the reviews: one difference for each review": (
            1.96 * seeds / math.sqrt(5),
            2.776 * seeds / math.sqrt(5),
        ),
        "you did not use the pairs: both settings answered the same reviews. Take each review's difference first": (
            1.96 * apart / root,
        ),
        "divide the sum of squares by n - 1: the mean was taken from the same numbers": (
            1.96 * statistics.pstdev(each) / root,
        ),
        "2.776 is for five differences. There are many here, one for each review: 1.96": (2.776 * spread / root,),
        "that is for a single review. The mean of n differences is surer by the root of n": (1.96 * spread,),
        "the factor 1.96 is missing: that is one standard error, not a 95% interval": (spread / root,),
        "that is the spread of the differences. Divide by the root of n, then multiply by 1.96": (spread,),
        "that is the whole width of the interval; half of it was asked for": (2 * 1.96 * spread / root,),
    }


def _over_reviews(answer: Callable[[Table, Table], tuple[float, float]]) -> str:
    given = answer([[*row] for row in _CHANGED], [[*row] for row in _BASE])
    expect(given is not None, NOTHING)
    expect(isinstance(given, tuple | list) and len(given) == 2, f"expected two numbers, got {given!r}")
    mean, half = number(given[0]), number(given[1])
    true, n = statistics.mean(_differences(_CHANGED, _BASE)), len(_BASE)
    expect(not close([mean], [-true]), "the sign is turned: changed minus base, so that a gain is positive")
    expect(
        not any(close([mean], [true * k]) for k in (n, 5, 5 * n)), "that is a sum. Take means: over seeds, over reviews"
    )
    expect(close([mean], [true]), f"mean difference: expected {true:.4g}, you gave {mean:.4g}")
    right, mistakes = _halves()
    for hint, values in mistakes.items():
        expect(not any(close([half], [value]) for value in values), hint)
    expect(close([half], [right]), f"half-width: expected {right:.4g}, you gave {half:.4g}")
    return f"{true:+.3f} give or take {right:.3f}: one difference for each review, however many models read it"
