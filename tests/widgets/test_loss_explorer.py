"""LossExplorer against course_lib.losses in float64, and what it writes beside its bars."""

import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.losses import cross_entropy
from course_lib.widgets import LossExplorer
from course_lib.widgets.base import run

LABELS = list("abcdefgh")


def computed(logits, target, temperature=1.0, smoothing=0.0):
    state = {"labels": LABELS[: len(logits)], "logits": logits, "target": LABELS[target]}
    return run("loss_explorer", "compute(state)", state={**state, "temperature": temperature, "smoothing": smoothing})


def expected(logits, target, temperature=1.0, smoothing=0.0):
    """Loss, gradient with respect to the logits before the temperature, and probabilities, from the library."""
    z = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    loss = cross_entropy(z / temperature, torch.tensor(target), label_smoothing=smoothing)
    loss.backward()
    return loss.item(), z.grad.tolist(), (z / temperature).detach().softmax(-1).tolist()


def picture(widget):
    """The page without its script, which has the same words in it."""
    return widget.to_html().split("<script")[0]


def shown(widget, name):
    return re.search(rf'<b data-value="{name}">([^<]*)</b>', picture(widget))[1]


@given(
    logits=st.lists(st.floats(-50, 50) | st.sampled_from([1000.0, -1000.0, 0.0]), min_size=2, max_size=8),
    target=st.integers(0, 7),
    temperature=st.floats(0.05, 100),
    smoothing=st.floats(0, 1),
)
@settings(deadline=None, max_examples=200)
def test_equals_the_library(logits, target, temperature, smoothing):
    settings_ = {"target": target % len(logits), "temperature": temperature, "smoothing": smoothing}
    loss, gradient, p = expected(logits, **settings_)
    ours = computed(logits, **settings_)
    assert ours["loss"] == pytest.approx(loss, rel=1e-12, abs=1e-12 * (1 + max(map(abs, logits)) / temperature))
    assert ours["p"] == pytest.approx(p, rel=1e-10, abs=1e-14)
    assert ours["gradient"] == pytest.approx(gradient, rel=1e-10, abs=1e-13 / min(temperature, 1))
    assert sum(ours["gradient"]) == pytest.approx(0, abs=1e-13 / min(temperature, 1))
    assert sum(ours["q"]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("logits", "target", "loss", "gradient"),
    [
        ([0.0, 0.0], 0, math.log(2), [-0.5, 0.5]),
        ([1000.0, -1000.0], 0, 0, [0, 0]),
        ([1000.0, -1000.0], 1, 2000, [1, -1]),
        ([1000.0, 1000.0, 1000.0], 2, math.log(3), [1 / 3, 1 / 3, -2 / 3]),
        ([-1000.0, -1000.0], 0, math.log(2), [-0.5, 0.5]),
        ([1e6, -1e6], 1, 2e6, [1, -1]),
    ],
)
def test_large_logits(logits, target, loss, gradient):
    ours = computed(logits, target)
    assert ours["loss"] == pytest.approx(loss, abs=1e-12)
    assert ours["gradient"] == pytest.approx(gradient, abs=1e-12)


@pytest.mark.parametrize("smoothing", [0.1, 0.5, 1.0])
def test_smoothing_has_the_floor_that_the_reading_names(smoothing):
    widget = LossExplorer(smoothing=smoothing)
    floor = float(shown(widget, "floor"))
    q = torch.full((4,), smoothing / 4, dtype=torch.float64)
    q[0] += 1 - smoothing
    assert floor == pytest.approx(-(q * q.log()).sum().item(), abs=5e-4)
    at_best = LossExplorer(smoothing=smoothing, logits=(q.log() + 3).tolist())
    assert float(shown(at_best, "loss")) == pytest.approx(floor, abs=5e-4)
    assert all(abs(g) < 1e-12 for g in computed((q.log() + 3).tolist(), 0, smoothing=smoothing)["gradient"])


def test_reading_in_numbers():
    widget = LossExplorer(logits=[2.0, 1.0, 0.1, -1.0], target="there")
    loss, _, p = expected([2.0, 1.0, 0.1, -1.0], 1)
    assert float(shown(widget, "loss")) == pytest.approx(loss, rel=1e-3)
    assert float(shown(widget, "bits")) == pytest.approx(loss / math.log(2), rel=1e-3)
    assert float(shown(widget, "perplexity")) == pytest.approx(math.exp(loss), rel=1e-3)
    assert float(shown(widget, "p")) == pytest.approx(p[1], rel=1e-3)
    assert 'data-value="floor"' not in picture(widget)


def test_pictures_tell_the_numbers_by_name():
    html = picture(LossExplorer(logits=[2.0, 1.0, 0.1, -1.0], target="there"))
    first, second = re.findall(r'<svg [^>]*aria-label="([^"]*)"', html)
    assert first == (
        "Probabilities: World 0.638, there 0.235, apple 0.0954, zebra 0.0318. "
        "Targets: World 0, there 1, apple 0, zebra 0."
    )
    assert second == "Gradient: World 0.638, there −0.765, apple 0.0954, zebra 0.0318."


@given(
    logits=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=8),
    temperature=st.floats(0.001, 100),
    smoothing=st.floats(0, 1),
)
@settings(deadline=None)
def test_every_state_it_accepts_can_be_drawn(logits, temperature, smoothing):
    state = {"labels": LABELS[: len(logits)], "logits": logits, "target": "a"}
    state |= {"temperature": temperature, "smoothing": smoothing}
    html = run("loss_explorer", "markup(exported.parts, state)", state=state)
    assert 'role="alert" hidden' in html
    assert not re.search(r"NaN|Infinity|undefined|not a number", html)
    assert all(float(width) >= 0.5 for width in re.findall(r'<rect [^>]*width="([^"]*)" height="20"', html))


def test_sliders_reach_every_logit():
    html = picture(LossExplorer(logits=[1000.0, -12.3, 0.0, 0.0]))
    assert html.count('min="-1000" max="1000"') == 4
    assert picture(LossExplorer()).count('min="-10" max="10"') == 4


def test_moving_one_logit_moves_no_other():
    change = "controls(defaults)[2].change(7, defaults)"
    assert run("loss_explorer", change) == {"logits": [1, 0.5, 7, 0]}
    assert run("loss_explorer", f"({change}, defaults.logits)") == [1, 0.5, 2, 0]
