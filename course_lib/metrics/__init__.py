"""Metrics: what a trained model is judged by, each counted from scratch. Chapter 10 teaches them all.

`classification` counts right and wrong answers, `language` reads a loss as a number of choices, and `intervals` says
how far each of these could be off by the luck of the draw. The order of arguments is scikit-learn's: targets first.
"""

from course_lib.metrics.classification import (
    PrecisionRecallF1,
    accuracy,
    confusion_matrix,
    majority_baseline,
    precision_recall_f1,
)
from course_lib.metrics.intervals import Interval, bootstrap_interval, wilson_interval
from course_lib.metrics.language import perplexity

__all__ = [
    "Interval",
    "PrecisionRecallF1",
    "accuracy",
    "bootstrap_interval",
    "confusion_matrix",
    "majority_baseline",
    "perplexity",
    "precision_recall_f1",
    "wilson_interval",
]
