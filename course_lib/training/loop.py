"""`fit`: the training loop, written out (chapter 06 grows it from ten lines).

One update is: take `accumulation` micro-batches, add their summed losses, divide once by the number of targets in all
of them, go backward, clip, step. Because the division knows every target of the group, accumulation equals one large
batch, in the shorter group at the end of an epoch too.

A run is a pure function of its seed and its arguments: the data source gives the batches of an epoch by number, the
schedule gives the rate by step. What is left, a checkpoint holds; a resumed run repeats the losses bit for bit (CPU).
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_lib import metrics
from course_lib.data import IGNORE_INDEX, Batch, BatchSource
from course_lib.files import writable_folder
from course_lib.losses import cross_entropy
from course_lib.optim import clip_grad_norm
from course_lib.run_record import RunRecord
from course_lib.training.config import FitConfig
from course_lib.training.state import RunState

Objective = Callable[[nn.Module, Batch], tuple[Tensor, Tensor]]
"""From a model and a batch to the loss summed over its targets, in nats, and the logits it came from."""

Evaluate = Callable[[nn.Module], dict[str, float]]
"""From a model to its validation figures; "val_loss" must be among them."""


def prediction_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """The objective of every model in the course: cross-entropy of the targets, summed.

    Args:
        model: Called as model(inputs, mask); gives logits (B, V) for classes or (B, T, V) for next tokens.
        batch: Its targets have the shape of the logits without V; targets of IGNORE_INDEX count nothing.

    Returns:
        The summed loss, a scalar in nats, and the logits.
    """
    logits = model(batch.inputs, batch.mask)
    return cross_entropy(logits, batch.targets, ignore_index=IGNORE_INDEX, reduction="sum"), logits


def count_targets(batch: Batch) -> int:
    """Predictions that the batch asks for: reviews, or tokens that are not padding."""
    return int((batch.targets != IGNORE_INDEX).sum())


def _groups(batches: Iterable[Batch], size: int) -> Iterator[list[Batch]]:
    """Micro-batches in groups of `size`; what is left over forms a smaller last group."""
    iterator = iter(batches)
    while group := list(islice(iterator, size)):
        yield group


def _count(group: list[Batch], state: RunState) -> int:
    count = sum(count_targets(batch) for batch in group)
    if not count:
        raise ValueError(f"step {state.step + 1}: expected at least one target, got none; there is no loss to divide.")
    return count


def predict(model: nn.Module, source: BatchSource) -> tuple[Tensor, Tensor]:
    """What a classifier answers on every sequence of a source.

    Args:
        model: Called as model(inputs, mask); measured in eval mode and without gradients.
        source: Its epoch 0 is what is read.

    Returns:
        The targets (N,) and the logits (N, V), on the CPU, in the order of the source.
    """
    device = next(model.parameters()).device
    targets, logits = [], []
    with measuring(model):
        for batch in source.epoch(0):
            moved = batch.to(device)
            targets.append(batch.targets)
            logits.append(model(moved.inputs, moved.mask).float().cpu())
    return torch.cat(targets), torch.cat(logits)


@contextmanager
def measuring(model: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients, and afterwards the mode it was in: measuring must not change what is measured."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, was_training in modes:
            module.training = was_training  # a part may have been frozen in eval mode


def evaluate(model: nn.Module, source: BatchSource, objective: Objective = prediction_loss) -> dict[str, float]:
    """Measure a model on all of a source's targets, each counting once whatever the batches.

    Args:
        model: Measured in eval mode and without gradients, then put back into the mode it was in.
        source: Its epoch 0 is the evaluation set.
        objective: Gives the summed loss and the logits.

    Returns:
        val_loss in nats a target and val_accuracy; for classes val_macro_f1 too.
    """
    device = next(model.parameters()).device
    total, targets, guesses = 0.0, [], []
    with measuring(model):
        for batch in source.epoch(0):
            loss, logits = objective(model, batch.to(device))
            total += float(loss)
            targets.append(batch.targets.flatten())
            guesses.append(logits.argmax(dim=-1).flatten().cpu())
    truth, guess = torch.cat(targets), torch.cat(guesses)
    counted = truth != IGNORE_INDEX
    truth, guess = truth[counted], guess[counted]
    if not len(truth):
        raise ValueError("evaluate: expected at least one target, got none; is every target of the source ignored?")
    figures = {"val_loss": total / len(truth), "val_accuracy": metrics.accuracy(truth, guess)}
    if batch.targets.dim() == 1:
        figures["val_macro_f1"] = metrics.precision_recall_f1(truth, guess, average="macro").f1
    return figures


def fit(
    model: nn.Module,
    batches: BatchSource,
    optimizer: torch.optim.Optimizer,
    schedule: Callable[[int], float],
    config: FitConfig,
    *,
    objective: Objective = prediction_loss,
    evaluate: Evaluate | None = None,
    out: Path | str | None = None,
    resume: bool = False,
    on_step: Callable[[RunState], None] | None = None,
    progress: bool = True,
    run: dict[str, Any] | None = None,
) -> RunRecord:
    """Train a model and return the record of the run.

    Args:
        model: On the device to train on. It is trained in place.
        batches: Gives the micro-batches of each epoch by number.
        optimizer: Over the model's parameters; its rates are the peak that `schedule` scales.
        schedule: From the number of finished updates to the multiplier of the peak rate.
        config: How long, and what to do on the way.
        objective: The summed loss and logits of a batch.
        evaluate: Validation figures of the model; None trains without looking, and the record says null.
        out: Folder for the three files of the record, checkpoint.pt and model.safetensors; None writes nothing.
        resume: Go on from the checkpoint in `out`.
        on_step: Called after each update; may raise StopTraining.
        progress: Whether to show a progress bar, in a terminal or a notebook.
        run: What else the record should say of this run.

    Returns:
        The record; its "run" says how the run ended and which step was best.

    Raises:
        DivergenceError: The loss became NaN or infinite.
        CheckpointError: `resume` found no usable checkpoint of this model and these settings.
        OutputError: `out` cannot be written.
    """
    folder = None if out is None else writable_folder(out)
    state = RunState(model, optimizer, config, len(batches), folder, run or {})
    if resume:
        state.load()
    device = next(model.parameters()).device
    parameters = [p for p in model.parameters() if p.requires_grad]
    model.train()
    with state.recording(), tqdm(total=state.total_steps, initial=state.step, unit="step", disable=not progress) as bar:
        while not state.done:
            epoch = state.epoch
            for group in _groups(batches.epoch(epoch, start=state.next_batch), config.accumulation):
                state.set_rate(schedule(state.step))
                count = _count(group, state)
                optimizer.zero_grad()
                loss = torch.zeros((), device=device)
                for batch in group:
                    with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
                        part = objective(model, batch.to(device))[0] / count
                    part.backward()
                    loss = loss + part.detach()  # in place it would round a float64 loss
                norm = clip_grad_norm(parameters, config.clip_norm or math.inf)
                optimizer.step()
                state.advance(loss, norm, count)
                bar.update()
                if evaluate is not None and state.at_evaluation():
                    state.evaluated(evaluate(model))
                if state.at_log() or state.at_evaluation():
                    bar.set_postfix_str(state.log())
                if state.at_checkpoint():
                    state.save()
                if on_step is not None:
                    on_step(state)
                if state.done:
                    break
            else:
                state.check_end_of(epoch)
    return state.finish()
