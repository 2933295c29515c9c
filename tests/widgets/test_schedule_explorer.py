"""ScheduleExplorer against course_lib.schedules, update by update."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.schedules import Constant, Cosine, Linear
from course_lib.widgets import ScheduleExplorer
from course_lib.widgets.base import run


def library(state):
    if state["shape"] == "constant":
        return Constant(warmup_steps=state["warmup"])
    kind = Linear if state["shape"] == "linear" else Cosine
    return kind(total_steps=state["total"], warmup_steps=state["warmup"], floor=state["floor"])


def multipliers(state, length):
    steps = "Array.from({ length }, (_, step) => multiplier(state, step))"
    return run("schedule_explorer", steps, state=state, length=length)


def picture(widget):
    """The page without its script, which has the same words in it."""
    return widget.to_html().split("<script")[0]


def shown(widget, name):
    return float(re.search(rf'<b data-value="{name}">([^<]*)</b>', picture(widget))[1].replace("−", "-"))


@pytest.mark.parametrize("shape", ["constant", "linear", "cosine"])
@pytest.mark.parametrize("floor", [0, 0.1, 1])
@pytest.mark.parametrize(
    ("total", "warmup"), [(1, 0), (1, 1), (1, 5), (2, 1), (40, 0), (40, 1), (40, 39), (40, 40), (40, 41), (468, 500)]
)
def test_every_multiplier_equals_the_library(shape, floor, total, warmup):
    state = {"shape": shape, "total": total, "warmup": warmup, "floor": floor}
    schedule = library(state)
    assert multipliers(state, total + 10) == pytest.approx([schedule(step) for step in range(total + 10)], abs=1e-15)


STATES = st.fixed_dictionaries(
    {
        "shape": st.sampled_from(["constant", "linear", "cosine"]),
        "rate": st.floats(0, 1000, exclude_min=True),
        "total": st.integers(1, 400) | st.just(3000),
        "warmup": st.integers(0, 450) | st.just(10**6),
        "floor": st.floats(0, 1),
    }
)


@given(state=STATES)
@settings(deadline=None)
def test_summary_equals_the_library(state):
    schedule = library(state)
    rates = [state["rate"] * schedule(step) for step in range(state["total"])]
    area = 0.0
    for rate in rates:  # sum() of Python 3.12 adds more exactly than JavaScript does
        area += rate
    found = run("schedule_explorer", "summary(state)", state=state)
    assert found["highest"] == pytest.approx(max(rates), rel=1e-12)
    assert found["last"] == pytest.approx(rates[-1], rel=1e-9, abs=1e-12 * state["rate"])
    assert found["area"] == pytest.approx(area, rel=1e-12)
    assert rates[found["at"] - 1] == pytest.approx(max(rates), rel=1e-12)
    assert all(rate < found["highest"] * (1 + 1e-12) or rate == 0 for rate in rates[: found["at"] - 1])


@given(state=STATES)
@settings(deadline=None)
def test_every_state_it_accepts_can_be_drawn(state):
    html = run("schedule_explorer", "markup(exported.parts, state)", state=state)
    assert 'role="alert" hidden' in html
    assert "<svg" in html
    assert not re.search(r"NaN|Infinity|undefined|not a number|infinite", html)
    assert ("The warm-up outlives the run" in html) == (state["warmup"] >= state["total"])


@pytest.mark.parametrize("shape", ["linear", "cosine"])
@pytest.mark.parametrize(("warmup", "outlives"), [(0, False), (467, False), (468, True), (500, True)])
def test_warns_when_the_warm_up_outlives_the_run(shape, warmup, outlives):
    widget = ScheduleExplorer(shape=shape, rate=3e-5, total=468, warmup=warmup)
    assert library(widget.current_state()).warmup_outlives_run is outlives
    assert ('<p role="status"><b>The warm-up outlives the run.' in picture(widget)) is outlives


def test_source_1_rates():
    # The document's run: a peak of 3e-5, 500 updates of warm-up and 468 in all.
    widget = ScheduleExplorer(shape="linear", rate=3e-5, total=468, warmup=500)
    assert shown(widget, "highest") == pytest.approx(2.802e-5)
    assert shown(widget, "at") == 468
    assert shown(widget, "needed") == 501
    assert "The highest rate is 93.4% of the setting" in picture(widget)


def test_reading_in_numbers():
    widget = ScheduleExplorer(shape="linear", rate=0.1, total=10, warmup=2, floor=0.5)
    rates = [0.1 * Linear(total_steps=10, warmup_steps=2, floor=0.5)(step) for step in range(10)]
    assert shown(widget, "highest") == 0.1
    assert shown(widget, "at") == 3
    assert shown(widget, "last") == pytest.approx(rates[-1], rel=1e-3)
    assert shown(widget, "area") == pytest.approx(sum(rates), rel=1e-3)
    assert shown(widget, "share") == pytest.approx(100 * sum(rates) / (0.1 * 10), abs=0.06)


def test_a_constant_rate_has_no_floor_to_set():
    constant, linear = ScheduleExplorer(shape="constant", floor=0.3), ScheduleExplorer(shape="linear", floor=0.3)
    assert 'data-key="floor" disabled' in picture(constant)
    assert 'data-key="floor" disabled' not in picture(linear)
    assert shown(constant, "last") == constant.rate


@pytest.mark.parametrize(("total", "warmup"), [(1, 0), (2, 1), (10, 3), (1000, 777), (10**6, 123_456), (10, 10**6)])
def test_the_curve_has_both_ends_and_the_corner(total, warmup):
    steps = run("schedule_explorer", "drawn(state)", state={"total": total, "warmup": warmup})
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (0, total - 1)
    assert len(steps) <= 304
    assert warmup >= total or warmup in steps
    assert total > 300 or steps == list(range(total))


def test_a_million_updates_are_summed():
    assert shown(ScheduleExplorer(shape="linear", rate=1.0, total=10**6, warmup=0), "area") == pytest.approx(
        500_000, rel=1e-3
    )
