"""Training from scratch: the loop, its settings, and where a run stands (chapter 06).

`loop` holds `fit` and `evaluate`; `config` what a run is told; `state` what it counts, records and saves between
updates; `window` the losses between two rows; `resume` whether it may go on from a checkpoint; `best` when it has
stopped improving.
"""

from course_lib.training.best import BestSoFar
from course_lib.training.config import FitConfig
from course_lib.training.loop import count_targets, evaluate, fit, measuring, predict, prediction_loss
from course_lib.training.state import RunState, StopTraining
from course_lib.training.window import DivergenceError

__all__ = [
    "BestSoFar",
    "DivergenceError",
    "FitConfig",
    "RunState",
    "StopTraining",
    "count_targets",
    "evaluate",
    "fit",
    "measuring",
    "predict",
    "prediction_loss",
]
