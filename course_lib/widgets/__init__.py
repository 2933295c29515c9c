"""Widgets: pictures that answer when you move something, in JupyterLab, in VS Code and on the published page.

Each is an anywidget class and one `.js` file of the same name; `shared.js` and `widget.css` are common to all, and
`base` runs them in Python too. The traits of a widget are its state: read `explorer.rate` after you have moved it.
"""

from course_lib.widgets.learning_rate_explorer import LearningRateExplorer
from course_lib.widgets.loss_explorer import LossExplorer
from course_lib.widgets.optimizer_playground import OptimizerPlayground
from course_lib.widgets.schedule_explorer import ScheduleExplorer
from course_lib.widgets.threshold_explorer import ThresholdExplorer

__all__ = ["LearningRateExplorer", "LossExplorer", "OptimizerPlayground", "ScheduleExplorer", "ThresholdExplorer"]
