"""Metrics: what a trained model is judged by, each counted from scratch. Chapter 10 teaches them all.

`classification` counts right and wrong answers, `thresholds` turns scores into answers, `calibration` asks whether the
scores mean what they say, and `language` reads a loss as a number of choices. `intervals` says how far each of these
could be off by the luck of the draw, `paired` compares two models on the same examples, and `slices` looks at parts of
them. The order of arguments is scikit-learn's: targets first.
"""

from course_lib.metrics.calibration import (
    ReliabilityBin,
    brier_score,
    expected_calibration_error,
    fit_temperature,
    reliability,
)
from course_lib.metrics.classification import (
    PrecisionRecallF1,
    accuracy,
    confusion_matrix,
    majority_baseline,
    precision_recall_f1,
)
from course_lib.metrics.intervals import Interval, bootstrap_interval, wilson_interval
from course_lib.metrics.language import perplexity
from course_lib.metrics.paired import (
    Difference,
    McNemarResult,
    accuracy_difference,
    mcnemar,
    paired_bootstrap_interval,
)
from course_lib.metrics.slices import LengthBins, Slice, by_slice, length_bins
from course_lib.metrics.thresholds import (
    BestThreshold,
    PrecisionRecallCurve,
    RocCurve,
    ThresholdCounts,
    at_threshold,
    average_precision,
    best_threshold,
    precision_recall_curve,
    roc_auc,
    roc_curve,
)

__all__ = [
    "BestThreshold",
    "Difference",
    "Interval",
    "LengthBins",
    "McNemarResult",
    "PrecisionRecallCurve",
    "PrecisionRecallF1",
    "ReliabilityBin",
    "RocCurve",
    "Slice",
    "ThresholdCounts",
    "accuracy",
    "accuracy_difference",
    "at_threshold",
    "average_precision",
    "best_threshold",
    "bootstrap_interval",
    "brier_score",
    "by_slice",
    "confusion_matrix",
    "expected_calibration_error",
    "fit_temperature",
    "length_bins",
    "majority_baseline",
    "mcnemar",
    "paired_bootstrap_interval",
    "perplexity",
    "precision_recall_curve",
    "precision_recall_f1",
    "reliability",
    "roc_auc",
    "roc_curve",
    "wilson_interval",
]
