"""Early stopping: remember the best evaluation, and say when the model has stopped improving (chapter 11)."""

import math
from typing import Any


class BestSoFar:
    """The best value of one validation figure, and how many evaluations have passed without a better one.

    Args:
        monitor: The figure to watch.
        mode: "min" if lower is better, "max" if higher is.
        patience: Evaluations without a better value before the run should stop; None never stops it.
    """

    def __init__(self, monitor: str, mode: str, patience: int | None) -> None:
        self.monitor, self.mode, self.patience = monitor, mode, patience
        self.value: float | None = None
        self.step: int | None = None
        self.stale = 0

    def update(self, figures: dict[str, float], step: int) -> bool:
        """Take the figures of one evaluation.

        Returns:
            Whether they are the best so far. A value equal to the best is not better: the earlier weights stay. NaN is
            never better.

        Raises:
            ValueError: The figure to watch, or val_loss, is not among them.
        """
        for name in ("val_loss", self.monitor):
            if name not in figures:
                raise ValueError(
                    f"evaluate: expected a figure {name!r}, got {sorted(figures)}; return it, or change monitor."
                )
        value = figures[self.monitor]
        sign = 1 if self.mode == "min" else -1
        if not math.isnan(value) and (self.value is None or sign * value < sign * self.value):
            self.value, self.step, self.stale = value, step, 0
            return True
        self.stale += 1
        return False

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        return self.patience is not None and self.stale >= self.patience

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"value": self.value, "step": self.step, "stale": self.stale}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a kept state."""
        self.value, self.step, self.stale = state["value"], state["step"], state["stale"]
