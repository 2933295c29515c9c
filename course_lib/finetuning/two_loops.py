"""Two loops, one machine: `training.fit` and the Trainer of transformers on the same model, side by side (chapter 16).

Both get the same weights, the same micro-batches in the same order, AdamW with the same groups, the same schedule,
accumulation and clipping, and the same state of torch's generator. What is left to differ is the loop itself. In
float32 on the CPU their losses then agree step for step: the Trainer is the loop of chapter 06. Where the installed
Trainer goes its own way, tests/test_finetuning_two_loops.py says how.

Shape legend: B reviews in a batch, T positions of the longest of them.
"""

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import optim, schedules
from course_lib.checkpoints import generators_kept
from course_lib.data import BatchSource
from course_lib.finetuning.adapter import AsCourseModel, group_loss
from course_lib.training import FitConfig, fit

LossFunction = Callable[..., Tensor]
"""A Trainer's `compute_loss_func`: from a model's outputs, labels and num_items_in_batch to a loss."""


@dataclass(frozen=True, kw_only=True)
class AdamWSettings:
    """What both loops are told of the update; a `FitConfig` says the rest.

    Args:
        learning_rate: the peak, 0 or more; it falls to 0 in a straight line.
        weight_decay: on matrices only, 0 or more.
        warmup_steps: updates before the peak is reached, 0 or more.
        fused: True is torch's fused kernel in both, the Trainer's default; False is the course's update, written out
            step by step, against torch's own.
    """

    learning_rate: float = 2e-5
    weight_decay: float = 0.01
    warmup_steps: int = 0
    fused: bool = True

    def __post_init__(self) -> None:
        for field, value in asdict(self).items():
            if not 0 <= value < math.inf:
                raise ValueError(f"AdamWSettings.{field}: expected a finite number, 0 or more, got {value!r}.")


@dataclass(frozen=True, kw_only=True)
class Steps:
    """What one loop reports of each of its updates.

    Attributes:
        losses: the loss that the update was made from, in nats.
        norms: length of its gradient before clipping.
        rates: its learning rate.
    """

    losses: list[float]
    norms: list[float]
    rates: list[float]


@dataclass(frozen=True, kw_only=True)
class TwoRuns:
    """The same run, made by both loops."""

    fit: Steps
    trainer: Steps

    @property
    def loss_gap(self) -> float:
        """The largest relative difference between the losses of a step; 0 where all are equal to the last bit."""
        return relative_gap(self.fit.losses, self.trainer.losses)

    @property
    def norm_gap(self) -> float:
        """The same for the norms."""
        return relative_gap(self.fit.norms, self.trainer.norms)

    @property
    def rate_gap(self) -> float:
        """The same for the rates."""
        return relative_gap(self.fit.rates, self.trainer.rates)


def relative_gap(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Find the largest |a - b| / |b| over the steps of two runs; 0 against 0 is no difference, NaN an infinite one.

    Raises:
        ValueError: there is nothing to compare, or one run has more steps.
    """
    if not ours or len(ours) != len(theirs):
        raise ValueError(f"expected two runs of equally many steps, at least one, got {len(ours)} and {len(theirs)}")
    gaps = [0.0 if a == b else abs(a - b) / abs(b) if b else math.inf for a, b in zip(ours, theirs, strict=True)]
    return max(math.inf if math.isnan(gap) else gap for gap in gaps)


def compare(
    make_model: Callable[[], Any],
    batches: BatchSource,
    config: FitConfig,
    settings: AdamWSettings | None = None,
    *,
    loss: LossFunction | None = group_loss,
) -> TwoRuns:
    """Train two copies of a model, one with each loop, and keep every step of both.

    Args:
        make_model: gives a new transformers sequence classifier at each call, with the same weights.
        batches: the micro-batches of each epoch by number.
        config: its epochs, max_steps, accumulation, clip_norm and seed. Both runs start torch's generator from the
            seed, so that dropout drops the same.
        settings: rate, decay and warm-up; None is `AdamWSettings()`.
        loss: what the Trainer learns from; None leaves it to the model.

    Raises:
        ValueError: make_model gave the same model twice, which would train it twice; or the precision is not fp32.
    """
    chosen = settings or AdamWSettings()
    ours, theirs = make_model(), make_model()
    if ours is theirs:
        raise ValueError("make_model: expected a new model at each call, got the same one twice; build it inside")
    return TwoRuns(
        fit=with_fit(ours, batches, config, chosen),
        trainer=with_trainer(theirs, batches, config, chosen, loss=loss),
    )


def with_fit(model: nn.Module, batches: BatchSource, config: FitConfig, settings: AdamWSettings) -> Steps:
    """Train a transformers classifier with the course's loop; arguments as in `compare`."""
    wrapped = AsCourseModel(model)
    groups = optim.parameter_groups(wrapped, settings.weight_decay)
    optimizer = optim.AdamW(groups, lr=settings.learning_rate, fused=settings.fused)
    schedule = schedules.Linear(total_steps=config.total_steps(len(batches)), warmup_steps=settings.warmup_steps)
    with generators_kept():
        torch.default_generator.manual_seed(config.seed)
        record = fit(wrapped, batches, optimizer, schedule, replace(config, log_every=1), progress=False)
    return Steps(losses=record["train_loss"], norms=record["grad_norm"], rates=record["learning_rate"])


def with_trainer(
    model: nn.Module,
    batches: BatchSource,
    config: FitConfig,
    settings: AdamWSettings,
    *,
    loss: LossFunction | None = group_loss,
) -> Steps:
    """Train a transformers classifier with the Trainer; arguments as in `compare`."""
    with tempfile.TemporaryDirectory() as folder, generators_kept():
        trainer = build_trainer(model, batches, config, settings, out=folder, loss=loss)
        torch.default_generator.manual_seed(config.seed)
        trainer.train()
    rows = [row for row in trainer.state.log_history if "loss" in row]  # one more row sums up the run
    losses, norms, rates = ([row[key] for row in rows] for key in ("loss", "grad_norm", "learning_rate"))
    return Steps(losses=losses, norms=norms, rates=rates)


def build_trainer(
    model: nn.Module,
    batches: BatchSource,
    config: FitConfig,
    settings: AdamWSettings,
    *,
    out: str,
    loss: LossFunction | None = group_loss,
    log_every: int = 1,
) -> Any:
    """Build a Trainer that is told what `fit` is told, and reads the very same batches.

    Args:
        model, batches, config, settings, loss: as in `compare`.
        out: the folder that every Trainer wants; nothing is written there.
        log_every: updates to a row of its `state.log_history`; with 1 a row holds one update's loss, unrounded.

    Returns:
        A `transformers.Trainer` that prints nothing. Building it seeds the generators of Python, NumPy and torch.
    """
    from transformers import PrinterCallback, Trainer, TrainingArguments  # imported here: it takes seconds

    if config.precision != "fp32":
        raise ValueError(
            f"config.precision: expected 'fp32', in which the loops are compared, got {config.precision!r}."
        )

    class SameBatches(Trainer):
        """The Trainer, with the course's batches in the place of its DataLoader."""

        def get_train_dataloader(self) -> Any:
            return _Loader(batches)

    arguments = TrainingArguments(
        output_dir=out,
        num_train_epochs=config.epochs,
        max_steps=-1 if config.max_steps is None else config.total_steps(len(batches)),  # the Trainer's outdoes epochs
        gradient_accumulation_steps=config.accumulation,
        max_grad_norm=config.clip_norm or 0.0,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=settings.warmup_steps,
        lr_scheduler_type="linear",
        optim="adamw_torch_fused" if settings.fused else "adamw_torch",
        seed=config.seed,
        logging_steps=log_every,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=next(model.parameters()).device.type == "cpu",
    )
    trainer = SameBatches(model=model, args=arguments, compute_loss_func=loss)
    trainer.remove_callback(PrinterCallback)  # which takes the place of the progress bar, and prints every row
    return trainer


class _Loader:
    """A batch source as the Trainer reads it: told the epoch by `set_epoch`, it gives dictionaries of tensors.

    A DataLoader, even one without workers, draws a number from torch's generator at the start of each epoch; dropout
    would then go on from another state than in `fit`.
    """

    def __init__(self, batches: BatchSource) -> None:
        self.batches, self.number = batches, 0

    def __len__(self) -> int:
        return len(self.batches)

    def set_epoch(self, number: int) -> None:
        self.number = number

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for batch in self.batches.epoch(self.number):
            # (B, T), (B, T), (B,)
            yield {"input_ids": batch.inputs, "attention_mask": batch.mask.long(), "labels": batch.targets}
