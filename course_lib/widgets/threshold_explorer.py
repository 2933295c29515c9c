"""`ThresholdExplorer`: where a threshold cuts the scores of a classifier, and what it costs (chapter 10)."""

from typing import Any

import traitlets

from course_lib import recorded
from course_lib.widgets.base import CourseWidget

MILLION = 1_000_000


class ThresholdExplorer(CourseWidget):
    """Scores, confusion matrix, precision-recall and ROC curve of the course's three classifiers, at any threshold.

    The arithmetic is that of `course_lib.metrics`. A share of positives other than the data's own weighs the two
    classes anew and counts for 1,000 reviews.

    State:
        model: "TF-IDF", "encoder" or "MiniLM", each as trained from seed 0.
        split: "validation" or "test".
        threshold: A review is called positive when its score is this or more; 0 to 1.
        share: Share of positives among the reviews to come, 0.001 to 0.999.
        miss: What a positive costs that is not found, in false alarms, 0 to 1000.
        data: The predictions: labels by split, and scores by model and split, in whole millionths and below a million.
    """

    _name = "threshold_explorer"
    model = traitlets.Unicode("TF-IDF").tag(sync=True)
    split = traitlets.Unicode("test").tag(sync=True)
    threshold = traitlets.Float(0.5).tag(sync=True)
    share = traitlets.Float(0.5).tag(sync=True)
    miss = traitlets.Float(1.0).tag(sync=True)
    data = traitlets.Dict(allow_none=True).tag(sync=True)

    def __init__(self, **state: Any) -> None:
        if "data" not in state:
            state["data"] = _first_seeds(recorded.load("review_predictions"))
        super().__init__(**state)


def _first_seeds(recording: dict[str, Any]) -> dict[str, Any]:
    """The part of the recording that the widget draws, in as few characters as lose nothing."""
    splits = recording["labels"].keys()
    models = {
        name: {split: [round(MILLION * p) for p in runs[split][0]] for split in splits}
        for name, runs in recording["models"].items()
    }
    return {"labels": recording["labels"], "models": models}
