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
