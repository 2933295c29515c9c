"""What the course hangs on Trainer: the run record and its three files, and the way out (chapters 12 and 16)."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from course_lib.run_record import RecordError, RunRecord
from course_lib.training import DivergenceError, StopTraining


class RecordCallback(TrainerCallback):
    """Keeps a `RunRecord` of a Trainer run and renews its three files at each log line and evaluation.

    A row belongs to a step. What Trainer logs at one step in two lines, training and evaluation, becomes one row:
    `eval_loss` is its val_loss, the other `eval_` figures keep their names. A row without a log line has no train_loss.

    Args:
        record: the record to fill.
        folder: where the files go; None writes none.
    """

    def __init__(self, record: RunRecord, folder: Path | None) -> None:
        self.record, self.folder = record, folder
        self._row: dict[str, Any] = {}
        self._rate = 0.0
        self._before, self._started = 0.0, time.perf_counter()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take over what an earlier sitting logged."""
        earlier = self._earlier() if state.log_history else {}
        folder, self.folder = self.folder, None  # the files are renewed when all of it is back
        for line in state.log_history:
            self._take(line, line["step"], line.get("epoch", 0.0))
            if self._row.get("step") == line["step"]:
                self._row |= earlier.get(line["step"], {})
        self._write_row()
        self.folder = folder
        self._before = max((s for s in self.record.columns.get("seconds", []) if s is not None), default=0.0)
        self._started = time.perf_counter()

    def _earlier(self) -> dict[int, dict[str, float]]:
        """By step, what Trainer's log does not keep and the record of the earlier sitting has."""
        try:
            record = RunRecord.load(self.folder) if self.folder else RunRecord()
        except RecordError:
            return {}
        rows = zip(record["steps"], record["learning_rate"], record.columns.get("seconds", []), strict=False)
        return {step: {"learning_rate": rate, "seconds": seconds} for step, rate, seconds in rows}

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the rate that this update is made with."""
        self._rate = kwargs["optimizer"].param_groups[0]["lr"]

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write what the step before left; nothing more can be said about it now."""
        self._write_row()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Take a log line. Raises DivergenceError when its loss is not finite."""
        self._take(logs or {}, state.global_step, state.epoch)
        for name in ("loss", "eval_loss"):
            loss = (logs or {}).get(name, 0.0)
            if not math.isfinite(loss):
                raise DivergenceError(
                    f"step {state.global_step}: the {name} is {loss} (rate {self._rate:g}); lower the learning rate, "
                    "clip the gradient, or look for damaged data. Checkpoints from before are whole"
                )

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the last row."""
        self._write_row()

    def _take(self, logs: dict[str, Any], step: int, epoch: float) -> None:
        """Put one log line into the row of its step."""
        if "loss" not in logs and "eval_loss" not in logs:
            return  # the summary at the end of a run
        if self._row and self._row["step"] != step:
            self._write_row()
        row = self._row or {"step": step, "train_loss": None, "val_loss": None}
        row["learning_rate"] = logs.get("learning_rate", row.get("learning_rate", self._rate))
        row["epoch"] = max(0, math.ceil(round(epoch, 6)) - 1)  # the epoch that the update belongs to, from 0
        row["seconds"] = round(self._before + time.perf_counter() - self._started, 3)
        if "loss" in logs:
            row |= {"train_loss": logs["loss"], "grad_norm": logs.get("grad_norm")}
        if "eval_loss" in logs:
            speeds = ("runtime", "samples_per_second", "steps_per_second", "loss")
            row["val_loss"] = logs["eval_loss"]
            row |= {k: v for k, v in logs.items() if k.startswith("eval_") and k.removeprefix("eval_") not in speeds}
        self._row = row

    def _write_row(self) -> None:
        if not self._row:
            return
        row, self._row = self._row, {}
        if not len(self.record) or row["step"] > self.record["steps"][-1]:
            self.record.log(**row)
        if self.folder:
            self.record.refresh(self.folder)


class StopCallback(TrainerCallback):
    """Ends a run after the update in progress, with a checkpoint, when `on_step` raises StopTraining.

    Args:
        on_step: called with the number of finished updates.

    Attributes:
        reason: why the run was stopped; None if it was not.
    """

    def __init__(self, on_step: Callable[[int], None]) -> None:
        self.on_step = on_step
        self.reason: str | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask whether to go on."""
        try:
            self.on_step(state.global_step)
        except StopTraining as reason:
            self.reason = str(reason)
            control.should_save = args.save_strategy != "no"
            control.should_training_stop = True
            if args.save_total_limit == 1:  # Trainer would end with the best checkpoint alone, not this newest one
                args.save_total_limit = 2

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Trainer calls this in the middle of an epoch too when it stops there; nothing is due then."""
        if self.reason is not None and not round(state.epoch, 6).is_integer():
            control.should_evaluate = control.should_save = False
