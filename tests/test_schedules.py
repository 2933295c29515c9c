"""Schedules against written-out tables and against transformers, step by step."""

import dataclasses
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from transformers import (
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)

from course_lib.schedules import Constant, Cosine, Linear

HALF_WAVE = (1 + math.sqrt(0.5)) / 2  # the cosine schedule a quarter of the way down: 0.854


@pytest.mark.parametrize(
    ("schedule", "table"),
    [
        (Constant(), [1, 1, 1, 1]),
        (Constant(warmup_steps=4), [0, 0.25, 0.5, 0.75, 1, 1, 1]),
        (Linear(total_steps=4), [1, 0.75, 0.5, 0.25, 0, 0]),
        (Linear(total_steps=6, warmup_steps=2), [0, 0.5, 1, 0.75, 0.5, 0.25, 0, 0, 0]),
        (Linear(total_steps=6, warmup_steps=2, floor=0.2), [0, 0.5, 1, 0.8, 0.6, 0.4, 0.2, 0.2]),
        (Linear(total_steps=3, warmup_steps=1), [0, 1, 0.5, 0, 0]),
        (Cosine(total_steps=4), [1, HALF_WAVE, 0.5, 1 - HALF_WAVE, 0, 0, 0]),
        (Cosine(total_steps=6, warmup_steps=2), [0, 0.5, 1, HALF_WAVE, 0.5, 1 - HALF_WAVE, 0, 0]),
        (Cosine(total_steps=4, warmup_steps=2, floor=0.1), [0, 0.5, 1, 0.55, 0.1, 0.1]),
        (Linear(total_steps=2, floor=1.0), [1, 1, 1]),
        # The warm-up outlives the run of 3 updates (steps 0, 1, 2): the peak is never used.
        (Linear(total_steps=3, warmup_steps=5), [0, 0.2, 0.4, 0.6, 0.8, 0, 0]),
        (Cosine(total_steps=3, warmup_steps=3), [0, 1 / 3, 2 / 3, 0]),
        (Linear(total_steps=1), [1, 0]),
    ],
)
def test_table(schedule, table):
    assert [schedule(step) for step in range(len(table))] == pytest.approx(table, abs=1e-15)


def rates_of_transformers(make, n_steps, **settings):
    """The multipliers that a scheduler of transformers uses for updates 1 to n_steps, and the one after."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimizer, **settings)
    rates = []
    for _ in range(n_steps + 1):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(("total", "warmup"), [(1, 0), (10, 0), (10, 1), (100, 10), (468, 46), (157, 156)])
def test_equals_transformers(total, warmup):
    both = {"num_warmup_steps": warmup, "num_training_steps": total}
    linear = rates_of_transformers(get_linear_schedule_with_warmup, total, **both)
    cosine = rates_of_transformers(get_cosine_schedule_with_warmup, total, **both)
    constant = rates_of_transformers(get_constant_schedule_with_warmup, total, num_warmup_steps=warmup)
    ours = Linear(total_steps=total, warmup_steps=warmup), Cosine(total_steps=total, warmup_steps=warmup)
    for step in range(total + 1):
        assert ours[0](step) == pytest.approx(linear[step], abs=1e-15)
        assert ours[1](step) == pytest.approx(cosine[step], abs=1e-15)
        assert Constant(warmup_steps=warmup)(step) == constant[step]


@pytest.mark.parametrize("schedule", [Linear(total_steps=468, warmup_steps=500), Constant(warmup_steps=500)])
def test_source_1_rates(schedule):
    # The document's run: peak 3e-5, warm-up 500, 468 updates; its log shows these rates after 100 to 400 updates.
    rates = [3e-5 * schedule(step) for step in (100, 200, 300, 400)]
    assert rates == pytest.approx([6e-6, 1.2e-5, 1.8e-5, 2.4e-5], rel=1e-12)
    assert max(3e-5 * schedule(step) for step in range(469)) == pytest.approx(2.808e-5, rel=1e-12)


@pytest.mark.parametrize("kind", [Linear, Cosine])
@pytest.mark.parametrize(("warmup", "outlives"), [(0, False), (467, False), (468, True), (500, True)])
def test_warmup_outlives_run(kind, warmup, outlives):
    schedule = kind(total_steps=468, warmup_steps=warmup)
    assert schedule.warmup_outlives_run is outlives
    assert (max(schedule(step) for step in range(468)) < 1) is outlives


@pytest.mark.parametrize("kind", [Linear, Cosine])
@pytest.mark.parametrize("floor", [0.0, 0.1, 1.0])
def test_shape(kind, floor):
    schedule = kind(total_steps=50, warmup_steps=10, floor=floor)
    multipliers = [schedule(step) for step in range(80)]
    assert multipliers[0] == 0
    assert multipliers[10] == 1
    assert all(a < b for a, b in pairwise(multipliers[:11]))
    assert all(a >= b for a, b in pairwise(multipliers[10:]))
    assert multipliers[50:] == [floor] * 30


def test_pure_and_resumable():
    schedule = Cosine(total_steps=20, warmup_steps=5)
    forward = [schedule(step) for step in range(20)]
    assert [schedule(step) for step in reversed(range(20))] == forward[::-1]
    assert schedule == Cosine(total_steps=20, warmup_steps=5)
    assert schedule(np.int64(7)) == forward[7]


def test_frozen_and_keyword_only():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Linear(total_steps=10).floor = 0.5
    with pytest.raises(TypeError):
        Linear(10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(warmup_steps=-1), "warmup_steps must be a whole number of updates, 0 or more, got -1"),
        (lambda: Linear(total_steps=0), "total_steps must be a whole number of updates, 1 or more, got 0"),
        (lambda: Cosine(total_steps=-5), "total_steps .* got -5"),
        (lambda: Linear(total_steps=10, warmup_steps=0.1), "warmup_steps .* got 0.1"),
        (lambda: Linear(total_steps=True), "total_steps .* got True"),
        (lambda: Cosine(total_steps=10, floor=-0.1), "floor must be a multiplier between 0 and 1, got -0.1"),
        (lambda: Cosine(total_steps=10, floor=math.nan), "floor .* got nan"),
        (lambda: Constant()(-1), "step .* got -1"),
        (lambda: Linear(total_steps=10)(1.5), "step .* got 1.5"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ValueError, match=message):
        make()
