"""Fine-tuning with transformers' Trainer, and the proof that it is the loop of `training` (chapters 16 and 17).

`config` is the one place that builds TrainingArguments; `texts` checks and tokenizes; `classify` and `causal` are the
two kinds of run, `run` what they share; `trainer`, `callbacks` and `forecast` are what the course adds to Trainer;
`scores` names every average; `predict` uses what a run saved; `adapter` and `two_loops` set Trainer beside `fit`.
"""

from course_lib.finetuning.causal import fine_tune_causal_lm
from course_lib.finetuning.classify import fine_tune_classifier
from course_lib.finetuning.config import FineTuneConfig, training_arguments
from course_lib.finetuning.forecast import Forecast
from course_lib.finetuning.run import FineTuned, Watching

__all__ = [
    "FineTuneConfig",
    "FineTuned",
    "Forecast",
    "Watching",
    "fine_tune_causal_lm",
    "fine_tune_classifier",
    "training_arguments",
]
