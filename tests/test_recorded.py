"""Recordings: whole, repeatable, and what their scripts say they are."""

import json
import math
import platform
from itertools import pairwise

import pytest
import torch

from course_lib import recorded
from course_lib.recorded import rate_sweep
from course_lib.recorded.rate_sweep import RATES, SEEDS, SUBJECTS, VARIANT_RATES, VARIANTS, baseline, train
from course_lib.training import StopTraining

NAMES = sorted(path.stem for path in recorded.FOLDER.glob("*.json"))
SWEEP = recorded.load("rate_sweep")
SAME_EDITION = rate_sweep.edition() == SWEEP["edition"]
SWEEPS = {**SWEEP["subjects"], **SWEEP["variants"]}


def stop_after(steps):
    def on_step(state):
        if state.step == steps:
            raise StopTraining

    return on_step


@pytest.mark.parametrize("name", NAMES)
def test_says_how_it_was_made(name):
    made_by = recorded.load(name)["made_by"]
    assert made_by["script"] == f"python -m course_lib.recorded.{name}"
    assert (recorded.FOLDER / f"{name}.py").is_file()
    assert all(version.count(".") >= 1 for version in made_by["versions"].values())
    assert set(made_by["versions"]) == {"python", "torch"}
    assert made_by["hardware"]
    assert made_by["threads"] >= 1


@pytest.mark.parametrize("name", NAMES)
def test_stays_small(name):
    assert (recorded.FOLDER / f"{name}.json").stat().st_size < 300_000


def test_stay_small_together():
    assert sum(path.stat().st_size for path in recorded.FOLDER.glob("*.json")) < 2_000_000


@pytest.mark.parametrize("name", ["rate_sweeps", "", "../recorded/rate", "rate_sweep.json"])
def test_load_names_what_there_is(name):
    with pytest.raises(ValueError, match=r"name: expected one of .*rate_sweep.*; got ") as refusal:
        recorded.load(name)
    assert repr(name) in str(refusal.value)


def test_load_gives_everyone_a_copy():
    recorded.load("rate_sweep")["subjects"].clear()
    assert recorded.load("rate_sweep") == SWEEP


def test_save_and_load(tmp_path, monkeypatch):
    monkeypatch.setattr(recorded, "FOLDER", tmp_path)
    content = {"losses": [[1.5, None], []], "name": "é \u2028 </script>"}
    path = recorded.save("mine", content)
    assert path == tmp_path / "mine.json"
    assert path.read_text(encoding="utf-8").endswith("}\n")
    made_by = recorded.load("mine").pop("made_by")
    assert recorded.load("mine") == {"made_by": made_by, **content}
    assert made_by["script"] == "python -m course_lib.recorded.mine"
    assert made_by["versions"] == {"python": platform.python_version(), "torch": torch.__version__.split("+")[0]}
    assert made_by["threads"] == torch.get_num_threads()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_save_refuses_what_json_has_no_word_for(tmp_path, monkeypatch, value):
    monkeypatch.setattr(recorded, "FOLDER", tmp_path)
    recorded.save("mine", {"loss": 1.0})
    with pytest.raises(ValueError, match="not JSON compliant"):
        recorded.save("mine", {"loss": value})
    assert recorded.load("mine")["loss"] == 1.0


# --- rate_sweep -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "subject"), {**SUBJECTS, **VARIANTS}.items())
def test_recording_is_of_the_subject_that_the_script_has(name, subject):
    content = SWEEPS[name]
    for field in ("title", "data", "optimizer", "d_model", "n_layers", "batch_size", "steps", "log_every"):
        assert content[field] == getattr(subject, field)
    if subject.data == "reviews" or SAME_EDITION:
        assert content["baseline"] == pytest.approx(baseline(subject), rel=5e-4)
    rates = RATES if name in SUBJECTS else VARIANT_RATES
    assert content["rates"] == [float(f"{rate:.4g}") for rate in rates]
    assert content["seeds"] == list(SEEDS)


def test_recording_covers_what_the_widget_promises():
    assert set(SWEEP["subjects"]) == set(SUBJECTS)
    assert set(SWEEP["variants"]) == set(VARIANTS)
    assert len({content["data"] for content in SWEEP["subjects"].values()}) == 2
    assert (len(RATES), len(SEEDS)) == (25, 3)
    assert math.log10(RATES[-1] / RATES[0]) == pytest.approx(6)
    assert [math.log10(b / a) for a, b in pairwise(RATES)] == pytest.approx([0.25] * 24)
    assert (RATES[8], RATES[20]) == (1e-3, 1.0)


@pytest.mark.parametrize("name", SWEEPS)
def test_shapes_and_values(name):
    content = SWEEPS[name]
    assert len(content["held_out"]) == len(content["rates"])
    assert all(len(at_rate) == len(SEEDS) for at_rate in content["held_out"])
    numbers = [value for at_rate in content["held_out"] for value in at_rate if value is not None]
    assert all(0 < value < math.inf for value in numbers)
    assert len(numbers) > 0.7 * 3 * len(content["rates"])
    assert min(numbers) < 0.8 * content["baseline"]  # some rate learns


@pytest.mark.parametrize("name", SUBJECTS)
def test_curves_are_whole_unless_the_run_diverged(name):
    content = SWEEPS[name]
    planned = content["steps"] // content["log_every"]
    assert len(content["losses"]) == len(content["rates"])
    for held_out, curves in zip(content["held_out"], content["losses"], strict=True):
        assert len(curves) == len(SEEDS)
        for final, curve in zip(held_out, curves, strict=True):
            assert all(0 < loss < math.inf for loss in curve)
            assert (len(curve) == planned) if final is not None else (0 < len(curve) < planned)


def test_a_variant_that_equals_the_subject_repeats_its_runs():
    # Width 64 and batch 16 are the character model itself: the sweeps overlap at 13 rates, trained anew each time.
    subject = SWEEPS["characters"]
    first = subject["rates"].index(SWEEPS["width 64"]["rates"][0])
    for name in ("width 64", "batch 16"):
        assert SWEEPS[name]["held_out"] == subject["held_out"][first : first + len(VARIANT_RATES)]


@pytest.mark.parametrize(
    ("name", "i", "seed"), [("characters", 8, 0), ("characters", 17, 1), ("reviews", 12, 2), ("momentum", 15, 1)]
)
def test_training_again_gives_the_recorded_losses(name, i, seed):
    if SUBJECTS[name].data == "characters" and not SAME_EDITION:
        pytest.skip("this Python carries another edition of the manual than the recorded runs read")
    run = train(SUBJECTS[name], RATES[i], seed, stop_after(10))
    assert run.losses == pytest.approx(SWEEPS[name]["losses"][i][seed][:2], rel=1e-3)
    assert run.held_out is None


def test_a_run_that_diverges_is_shorter_and_has_no_figure():
    run = train(SUBJECTS["momentum"], 10.0, 0)
    recorded_losses = SWEEPS["momentum"]["losses"][24][0]
    assert run.held_out is None
    assert len(run.losses) == len(
        recorded_losses
    )  # its values lie near the end of what float32 holds: no tolerance fits
    assert train(SUBJECTS["momentum"], 1e6, 0).losses == []  # gone before the first point of its curve


def test_training_leaves_the_random_state_alone_and_repeats():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = train(SUBJECTS["reviews"], 1e-3, 7, stop_after(5))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert train(SUBJECTS["reviews"], 1e-3, 7, stop_after(5)) == first
    assert train(SUBJECTS["reviews"], 1e-3, 8, stop_after(5)) != first


@pytest.mark.parametrize("rate", [0, 0.0, -1e-3, math.nan, math.inf, -math.inf])
def test_train_refuses_a_rate(rate):
    with pytest.raises(ValueError, match="rate: expected a number above 0, got "):
        train(SUBJECTS["reviews"], rate, 0)


def test_an_error_in_on_step_is_not_taken_for_a_divergence():
    def fail(_):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        train(SUBJECTS["reviews"], 1e-3, 0, fail)


def test_main_writes_a_recording_of_the_same_form(tmp_path, monkeypatch):
    monkeypatch.setattr(recorded, "FOLDER", tmp_path)
    monkeypatch.setattr(
        torch, "set_num_threads", lambda _: None
    )  # main is a program of its own; the tests go on after it
    monkeypatch.setattr(rate_sweep, "train", lambda *_: rate_sweep.Run(losses=[4.123456, math.inf], held_out=None))
    rate_sweep.main()
    made = recorded.load("rate_sweep")
    assert made.keys() == SWEEP.keys()
    for group in ("subjects", "variants"):
        assert {name: list(content) for name, content in made[group].items()} == {
            name: list(content) for name, content in SWEEP[group].items()
        }
    assert made["subjects"]["reviews"]["losses"][0][0] == [4.123, None]
    json.dumps(made, allow_nan=False)
