"""Thresholds: a score becomes an answer only where somebody draws the line, and each line trades one error for another.

The curves try every line there is; `at_threshold` looks at one, `best_threshold` picks one. Chapter 10 teaches them.
An example is called positive when its score is the threshold or more. Shape legend: N examples, T different scores.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from course_lib.metrics.calibration import _as_floats
from course_lib.metrics.classification import Labels, _check_labels, accuracy, confusion_matrix, precision_recall_f1

Scores = ArrayLike | Tensor
Counts = NDArray[np.int64]


class RocCurve(NamedTuple):
    """Share of negatives called positive, share of positives found, and the threshold of each point, (T + 1,) each."""

    false_positive_rate: NDArray[np.float64]
    true_positive_rate: NDArray[np.float64]
    thresholds: NDArray[np.float64]


class PrecisionRecallCurve(NamedTuple):
    """Precision and recall, (T + 1,) each, and the thresholds of all their points but the last, (T,)."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    thresholds: NDArray[np.float64]


class ThresholdCounts(NamedTuple):
    """What one threshold calls right and wrong, and the three scores, 0 to 1, that follow."""

    threshold: float
    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int
    precision: float
    recall: float
    f1: float


class BestThreshold(NamedTuple):
    """A threshold and the metric that it reaches on the examples it was picked on."""

    threshold: float
    value: float


def roc_curve(targets: Labels, scores: Scores) -> RocCurve:
    """Return, for every threshold, the share of negatives called positive and of positives found.

    Args:
        targets: 1 for positive and 0 for negative, both present, (N,).
        scores: the higher, the more positive; probabilities, logits or any other order, (N,).

    Returns:
        Points from (0, 0), threshold infinity, to (1, 1); equal scores enter together. The arrays of scikit-learn with
        drop_intermediate=False.

    Raises:
        ValueError: no examples, different lengths, targets other than 0 and 1 or all alike, or scores not finite.

    Source: Fawcett (2006), "An introduction to ROC analysis", algorithm 1: f(i) = scores, P and N the class counts.
    """
    hits, false_alarms, thresholds = _cumulative_counts(targets, scores)
    x, y = (np.insert(counts / counts[-1], 0, 0.0) for counts in (false_alarms, hits))  # (T + 1,) each
    return RocCurve(x, y, np.insert(thresholds, 0, np.inf))


def roc_auc(targets: Labels, scores: Scores) -> float:
    """Return the area under the ROC curve: how often a random positive scores above a random negative.

    Args:
        targets, scores: as in `roc_curve`, (N,) each.

    Returns:
        The share of such pairs in the right order, ties counting half: 1 is perfect, 0.5 no order.

    Raises:
        ValueError: as `roc_curve`.

    Source: Hanley and McNeil (1982), "The meaning and use of the area under a ROC curve"; Fawcett (2006), algorithm 2.
    """
    curve = roc_curve(targets, scores)
    return float(np.trapezoid(curve.true_positive_rate, curve.false_positive_rate))


def precision_recall_curve(targets: Labels, scores: Scores) -> PrecisionRecallCurve:
    """Return precision and recall at every threshold; the curve to look at where positives are rare.

    Args:
        targets, scores: as in `roc_curve`, (N,) each.

    Returns:
        As scikit-learn: thresholds ascend, recall falls from 1; the last point, precision 1 and recall 0, has none.

    Raises:
        ValueError: as `roc_curve`.

    Source: Davis and Goadrich (2006), "The relationship between precision-recall and ROC curves", section 2.
    """
    hits, false_alarms, thresholds = _cumulative_counts(targets, scores)
    precision, recall = hits / (hits + false_alarms), hits / hits[-1]  # (T,) each
    return PrecisionRecallCurve(np.append(precision[::-1], 1.0), np.append(recall[::-1], 0.0), thresholds[::-1])


def average_precision(targets: Labels, scores: Scores) -> float:
    """Return the precision averaged over the positives as they are found, from the highest score down.

    Args:
        targets, scores: as in `roc_curve`, (N,) each.

    Returns:
        0 to 1; scores without any order get about the share of positives.

    Raises:
        ValueError: as `roc_curve`.

    Source: Manning, Raghavan and Schuetze (2008), "Introduction to Information Retrieval", section 8.4: sum over n of
        (R_n - R_{n-1}) P_n; R = recall, P = precision. Trapezoids would flatter.
    """
    precision, recall, _ = precision_recall_curve(targets, scores)  # (T + 1,) each; recall falls
    return -float(np.diff(recall) @ precision[:-1])


def at_threshold(targets: Labels, scores: Scores, threshold: float) -> ThresholdCounts:
    """Call every example positive whose score is `threshold` or more, and count.

    Args:
        targets, scores: as in `roc_curve`, (N,) each, where one class will do.
        threshold: in the unit of the scores; infinity calls nothing positive.

    Returns:
        Four counts, precision, recall and F1; a score with nothing to divide by is 0.

    Raises:
        ValueError: different shapes, targets other than 0 and 1, scores not finite, or threshold nan.
    """
    true, values = _check_scores(targets, scores)
    if np.isnan(threshold):
        raise ValueError(f"threshold must be a number, got {threshold!r}")
    called = values >= threshold  # (N,)
    (tn, fp), (fn, tp) = confusion_matrix(true, called, n_classes=2).tolist()
    scored = precision_recall_f1(true, called)
    return ThresholdCounts(float(threshold), tp, fp, tn, fn, *scored)


def best_threshold(targets: Labels, scores: Scores, metric: Callable[[Any, Any], float] = accuracy) -> BestThreshold:
    """Return the threshold at which a metric is highest. Pick on validation, judge on test: here the value flatters.

    Args:
        targets, scores: as in `roc_curve`, (N,) each, where one class will do.
        metric: takes targets and predictions of 0 and 1, (N,) each; higher is better. Called T + 1 times.

    Returns:
        A score that occurs, or infinity to call nothing positive; of equally good thresholds the highest.

    Raises:
        ValueError: different shapes, targets other than 0 and 1, scores not finite, or a metric of nan.
    """
    true, values = _check_scores(targets, scores)
    best = BestThreshold(np.inf, -np.inf)
    for threshold in [np.inf, *np.unique(values)[::-1].tolist()]:
        value = float(metric(true, (values >= threshold).astype(np.int64)))
        if np.isnan(value):
            raise ValueError(f"metric must return a number, got nan at threshold {threshold}")
        best = max(best, BestThreshold(threshold, value), key=lambda tried: tried.value)  # of equals, the first
    return best


def _cumulative_counts(targets: Labels, scores: Scores) -> tuple[Counts, Counts, NDArray[np.float64]]:
    """Count positives and negatives whose score is each threshold or more, thresholds descending, (T,) each."""
    true, values = _check_scores(targets, scores)
    if true.min() == true.max():
        raise ValueError(f"targets must hold both classes, 0 and 1, got only {true[0]}: one class has no curve")
    order = np.argsort(-values, kind="stable")  # (N,)
    true, values = true[order], values[order]
    last = np.append(
        np.flatnonzero(values[1:] != values[:-1]), len(values) - 1
    )  # (T,): where each run of equal scores ends
    hits = np.cumsum(true)[last]
    return hits, 1 + last - hits, values[last]


def _check_scores(targets: Labels, scores: Scores) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    true, values = _check_labels("targets", targets), _as_floats("scores", scores)
    if true.max() > 1:
        raise ValueError(f"targets must be 0 or 1, got {true.max()}; make them (targets == positive) first")
    if values.shape != true.shape:
        raise ValueError(f"scores must be one number a target, {true.shape}, got shape {values.shape}")
    return true, values
