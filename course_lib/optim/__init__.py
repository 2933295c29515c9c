"""Optimizers from scratch: SGD, Momentum, RMSProp, Adam and AdamW, each one visible change from the one before.

`base` holds the loop that all share, `descent` SGD and Momentum, `adaptive` the three that scale each weight's step by
the size of its own gradients, and `parameters` what is done to parameters and gradients around the update: groups
without decay, and clipping. Arguments, defaults and the keys of the state are torch's, so that state dicts can move
between the two. Chapter 08 (`notebooks/08_optimizers.ipynb`) teaches them; `benchmarks/optimizers.py` times them.
"""

from course_lib.optim.adaptive import Adam, AdamW, RMSProp
from course_lib.optim.base import Optimizer
from course_lib.optim.descent import SGD, Momentum
from course_lib.optim.parameters import clip_grad_norm, parameter_groups

__all__ = ["SGD", "Adam", "AdamW", "Momentum", "Optimizer", "RMSProp", "clip_grad_norm", "parameter_groups"]
