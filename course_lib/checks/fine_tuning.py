"""Self-checks of chapter 16: a load report, a row of a log, a forecast from a progress bar, and a frozen body.

Each check computes, beside the right answer, the ones that the likely mistakes give. An answer that equals one of them
gets that mistake's hint; any other gets the numbers side by side.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from course_lib.checks.answers import Verdict, expect, judge
from course_lib.checks.fine_tuning_body import check_freeze
from course_lib.checks.probe import NOTHING, close, number

__all__ = ["forecast", "freeze", "load_report", "log_row"]


def load_report(answer: Callable[[list[str], list[str], str], tuple[list[str], list[str]]]) -> Verdict:
    """Check `load_report(in_file, in_model, prefix)`: which weights are missing from a file, and which are unexpected.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, _load_report)


def log_row(answer: Callable[[int, int, int, int, float], tuple[float, float]]) -> Verdict:
    """Check `log_row(step, micro_batches, accumulation, warmup, peak)`: epoch and rate, as transformers 5 logs them.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, _log_row)


def forecast(answer: Callable[[str, int, int], float]) -> Verdict:
    """Check `forecast(elapsed, done, total)`: the seconds of a whole run, from the clock of its progress bar.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, _forecast)


def freeze(answer: Callable[[Any], int]) -> Verdict:
    """Check `freeze(model)`: the body of a classifier no longer trains; gives how many numbers still do.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, check_freeze)


# --- a load report ---

_FILES: tuple[tuple[list[str], list[str], str], ...] = (
    (
        ["embeddings.words.weight", "encoder.0.weight", "pooler.weight"],
        ["bert.embeddings.words.weight", "bert.encoder.0.weight", "bert.pooler.weight", "classifier.weight"],
        "bert.",
    ),
    (
        ["embeddings.words.weight", "encoder.0.weight", "vocab_projector.weight", "reader.bert.weight"],
        ["bert.embeddings.words.weight", "bert.encoder.0.weight", "bert.encoder.1.weight", "classifier.bias"],
        "bert.",
    ),
    (["h.0.bias"], ["transformer.h.0.bias"], "transformer."),
)


def _report(
    in_file: Sequence[str], in_model: Sequence[str], prefix: str, *, name: Callable[[str, str], str] | None = None
) -> tuple[list[str], list[str]]:
    """The right report, or the one of another way to make a name of the model fit the file."""
    bare = name or (lambda full, start: full.removeprefix(start))
    names = {full: bare(full, prefix) for full in in_model}
    missing = [full for full, short in names.items() if short not in in_file]
    return sorted(missing), sorted(set(in_file) - set(names.values()))


_REPORT_MISTAKES: dict[str, Callable[[Sequence[str], Sequence[str], str], tuple[list[str], list[str]]]] = {
    "the two are exchanged: first what the model wants and the file lacks, then what the file has for nobody": (
        lambda f, m, p: _report(f, m, p)[::-1]
    ),
    "nearly everything came out missing: the file says embeddings..., the model says bert.embeddings...": (
        lambda f, m, p: _report(f, m, p, name=lambda full, _: full)
    ),
    "lstrip takes away any of these letters, as many as it finds, and eats into the name; removeprefix takes a word": (
        lambda f, m, p: _report(f, m, p, name=lambda full, start: full.lstrip(start))
    ),
    "a missing weight is told by its name in the model, with the prefix": (
        lambda f, m, p: (sorted(n.removeprefix(p) for n in _report(f, m, p)[0]), _report(f, m, p)[1])
    ),
    "an unexpected weight is told by its name in the file, without the prefix": (
        lambda f, m, p: (_report(f, m, p)[0], sorted(p + n for n in _report(f, m, p)[1]))
    ),
    "only what is missing was reported; the file may also hold weights that the model has no place for": (
        lambda f, m, p: (_report(f, m, p)[0], [])
    ),
}


def _load_report(answer: Callable[[list[str], list[str], str], tuple[list[str], list[str]]]) -> str:
    got = []
    for in_file, in_model, prefix in _FILES:
        lists = answer([*in_file], [*in_model], prefix)
        expect(lists is not None, NOTHING)
        expect(isinstance(lists, tuple | list) and len(lists) == 2, f"expected two lists of names, got {lists!r}")
        for part in lists:
            usable = isinstance(part, list | tuple | set) and all(isinstance(name, str) for name in part)
            expect(usable, f"expected a list of names, got {part!r}: a count does not say what is random")
        got.append((sorted(lists[0]), sorted(lists[1])))
    for hint, mistake in _REPORT_MISTAKES.items():
        expect(got != [mistake(*case) for case in _FILES], hint)
    for case, mine in zip(_FILES, got, strict=True):
        right = _report(*case)
        expect(mine == right, f"for the file {case[0]} you gave {mine}, expected {right}")
    return "in the second case the report is an alarm: a layer of the body is missing, and it would stay random"


# --- a row of a log ---

_ROWS = ((100, 313, 2, 500, 3e-5), (157, 313, 2, 500, 3e-5), (400, 313, 2, 500, 3e-5), (95, 50, 4, 200, 1e-4))
_Row = Callable[[int, int, int, int, float], tuple[float, float]]


def _row(step: int, micro: int, per: int, warmup: int, peak: float) -> tuple[float, float]:
    epoch, done = divmod(step, math.ceil(micro / per))
    return epoch + done * per / micro, peak * (step - 1) / warmup


def _dropped(step: int, micro: int, per: int, warmup: int, peak: float) -> tuple[float, float]:
    epoch, done = divmod(step, micro // per)
    return epoch + done * per / micro, peak * (step - 1) / warmup


_ROW_MISTAKES: dict[str, _Row] = {
    "the rate is right one step later: the update number `step` follows step - 1 finished ones": (
        lambda s, m, a, w, p: (_row(s, m, a, w, p)[0], p * s / w)
    ),
    "your epoch is that of a library which carries the lonely micro-batch over. Today it makes an update of its own": (
        lambda s, m, a, w, p: (s * a / m, _row(s, m, a, w, p)[1])
    ),
    "both columns are those of the source's log: its library carried over, and showed the rate after the update": (
        lambda s, m, a, w, p: (s * a / m, p * s / w)
    ),
    "your epoch drops the incomplete group: count the updates of an epoch with ceil": _dropped,
    "your epoch counts updates. The lonely micro-batch at the end is an update too, but not as much data": (
        lambda s, m, a, w, p: (s / math.ceil(m / a), _row(s, m, a, w, p)[1])
    ),
    "your epoch counts one micro-batch for each update; how many go into one?": (
        lambda s, m, a, w, p: (s / m, _row(s, m, a, w, p)[1])
    ),
    "the rate is the peak from the first step on: what does the warm-up do to it?": (
        lambda s, m, a, w, p: (_row(s, m, a, w, p)[0], p)
    ),
    "the two are exchanged: first the epoch, then the rate": lambda s, m, a, w, p: _row(s, m, a, w, p)[::-1],
}


def _log_row(answer: _Row) -> str:
    got = [_two(answer(*case)) for case in _ROWS]
    for hint, mistake in _ROW_MISTAKES.items():
        wrong = [mistake(*case) for case in _ROWS]
        expect(not all(close(mine, other) for mine, other in zip(got, wrong, strict=True)), hint)
    for case, mine in zip(_ROWS, got, strict=True):
        right = _row(*case)
        expect(
            close(mine, right),
            f"step {case[0]}, {case[1]} micro-batches, {case[2]} to an update: you gave epoch {mine[0]:.4g} and rate "
            f"{mine[1]:.4g}, expected {right[0]:.4g} and {right[1]:.4g}",
        )
    return "each epoch ends at a whole number, and the rate is the one the update was made with"


def _two(value: object) -> tuple[float, float]:
    expect(value is not None, NOTHING)
    expect(isinstance(value, tuple | list) and len(value) == 2, f"expected epoch and rate, got {value!r}")
    return number(value[0]), number(value[1])  # type: ignore[index]


# --- a forecast ---

_BARS = (("18:24", 156, 468), ("36:11", 313, 468), ("1:02:03", 100, 400))


def _seconds(clock: str) -> int:
    total = 0
    for part in clock.split(":"):
        total = 60 * total + int(part)
    return total


def _as_decimal(clock: str) -> float:
    minutes, seconds = clock.split(":")[-2:]
    return float(f"{minutes}.{seconds}") * 60


def _without_hours(clock: str) -> int:
    return _seconds(":".join(clock.split(":")[-2:]))


_FORECASTS: dict[str, Callable[[str, int, int], float]] = {
    "that is what is still to come; the whole run was asked for": lambda e, d, t: _seconds(e) / d * (t - d),
    "that is the time of one step; how many has the run?": lambda e, d, t: _seconds(e) / d,
    "18:24 is 18 minutes and 24 seconds, not 18.24 minutes": lambda e, d, t: _as_decimal(e) / d * t,
    "1:02:03 has hours too; your function read the last two parts": lambda e, d, t: _without_hours(e) / d * t,
    "in minutes; seconds were asked for": lambda e, d, t: _seconds(e) / d * t / 60,
    "done and total are exchanged: the whole run takes longer than a part of it": lambda e, d, t: _seconds(e) * d / t,
}


def _forecast(answer: Callable[[str, int, int], float]) -> str:
    got = [number(answer(*bar)) for bar in _BARS]
    for hint, mistake in _FORECASTS.items():
        expect(not close(got, [mistake(*bar) for bar in _BARS]), hint)
    for (elapsed, done, total), mine in zip(_BARS, got, strict=True):
        right = _seconds(elapsed) / done * total
        expect(
            math.isclose(mine, right, rel_tol=1e-3),
            f"{elapsed} after {done} of {total} steps: you gave {mine:.4g} seconds, expected {right:.4g}",
        )
    return "time so far, divided by the share that is done: evaluations count in it, as far as they have come"
