"""What a training run is told: how long, how often to look, when to stop (chapter 06)."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How long to train and what to do on the way.

    Args:
        epochs: Passes over the training data.
        max_steps: Stop after this many updates; None leaves it to epochs.
        accumulation: Micro-batches to an update.
        clip_norm: Largest gradient norm let through; None clips nothing.
        log_every: Updates between rows of the record.
        eval_every: Updates between evaluations; None evaluates at the end of each epoch. The last step always does.
        checkpoint_every: Updates between checkpoints; None saves one at each evaluation.
        patience: Evaluations without a better value before the run stops early; None never stops early.
        monitor: The validation figure that decides what "better" is.
        mode: "min" if lower is better, "max" if higher is.
        restore_best: Whether the model ends with the best weights instead of the last.
        precision: "fp32", or "bf16" for automatic mixed precision.
        seed: Goes into the record; models and data are made before and take it themselves.
    """

    epochs: int = 1
    max_steps: int | None = None
    accumulation: int = 1
    clip_norm: float | None = 1.0
    log_every: int = 10
    eval_every: int | None = None
    checkpoint_every: int | None = None
    patience: int | None = None
    monitor: str = "val_loss"
    mode: str = "min"
    restore_best: bool = True
    precision: str = "fp32"
    seed: int = 0

    def __post_init__(self) -> None:
        for field in ("epochs", "max_steps", "accumulation", "log_every", "eval_every", "checkpoint_every", "patience"):
            value = getattr(self, field)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ValueError(f"FitConfig.{field}: expected a whole number, at least 1, got {value!r}.")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ValueError(
                f"FitConfig.clip_norm: expected a norm above 0, or None to clip nothing, got {self.clip_norm}."
            )
        for field, allowed in (("mode", ("min", "max")), ("precision", ("fp32", "bf16"))):
            if getattr(self, field) not in allowed:
                raise ValueError(f"FitConfig.{field}: expected one of {allowed}, got {getattr(self, field)!r}.")

    def steps_per_epoch(self, batches: int) -> int:
        """Updates in an epoch of that many micro-batches; the last group may be smaller."""
        return math.ceil(batches / self.accumulation)

    def total_steps(self, batches: int) -> int:
        """Updates in the whole run."""
        steps = self.epochs * self.steps_per_epoch(batches)
        return steps if self.max_steps is None else min(steps, self.max_steps)
