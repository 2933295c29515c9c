"""Self-checks of chapter 11: early stopping, a comparison over seeds, and why validation may lie below training.

Each check computes, beside the right answer, the ones that the likely mistakes give. An answer that equals one of them
gets that mistake's hint; any other gets the numbers side by side.
"""

import math
import statistics
from collections.abc import Callable, Sequence

from course_lib.checks.answers import Verdict, expect, judge
from course_lib.checks.overfitting_causes import BELOW, check_causes
from course_lib.checks.probe import NOTHING, close, number

__all__ = ["BELOW", "PATIENCE", "TABLE", "causes", "early_stop", "kept", "paired"]

PATIENCE = 2
TABLE = (
    (1, 0.68, 0.63, 0.62), (2, 0.52, 0.55, 0.71), (3, 0.38, 0.51, 0.74), (4, 0.27, 0.53, 0.73),
    (5, 0.19, 0.56, 0.75), (6, 0.14, 0.50, 0.78), (7, 0.10, 0.60, 0.78), (8, 0.07, 0.66, 0.77),
    (9, 0.06, 0.71, 0.76), (10, 0.05, 0.75, 0.80), (11, 0.03, 0.80, 0.79), (12, 0.04, 0.84, 0.79),
)  # fmt: skip
"""A run made up so that each mistake ends elsewhere: epoch, training loss, validation loss, macro F1."""


def kept(answer: tuple[int, int]) -> Verdict:
    """Check which epochs of TABLE early stopping keeps with PATIENCE.

    Args:
        answer: The learner's pair (epoch kept by validation loss, epoch kept by macro F1), counted from 1.

    Returns:
        The verdict to show.
    """
    return judge(answer, _kept)


def early_stop(answer: Callable[[list[float], int], tuple[int, int]]) -> Verdict:
    """Check `early_stop(losses, patience)`: the last epoch that was run and the epoch kept, counted from 1.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, _early_stop)


def paired(answer: Callable[[list[float], list[float]], tuple[float, float]]) -> Verdict:
    """Check `paired(changed, baseline)`: the mean difference over five seeds and the half-width of its 95% interval.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, _paired)


def causes(answer: tuple[str, str, str, str]) -> Verdict:
    """Check what made validation loss lie below training loss in the four runs of BELOW.

    Args:
        answer: The learner's four words, for the runs A to D.

    Returns:
        The verdict to show.
    """
    return judge(answer, check_causes)


# --- the table ---

_BY_LOSS = {
    2: "did you count the first epoch as 0? The table's epochs begin at 1",
    4: "epoch 4 is the first that was worse. Its loss is 0.53, and there was a lower one",
    5: "after epoch 5 patience is out, so the run stops there. But which weights are the best it had until then?",
    6: "epoch 6 has the lowest validation loss of the table, and this run never came to it: count the epochs after 3",
    11: "that is the lowest training loss: how well the model knows its training reviews. Read the next column",
    12: "that is the last epoch of the table. Patience ended the run long before",
    1: "that is the highest validation loss before the stop; lower is better",
}
_BY_F1 = {
    5: "did you count the first epoch as 0? The table's epochs begin at 1",
    3: "epoch 4 was a setback of one epoch, and a patience of 2 bears one. Go on reading",
    7: "epoch 7 equals epoch 6 and is not better, so the earlier weights stay, and patience runs on",
    8: "after epoch 8 patience is out, so the run stops there. But which weights are the best it had until then?",
    10: "epoch 10 has the highest F1 of the table, and this run never came to it: count the epochs after 6",
    11: "that is the lowest training loss. It does not decide here; read the last column",
    12: "that is the last epoch of the table. Patience ended the run before",
    1: "that is the lowest F1. Higher is better here",
}


def _kept(answer: tuple[int, int]) -> str:
    expect(isinstance(answer, tuple) and len(answer) == 2, f"expected two epochs, got {answer!r}")
    by_loss, by_f1 = (number(part) for part in answer)
    expect((by_loss, by_f1) != (6, 3), "both are in it, the other way round: by loss first, then by F1")
    expect(
        by_loss == 3, f"by loss: {_BY_LOSS.get(int(by_loss), f'epoch {by_loss:g} is not it; start at 1 and read on')}"
    )
    expect(by_f1 == 6, f"by F1: {_BY_F1.get(int(by_f1), f'epoch {by_f1:g} is not it; start at 1 and read on')}")
    return "by loss the run ends after epoch 5 and keeps 3; by F1 it ends after 8 and keeps 6. One run, two answers"


# --- early stopping as a function ---

_CURVES: tuple[tuple[list[float], int], ...] = (
    ([0.7, 0.6, 0.5, 0.6, 0.65, 0.7, 0.4], 2),
    ([0.7, 0.6, 0.65, 0.5, 0.55, 0.45, 0.5, 0.6], 2),
    ([0.7, 0.5, 0.6, 0.55, 0.4], 2),
    ([0.7, 0.5, 0.5, 0.5, 0.4], 2),
    ([0.7, 0.6, 0.5], 2),
    ([0.5, 0.6, 0.4], 1),
)


def _stop(
    losses: Sequence[float],
    patience: int,
    *,
    late: bool = False,
    reset: bool = True,
    previous: bool = False,
    tie: bool = False,
) -> tuple[int, int]:
    """Early stopping, or one of the mistakes in it."""
    best, at, stale = math.inf, 0, 0
    for epoch, loss in enumerate(losses, start=1):
        bar = losses[epoch - 2] if previous and epoch > 1 else best
        better = loss <= bar if tie else loss < bar
        if better:
            stale = 0 if reset else stale
        else:
            stale += 1
        if loss < best or (tie and loss == best):
            best, at = loss, epoch
        if stale >= patience + late:
            return epoch, at
    return len(losses), at


def _lowest_of_all(losses: Sequence[float], patience: int) -> tuple[int, int]:
    return _stop(losses, patience)[0], losses.index(min(losses)) + 1


_STOP_MISTAKES: dict[str, Callable[[Sequence[float], int], tuple[int, int]]] = {
    "epochs are counted from 0 here; the first is epoch 1": lambda x, p: (_stop(x, p)[0] - 1, _stop(x, p)[1] - 1),
    "the two are exchanged: first the last epoch that was run, then the epoch kept": lambda x, p: _stop(x, p)[::-1],
    "you keep the epoch of the stop. It is `patience` epochs past the best": lambda x, p: (_stop(x, p)[0],) * 2,
    "you keep an epoch that this run never reached: look only at the epochs up to the stop": _lowest_of_all,
    "the whole list was run. Patience ends it": lambda x, p: (len(x), _stop(x, len(x))[1]),
    "the run stops one epoch late: it ends as soon as `patience` epochs have passed without a better one": (
        lambda x, p: _stop(x, p, late=True)
    ),
    "the epochs without a better one must come in a row: a better one sets the count back to 0": (
        lambda x, p: _stop(x, p, reset=False)
    ),
    "each epoch was compared with the one before. Compare with the best so far": lambda x, p: _stop(
        x, p, previous=True
    ),
    "a loss that equals the best was taken for better; the earlier epoch stays, and patience runs on": (
        lambda x, p: _stop(x, p, tie=True)
    ),
}


def _early_stop(answer: Callable[[list[float], int], tuple[int, int]]) -> str:
    got = [_pair(answer([*losses], patience), f"for {losses}, patience {patience}") for losses, patience in _CURVES]
    right = [_stop(*curve) for curve in _CURVES]
    for hint, mistake in _STOP_MISTAKES.items():
        expect(got != [tuple(mistake(*curve)) for curve in _CURVES], hint)
    for (losses, patience), mine, true in zip(_CURVES, got, right, strict=True):
        said = f"for {losses} and patience {patience} you gave ({mine[0]:g}, {mine[1]:g}), expected {true}"
        expect(mine == true, said)
    return "it never looks past the stop, bears setbacks shorter than its patience, and keeps the best and not the last"


def _pair(value: object, where: str) -> tuple[float, float]:
    expect(value is not None, f"{where} {NOTHING}")
    expect(isinstance(value, tuple | list) and len(value) == 2, f"{where} expected two numbers, got {value!r}")
    return number(value[0]), number(value[1])  # type: ignore[index]


# --- five seeds against five ---

_CHANGED, _BASELINE = [0.80, 0.77, 0.82, 0.75, 0.79], [0.78, 0.76, 0.79, 0.75, 0.76]
_DIFFERENCES = [a - b for a, b in zip(_CHANGED, _BASELINE, strict=True)]
_MEAN, _SPREAD = statistics.mean(_DIFFERENCES), statistics.stdev(_DIFFERENCES)
_T, _ROOT = 2.776, math.sqrt(5)
_RIGHT = _T * _SPREAD / _ROOT
_UNPAIRED = math.hypot(statistics.stdev(_CHANGED), statistics.stdev(_BASELINE))
_HALVES = {
    "you did not use the pairs: runs of one seed share their start. Take the differences first, then their spread": (
        (_T * _UNPAIRED / _ROOT, 2.776 * statistics.stdev(_CHANGED) / _ROOT, _UNPAIRED)
    ),
    "divide the sum of squares by n - 1 = 4: the mean was taken from the same five numbers": (
        (_T * statistics.pstdev(_DIFFERENCES) / _ROOT,)
    ),
    "that is for a single difference. The mean of n differences is surer by the root of n": ((_T * _SPREAD,)),
    "the factor t is missing: that is one standard error, not a 95% interval": ((_SPREAD / _ROOT,)),
    "that is the spread of the differences. Divide by the root of n, then multiply by t": ((_SPREAD,)),
    "1.96 is for many seeds. With five the spread itself is uncertain: t is 2.776": ((1.96 * _SPREAD / _ROOT,)),
    "that is the whole width of the interval; half of it was asked for": ((2 * _RIGHT,)),
}


def _paired(answer: Callable[[list[float], list[float]], tuple[float, float]]) -> str:
    mean, half = _pair(answer([*_CHANGED], [*_BASELINE]), "from your function")
    expect(not close([mean], [-_MEAN]), "the sign is turned: changed minus baseline, so that a gain in F1 is positive")
    expect(not close([mean], [5 * _MEAN]), "that is the sum of the differences; divide by their number")
    expect(close([mean], [_MEAN]), f"mean difference: expected {_MEAN:.4g}, you gave {mean:.4g}")
    for hint, values in _HALVES.items():
        expect(not any(close([half], [value]) for value in values), hint)
    expect(close([half], [_RIGHT]), f"half-width: expected {_RIGHT:.4g}, you gave {half:.4g}")
    return (
        f"+{_MEAN:.3f}, give or take {_RIGHT:.3f}: 0 lies outside. Unpaired, the same ten numbers could not have told"
    )
