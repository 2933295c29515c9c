"""`LossExplorer`: logits as sliders, and what cross-entropy makes of them (chapter 07)."""

import traitlets

from course_lib.widgets.base import CourseWidget


class LossExplorer(CourseWidget):
    """Softmax, loss and gradient of a handful of logits, with temperature and label smoothing.

    State:
        labels: 2 to 8 different names.
        logits: A number for each label, -1,000,000 to 1,000,000.
        target: The label that is correct.
        temperature: Divides the logits before the softmax; 0.001 to 100.
        smoothing: Share of the target that is spread evenly over all labels, 0 to 1.
    """

    _name = "loss_explorer"
    labels = traitlets.List(traitlets.Unicode(), ["World", "there", "apple", "zebra"]).tag(sync=True)
    logits = traitlets.List(traitlets.Float(), [1.0, 0.5, 2.0, 0.0]).tag(sync=True)
    target = traitlets.Unicode("World").tag(sync=True)
    temperature = traitlets.Float(1.0).tag(sync=True)
    smoothing = traitlets.Float(0.0).tag(sync=True)
