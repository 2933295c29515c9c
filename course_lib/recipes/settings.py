"""What every recipe can be told, as flat frozen dataclasses, and how a person changes one value of it."""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Self

from torch import nn

from course_lib import optim, schedules
from course_lib.training import FitConfig


class RecipeError(ValueError):
    """A recipe, scale, key or value that does not exist; the message lists what does."""


def check_choice(key: str, value: str, allowed: Sequence[str]) -> None:
    """Refuse a value that is not among the allowed ones.

    Raises:
        RecipeError: Names the key, the choices and what came.
    """
    if value not in allowed:
        raise RecipeError(f"{key}: expected one of {', '.join(allowed)}; got {value!r}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Training settings that all recipes share.

    Args:
        epochs: Passes over the training data.
        max_steps: Stop after this many updates; None leaves it to epochs.
        batch_size: Sequences in a micro-batch.
        accumulation: Micro-batches to an update.
        optimizer: "adam" or "adamw".
        learning_rate: The peak rate.
        betas: Decay of the first and the second moment.
        weight_decay: Decoupled decay of AdamW; biases and norms are left out. Adam takes none.
        schedule: "constant", "linear" or "cosine".
        warmup_steps: Updates in which the rate rises from 0 to its peak.
        floor: Share of the peak rate at the end of a linear or cosine schedule.
        clip_norm: Largest gradient norm let through; None clips nothing.
        log_every: Updates between rows of the record.
        eval_every: Updates between evaluations; None evaluates at the end of each epoch.
        patience: Evaluations without a better validation loss before stopping; None never stops early.
        precision: "auto" takes bf16 where the hardware multiplies it natively; or "fp32", "bf16".
    """

    epochs: int
    max_steps: int | None = None
    batch_size: int
    accumulation: int = 1
    optimizer: str = "adamw"
    learning_rate: float
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    schedule: str = "constant"
    warmup_steps: int = 0
    floor: float = 0.0
    clip_norm: float | None = None
    log_every: int = 10
    eval_every: int | None = None
    patience: int | None = None
    precision: str = "fp32"

    def __post_init__(self) -> None:
        check_choice("optimizer", self.optimizer, ("adam", "adamw"))
        check_choice("schedule", self.schedule, ("constant", "linear", "cosine"))
        check_choice("precision", self.precision, ("auto", "fp32", "bf16"))
        for key in ("epochs", "max_steps", "batch_size", "accumulation", "log_every", "eval_every", "patience"):
            if getattr(self, key) is not None and getattr(self, key) < 1:
                raise RecipeError(f"{key}: expected at least 1; got {getattr(self, key)}")
        for key in ("learning_rate", "weight_decay", "warmup_steps", "floor"):
            if not getattr(self, key) >= 0:
                raise RecipeError(f"{key}: expected 0 or more; got {getattr(self, key)}")
        if self.floor > 1:
            raise RecipeError(f"floor: expected a share from 0 to 1; got {self.floor}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise RecipeError(f"betas: expected two numbers from 0 to below 1; got {self.betas}")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise RecipeError(f"clip_norm: expected above 0, or none; got {self.clip_norm}")
        if self.optimizer == "adam" and self.weight_decay:
            raise RecipeError(
                f"weight_decay: expected 0 with adam, whose decay would be another one; got {self.weight_decay}"
            )

    def fit_config(self, precisions: Sequence[str], seed: int) -> FitConfig:
        """What `fit` is told, with "auto" settled by what the hardware multiplies natively."""
        names = ("epochs", "max_steps", "accumulation", "clip_norm", "log_every", "eval_every", "patience")
        precision = self.precision if self.precision != "auto" else "bf16" if "bf16" in precisions else "fp32"
        return FitConfig(**{name: getattr(self, name) for name in names}, precision=precision, seed=seed)

    def make_optimizer(self, model: nn.Module, *, fused: bool = True) -> optim.Optimizer:
        """The optimizer over the model's parameters, biases and norms without decay; AdamW by torch's fused kernel."""
        if self.optimizer == "adam":
            return optim.Adam(model.parameters(), lr=self.learning_rate, betas=self.betas)
        groups = optim.parameter_groups(model, self.weight_decay)
        return optim.AdamW(groups, lr=self.learning_rate, betas=self.betas, fused=fused)

    def make_schedule(self, total_steps: int) -> schedules.Schedule:
        """The schedule of a run of that many updates."""
        if self.schedule == "constant":
            return schedules.Constant(warmup_steps=self.warmup_steps)
        shape = schedules.Linear if self.schedule == "linear" else schedules.Cosine
        return shape(total_steps=total_steps, warmup_steps=self.warmup_steps, floor=self.floor)

    def steps_and_evaluations(self, batches: int) -> tuple[int, int]:
        """Updates and evaluations of a run with that many micro-batches an epoch."""
        config = self.fit_config((), seed=0)
        steps = config.total_steps(batches)
        return steps, math.ceil(steps / (self.eval_every or config.steps_per_epoch(batches)))

    def replaced(self, changes: Mapping[str, str]) -> Self:
        """A copy with some values read from text, as in `--set learning_rate=1e-3`.

        Raises:
            RecipeError: There is no such key, or the text is no value of its type.
        """
        types_of = typing.get_type_hints(type(self))
        known = [field.name for field in dataclasses.fields(self)]
        for key in changes:
            if key not in known:
                raise RecipeError(f"no setting {key!r}; there are: {', '.join(known)}")
        return dataclasses.replace(self, **{key: parse(key, text, types_of[key]) for key, text in changes.items()})


def warmup_warning(settings: Settings, steps: int) -> str | None:
    """What to say when the rate never reaches what was set; None when it does.

    Args:
        settings: Of the run.
        steps: Its updates.
    """
    if not 0 < steps <= settings.warmup_steps:
        return None
    return (
        f"warning: the warm-up of {settings.warmup_steps} updates outlives the run of {steps}: the rate never "
        f"reaches {settings.learning_rate:g}. Mend it with --set warmup_steps={steps // 10}."
    )


def parse(key: str, text: str, kind: Any) -> Any:
    """Read one value of a declared type from text.

    Raises:
        RecipeError: The text is no value of that type.
    """
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if type(None) in options and text.lower() in ("none", "null"):
        return None
    kind = next(option for option in options if option is not type(None))
    try:
        if typing.get_origin(kind) is tuple:
            parts = [part for part in text.strip("()[] ").split(",") if part.strip()]
            if len(parts) != len(typing.get_args(kind)):
                raise ValueError(f"{len(parts)} parts")
            return tuple(float(part) for part in parts)
        if kind is bool:
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text.lower()]
        return kind(text)
    except (ValueError, KeyError) as error:
        named = {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "2 numbers, as in 0.9,0.99")
        allowed = f"{named} or none" if type(None) in options else named
        raise RecipeError(f"{key}: expected {allowed}; got {text!r}") from error


def parse_changes(pairs: Sequence[str]) -> dict[str, str]:
    """Split "key=value" texts.

    Raises:
        RecipeError: One has no "=" or no key.
    """
    changes = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise RecipeError(f"--set: expected key=value; got {pair!r}")
        changes[key.strip()] = value.strip()
    return changes
