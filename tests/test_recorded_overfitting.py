"""The recorded runs of chapter 11: whole, repeatable, and what their script says they are."""

import json
from dataclasses import asdict, replace

import pytest
import torch

from course_lib import recorded
from course_lib.data import load_reviews
from course_lib.recorded import overfitting
from course_lib.recorded.overfitting import BASE, POINTS, SEEDS, SHORT, VARIANTS, Run, Variant, choose, train

RECORDING = recorded.load("overfitting")
RECORDED = {**RECORDING["variants"], "short": RECORDING["short"]}
ALL = {**VARIANTS, "short": SHORT}
TINY = replace(BASE, d_model=8, max_length=16, epochs=1)


@pytest.mark.parametrize(("name", "variant"), ALL.items())
def test_recording_is_of_the_variant_that_the_script_has(name, variant):
    content = {key: value for key, value in RECORDED[name].items() if key != "curves"}
    assert content == asdict(variant)


def test_recording_is_whole():
    assert list(RECORDING["variants"]) == list(VARIANTS)
    assert RECORDING["seeds"] == list(SEEDS)
    assert len(SEEDS) == 5


@pytest.mark.parametrize("name", ALL)
def test_curves_have_a_number_for_each_point_and_seed(name):
    points = 2 if name == "short" else POINTS
    for figure, runs in RECORDED[name]["curves"].items():
        assert len(runs) == len(SEEDS)
        assert all(len(run) == points for run in runs)
        assert all(0 <= x < 20 if "loss" in figure or figure == "running" else 0 <= x <= 1 for run in runs for x in run)


@pytest.mark.parametrize("name", ALL)
def test_the_halves_make_the_whole(name):
    curves = RECORDED[name]["curves"]
    for a, b, both in zip(curves["half_a"], curves["half_b"], curves["val_accuracy"], strict=True):
        assert [(x + y) / 2 for x, y in zip(a, b, strict=True)] == pytest.approx(both, abs=2e-4)


def test_all_variants_make_about_as_many_updates():
    updates = {name: v.settings.epochs * -(-v.reviews // v.settings.batch_size) for name, v in VARIANTS.items()}
    assert set(updates.values()) == {632, 640}


def test_each_variant_differs_from_the_baseline_in_one_thing():
    base = {**asdict(VARIANTS["baseline"])["settings"], "reviews": 2500, "noise": 0.0}
    for name, variant in VARIANTS.items():
        own = {**asdict(variant)["settings"], "reviews": variant.reviews, "noise": variant.noise}
        changed = {key for key in base if own[key] != base[key]} - ({"epochs"} if "reviews" in name else set())
        assert len(changed) == (name != "baseline"), name


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.4])
def test_wrong_labels_are_as_many_as_asked(noise):
    true = load_reviews("train")
    chosen = choose(Variant(noise=noise), 3)
    assert [r.text for r in chosen] == [r.text for r in true]
    assert sum(a.label != b.label for a, b in zip(chosen, true, strict=True)) == round(noise * 2500)


def test_fewer_reviews_are_drawn_by_the_seed_and_keep_their_order():
    position = {r.id: i for i, r in enumerate(load_reviews("train"))}
    first, again, other = (choose(Variant(reviews=625), seed) for seed in (0, 0, 1))
    assert first == again != other
    places = [position[r.id] for r in first]
    assert places == sorted(set(places))
    assert len(places) == 625


def test_training_again_gives_the_recorded_curves():
    # Rounding differs between processors and grows with every update, so the shortest run, with room to differ.
    run = train(SHORT, 1)
    for figure, runs in RECORDED["short"]["curves"].items():
        assert run.curves[figure] == pytest.approx(runs[1], rel=0.1, abs=0.02), figure


def test_a_run_is_measured_in_evaluation_mode_and_leaves_the_random_state_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    tiny = Variant(settings=TINY, reviews=64)
    run = train(tiny, 0)
    assert torch.equal(torch.get_rng_state(), before)
    assert train(tiny, 0).curves == run.curves
    assert not run.trained.model.training
    validation = load_reviews("validation")
    assert run.curves["val_accuracy"] == [pytest.approx(run.trained.accuracy(validation))]
    assert run.curves["train_accuracy"] == [pytest.approx(run.trained.accuracy(choose(tiny, 0)))]


def test_main_writes_a_recording_of_the_same_form(tmp_path, monkeypatch):
    monkeypatch.setattr(recorded, "FOLDER", tmp_path)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    curves = {figure: [0.123456] * POINTS for figure in RECORDED["baseline"]["curves"]}
    monkeypatch.setattr(overfitting, "train", lambda *_: Run(trained=None, curves=curves))
    overfitting.main()
    made = recorded.load("overfitting")
    assert made.keys() == RECORDING.keys()
    assert {n: list(v) for n, v in made["variants"].items()} == {n: list(v) for n, v in RECORDING["variants"].items()}
    assert made["variants"]["baseline"]["curves"]["val_loss"][4][0] == 0.1235
    json.dumps(made, allow_nan=False)
