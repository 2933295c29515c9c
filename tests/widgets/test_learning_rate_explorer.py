"""LearningRateExplorer: its words against the recording, and the runs that Python trains for it."""

import math
import re
import threading
from dataclasses import replace
from itertools import groupby, pairwise

import numpy as np
import pytest
import torch

from course_lib import recorded
from course_lib.recorded.rate_sweep import RATES, SEEDS, SUBJECTS, Run, edition
from course_lib.training import StopTraining
from course_lib.widgets import LearningRateExplorer, learning_rate_explorer
from course_lib.widgets.base import run

NAME = "learning_rate_explorer"
SWEEP = recorded.load("rate_sweep")["subjects"]
SECONDS = 60  # far more than a run here takes; a thread that hangs fails its test instead of the whole suite
subjects = pytest.mark.parametrize("subject", SWEEP)


def markup(widget, **change):
    """The picture that a notebook shows: with the run in the kernel, which a page has not."""
    return run(NAME, "markup(exported.parts, state)", state={**widget.current_state(), "live": widget.live, **change})


def reading(widget, **change):
    return re.sub(r"<[^>]*>", "", markup(widget, **change).split('aria-live="polite">')[1])


def verdicts(subject):
    runs = SWEEP[subject]
    return [run(NAME, "verdict(runs, i)", runs=runs, i=i) for i in range(len(runs["rates"]))]


# --- reading the recorded runs ----------------------------------------------------------------------------------------


def gains_of(runs):
    """What each rate gains over knowing nothing, in nats; minus infinity when a seed ended without a number."""
    held_out = np.array(runs["held_out"], dtype=float)  # (rates, seeds), null is NaN
    return np.nan_to_num(runs["baseline"] - held_out.mean(axis=1), nan=-math.inf)


def word_of(share, before_best, peak, baseline):
    if share < -0.5:
        return "explodes"
    if share >= 0.9:
        return "learns"
    if before_best:
        return "learns slowly" if share >= 0.5 else "crawls"
    if share >= 0.5 or (share >= 0.1 and peak <= 2 * baseline):
        return "oscillates"
    return "explodes at first and does not recover" if peak > 2 * baseline else "learns nothing"


@subjects
def test_every_rate_gets_the_word_that_its_numbers_ask_for(subject):
    runs, gains = SWEEP[subject], gains_of(SWEEP[subject])
    best = int(gains.argmax())
    for i, found in enumerate(verdicts(subject)):
        share = gains[i] / gains[best]
        peak = max(loss for curve in runs["losses"][i] for loss in curve if loss is not None)
        assert found["best"] == best
        assert found["word"] == word_of(share, i < best, peak, runs["baseline"]), runs["rates"][i]
        assert found["share"] == (pytest.approx(share) if math.isfinite(share) else None)


@subjects
def test_words_in_the_order_of_the_rates(subject):
    words = [word for word, _ in groupby(found["word"] for found in verdicts(subject))]
    order = ["crawls", "learns slowly", "learns", "oscillates", "learns nothing"]
    order += ["explodes at first and does not recover", "explodes"]
    assert words == [word for word in order if word in words]  # none comes back once it is over
    assert words[:3] == order[:3]
    assert words[-1] == "explodes"


@subjects
def test_words_have_an_explanation_and_stand_in_the_reading(subject):
    widget = LearningRateExplorer(subject=subject)
    for rate, found in zip(SWEEP[subject]["rates"], verdicts(subject), strict=True):
        explanation = run(NAME, "EXPLAINED[word]", word=found["word"])
        widget.rate = rate
        html = widget.to_html().split("<script")[0]
        assert f'<b data-value="verdict">{found["word"]}</b>' in html
        assert explanation in html
        assert len(explanation) > 30
        assert not re.search(r"NaN|Infinity|undefined|not a number|minus infinite", html)


@subjects
@pytest.mark.parametrize("i", [0, 8, 24])
def test_reading_in_numbers(subject, i):
    runs = SWEEP[subject]
    text = reading(LearningRateExplorer(subject=subject, rate=runs["rates"][i]), live=None)
    left = [value for value in runs["held_out"][i] if value is not None]
    if not left:
        assert "in all 3 seeds the loss stopped being a number" in text
    else:
        low, high = (float(x) for x in re.search(r"held-out loss (\S+) to (\S+) (?:over|in)", text).groups())
        assert (low, high) == (min(left), max(left))
        assert ("3 seeds" in text and "over" in text) == (len(left) == 3)
    best = runs["rates"][int(gains_of(runs).argmax())]
    assert float(re.search(r"the best recorded rate is (\S+)\. ", text)[1]) == pytest.approx(best, rel=5e-3)
    assert float(re.search(r"knowing nothing costs ([\d.]+),", text)[1]) == runs["baseline"]


def test_one_seed_of_three_that_survived():
    text = reading(LearningRateExplorer(subject="momentum", rate=0.5623), live=None)
    assert "held-out loss 2.854 in 1 of 3 seeds, and no number in the others" in text
    text = reading(LearningRateExplorer(subject="reviews", rate=10.0), live=None)
    assert "held-out loss 0.7171 to 0.7429 in 2 of 3 seeds, and no number in the other;" in text


@pytest.mark.parametrize("rate", [*RATES[::6], 1e-320, 1e-9, 0.0013, 0.00134, 7.0, 5e5])
def test_nearest_is_nearest_on_a_log_scale(rate):
    rates = SWEEP["characters"]["rates"]
    found = run(NAME, "nearest(rates, rate)", rates=rates, rate=rate)
    assert found == int(np.argmin([abs(math.log10(r) - math.log10(rate)) for r in rates]))


@subjects
def test_spread_is_lowest_mean_and_highest_of_the_seeds_still_there(subject):
    runs = SWEEP[subject]
    for i in (0, 12, 24):
        rows = run(NAME, "spread(runs, i)", runs=runs, i=i)
        assert len(rows) == max(len(curve) for curve in runs["losses"][i])
        for k, row in enumerate(rows):
            values = [curve[k] for curve in runs["losses"][i] if len(curve) > k]
            expected = [(k + 0.5) * runs["log_every"], min(values), sum(values) / len(values), max(values)]
            assert row == pytest.approx(expected)


def test_crosses_mark_the_rates_where_a_seed_was_lost():
    for subject, runs in SWEEP.items():
        html = LearningRateExplorer(subject=subject).to_html().split("<script")[0]
        lost = sum(None in at_rate for at_rate in runs["held_out"])
        assert len(re.findall(r'<path d="M[\d.]+ [\d.]+l7 7m0 -7l-7 7"', html)) == lost


# --- training now -----------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    """Runs of 10 updates."""
    for name, subject in SUBJECTS.items():
        monkeypatch.setitem(SUBJECTS, name, replace(subject, steps=10))


@pytest.fixture
def slow_train(monkeypatch):
    """A stand-in for `train` that takes one step each time the test lets it."""

    class Stepper:
        def __init__(self):
            self.go, self.calls = threading.Semaphore(0), []

        def __call__(self, subject, rate, seed, on_step):
            self.calls.append((subject, rate, seed))
            losses = []
            for step in range(1, subject.steps + 1):
                assert self.go.acquire(timeout=SECONDS)
                losses.append(1 / step)
                try:
                    on_step(type("State", (), {"step": step, "record": {"train_loss": losses}}))
                except StopTraining:
                    return Run(losses=losses, held_out=None)
            return Run(losses=losses, held_out=0.5)

    stepper = Stepper()
    monkeypatch.setattr(learning_rate_explorer, "train", stepper)
    yield stepper
    stepper.go.release(1000)  # a thread that a failed test left behind comes to its end


def trained(widget):
    widget.train()
    widget.wait(SECONDS)
    return widget.live


@subjects
def test_a_run_finishes(quick, subject):
    widget = LearningRateExplorer(subject=subject, rate=0.0011)
    assert widget.live == {}
    live = trained(widget)
    assert live["ended"] == "finished"
    assert (live["subject"], live["rate"], live["seed"]) == (subject, 0.001, 3)  # the nearest rate on the slider
    assert (live["step"], live["steps"]) == (10, 10)
    assert len(live["losses"]) == 2
    assert 0 < live["held_out"] < 5
    text = reading(widget)
    assert f"Rate 0.001, seed 3: finished: held-out loss {live['held_out']:.4g}." in text
    assert "dashed: now, rate 0.001, seed 3" in markup(widget)


def test_the_same_seed_repeats_and_the_next_run_gets_the_next_seed(quick):
    widget, other = LearningRateExplorer(), LearningRateExplorer()
    first, second, again = trained(widget), trained(widget), trained(other)
    assert [first["seed"], second["seed"], again["seed"]] == [3, 4, 3]
    assert min(first["seed"], second["seed"]) > max(SEEDS)
    assert first["losses"] == pytest.approx(again["losses"], rel=1e-6)
    assert first["losses"] != second["losses"]


def test_it_trains_what_the_slider_shows(slow_train):
    widget = LearningRateExplorer(subject="momentum", rate=0.3)
    slow_train.go.release(1000)
    trained(widget)
    assert slow_train.calls == [(SUBJECTS["momentum"], 0.3162, 3)]


def test_the_random_state_of_the_notebook_is_left_alone(quick):
    torch.manual_seed(17)
    before = torch.get_rng_state()
    trained(LearningRateExplorer())
    assert torch.equal(torch.get_rng_state(), before)


def test_progress_shows_while_it_runs(slow_train):
    widget = LearningRateExplorer()
    seen = []
    widget.observe(lambda change: seen.append(change["new"]), "live")
    widget.train()
    begun = {"subject": "characters", "rate": 0.001, "seed": 3, "step": 0, "steps": 150, "losses": []}
    assert widget.live == {**begun, "edition": edition()}
    assert "training, step 0 of 150" in reading(widget)
    assert ">Cancel</button>" in markup(widget)
    slow_train.go.release(1000)
    widget.wait(SECONDS)
    assert [live["step"] for live in seen] == [0, *range(5, 151, 5), 150]
    assert [len(live["losses"]) for live in seen[:3]] == [0, 5, 10]
    assert [live.get("ended") for live in seen] == [None] * 31 + ["finished"]
    assert ">Train now</button>" in markup(widget)
    assert all(earlier["losses"] is not later["losses"] for earlier, later in pairwise(seen))


def test_a_second_run_waits_for_the_first(slow_train):
    widget = LearningRateExplorer()
    widget.train()
    widget.rate = 0.1
    widget.train()
    slow_train.go.release(1000)
    widget.wait(SECONDS)
    assert [rate for _, rate, _ in slow_train.calls] == [0.001]
    assert trained(widget)["rate"] == 0.1


def test_cancel_in_the_middle(slow_train):
    widget = LearningRateExplorer()
    widget.train()
    reached = threading.Event()
    widget.observe(lambda change: reached.set(), "live")
    slow_train.go.release(5)
    assert reached.wait(SECONDS)
    widget.cancel()
    slow_train.go.release(1)
    widget.wait(SECONDS)
    assert (widget.live["ended"], widget.live["step"], widget.live["held_out"]) == ("canceled", 6, None)
    assert "canceled after step 6" in reading(widget)
    slow_train.go.release(1000)
    assert trained(widget)["ended"] == "finished"  # the old wish to cancel is over


@pytest.mark.parametrize("start_first", [True, False])
def test_cancel_with_nothing_to_cancel(quick, start_first):
    widget = LearningRateExplorer()
    if start_first:
        trained(widget)
    before = widget.live
    widget.cancel()
    assert widget.live == before
    assert trained(widget)["ended"] == "finished"


def test_cancel_of_a_real_run_before_its_first_point(quick):
    widget = LearningRateExplorer()
    widget._cancel.clear = lambda: widget._cancel.set()  # canceled before the first update is over
    live = trained(widget)
    assert (live["ended"], live["step"], live["losses"], live["held_out"]) == ("canceled", 1, [], None)
    assert "canceled after step 1" in reading(widget)


def test_a_run_that_diverges(quick):
    live = trained(LearningRateExplorer(subject="momentum", rate=10.0))
    assert (live["ended"], live["held_out"]) == ("diverged", None)
    assert 0 < live["step"] < 10
    assert all(math.isfinite(loss) for loss in live["losses"])  # infinity could not be sent to the notebook
    text = reading(LearningRateExplorer(subject="momentum", rate=10.0, live=live))
    assert f"stopped after step {live['step']}: the loss is no number any more" in text


@pytest.mark.parametrize(
    "error", [RuntimeError("no <b>room</b> & no time"), MemoryError("full"), OSError("gone"), ValueError("odd")]
)
def test_a_run_that_fails_says_so_and_the_next_one_may_start(monkeypatch, error):
    def fail(*_):
        raise error

    widget = LearningRateExplorer()
    with monkeypatch.context() as patch:
        patch.setattr(learning_rate_explorer, "train", fail)
        live = trained(widget)
    assert (live["ended"], live["message"]) == ("failed", f"{type(error).__name__}: {error}")
    html = markup(widget)
    assert "<b>room" not in html
    assert "The run failed: " in html
    assert ">Train now</button>" in html
    monkeypatch.setattr(learning_rate_explorer, "train", lambda *_: Run(losses=[1.0], held_out=0.5))
    assert trained(widget)["ended"] == "finished"


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"rate": 0.0}, "rate: expected a number above 0 and up to 1e6, got 0"),
        ({"rate": -1.0}, "rate: expected a number above 0"),
        ({"rate": math.nan}, "rate: .* got NaN"),
        ({"rate": math.inf}, "rate: .* got Infinity"),
        ({"rate": 1e7}, "rate: .* got 10000000"),
        ({"subject": "gpt"}, "subject: expected one of characters, reviews, momentum, got"),
        ({"data": None}, "data: expected the recorded runs"),
        (
            {"data": {"subjects": {"mine": SWEEP["momentum"]}}, "subject": "mine"},
            "subject: expected one of .* got 'mine'",
        ),
    ],
)
def test_refuses(state, message):
    widget = LearningRateExplorer(**state)
    with pytest.raises(ValueError, match=message):
        widget.train()
    assert widget.live == {}
    widget._hear(widget, {"do": "train"}, [])
    assert widget.live["ended"] == "failed"
    assert re.match(message, widget.live["message"])
    assert widget._thread is None


def test_a_refusal_is_still_readable_once_the_rate_is_good_again():
    widget = LearningRateExplorer(rate=-1.0)
    widget._hear(widget, {"do": "train"}, [])
    widget.rate = 1e-3
    text = reading(widget)
    assert "The run failed: rate: expected a number above 0 and up to 1e6, got -1." in text
    assert "undefined" not in text
    assert "minus infinite" not in text


def test_messages_of_the_buttons(slow_train):
    widget = LearningRateExplorer()
    widget._handle_custom_msg({"do": "train"}, [])
    assert widget.live["step"] == 0
    widget._handle_custom_msg({"do": "cancel"}, [])
    slow_train.go.release(1)
    widget.wait(SECONDS)
    assert widget.live["ended"] == "canceled"
    for nothing in ({}, {"do": "dance"}, {"do": None}):
        widget._handle_custom_msg(nothing, [])
    assert len(slow_train.calls) == 1


@pytest.mark.parametrize(
    ("live", "sent"),
    [
        ({}, "train"),
        ({"step": 5, "steps": 9}, "cancel"),
        ({"step": 9, "ended": "finished"}, "train"),
        ({"ended": "failed"}, "train"),
    ],
)
def test_the_button_says_what_it_does(live, sent):
    state = {**LearningRateExplorer().current_state(), "live": live}
    press = (
        "(() => { const sent = []; commands.train({ model: { send: (m) => sent.push(m) }, state }); return sent; })()"
    )
    assert run(NAME, press, state=state) == [{"do": sent}]
    assert run(NAME, "controls(state).at(-1).label", state=state) == {"train": "Train now", "cancel": "Cancel"}[sent]


def test_a_page_has_no_button_and_no_run(quick):
    widget = LearningRateExplorer()
    trained(widget)
    html = widget.to_html().split("<script")[0]
    assert "<button" not in html
    assert "dashed: now" not in html
    assert "In JupyterLab a button here trains the same model" in html
    assert widget.current_state()["live"] is None


def test_a_run_of_another_model_is_not_drawn_over_this_one(quick):
    widget = LearningRateExplorer(subject="reviews")
    trained(widget)
    assert "dashed: now" in markup(widget)
    assert "dashed: now" not in markup(widget, subject="momentum")


@pytest.mark.parametrize(("subject", "said"), [("characters", True), ("reviews", False)])
def test_a_run_on_another_edition_of_the_manual_says_so(quick, subject, said):
    widget = LearningRateExplorer(subject=subject)
    trained(widget)
    recorded_edition = widget.data["edition"]
    assert ("another edition" in reading(widget)) == (subject == "characters" and edition() != recorded_edition)
    widget.live = {**widget.live, "edition": "another"}
    assert ("another edition" in reading(widget)) == said
