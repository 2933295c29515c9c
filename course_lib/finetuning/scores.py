"""The figures of an evaluation, each with its average in its name (chapters 10 and 16).

A bare "f1" or "recall" in a log cannot be read: averaged over the classes with their sizes as weights, recall is the
accuracy by another name. Trainer puts `eval_` before each of these names.
"""

from typing import Any

import numpy as np

from course_lib import metrics
from course_lib.metrics.classification import Average


def classification_scores(prediction: Any) -> dict[str, Any]:
    """Trainer's `compute_metrics` for classes.

    Args:
        prediction: a `transformers.EvalPrediction`: predictions (N, K) are logits, label_ids (N,) the classes.

    Returns:
        accuracy; precision, recall and F1 as weighted and macro averages, with two classes also of the class 1 alone
        (`_positive`); and confusion_matrix, rows true, columns predicted.
    """
    logits, targets = np.asarray(prediction.predictions), np.asarray(prediction.label_ids)
    guesses = logits.argmax(axis=-1)  # (N, K) -> (N,)
    classes = logits.shape[-1]
    scores: dict[str, Any] = {"accuracy": metrics.accuracy(targets, guesses)}
    averages: dict[str, Average] = {"weighted": "weighted", "macro": "macro"}
    if classes == 2:
        averages["positive"] = "binary"
    for name, average in averages.items():
        three = metrics.precision_recall_f1(targets, guesses, average=average)
        scores |= {f"{score}_{name}": value for score, value in three._asdict().items()}
    scores["confusion_matrix"] = metrics.confusion_matrix(targets, guesses, n_classes=classes).tolist()
    return scores


def check_best_metric(best: str | None, scores: dict[str, Any]) -> None:
    """Refuse a figure that no evaluation will have, before a long run finds out.

    Args:
        best: what shall choose the weights; None chooses none.
        scores: what an evaluation gives, by name; "loss" comes with Trainer.

    Raises:
        ValueError: there is no such figure, or it is not one number.
    """
    known = ["loss", *(name for name, value in scores.items() if isinstance(value, float))]
    if best is not None and best not in known:
        raise ValueError(f"best_metric: expected one of {', '.join(known)}, or None; got {best!r}")


def example_scores(n_labels: int) -> dict[str, Any]:
    """What `classification_scores` gives for so many labels, from one example of each."""
    from transformers import EvalPrediction

    labels = np.arange(n_labels)
    return classification_scores(EvalPrediction(predictions=np.eye(n_labels), label_ids=labels))
