"""Slices: the same metric on parts of the test set, because a good average can hide a part that fails.

A part is small, so its value is rough; each row carries its interval and can say that it is too wide to read.
Taught in chapter 10 (`notebooks/10_evaluation.ipynb`). Shape legend: N examples.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from course_lib.metrics.classification import Labels, _check_pair, accuracy
from course_lib.metrics.intervals import Interval, wilson_interval


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One part of the examples and what a metric says of it."""

    name: Hashable
    n: int
    """Examples in the part, 1 or more."""
    value: float
    """The metric on them, in its own unit."""
    interval: Interval | None
    """Wilson interval where the metric is `accuracy`; None for any other."""

    def too_small_to_tell(self, widest: float = 0.2) -> bool:
        """Whether the interval is too wide for the value to be read.

        Args:
            widest: the largest width, high less low, that you accept; 0.2 is 10 points either way.

        Raises:
            ValueError: widest is not above 0, or there is no interval to ask.
        """
        if not widest > 0:
            raise ValueError(f"widest must be above 0, such as 0.2, got {widest!r}")
        if self.interval is None:
            raise ValueError("interval must be there, got None: only accuracy has one; use bootstrap_interval")
        return self.interval.high - self.interval.low > widest


class LengthBins(NamedTuple):
    """The bin of each example by name, N of them, and the names of all bins from short to long."""

    groups: list[str]
    names: tuple[str, ...]


def by_slice(
    targets: Labels,
    predictions: Labels,
    groups: Sequence[Hashable] | NDArray[Any] | Tensor,
    metric: Callable[[Any, Any], float] = accuracy,
    *,
    order: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
) -> list[Slice]:
    """Score each group of examples by itself.

    With many slices one will look bad by luck: of twenty 95% intervals, one is expected to miss.

    Args:
        targets: true classes, whole numbers from 0, (N,).
        predictions: predicted classes, (N,).
        groups: the name of each example's group, such as its phenomenon or its length bin, (N,).
        metric: takes targets and predictions of one group and returns a number.
        order: the names in the order of the rows; names without examples are left out. None puts the largest group
            first and equally large ones in the order they come in.
        confidence: of the Wilson intervals, strictly between 0 and 1.

    Returns:
        One row a group that has examples.

    Raises:
        ValueError: no examples, different lengths, bad labels, a group that `order` does not name or that it names
            twice, or what the metric itself refuses.

    Source: Ribeiro et al. (2020), "Beyond accuracy: behavioral testing of NLP models with CheckList", for the idea;
        intervals as in `wilson_interval`.
    """
    true, predicted = _check_pair(targets, predictions)
    rows_of = _rows_by_group(groups, len(true))
    if order is None:
        names: Sequence[Hashable] = sorted(rows_of, key=lambda name: -len(rows_of[name]))  # stable: ties as they come
    else:
        names = [name for name in order if name in rows_of]
        if sorted(map(repr, names)) != sorted(map(repr, rows_of)):
            raise ValueError(f"order must name every group once, {list(rows_of)}, got {list(order)}")
    table = []
    for name in names:
        rows = rows_of[name]
        hits = int((true[rows] == predicted[rows]).sum())
        interval = wilson_interval(hits, len(rows), confidence=confidence) if metric is accuracy else None
        value = float(metric(true[rows], predicted[rows]))
        table.append(Slice(name=name, n=len(rows), value=value, interval=interval))
    return table


def length_bins(lengths: ArrayLike | Tensor, edges: Sequence[int]) -> LengthBins:
    """Name the bin of each length, for `by_slice`.

    Args:
        lengths: a whole number an example, such as its tokens, (N,).
        edges: where a new bin begins, ascending: [10, 20] makes "under 10", "10 to 19" and "20 or more".

    Returns:
        LengthBins: `groups` for by_slice's groups, `names` for its order.

    Raises:
        ValueError: lengths are not whole numbers of 0 or more, or edges are not whole and strictly ascending from 1.
    """
    values = lengths.detach().cpu().numpy() if isinstance(lengths, Tensor) else np.asarray(lengths)
    if values.ndim != 1 or values.dtype.kind not in "iu" or (values < 0).any():
        raise ValueError(
            f"lengths must be whole numbers of 0 or more, (N,), got {values.dtype} of shape {values.shape}"
            + (f" with {values.min()}" if values.dtype.kind in "iuf" and values.size else "")
        )
    starts = np.asarray(edges)
    if starts.ndim != 1 or not starts.size or starts.dtype.kind not in "iu" or (np.diff(starts, prepend=0) < 1).any():
        raise ValueError(f"edges must be whole numbers, each larger than the last, from 1 on, got {list(edges)}")
    low, high = starts.tolist(), (starts - 1).tolist()
    inner = (f"{a} to {b}" if a < b else f"{a}" for a, b in zip(low, high[1:], strict=False))
    names = (f"under {low[0]}", *inner, f"{low[-1]} or more")
    return LengthBins([names[i] for i in np.searchsorted(starts, values, side="right")], names)


def _rows_by_group(groups: Sequence[Hashable] | NDArray[Any] | Tensor, n: int) -> dict[Hashable, list[int]]:
    """Return the positions of each group's examples, groups in the order they first occur."""
    # tolist() makes plain numbers and strings, which are found again by their value; a tensor's elements are not.
    names = groups.tolist() if isinstance(groups, (Tensor, np.ndarray)) else groups
    if getattr(groups, "ndim", 1) != 1 or len(names) != n:
        shape = tuple(getattr(groups, "shape", (len(names),)))
        raise ValueError(f"groups must name the group of each example, ({n},), got shape {shape}")
    rows_of: dict[Hashable, list[int]] = {}
    for row, name in enumerate(names):
        rows_of.setdefault(name, []).append(row)
    return rows_of
