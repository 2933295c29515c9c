"""Calibration: of the answers given with 80% confidence, are 80% right? Chapter 10 (`notebooks/10_evaluation.ipynb`).

`reliability` sorts answers into bins by confidence and counts the right ones in each, `expected_calibration_error` and
`brier_score` make one number of it, and `fit_temperature` mends a model that is sure too often or too seldom. Shape
legend: N examples, K classes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import softmax
from torch import Tensor

from course_lib.metrics.classification import Labels, _check_labels
from course_lib.metrics.intervals import Interval, wilson_interval

SUM_TOLERANCE = 1e-3
"""How far the probabilities of one example may sum from 1; float32 softmax stays within 1e-6."""


@dataclass(frozen=True)
class ReliabilityBin:
    """The answers whose confidence lies above `low` and at or below `high`; all numbers but `n` are shares, 0 to 1."""

    low: float
    high: float
    n: int
    """Examples in the bin, 1 or more."""
    confidence: float
    """Mean confidence of the answers."""
    accuracy: float
    """Share of them that is right."""
    interval: Interval
    """Wilson interval of the accuracy."""


def reliability(
    targets: Labels,
    probabilities: ArrayLike | Tensor,
    bins: int = 10,
    *,
    equal_mass: bool = False,
    confidence: float = 0.95,
) -> list[ReliabilityBin]:
    """Compare, bin by bin, how sure the model was of its answers with how many of them are right.

    The answer to an example is its likeliest class (of equals the lowest), the confidence its probability.

    Args:
        targets: true classes, whole numbers from 0, (N,).
        probabilities: one row an example, (N, K), each summing to 1; or, with two classes, that of class 1, (N,).
        bins: how many bins share 0 to 1.
        equal_mass: False makes all bins equally wide; True puts their edges at quantiles of the confidence, so that
            each holds about equally many examples.
        confidence: of the Wilson intervals, strictly between 0 and 1.

    Returns:
        One row a bin in ascending order; bins without examples are left out, as in scikit-learn's calibration_curve.

    Raises:
        ValueError: no examples, different lengths, bad labels or probabilities, bins below 1, or a bad confidence.

    Source: Guo et al. (2017), "On calibration of modern neural networks", equations 2 and 3: I_m = (low, high],
        acc(B_m) = accuracy, conf(B_m) = confidence, |B_m| = n, M = bins.
    """
    if bins != int(bins) or bins < 1:
        raise ValueError(f"bins must be a whole number, 1 or more, got {bins!r}")
    true, rows = _check_probabilities(targets, probabilities)
    answers, sure = rows.argmax(axis=1), rows.max(axis=1)  # (N, K) -> (N,) each
    right = answers == true
    shares = np.linspace(0, 1, bins + 1)
    edges = np.percentile(sure, 100 * shares) if equal_mass else shares  # (bins + 1,)
    which = np.searchsorted(edges[1:-1], sure)  # (N,), 0 to bins - 1: an edge belongs to the bin below it
    table = []
    for b in np.unique(which):
        inside = which == b  # (N,)
        n, hits = int(inside.sum()), int(right[inside].sum())
        interval = wilson_interval(hits, n, confidence=confidence)
        row = ReliabilityBin(float(edges[b]), float(edges[b + 1]), n, float(sure[inside].sum()) / n, hits / n, interval)
        table.append(row)
    return table


def expected_calibration_error(
    targets: Labels, probabilities: ArrayLike | Tensor, bins: int = 10, *, equal_mass: bool = False
) -> float:
    """Return how far confidence and accuracy lie apart, averaged over the examples' bins.

    The number depends on the bins, and is above 0 by chance alone even for a calibrated model, the more so the fewer
    examples a bin holds. Compare it between models on the same examples and bins.

    Args:
        targets, probabilities, bins, equal_mass: as in `reliability`.

    Returns:
        The error, 0 (calibrated) to 1.

    Raises:
        ValueError: as `reliability`.

    Source: Guo et al. (2017), equation 5: ECE = sum over m of |B_m| / n * |acc(B_m) - conf(B_m)|, n = N.
    """
    table = reliability(targets, probabilities, bins, equal_mass=equal_mass)
    return sum(row.n * abs(row.accuracy - row.confidence) for row in table) / sum(row.n for row in table)


def brier_score(targets: Labels, probabilities: ArrayLike | Tensor) -> float:
    """Return the mean squared distance between the probabilities and what came true: 0 is best.

    Args:
        targets, probabilities: as in `reliability`.

    Returns:
        With two classes the squared error of class 1's probability, 0 to 1; with more the sum of the squared errors of
        all classes, 0 to 2. Both are scikit-learn's convention.

    Raises:
        ValueError: no examples, different lengths, bad labels or probabilities.

    Source: Brier (1950), "Verification of forecasts expressed in terms of probability": f_ij = probabilities, E_ij = 1
        where j is the true class; with two classes half of his P.
    """
    true, rows = _check_probabilities(targets, probabilities)
    happened = np.eye(rows.shape[1])[true]  # (N, K)
    total = float(((rows - happened) ** 2).sum()) / len(true)
    return total / 2 if rows.shape[1] == 2 else total


def fit_temperature(logits: ArrayLike | Tensor, targets: Labels) -> float:
    """Find the one number to divide all logits by so that the probabilities fit the targets best.

    Only the confidence changes, no answer. Fit on examples that the model was not trained on, judge on yet others.

    Args:
        logits: the model's scores before softmax, (N, K); first, as in torch's losses.
        targets: true classes, whole numbers from 0 to K - 1, (N,).

    Returns:
        T that minimizes the mean of -log softmax(logits / T)[target]: above 1 if the model was too sure.

    Raises:
        ValueError: bad shapes, labels or logits; or no T is best: every target has the largest logit already (T would
            be 0), or the logits know no more than chance (T would be infinite).

    Source: Guo et al. (2017), section 4.2, temperature scaling: z_i = logits, T = the temperature, equation 9.
    """
    scores = _as_floats("logits", logits)
    true = _check_labels("targets", targets)
    _check_rows("logits", scores, true)
    scores = scores - scores.max(axis=1, keepdims=True)  # (N, K); softmax does not see a shift of a row
    wanted = scores[np.arange(len(true)), true]  # (N,)

    def slope(log_inverse: float) -> float:
        # The derivative of the loss by 1 / T: the mean expected logit less the target's. The loss is convex in 1 / T,
        # so the slope only rises and has one root.
        inverse = float(np.exp(log_inverse))
        expected = (softmax(scores * inverse, axis=1) * scores).sum(axis=1)  # (N, K) -> (N,)
        return float((expected - wanted).sum()) / len(true)

    # In log(1 / T), from where the largest gap is e^-20, so that the odds are even, to where it is e^40.
    center = -float(np.log(-scores.min())) if scores.any() else 0.0
    low, high = center - 20.0, center + 40.0
    if slope(low) >= 0:
        raise ValueError("logits must favor the targets, got no better than chance: T would be infinite")
    if slope(high) <= 0:
        raise ValueError("logits must be wrong somewhere, got all targets right: T would be 0; use more examples")
    return float(np.exp(-brentq(slope, low, high, xtol=1e-12)))


def _check_probabilities(targets: Labels, values: ArrayLike | Tensor) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return labels, (N,), and rows of probabilities, (N, K), with K = 2 made of one column."""
    true = _check_labels("targets", targets)
    rows = _as_floats("probabilities", values)
    if rows.size and not 0 <= rows.min() <= rows.max() <= 1:
        raise ValueError(f"probabilities must lie in 0 to 1, got {rows.min()} to {rows.max()}; take the softmax first")
    if rows.ndim == 1:
        rows = np.column_stack([1 - rows, rows])  # (N,) -> (N, 2)
    _check_rows("probabilities", rows, true)
    sums = rows.sum(axis=1)  # (N,)
    worst = int(np.abs(sums - 1).argmax())
    if abs(sums[worst] - 1) > SUM_TOLERANCE:
        raise ValueError(f"probabilities must sum to 1 for each example, got {sums[worst]} at position {worst}")
    return true, rows


def _check_rows(name: str, rows: NDArray[np.float64], true: NDArray[np.int64]) -> None:
    if rows.ndim != 2 or len(rows) != len(true) or rows.shape[1] < 2:
        raise ValueError(f"{name} must be (N, K) with N={len(true)} targets and K of 2 or more, got shape {rows.shape}")
    if true.max() >= rows.shape[1]:
        raise ValueError(f"targets must be classes below K={rows.shape[1]}, got {true.max()}")


def _as_floats(name: str, values: ArrayLike | Tensor) -> NDArray[np.float64]:
    array = np.asarray(values.detach().cpu().double() if isinstance(values, Tensor) else values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite numbers, got {array[~np.isfinite(array)][0]}")
    return array
