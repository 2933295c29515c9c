"""Learning-rate schedules: pure functions from the number of finished updates to a multiplier of the peak rate.

A schedule knows no optimizer. `schedule(step)` is the multiplier for the update that comes after `step` finished ones,
so update number 1 uses `schedule(0)`, and a resumed run needs nothing but its step to go on. Chapter 09
(`notebooks/09_learning_rate.ipynb`) plots these, and replays the warm-up that outlived its run.

With a warm-up the first multiplier is 0: the first update moves nothing. That update is kept, because the schedules of
transformers do the same, and so a rate printed by the course equals the one in a Trainer's log at the same step.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral

Schedule = Callable[[int], float]


@dataclass(frozen=True, kw_only=True)
class Constant:
    """Warm up in a straight line, then stay at the peak. It has no end, so it cannot tell whether it outlives a run.

    Source: Goyal et al. (2017), "Accurate, large minibatch SGD", section 2.2 (gradual warm-up).
    """

    warmup_steps: int = 0
    """Updates before the peak is reached; 0 starts at the peak."""

    def __post_init__(self) -> None:
        _check_count("warmup_steps", self.warmup_steps, least=0)

    def __call__(self, step: int) -> float:
        """Return the multiplier, 0 to 1, of the update that follows `step` finished updates."""
        _check_count("step", step, least=0)
        if step < self.warmup_steps:
            return step / self.warmup_steps
        return 1.0


@dataclass(frozen=True, kw_only=True)
class _Decaying:
    """What Linear and Cosine share: a warm-up, a planned length and a floor."""

    total_steps: int
    """Updates in the whole run, warm-up included; at least 1."""
    warmup_steps: int = 0
    """Updates before the peak is reached; 0 starts at the peak."""
    floor: float = 0.0
    """Multiplier that the decay ends at and then keeps, 0 to 1; the warm-up starts from 0 whatever the floor."""

    def __post_init__(self) -> None:
        _check_count("total_steps", self.total_steps, least=1)
        _check_count("warmup_steps", self.warmup_steps, least=0)
        if not 0.0 <= self.floor <= 1.0:
            raise ValueError(f"floor must be a multiplier between 0 and 1, got {self.floor!r}")

    def __call__(self, step: int) -> float:
        """Return the multiplier, 0 to 1, of the update that follows `step` finished updates."""
        _check_count("step", step, least=0)
        # 1. Warm-up, in a straight line from 0. It goes first: a warm-up that outlives the run is never cut short.
        if step < self.warmup_steps:
            return step / self.warmup_steps
        # 2. Past the planned end: stay at the floor.
        if step >= self.total_steps:
            return self.floor
        # 3. Decay from 1 to the floor; progress runs from 0 to 1.
        progress = (step - self.warmup_steps) / (self.total_steps - self.warmup_steps)
        return self.floor + (1.0 - self.floor) * self._decay(progress)

    @property
    def warmup_outlives_run(self) -> bool:
        """Whether the run ends before its rate reaches the peak. Allowed, and nearly always a mistake."""
        return self.warmup_steps >= self.total_steps

    def _decay(self, progress: float) -> float:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Linear(_Decaying):
    """Warm up in a straight line, then fall in a straight line to the floor at `total_steps`.

    Source: Devlin et al. (2019), "BERT", appendix A.2; equal to transformers.get_linear_schedule_with_warmup.
    """

    def _decay(self, progress: float) -> float:
        return 1.0 - progress


@dataclass(frozen=True, kw_only=True)
class Cosine(_Decaying):
    """Warm up in a straight line, then fall along half a cosine wave to the floor at `total_steps`.

    Source: Loshchilov and Hutter (2017), "SGDR", equation 5 without restarts: eta_max = 1, eta_min = floor,
    T_cur / T_i = progress. Equal to transformers.get_cosine_schedule_with_warmup up to `total_steps`; that one rises
    again afterwards, this one stays.
    """

    def _decay(self, progress: float) -> float:
        return 0.5 * (1.0 + math.cos(math.pi * progress))


def _check_count(name: str, value: int, *, least: int) -> None:
    """Refuse fractions too: a warm-up of 0.1 would be a share of the run, and here it is counted in updates."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} must be a whole number of updates, {least} or more, got {value!r}")
