"""Accuracy, the confusion matrix, and precision, recall and F1 with their averages: all of them count right and wrong.

Everything here comes from one table, `confusion_matrix`. Chapter 10 (`notebooks/10_evaluation.ipynb`) starts from it,
and shows why a support-weighted recall is the accuracy by another name.

Shape legend: N examples, K classes.
"""

from typing import Generic, Literal, NamedTuple, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

Labels = ArrayLike | Tensor
Average = Literal["binary", "macro", "weighted", "micro"]
Score = TypeVar("Score")


class PrecisionRecallF1(NamedTuple, Generic[Score]):
    """Three scores between 0 and 1: numbers, or, unaveraged, arrays with one entry a class."""

    precision: Score
    recall: Score
    f1: Score


def accuracy(targets: Labels, predictions: Labels) -> float:
    """Return the share of examples whose prediction is the target.

    Args:
        targets: true classes, whole numbers from 0, (N,); a list, an array or a tensor.
        predictions: predicted classes, (N,).

    Returns:
        Correct examples divided by all examples, 0 to 1.

    Raises:
        ValueError: no examples, different lengths, or labels that are not whole numbers from 0.
    """
    true, predicted = _check_pair(targets, predictions)
    return int((true == predicted).sum()) / len(true)


def majority_baseline(targets: Labels) -> float:
    """Return the accuracy of answering the commonest class every time: the score that knowing nothing would get.

    Args:
        targets: true classes of the examples that the model is judged on, (N,).

    Returns:
        The share of the commonest class, 0 to 1. Where all targets agree it is 1, and 100% accuracy means nothing.

    Raises:
        ValueError: no examples, or labels that are not whole numbers from 0.
    """
    true = _check_labels("targets", targets)
    return int(np.bincount(true).max()) / len(true)


def confusion_matrix(targets: Labels, predictions: Labels, *, n_classes: int | None = None) -> NDArray[np.int64]:
    """Count the examples of each true class that were given each predicted class.

    Args:
        targets: true classes, whole numbers from 0, (N,).
        predictions: predicted classes, (N,).
        n_classes: K; when left out, one more than the largest class that occurs.

    Returns:
        Counts, (K, K): rows are true classes, columns predicted ones, as in scikit-learn. The diagonal is what is
        right; row sums are the true counts (the support), column sums the predicted counts.

    Raises:
        ValueError: no examples, different lengths, or a label that is not a whole number from 0 to K - 1.
    """
    true, predicted = _check_pair(targets, predictions)
    largest = int(max(true.max(), predicted.max()))
    size = largest + 1 if n_classes is None else n_classes
    if size <= largest:
        raise ValueError(f"n_classes must be more than the largest label, {largest}, got {n_classes}")
    # Each pair (true, predicted) is one cell of the table, numbered row by row.
    return np.bincount(true * size + predicted, minlength=size * size).reshape(size, size)  # (K * K,) -> (K, K)


@overload
def precision_recall_f1(
    targets: Labels,
    predictions: Labels,
    *,
    average: Average = ...,
    positive: int = ...,
    zero_division: float = ...,
) -> PrecisionRecallF1[float]: ...
@overload
def precision_recall_f1(
    targets: Labels,
    predictions: Labels,
    *,
    average: None,
    positive: int = ...,
    zero_division: float = ...,
) -> PrecisionRecallF1[NDArray[np.float64]]: ...
def precision_recall_f1(
    targets: Labels,
    predictions: Labels,
    *,
    average: Average | None = "binary",
    positive: int = 1,
    zero_division: float = 0.0,
) -> PrecisionRecallF1[float] | PrecisionRecallF1[NDArray[np.float64]]:
    """Of what was called positive, how much is (precision); of what is positive, how much was found (recall); and F1.

    Args:
        targets: true classes, whole numbers from 0, (N,).
        predictions: predicted classes, (N,).
        average: "binary" scores the class `positive` alone. "macro" averages the classes, each with one vote;
            "weighted" weights them by their true counts, which makes its recall the accuracy; "micro" pools the
            counts, which makes all three the accuracy. None returns every class by itself, in ascending order. Classes
            that occur in neither argument do not take part, as in scikit-learn.
        positive: the class that "binary" scores.
        zero_division: the score, 0 or 1, where there is nothing to divide by, such as the precision of a class that
            was never predicted.

    Returns:
        PrecisionRecallF1(precision, recall, f1), each 0 to 1.

    Raises:
        ValueError: no examples, different lengths, bad labels, an unknown average, a zero_division other than 0 or 1,
            or "binary" with more than two classes or without the class `positive` among two.

    Source: van Rijsbergen (1979), "Information Retrieval", chapter 7; F1 = 2 P R / (P + R), computed as
        2 TP / (2 TP + FP + FN), which needs no case for P + R = 0.
    """
    if zero_division not in (0.0, 1.0):
        raise ValueError(f"zero_division must be 0 or 1, got {zero_division!r}")
    if average not in ("binary", "macro", "weighted", "micro", None):
        raise ValueError(f'average must be "binary", "macro", "weighted", "micro" or None, got {average!r}')
    true, predicted = _check_pair(targets, predictions)
    if average == "binary":
        _check_positive(np.union1d(true, predicted), positive)
        true, predicted = true == positive, predicted == positive  # 1 for the positive class, 0 for the other
    table = confusion_matrix(true, predicted, n_classes=2 if average == "binary" else None)  # (K, K)
    hits, actual, called = np.diag(table), table.sum(axis=1), table.sum(axis=0)  # (K,) each
    if average == "micro":
        hits, actual, called = hits.sum(keepdims=True), actual.sum(keepdims=True), called.sum(keepdims=True)  # (1,)
    else:
        scored = np.array([1]) if average == "binary" else np.flatnonzero(actual + called)
        hits, actual, called = hits[scored], actual[scored], called[scored]  # (classes scored,)
    precision = _divide(hits, called, zero_division)
    recall = _divide(hits, actual, zero_division)
    f1 = _divide(2 * hits, actual + called, zero_division)
    if average is None:
        return PrecisionRecallF1(precision, recall, f1)
    weights = actual if average == "weighted" else np.ones_like(actual)
    return PrecisionRecallF1(*(float((score * weights).sum() / weights.sum()) for score in (precision, recall, f1)))


def _divide(part: NDArray[np.int64], whole: NDArray[np.int64], zero_division: float) -> NDArray[np.float64]:
    """Divide count by count, with `zero_division` where there is nothing to divide by."""
    return np.divide(part, whole, out=np.full(part.shape, float(zero_division)), where=whole > 0)


def _check_positive(present: NDArray[np.int64], positive: int) -> None:
    if len(present) > 2:
        raise ValueError(
            f'average="binary" needs at most two classes, got {present.tolist()}; choose "macro", "weighted" or "micro"'
        )
    if len(present) == 2 and positive not in present:
        raise ValueError(f"positive must be one of the two classes {present.tolist()}, got {positive!r}")


def _check_pair(targets: Labels, predictions: Labels) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    true, predicted = _check_labels("targets", targets), _check_labels("predictions", predictions)
    if len(true) != len(predicted):
        raise ValueError(f"targets and predictions must have one length, got {len(true)} and {len(predicted)}")
    return true, predicted


def _check_labels(name: str, values: Labels) -> NDArray[np.int64]:
    """Return labels as whole numbers, (N,), from a list, an array or a tensor on any device."""
    labels = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if labels.ndim != 1 or labels.size == 0:
        raise ValueError(f"{name} must hold one label for each of 1 or more examples, (N,), got shape {labels.shape}")
    if labels.dtype.kind not in "biu":
        raise ValueError(f"{name} must be whole numbers, got {labels.dtype}; turn scores into classes first (argmax)")
    if labels.min() < 0:
        raise ValueError(
            f"{name} must be classes from 0, got {labels.min()} at position {int(labels.argmin())}; "
            "leave out ignored positions before counting"
        )
    return labels.astype(np.int64)
