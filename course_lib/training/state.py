"""Where a run stands: what `fit` counts, decides, records and saves between two updates (chapter 06).

`RunState` knows when to log, evaluate and save, which weights were best, and when to stop. It holds everything that a
checkpoint needs, so that the loop in `training` stays a loop.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.checkpoints import (
    CHECKPOINT_FILE,
    WEIGHTS_FILE,
    CheckpointError,
    load_checkpoint,
    load_weights_into,
    random_state,
    restore_random_state,
    save_checkpoint,
    save_weights,
    weights_of,
)
from course_lib.run_record import RunRecord
from course_lib.training.best import BestSoFar
from course_lib.training.config import FitConfig
from course_lib.training.resume import check_same, made_by
from course_lib.training.window import DivergenceError, LossWindow


class StopTraining(Exception):
    """Raise it in `on_step` to end a run early, with everything saved."""


class RunState:
    """One run between its first update and its last.

    Args:
        model: The model in training.
        optimizer: Its optimizer; the rates it comes with are the peak that the schedule scales.
        config: What the run was told to do.
        batches: Micro-batches in an epoch.
        folder: Where files go; None writes none.
        run: What else the record should say.

    Raises:
        ValueError: An epoch has no batch, or the model no parameter that learns.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        config: FitConfig,
        batches: int,
        folder: Path | None,
        run: dict[str, Any],
    ) -> None:
        if batches < 1:
            raise ValueError("batches: expected at least one batch in an epoch, got 0; is the data empty?")
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise ValueError(
                f"model: expected a parameter that requires a gradient, {type(model).__name__} has none; unfreeze some."
            )
        self.model, self.optimizer, self.config, self.folder = model, optimizer, config, folder
        self.batches = batches
        self.steps_per_epoch = config.steps_per_epoch(batches)
        self.total_steps = config.total_steps(batches)
        self.record = RunRecord({**run, "fit": asdict(config), "ended": "still running"})
        self.step = self.targets_seen = 0
        self.best = BestSoFar(config.monitor, config.mode, config.patience)
        self.best_weights: dict[str, Tensor] | None = None
        self.stopped: str | None = None
        self._figures: dict[str, float] = {}
        self._window = LossWindow()
        self._rate = math.nan
        self._seconds_before, self._started = 0.0, time.perf_counter()
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])

    # --- where the run stands -------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """The epoch that the next update belongs to, from 0."""
        return self.step // self.steps_per_epoch

    @property
    def next_batch(self) -> int:
        """The micro-batch of that epoch that comes next, from 0."""
        return self.step % self.steps_per_epoch * self.config.accumulation

    @property
    def done(self) -> bool:
        """Whether no update is left to make."""
        return self.stopped is not None or self.step >= self.total_steps

    @property
    def seconds(self) -> float:
        """Time the run has taken, earlier sittings included."""
        return self._seconds_before + time.perf_counter() - self._started

    def check_end_of(self, epoch: int) -> None:
        """Refuse a source that did not give as many batches as it announced; the steps would no longer fit its epochs.

        Raises:
            ValueError: The step reached is not the end of that epoch.
        """
        end = (epoch + 1) * self.steps_per_epoch
        if self.step != end:
            raise ValueError(
                f"batches: expected {self.batches} in an epoch, as len(batches) says, got fewer or more: "
                f"epoch {epoch} ended at step {self.step} instead of {end}."
            )

    def _due(self, every: int | None) -> bool:
        return self.step % (every or self.steps_per_epoch) == 0 or self.done

    def at_log(self) -> bool:
        """Whether the record gets a row after this update."""
        return self._due(self.config.log_every)

    def at_evaluation(self) -> bool:
        """Whether the model is measured after this update."""
        return self._due(self.config.eval_every)

    def at_checkpoint(self) -> bool:
        """Whether the run is saved after this update."""
        return self._due(self.config.checkpoint_every or self.config.eval_every)

    # --- what happens at an update --------------------------------------------------------------------------------

    def set_rate(self, multiplier: float) -> None:
        """Scale the peak rate of every parameter group."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * multiplier
        self._rate = self.optimizer.param_groups[0]["lr"]

    def advance(self, loss: Tensor, norm: Tensor, targets: int) -> None:
        """Count one update.

        Args:
            loss: Its mean loss in nats, a scalar on any device.
            norm: The norm of its gradient before clipping.
            targets: The predictions it was made from.

        Raises:
            DivergenceError: The loss of a step, or the norm of its gradient, is NaN or infinite. On an accelerator this
                is found at the next row or checkpoint, because reading a number makes the CPU wait for the device.
        """
        self._window.add(loss, norm, targets)
        self.targets_seen += targets
        self.step += 1
        if loss.device.type == "cpu" or self.at_log() or self.at_checkpoint():
            saved = self.folder is not None and (self.folder / CHECKPOINT_FILE).exists()
            kept = f"The checkpoint in {self.folder} is from before." if saved else "No checkpoint had been saved yet."
            self._window.check(self.step, self._rate, kept)

    def evaluated(self, figures: dict[str, float]) -> None:
        """Take validation figures: keep the weights if they are the best, stop the run when patience is out."""
        self._figures = {name: float(value) for name, value in figures.items()}  # no NumPy numbers in a checkpoint
        if self.best.update(self._figures, self.step):
            self.best_weights = weights_of(self.model)
        elif self.best.exhausted:
            self.stopped = f"stopped early: {self.best.monitor} did not improve in {self.best.stale} evaluations"

    def log(self) -> str:
        """Add a row to the record and renew its files; returns the row in a few words for the progress bar."""
        loss = self._window.mean()
        self.record.log(
            step=self.step,
            epoch=(self.step - 1) // self.steps_per_epoch,
            train_loss=loss,
            learning_rate=self._rate,
            grad_norm=float(self._window.norm),
            targets_seen=self.targets_seen,
            seconds=round(self.seconds, 3),
            **{"val_loss": None, **self._figures},
        )
        words = f"loss {loss:.3f}" + "".join(f" {name} {value:.3f}" for name, value in self._figures.items())
        self._window.clear()
        self._figures = {}
        if self.folder:
            self.record.refresh(self.folder)
        return words

    # --- leaving and coming back ----------------------------------------------------------------------------------

    def save(self) -> None:
        """Replace the checkpoint, and model.safetensors with the best weights so far."""
        if not self.folder:
            return
        content = {
            "made_by": made_by(self.optimizer, self.config, self.batches),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": random_state(),
            "best_weights": self.best_weights,
            "best": self.best.state(),
            "progress": {"step": self.step, "targets_seen": self.targets_seen, "stopped": self.stopped},
            "window": self._window.kept(),
            "seconds": self.seconds,
            "record": self.record.to_dict(),
        }
        save_checkpoint(self.folder / CHECKPOINT_FILE, content)
        if self.best_weights is not None:
            save_weights(self.folder / WEIGHTS_FILE, self.best_weights)

    def load(self) -> None:
        """Go back to the checkpoint in the folder.

        Raises:
            CheckpointError: There is none, it is damaged, or another model or other settings made it.
        """
        if self.folder is None:
            raise CheckpointError("resume: expected a folder in `out` with a checkpoint to go on from, got None.")
        path = self.folder / CHECKPOINT_FILE
        content = load_checkpoint(path)
        check_same(path, content.get("made_by", {}), made_by(self.optimizer, self.config, self.batches))
        load_weights_into(self.model, content["model"], str(path))
        try:
            self.optimizer.load_state_dict(content["optimizer"])
        except ValueError as error:
            raise CheckpointError(
                f"{path}: the optimizer's parameter groups differ from this run's ({error})."
            ) from error
        restore_random_state(content["random"])
        self.step, self.targets_seen, self.stopped = (
            content["progress"][k] for k in ("step", "targets_seen", "stopped")
        )
        self.best.restore(content["best"])
        self.best_weights = content["best_weights"]
        self._window.losses = [(loss, count) for loss, count in content["window"]]
        self._seconds_before, self._started = content["seconds"], time.perf_counter()
        run = self.record.run
        self.record = RunRecord.from_dict(content["record"])
        self.record.run = {**run, "resumed_at": [*self.record.run.get("resumed_at", []), self.step]}

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Write down how the run ended, whatever way it does, and leave whole files."""
        try:
            yield
            self.record.run["ended"] = self.stopped or "finished"
        except StopTraining as reason:
            self.record.run["ended"] = f"stopped at step {self.step}: {reason}"
            self.save()
        except DivergenceError as error:
            self.record.run["ended"] = f"diverged: {error}"
            raise
        except KeyboardInterrupt:
            self.record.run["ended"] = f"interrupted at step {self.step}"
            raise
        finally:
            if self.record.run["ended"] == "still running":
                self.record.run["ended"] = f"failed at step {self.step}"
            self.record.run.update(best_step=self.best.step, best=self.best.value, seconds=round(self.seconds, 3))
            if self.folder:
                self.record.save(self.folder)

    def finish(self) -> RunRecord:
        """Give the model its best weights if asked to, write them, and return the record."""
        if self.best_weights is not None and self.config.restore_best:
            self.model.load_state_dict(self.best_weights)
        if self.folder:
            save_weights(self.folder / WEIGHTS_FILE, self.best_weights or weights_of(self.model))
        return self.record
