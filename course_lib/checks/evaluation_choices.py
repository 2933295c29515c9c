"""Self-checks of chapter 10, second part: two intervals with a verdict, and a threshold with a cost.

`course_lib.checks.evaluation` names them for the notebook.
"""

import math
from collections.abc import Callable, Sequence

from course_lib.checks.answers import Hint, expect
from course_lib.checks.probe import number
from course_lib.metrics import wilson_interval

VERDICTS = ("epoch 3 is better", "they are equal", "cannot tell from this")
_CLOSE = 0.0015
"""Wilson's interval, the exact one, the bootstrap's and the textbook's agree to about a thousandth at n = 1,000."""


def _ends(answer: object, successes: int) -> tuple[float, float]:
    """An answer as (low, high), or the hint on why it is none."""
    expect(
        isinstance(answer, Sequence) and not isinstance(answer, str) and len(answer) == 2,
        f"expected (low, high) for {successes} of 1,000, got {answer!r}",
    )
    low, high = (number(end) for end in answer)  # type: ignore[attr-defined]
    expect(low < high, f"the interval of {successes} runs from low to high; yours is ({low:.4g}, {high:.4g})")
    return low, high


def _textbook(successes: int, n: int, z: float) -> tuple[float, float]:
    share = successes / n
    margin = z * math.sqrt(share * (1 - share) / n)
    return share - margin, share + margin


def _near(got: tuple[float, float], wanted: tuple[float, float]) -> bool:
    return max(abs(a - b) for a, b in zip(got, wanted, strict=True)) < _CLOSE


def _check_interval(answer: object, successes: int) -> None:
    got, right = _ends(answer, successes), wilson_interval(successes, 1000)
    if _near(got, right) or _near(got, _textbook(successes, 1000, 1.96)):
        return
    share = successes / 1000
    margin = math.sqrt(share * (1 - share))
    mistakes = {
        "your ends are percentages; give shares between 0 and 1": tuple(100 * end for end in right),
        "that is one standard error to each side, which holds the truth about 68 times in 100; 95 need 1.96 of "
        "them": _textbook(successes, 1000, 1.0),
        "that is a 99% interval; 95% was asked for": _textbook(successes, 1000, 2.576),
        "that is a 90% interval; 95% was asked for": _textbook(successes, 1000, 1.645),
        "that is the interval for 100 reviews; there are 1,000": tuple(wilson_interval(successes // 10, 100)),
        "the root of n is missing: the spread of single answers is not the spread of their mean": (
            share - 1.96 * margin,
            share + 1.96 * margin,
        ),
    }
    for hint, wrong in mistakes.items():
        scale = 100 if wrong[1] > 2 else 1
        expect(max(abs(a - b) for a, b in zip(got, wrong, strict=True)) > 2 * _CLOSE * scale, hint)
    raise Hint(
        f"for {successes} right of 1,000 you gave {got[0]:.3f} to {got[1]:.3f}; metrics.wilson_interval takes the two "
        "counts"
    )


def check_differ(answer: tuple[object, object, object]) -> str:
    """Check two intervals and a verdict; see `evaluation.differ`.

    Args:
        answer: (low, high) for 880 of 1,000, the same for 883, and one of `VERDICTS`.

    Returns:
        What the right answer shows.

    Raises:
        Hint: The first thing that is wrong.
    """
    expect(
        isinstance(answer, tuple) and len(answer) == 3,
        "expected a tuple of three: the interval of 0.880, the interval of 0.883, and the verdict",
    )
    first, second, verdict = answer
    swapped = False
    if isinstance(first, Sequence) and isinstance(second, Sequence) and len(first) == len(second) == 2:
        swapped = tuple(first) == wilson_interval(883, 1000) and tuple(second) == wilson_interval(880, 1000)
    expect(not swapped, "the intervals have changed places: the one of 0.880 comes first")
    _check_interval(first, 880)
    _check_interval(second, 883)
    expect(isinstance(verdict, str), f"the verdict is one of three sentences, got {verdict!r}")
    sentence = str(verdict).strip().lower().rstrip(".")
    expect(
        sentence != VERDICTS[0],
        "the intervals are right, and each holds the other score with room to spare: 3 reviews of 1,000 are well "
        "within the luck of the draw. What then?",
    )
    expect(
        sentence != VERDICTS[1],
        "the intervals are right, but overlapping intervals do not show that two scores are equal: a difference of a "
        "point or two would look the same. What then?",
    )
    expect(sentence == VERDICTS[2], f"choose one of {', '.join(map(repr, VERDICTS))}; got {verdict!r}")
    return "unpaired, nothing follows; and a paired test needs both epochs' answers, which the log does not have"


# --- a threshold with a cost ---

_LABELS = (0, 0, 1, 0, 1, 0, 1, 1, 0, 1, 1, 1)
_P = (0.05, 0.11, 0.2, 0.305, 0.35, 0.5, 0.55, 0.62, 0.803, 0.804, 0.808, 0.97)


def cost_at(
    threshold: float, labels: Sequence[int], p: Sequence[float], cost_0_as_1: float, cost_1_as_0: float
) -> float:
    """Return the total cost of calling 1 what scores the threshold or more.

    Args:
        threshold: In the unit of p.
        labels: 0 or 1, (N,).
        p: Scores, (N,).
        cost_0_as_1: Of each label 0 that is called 1.
        cost_1_as_0: Of each label 1 that is called 0.

    Returns:
        The sum over all examples, in the unit of the costs.
    """
    pairs = list(zip(labels, p, strict=True))
    return cost_0_as_1 * sum(q >= threshold and not label for label, q in pairs) + cost_1_as_0 * sum(
        q < threshold and label for label, q in pairs
    )


def _lowest(labels: Sequence[int], p: Sequence[float], costs: tuple[float, float]) -> float:
    return min(cost_at(t, labels, p, *costs) for t in (*p, math.inf))


def check_cheapest(answer: Callable[..., float]) -> str:
    """Check a function that picks the cheapest threshold; see `evaluation.cheapest`.

    Args:
        answer: The learner's function.

    Returns:
        What the right answer shows.

    Raises:
        Hint: The first thing that is wrong.
    """
    costs = (5.0, 1.0)
    got = number(answer(list(_LABELS), list(_P), *costs))
    expect(not math.isnan(got), "your threshold is nan")
    paid, best = cost_at(got, _LABELS, _P, *costs), _lowest(_LABELS, _P, costs)
    coarse = got not in _P and any(math.isclose(got * k, round(got * k)) for k in (10, 20, 100))
    mistakes: dict[str, bool] = {
        "that is the lowest cost itself; return the threshold at which it is paid": got == best,
        "that is a position in the list, not a threshold": 1 < got < math.inf and got == int(got),
        "that is the highest cost there is: min, not max": paid
        == max(cost_at(t, _LABELS, _P, *costs) for t in (*_P, math.inf)),
        "the two costs have changed places: cost_0_as_1 is paid for each label 0 whose P reaches the threshold": paid
        == cost_at(_best_for(costs[::-1]), _LABELS, _P, *costs),
        "that threshold makes the fewest errors; here one kind of error costs more than the other": paid
        == cost_at(_best_for((1.0, 1.0)), _LABELS, _P, *costs),
        "0.5 whatever the costs? Try every P that occurs": got == 0.5,
        "a value just above the last one that you want called 0 is missing: P equal to the threshold is called 1. "
        "Try every P that occurs, with >=": any(got == q for q, label in zip(_P, _LABELS, strict=True) if not label),
        "the best threshold lies between two of those you tried; only the P that occur matter: try them all": coarse,
    }
    if paid > best:
        for hint, made in mistakes.items():
            expect(not made, hint)
        raise Hint(f"with costs {costs} your threshold {got:.4g} costs {paid:g}; {best:g} is possible")
    extremes = {
        "where calling nothing 1 is the cheapest: a threshold of math.inf is allowed": (([0, 0, 1], [0.9, 0.95, 0.4])),
        "where calling everything 1 is the cheapest: the lowest P that occurs is a threshold too": (
            ([1, 0, 1, 1], [0.1, 0.2, 0.6, 0.7])
        ),
    }
    for case, (labels, p) in extremes.items():
        prices = costs if labels[0] == 0 else (0.5, 1.0)
        paid = cost_at(number(answer(labels, p, *prices)), labels, p, *prices)
        lowest = _lowest(labels, p, prices)
        expect(paid == lowest, f"right, but for labels {labels}, P {p} and costs {prices}, {case}")
    return "the costs decide, and only the scores that occur can be borders"


def _best_for(costs: Sequence[float]) -> float:
    """The highest threshold with the lowest cost."""
    return min(sorted((*_P, math.inf), reverse=True), key=lambda t: cost_at(t, _LABELS, _P, costs[0], costs[1]))
