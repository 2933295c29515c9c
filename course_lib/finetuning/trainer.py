"""The course's Trainer: it counts what it computes, and a save that fails leaves nothing half written (chapter 16)."""

import errno
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback
from transformers.trainer import TRAINING_ARGS_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from course_lib.checkpoints import CheckpointError
from course_lib.files import explained, readable
from course_lib.pretrained import quiet

STATE_FILE = "trainer_state.json"
FULL = 2**24
"""Free bytes below which a save that broke off is taken to have filled the disk."""
WINDOW = "CourseTrainerWindow"
"""Under this key the state keeps the loss since the last log line, which Trainer would forget on resuming."""


class CourseTrainer(Trainer):
    """`transformers.Trainer`, unchanged in what it computes.

    Attributes:
        tokens: token positions, padding included, that went forward and backward so far.
        busy: seconds that took.
        last_inputs: the micro-batch before this moment, on the device.
    """

    tokens = 0
    busy = 0.0
    last_inputs: dict[str, Any] | None = None

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """Do what Trainer does, and count it."""
        started = time.perf_counter()
        loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
        if loss.device.type == "cpu":  # asking an accelerator for the time would make it wait
            self.busy += time.perf_counter() - started
        self.tokens += inputs["input_ids"].numel()
        self.last_inputs = inputs
        return loss

    def go_on(self) -> None:
        """After a resume, take up what Trainer begins anew: the loss since the last log line, and the patience."""
        saved: Any = self.state.stateful_callbacks  # a dictionary by name, whatever its annotation says
        if window := saved.get(WINDOW):
            self._tr_loss += window["loss"]
            self._globalstep_last_logged = window["since"]
        for callback in self.callback_handler.callbacks:
            counted = saved.get(type(callback).__name__)
            if isinstance(callback, EarlyStoppingCallback) and counted:
                callback.early_stopping_patience_counter = counted["attributes"]["early_stopping_patience_counter"]

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Save as Trainer does; on any failure, an interrupt included, remove what is not whole.

        Raises:
            OutputError: the disk is full, or the folder cannot be written.
        """
        folder = Path(str(self.args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        with explained(folder), quiet():
            try:
                saved: Any = self.state.stateful_callbacks
                saved[WINDOW] = {
                    "loss": self._tr_loss.item(),
                    "since": self._globalstep_last_logged,
                }
                super()._save_checkpoint(model, trial)
                (folder / TRAINING_ARGS_NAME).unlink(missing_ok=True)  # a pickle of the arguments, which nothing reads
            except BaseException as error:
                full = isinstance(error, RuntimeError) and shutil.disk_usage(folder.parent).free < FULL
                shutil.rmtree(folder, ignore_errors=True)
                if full:  # of a disk that fills up torch says "unexpected pos" and nothing more
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
                raise


class GoOnCallback(TrainerCallback):
    """Hands over to `CourseTrainer.go_on` when the state of a checkpoint has been read."""

    def __init__(self, trainer: CourseTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Go on."""
        self.trainer.go_on()


def checkpoints(out: Path) -> list[Path]:
    """The whole checkpoints in a run's folder, oldest first. Trainer writes trainer_state.json last, so it decides."""
    found = []
    for folder in out.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        number = folder.name.rpartition("-")[2]
        try:
            json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if number.isdecimal():
            found.append((int(number), folder))
    return [folder for _, folder in sorted(found)]


def newest_checkpoint(out: Path) -> Path:
    """The checkpoint to go on from. What a killed save left half written is removed: Trainer would count it.

    Raises:
        CheckpointError: there is none that is whole.
    """
    found = checkpoints(out)
    for folder in set(out.glob(f"{PREFIX_CHECKPOINT_DIR}-*")) - set(found):
        if folder.name.rpartition("-")[2].isdecimal():
            shutil.rmtree(folder, ignore_errors=True)
    if not found:
        raise CheckpointError(
            f"{out}: expected a folder checkpoint-N with {STATE_FILE} to go on from, found none that is whole; start "
            "the run without resuming"
        )
    return found[-1]


def save_model(model: Any, tokenizer: Any, out: Path) -> None:
    """Write the model and its tokenizer into a folder, as safetensors; each file is whole or not there.

    Raises:
        OutputError: the disk is full, or the folder cannot be written.
    """
    partial = out / ".model.course-partial"
    with explained(out), quiet():
        try:
            shutil.rmtree(partial, ignore_errors=True)
            model.save_pretrained(partial)
            tokenizer.save_pretrained(partial)
            for file in sorted(partial.iterdir(), key=lambda file: file.name == "config.json"):
                readable(file).replace(out / file.name)  # the configuration last: a folder without it is no model
        finally:
            shutil.rmtree(partial, ignore_errors=True)
