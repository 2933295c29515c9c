"""`ScheduleExplorer`: a learning rate over a run, from its length, its warm-up and its shape (chapter 09)."""

import traitlets

from course_lib.widgets.base import CourseWidget


class ScheduleExplorer(CourseWidget):
    """The rate of each update, the highest one, the area under the curve, and a warning when the warm-up never ends.

    The multipliers are those of `course_lib.schedules`.

    State:
        shape: "constant", "linear" or "cosine", after the warm-up.
        rate: The rate that is set, above 0, up to 1000.
        total: Updates in the run, 1 to 1,000,000.
        warmup: Updates of warm-up, 0 to 1,000,000.
        floor: Share of the rate that the decay ends at, 0 to 1.
    """

    _name = "schedule_explorer"
    shape = traitlets.Unicode("cosine").tag(sync=True)
    rate = traitlets.Float(3e-4).tag(sync=True)
    total = traitlets.Int(1000).tag(sync=True)
    warmup = traitlets.Int(100).tag(sync=True)
    floor = traitlets.Float(0.0).tag(sync=True)
