"""Self-checks of chapter 09: a wrong schedule or a misread log is recognized by the numbers it produces.

Each check computes, beside the right value, the values that the likely mistakes would give. An answer that equals one
of them gets that mistake's hint; any other gets the numbers side by side.
"""

import math
from collections.abc import Callable, Sequence

from course_lib.checks.answers import Hint, Verdict, expect, judge
from course_lib.checks.learning_rate_logs import (
    BLOW_UP,
    check_last_log,
    check_left_for_good,
    check_warmup_length,
    show,
)
from course_lib.checks.probe import number
from course_lib.schedules import Cosine

__all__ = ["BLOW_UP", "last_log", "left_for_good", "multiplier", "warmup_length"]


def multiplier(answer: Callable[[int, int, int], float]) -> Verdict:
    """Check `multiplier(step, total, warmup)`: warm-up, then half a cosine wave to 0, then 0.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, _multiplier)


def warmup_length(answer: Callable[[list[int], list[float], float], float]) -> Verdict:
    """Check `warmup_length(steps, rates, peak)`: the updates that a warm-up takes, from a log's rows.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, check_warmup_length)


def last_log(answer: tuple[int, int]) -> Verdict:
    """Check what document 5's last rate says: updates finished when that rate was set, and the step of that log line.

    Args:
        answer: The learner's pair (finished updates, step of the line).

    Returns:
        The verdict to show.
    """
    return judge(answer, check_last_log)


def left_for_good(answer: tuple[float, float]) -> Verdict:
    """Check at which row of BLOW_UP the rise begins that never ends.

    Args:
        answer: The learner's pair (step, rate).

    Returns:
        The verdict to show.
    """
    return judge(answer, check_left_for_good)


# --- a schedule ---

_TOTAL, _WARMUP = 100, 20
_STEPS = (0, 1, 5, 19, 20, 40, 60, 80, 99, 100, 130)


def _shape(
    decay: Callable[[float], float] = lambda p: 0.5 * (1 + math.cos(math.pi * p)),
    climb: Callable[[int], float] = lambda s: s / _WARMUP,
    progress: Callable[[int], float] = lambda s: (s - _WARMUP) / (_TOTAL - _WARMUP),
    end: bool = True,
) -> list[float]:
    """The table that a schedule gives when one of its parts is another one."""
    return [climb(s) if s < _WARMUP else 0.0 if end and s >= _TOTAL else decay(progress(s)) for s in _STEPS]


_TABLES = {
    "there is no warm-up in it: the first steps come out at or near 1. What is `warmup` for?": _shape(
        progress=lambda s: s / _TOTAL, climb=lambda s: 0.5 * (1 + math.cos(math.pi * s / _TOTAL))
    ),
    "your warm-up starts at 1/warmup: the first update would move already. After 0 finished updates it is 0": _shape(
        climb=lambda s: (s + 1) / _WARMUP
    ),
    "your warm-up reaches 1 one update too early, at warmup - 1; it takes `warmup` updates": _shape(
        climb=lambda s: s / (_WARMUP - 1)
    ),
    "the warm-up is right; your cosine runs over `total` from step 0, so that it has fallen already when the warm-up "
    "ends. Which steps are left for it?": _shape(progress=lambda s: s / _TOTAL),
    "your cosine starts where the warm-up ends but divides by `total`, so it never arrives at 0. How many steps are "
    "left after the warm-up?": _shape(progress=lambda s: (s - _WARMUP) / _TOTAL),
    "right until the end, and after step `total` it rises again: a cosine is a wave. What should it do there?": _shape(
        end=False
    ),
    "math.cos takes radians, and you gave it degrees: half a turn is math.pi": _shape(
        lambda p: 0.5 * (1 + math.cos(180 * p))
    ),
    "your multiplier becomes negative: a cosine runs from 1 to -1. Lift it by 1 and halve it": _shape(
        lambda p: math.cos(math.pi * p)
    ),
    "your decay begins at 2: 1 + cos runs from 2 to 0. Halve it": _shape(lambda p: 1 + math.cos(math.pi * p)),
    "a full wave falls to 0 in the middle and comes back: math.pi for the whole decay, not twice that": _shape(
        lambda p: 0.5 * (1 + math.cos(2 * math.pi * p))
    ),
    "that is a quarter of a wave: it ends at full speed. Half a wave is flat at both ends": _shape(
        lambda p: math.cos(math.pi * p / 2)
    ),
    "your decay is a straight line; a cosine was asked for": _shape(lambda p: 1 - p),
    "after the warm-up it jumps to 0 and climbs: check the sign before the cosine": _shape(
        lambda p: 0.5 * (1 - math.cos(math.pi * p))
    ),
    "your decay is one update ahead; at step `warmup` its progress is still 0": _shape(
        progress=lambda s: (s + 1 - _WARMUP) / (_TOTAL - _WARMUP)
    ),
    "the last update of the run is given 0: your decay ends at total - 1, and the convention here is `total`": _shape(
        progress=lambda s: min(1.0, (s - _WARMUP) / (_TOTAL - _WARMUP - 1))
    ),
}


def _multiplier(answer: Callable[[int, int, int], float]) -> str:
    got = [number(answer(step, _TOTAL, _WARMUP)) for step in _STEPS]
    right = _shape()
    for hint, wrong in _TABLES.items():
        expect(not _close(got, wrong), hint)
    for step, mine, true in zip(_STEPS, got, right, strict=True):
        where = f"multiplier({step}, total={_TOTAL}, warmup={_WARMUP})"
        expect(math.isclose(mine, true, abs_tol=1e-9), f"{where} is {mine:.4g}; expected {true:.4g}")
    try:
        plain = [number(answer(step, 10, 0)) for step in (0, 5, 10)]
    except ZeroDivisionError as error:
        raise Hint("right with a warm-up, and without one (warmup=0) it divides by zero") from error
    expect(
        _close(plain, [Cosine(total_steps=10)(step) for step in (0, 5, 10)]),
        f"right with a warm-up; with warmup=0 and total=10, steps 0, 5 and 10 give {show(plain)}, expected 1, 0.5, 0",
    )
    outlived = number(answer(400, 468, 500))
    expect(
        math.isclose(outlived, 0.8, rel_tol=1e-9),
        f"a warm-up of 500 in a run of 468: at step 400 it is still climbing, at 0.8; yours gives {outlived:.4g}",
    )
    return "straight up to 1 at `warmup`, half a wave down to 0 at `total`, then 0: as transformers and this course do"


def _close(got: Sequence[float], wanted: Sequence[float]) -> bool:
    return all(math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9) for a, b in zip(got, wanted, strict=True))
