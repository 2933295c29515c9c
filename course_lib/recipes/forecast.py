"""How long a recipe will take on this machine, before it is run: a few real updates, timed and scaled up."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from course_lib.data import Batch
from course_lib.hardware import Hardware
from course_lib.recipes.settings import Settings
from course_lib.recipes.system import Recipe
from course_lib.training import measuring, prediction_loss

TRIAL_BATCH = 12
"""Sequences in a timed update at most; a larger batch is scaled up from it, so that the trial stays short."""

TRIAL_OPERATIONS = 1e11
"""Multiplications and additions in a timed update at most, so that a trial of a large model is short too."""

REPEATS = 3
PATIENCE = 0.5
"""Seconds after which nothing is timed once more."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run is expected to take.

    Args:
        steps: Updates.
        seconds: Training and evaluations together, without loading torch or the data.
    """

    steps: int
    seconds: float


def forecast(recipe: Recipe, settings: Settings, hardware: Hardware) -> Forecast:
    """Time a few updates of the recipe's model on random tokens, and scale to its whole run.

    The best of three is taken, because anything else the machine does meanwhile only makes an update slower.
    """
    work = recipe.workload(settings)
    device = torch.device(hardware.device)
    model = work.model.to(device)
    optimizer = settings.make_optimizer(model)
    per_row = 6 * sum(p.numel() for p in model.parameters()) * work.tokens  # 2 forward and 4 backward a weight, a token
    rows = max(1, min(TRIAL_BATCH, settings.batch_size, int(TRIAL_OPERATIONS / per_row)))
    ids = torch.randint(2, 100, (rows, work.tokens), generator=torch.Generator().manual_seed(0))  # (B, T)
    targets = ids if work.predicts_next else ids[:, 0] % 2  # (B, T) or (B,)
    batch = Batch(ids, torch.ones_like(ids, dtype=torch.bool), targets).to(device)
    bf16 = settings.fit_config(hardware.precisions, seed=0).precision == "bf16"

    def forward_backward() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss, _ = prediction_loss(model, batch)
        loss.backward()

    def forward() -> None:
        with measuring(model):
            prediction_loss(model, batch)

    forward_backward()  # the first one allocates, and would count as slow
    per_sequence = _best(forward_backward, device) / rows
    per_update = _best(optimizer.step, device)
    per_evaluated = _best(forward, device) / rows
    steps = work.train_sequences // (settings.batch_size * settings.accumulation)
    seconds = work.train_sequences * per_sequence + steps * per_update + work.eval_sequences * per_evaluated
    return Forecast(steps=steps, seconds=seconds)


def _best(action: Callable[[], object], device: torch.device) -> float:
    """The shortest of a few timings, in seconds, the accelerator's queue waited for; a long one is not repeated."""
    timings: list[float] = []
    while len(timings) < REPEATS and sum(timings) < PATIENCE:
        started = time.perf_counter()
        action()
        if device.type != "cpu":
            getattr(torch, device.type).synchronize()
        timings.append(time.perf_counter() - started)
    return min(timings)


def duration(seconds: float) -> str:
    """Seconds as a person would say them, to two digits."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    if seconds < 100 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h" if seconds < 36_000 else f"{round(seconds / 3600)} h"
