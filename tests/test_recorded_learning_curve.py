"""The recorded learning curves: draws, wrong labels and epochs as promised, and what the script gives again."""

import dataclasses
from collections import Counter

import pytest
import torch

from course_lib import recorded, sentiment
from course_lib.data import draw_balanced, load_reviews
from course_lib.recorded import learning_curve
from course_lib.recorded.learning_curve import (
    COPIES,
    SIZES,
    SUBSETS,
    WRONG_SHARES,
    Condition,
    conditions,
    epochs_for,
)
from course_lib.sentiment import EncoderSettings, MiniLMSettings, Trained

TRAIN = load_reviews("train")
RECORDING = recorded.load("learning_curve")
CONDITION = [field.name for field in dataclasses.fields(Condition)]


def ids(reviews):
    return [review.id for review in reviews]


def label_counts(reviews):
    return Counter(review.label for review in reviews)


# --- conditions -------------------------------------------------------------------------------------------------------


def test_copies_and_wrong_labels_of_a_condition():
    copied = Condition(size=80, subset=1, copies=COPIES).reviews()
    assert set(Counter(ids(copied)).values()) == {4}
    assert set(ids(copied)) == set(ids(draw_balanced(TRAIN, 20, 1)))
    spoiled = Condition(size=80, subset=1, wrong=0.25).reviews()
    right = {review.id: review.label for review in TRAIN}
    assert sum(review.label != right[review.id] for review in spoiled) == 20


# --- epochs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "epochs"), [(50, 100), (100, 99), (400, 31), (800, 16), (1600, 8), (2500, 5)])
def test_the_encoder_makes_395_updates(size, epochs):
    assert epochs_for("encoder", size, EncoderSettings(epochs=5, batch_size=32)) == epochs


@pytest.mark.parametrize(("size", "epochs"), [(50, 12), (100, 12), (200, 8), (400, 4), (2500, 4)])
def test_minilm_makes_100_updates_or_twelve_passes(size, epochs):
    assert epochs_for("minilm", size, MiniLMSettings(epochs=4, batch_size=16)) == epochs


def test_the_settings_own_epochs_are_never_cut():
    assert epochs_for("minilm", 50, MiniLMSettings(epochs=20)) == 20


# --- the recording ----------------------------------------------------------------------------------------------------


def key(run):
    return tuple(run[name] for name in CONDITION)


def wanted(part):
    return [dataclasses.astuple(condition) for condition in conditions(part)]


def test_conditions_are_those_the_chapter_reads():
    assert len(wanted("encoder")) == SUBSETS["encoder"] * (len(SIZES) + len(WRONG_SHARES) + 1) == 60
    assert len(wanted("minilm")) == SUBSETS["minilm"] * len(SIZES) == 21
    assert len(set(wanted("encoder"))) == 60


def test_the_encoder_part_is_whole():
    assert sorted(map(key, RECORDING["encoder"]["runs"])) == sorted(wanted("encoder"))
    assert RECORDING["encoder"]["settings"] == dataclasses.asdict(EncoderSettings())


def test_the_minilm_part_holds_runs_that_were_asked_for():
    runs = [key(run) for run in RECORDING.get("minilm", {"runs": []})["runs"]]
    assert set(runs) <= set(wanted("minilm"))
    assert len(set(runs)) == len(runs)


@pytest.mark.parametrize("part", [name for name in SUBSETS if name in RECORDING])
def test_values(part):
    for run in RECORDING[part]["runs"]:
        assert 0 < run["validation_error"] < 0.6
        assert 0 < run["test_error"] < 0.6
        for split, n in {"validation": 500, "test": 1000}.items():
            wrong = n * run[f"{split}_error"]
            assert wrong == pytest.approx(round(wrong), abs=1e-6)  # a count of reviews
        assert run["validation_loss"] > 0
        assert run["test_loss"] > 0
        assert run["epochs"] >= RECORDING[part]["settings"]["epochs"]


def test_training_again_gives_the_recorded_errors():
    run = next(run for run in RECORDING["encoder"]["runs"] if key(run) == (50, 0, 0.0, 1))
    figures = learning_curve.measure(learning_curve.train("encoder", Condition(size=50, subset=0)))
    for name in ("validation_error", "test_error"):
        assert figures[name] == pytest.approx(run[name], abs=0.03)


# --- the script -------------------------------------------------------------------------------------------------------


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """The script in an empty folder, where each run is an answer without a training; gives the list of runs."""
    seen = []

    def answer(part, condition):
        seen.append((part, condition.size, condition.subset))
        return Trained(part, lambda texts: torch.tensor([[0.0, 1.0]]).repeat(len(texts), 1), None, None)

    monkeypatch.setattr(recorded, "FOLDER", tmp_path)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr(learning_curve, "train", answer)
    return seen


def test_the_script_goes_on_where_it_stopped_and_keeps_the_other_part(trained):
    learning_curve.main(["minilm", "--largest", "100"])
    assert trained == [("minilm", size, subset) for subset in range(3) for size in (50, 100)]
    first = recorded.load("learning_curve")
    learning_curve.main(["minilm", "--largest", "200"])
    assert trained[6:] == [("minilm", 200, subset) for subset in range(3)]
    learning_curve.main([])
    made = recorded.load("learning_curve")
    assert made["minilm"]["runs"][:6] == first["minilm"]["runs"]
    assert [key(run) for run in made["encoder"]["runs"]] == wanted("encoder")
    assert made["encoder"]["runs"][0].keys() == RECORDING["encoder"]["runs"][0].keys()
    assert made["encoder"]["runs"][0]["validation_error"] == 0.5
    assert made["encoder"]["made_by"].keys() == RECORDING["encoder"]["made_by"].keys()


def test_other_settings_or_fresh_begin_a_part_again(trained, monkeypatch):
    learning_curve.main(["minilm", "--largest", "50"])
    learning_curve.main(["minilm", "--largest", "50"])
    assert len(trained) == 3
    monkeypatch.setattr(learning_curve, "MiniLMSettings", lambda: sentiment.MiniLMSettings(epochs=9))
    learning_curve.main(["minilm", "--largest", "50"])
    assert len(trained) == 6
    assert recorded.load("learning_curve")["minilm"]["settings"]["epochs"] == 9
    learning_curve.main(["minilm", "--largest", "50", "--fresh"])
    assert len(trained) == 9
    assert len(recorded.load("learning_curve")["minilm"]["runs"]) == 3


def test_the_script_refuses_an_unknown_part(trained, capsys):
    with pytest.raises(SystemExit):
        learning_curve.main(["bert"])
    assert "invalid choice" in capsys.readouterr().err
    assert trained == []
