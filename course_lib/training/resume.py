"""When a stopped run may go on: what must be the same for it to repeat the losses of one never stopped (chapter 06)."""

from pathlib import Path
from typing import Any

import torch

from course_lib.checkpoints import CheckpointError
from course_lib.training.config import FitConfig


def made_by(optimizer: torch.optim.Optimizer, config: FitConfig, batches: int) -> dict[str, Any]:
    """What a checkpoint says of the run that made it.

    Args:
        optimizer: Its class and settings, the peak rate (initial_lr) among them; not where the schedule stands (lr).
        config: Of it what decides the losses, and what decides which weights are best.
        batches: Micro-batches in an epoch.
    """
    kind = type(optimizer)
    names = ("accumulation", "clip_norm", "precision", "seed", "monitor", "mode")
    settings = {
        f"optimizer group {number} {name}": value
        for number, group in enumerate(optimizer.param_groups)
        for name, value in group.items()
        if name != "lr" and isinstance(value, float | tuple)
    }
    return {
        "optimizer": f"{kind.__module__}.{kind.__qualname__}",
        "batches_per_epoch": batches,
        **{name: getattr(config, name) for name in names},
        **settings,
    }


def check_same(path: Path, there: dict[str, Any], here: dict[str, Any]) -> None:
    """Refuse to go on from a checkpoint that another kind of run made.

    Args:
        path: The checkpoint, for the error.
        there: Its `made_by`.
        here: That of this run.

    Raises:
        CheckpointError: Names the first thing that differs.
    """
    for name, value in here.items():
        if there.get(name) != value:
            raise CheckpointError(
                f"{path}: was made with {name}={there.get(name)!r}, this run has {value!r}; the losses would not "
                "continue. Resume with the same settings, or start anew in another folder."
            )
