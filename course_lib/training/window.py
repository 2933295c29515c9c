"""The updates since the last row of the record: their mean loss, and whether it is still a number (chapter 06)."""

import math

from torch import Tensor


class DivergenceError(RuntimeError):
    """The loss became NaN or infinite; says where, at what rate, and what to try."""


class LossWindow:
    """Mean loss and number of targets of each update since the last row, read from the device when needed."""

    def __init__(self) -> None:
        self.losses: list[tuple[Tensor | float, int]] = []
        self.norm: Tensor | float = math.nan  # of the last update's gradient, before clipping
        self._read = 0  # how many of the losses have been looked at
        self._good_norm = math.nan  # the last one that was seen with a finite loss

    def add(self, loss: Tensor, norm: Tensor, targets: int) -> None:
        """Note one update."""
        self.losses.append((loss, targets))
        self.norm = norm

    def mean(self) -> float:
        """The loss over the window in nats, each target counting once."""
        return sum(float(loss) * count for loss, count in self.losses) / sum(count for _, count in self.losses)

    def clear(self) -> None:
        """Begin the next window."""
        self.losses, self._read = [], 0

    def kept(self) -> list[tuple[float, int]]:
        """What a checkpoint keeps, so that a row that is half full goes on filling after a resume."""
        return [(float(loss), count) for loss, count in self.losses]

    def check(self, step: int, rate: float, kept: str) -> None:
        """Read the losses that have not been read yet.

        Args:
            step: The number of the last update in the window.
            rate: Its learning rate, for the error.
            kept: What has been saved, for the error.

        Raises:
            DivergenceError: A loss, or the norm of the last gradient, is NaN or infinite.
        """
        for i, (value, count) in enumerate(self.losses[self._read :], start=self._read):
            loss = float(value)
            if not math.isfinite(loss):
                raise self._error(step - len(self.losses) + i + 1, str(loss), rate, kept)
            self.losses[i] = (loss, count)
        self._read = len(self.losses)
        norm = float(self.norm)
        if not math.isfinite(norm):  # the loss was still finite, the update made from this gradient is not
            raise self._error(step, f"{self.losses[-1][0]}, its gradient norm {norm}", rate, kept)
        self._good_norm = norm

    def _error(self, step: int, loss: str, rate: float, kept: str) -> DivergenceError:
        norm = "not measured yet" if math.isnan(self._good_norm) else f"{self._good_norm:.3g}"
        return DivergenceError(
            f"step {step}: the loss is {loss}. The rate was {rate:.3g}; the gradient norm last seen with a finite loss "
            f"was {norm}. Try a rate ten times lower, a warm-up, or clip_norm=1.0; look for damaged examples. {kept}"
        )
