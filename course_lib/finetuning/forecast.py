"""How long a fine-tuning run will take and how much memory it needs, from its own first updates (chapter 16).

A micro-batch costs what its padded length says, so the forecast counts token positions and not texts: it knows the
lengths of all texts, and how long a position took so far. What an update costs beside that, and what an evaluation and
a checkpoint cost, is timed too. Legend: B texts in a micro-batch.
"""

import math
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from course_lib.checkpoints import save_weights
from course_lib.finetuning.trainer import CourseTrainer
from course_lib.hardware import memory_in_use, peak_memory

EPOCHS_DRAWN = 5
"""Epochs whose padding is counted to know what a random order costs on average."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run is expected to take.

    Args:
        steps: updates in all.
        seconds: training, evaluations and checkpoints together.
        memory_bytes: the most memory it will hold.
        after: the update after which this was said.
    """

    steps: int
    seconds: float
    memory_bytes: int
    after: int


def padded_tokens(lengths: Sequence[int], batch_size: int, *, shuffle: bool, by_length: bool = False) -> float:
    """Token positions of one pass, padding included: each micro-batch is as long as its longest text.

    Args:
        lengths: tokens of each text.
        batch_size: B.
        shuffle: whether the order is random; then the mean over a few draws.
        by_length: whether texts of like length share a batch, as Trainer groups them.
    """
    from transformers.trainer_pt_utils import get_length_grouped_indices

    totals = []
    for draw in range(EPOCHS_DRAWN if shuffle else 1):
        order = list(range(len(lengths)))
        if by_length:
            order = get_length_grouped_indices(list(lengths), batch_size, generator=torch.Generator().manual_seed(draw))
        elif shuffle:
            random.Random(draw).shuffle(order)
        batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
        totals.append(sum(len(batch) * max(lengths[i] for i in batch) for batch in batches))
    return sum(totals) / len(totals)


class ForecastCallback(TrainerCallback):
    """Watches the first updates and says what the whole run will take.

    Args:
        trainer: the trainer it hangs on.
        tell: is handed the forecast as soon as there is one.
        train_lengths: tokens of each training text.
        eval_lengths: tokens of each validation text, in the order they are read.
        folder: where checkpoints go; None where none is saved.

    Attributes:
        forecast: what was said; None before.
    """

    def __init__(
        self,
        trainer: CourseTrainer,
        tell: Callable[[Forecast], None],
        train_lengths: Sequence[int],
        eval_lengths: Sequence[int],
        folder: Path | None,
    ) -> None:
        self.trainer, self.tell, self.folder = trainer, tell, folder
        self.train_lengths, self.eval_lengths = train_lengths, eval_lengths
        self.forecast: Forecast | None = None
        self._first = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self._begun = self._clock = time.perf_counter()
        self._first, self._marks = state.global_step, (0, 0.0)
        self._beside, self._beside_since = 0.0, self._begun
        steps = state.max_steps - state.global_step
        self._watch = min(max(6, steps // 25), 25, max(2, steps - 1))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Skip the first update, which allocates, time the next ones, then say it."""
        done = state.global_step - self._first
        self._beside_since = time.perf_counter()
        if done == 1:
            self._clock, self._beside = self._beside_since, 0.0
            self._marks = (self.trainer.tokens, self.trainer.busy)
        if done == self._watch and self.forecast is None:
            self._sync()
            updating = time.perf_counter() - self._clock - self._beside
            self.forecast = self._make(args, state, updating, kwargs["model"])
            self.tell(self.forecast)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """An evaluation or a checkpoint may follow."""
        self._beside_since = time.perf_counter()

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take its time out of that of the updates: evaluations and checkpoints are counted by themselves."""
        now = time.perf_counter()
        self._beside += now - self._beside_since
        self._beside_since = now

    on_save = on_evaluate

    def _make(self, args: Any, state: Any, seconds: float, model: Any) -> Forecast:
        updates, left = self._watch - 1, state.max_steps - state.global_step
        tokens, busy = self.trainer.tokens - self._marks[0], self.trainer.busy - self._marks[1]
        busy = busy or seconds  # an accelerator is timed as a whole
        by_length = args.train_sampling_strategy == "group_by_length"
        size = args.per_device_train_batch_size
        micro_batches = math.ceil(len(self.train_lengths) / size)
        a_pass = padded_tokens(self.train_lengths, size, shuffle=True, by_length=by_length)
        an_update = a_pass / micro_batches * min(args.gradient_accumulation_steps, micro_batches)
        training = left * (an_update * busy / tokens + (seconds - busy) / updates)
        evaluations, saves = self._events(args, state, micro_batches)
        looking = evaluations * padded_tokens(self.eval_lengths, args.per_device_eval_batch_size, shuffle=False)
        total = training + looking * self._forward_time(model) + saves * self._save_time(args, model)
        return Forecast(
            steps=state.max_steps,
            seconds=time.perf_counter() - self._begun + total,
            memory_bytes=self._memory(args, model),
            after=state.global_step,
        )

    def _events(self, args: Any, state: Any, micro_batches: int) -> tuple[int, int]:
        """Evaluations and checkpoints that are still to come."""
        an_epoch = math.ceil(micro_batches / args.gradient_accumulation_steps)

        def count(strategy: str, every: float) -> int:
            if strategy == "no":
                return 0
            apart = an_epoch if strategy == "epoch" else every
            return math.ceil(state.max_steps / apart) - int(state.global_step // apart)

        evaluations = count(args.eval_strategy, state.eval_steps or 1) if self.eval_lengths else 0
        return evaluations, count(args.save_strategy, state.save_steps or 1)

    def _forward_time(self, model: Any) -> float:
        """Seconds for a position that only goes forward; dropout is off, so nothing is drawn."""
        inputs = {k: v for k, v in (self.trainer.last_inputs or {}).items() if k != "labels"}
        was_training = model.training
        model.eval()
        with torch.inference_mode(), self.trainer.compute_loss_context_manager():
            model(**inputs)
            self._sync()
            started = time.perf_counter()
            model(**inputs)
            self._sync()
        model.train(was_training)
        positions: int = inputs["input_ids"].numel()
        return (time.perf_counter() - started) / positions

    def _save_time(self, args: Any, model: Any) -> float:
        """Seconds for a checkpoint: weights and two moments, three times what the weights alone take."""
        if self.folder is None or args.save_strategy == "no":
            return 0.0
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            started = time.perf_counter()
            weights = {name: tensor.detach().cpu() for name, tensor in model.named_parameters()}  # tied ones once
            save_weights(Path(folder) / "trial.safetensors", weights)
            return 3 * (time.perf_counter() - started)

    def _memory(self, args: Any, model: Any) -> int:
        """What is held now, and the activations of the longest micro-batch there can be beside it."""
        device = str(model.device)
        held, peak = memory_in_use(device), peak_memory(device)
        inputs = self.trainer.last_inputs or {}
        seen = max(1, inputs["input_ids"].numel())
        longest = args.per_device_train_batch_size * max(self.train_lengths)
        return max(peak, held + round((peak - held) * longest / seen))

    def _sync(self) -> None:
        if (device := self.trainer.args.device).type != "cpu":
            getattr(torch, device.type).synchronize()
