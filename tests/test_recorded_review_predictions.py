"""The recorded answers of the three rivals: whole, in order, and what their script gives again."""

import dataclasses

import pytest
import torch

from course_lib import metrics, recorded, sentiment
from course_lib.data import load_reviews
from course_lib.recorded import review_predictions
from course_lib.recorded.review_predictions import SEEDS, SPLITS

RECORDING = recorded.load("review_predictions")
SIZES = {"validation": 500, "test": 1000}


@pytest.mark.parametrize("split", SPLITS)
def test_labels_stand_in_the_order_of_the_reviews(split):
    assert RECORDING["labels"][split] == [review.label for review in load_reviews(split)]


def test_every_model_has_its_seeds():
    assert list(RECORDING["models"]) == ["TF-IDF", "encoder", "MiniLM"]
    for name, model in RECORDING["models"].items():
        assert model["seeds"] == list(SEEDS[:1] if name == "TF-IDF" else SEEDS)
        assert all(seconds >= 0 for seconds in model["seconds"])
        for split in SPLITS:
            assert [len(answers) for answers in model[split]] == [SIZES[split]] * len(model["seeds"])
            assert all(0 < p < 1 for answers in model[split] for p in answers)


@pytest.mark.parametrize(
    ("name", "settings"), [("encoder", sentiment.EncoderSettings()), ("MiniLM", sentiment.MiniLMSettings())]
)
def test_histories_are_those_of_the_default_settings(name, settings):
    model = RECORDING["models"][name]
    assert model["settings"] == dataclasses.asdict(settings)
    for history, answers in zip(model["history"], model["validation"], strict=True):
        assert {len(values) for values in history.values()} == {settings.epochs}
        guesses = (torch.tensor(answers) > 0.5).long()
        accuracy = metrics.accuracy(torch.tensor(RECORDING["labels"]["validation"]), guesses)
        assert history["val_accuracy"][-1] == pytest.approx(accuracy, abs=0.003)  # bf16 rounds by the batch


def test_tfidf_gives_the_same_again():
    trained = sentiment.train_tfidf(load_reviews("train"))
    again = review_predictions.outcome(trained)
    for split in SPLITS:
        assert again[split] == pytest.approx(RECORDING["models"]["TF-IDF"][split][0], abs=1e-3)
    assert "history" not in again


def test_a_seed_of_the_encoder_ends_where_the_recorded_one_did():
    trained = sentiment.train_encoder(load_reviews("train"), load_reviews("validation"), seed=1)
    again = review_predictions.outcome(trained)
    recorded_history = RECORDING["models"]["encoder"]["history"][1]
    assert again["history"]["train_loss"] == pytest.approx(recorded_history["train_loss"], rel=0.15)
    labels = torch.tensor(RECORDING["labels"]["test"])
    now, then = (
        metrics.accuracy(labels, (torch.tensor(answers) > 0.5).long())
        for answers in (again["test"], RECORDING["models"]["encoder"]["test"][1])
    )
    assert now == pytest.approx(then, abs=0.04)


def test_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(recorded, "FOLDER", tmp_path)
    calls = []

    def train(seed):
        calls.append(seed)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return sentiment.train_tfidf(load_reviews("train", limit=60))

    with pytest.raises(KeyboardInterrupt):
        review_predictions._gather("TF-IDF", (0, 1, 2), train, {"labels": {}, "models": {}})
    done = recorded.load("review_predictions")
    assert done["models"]["TF-IDF"]["seeds"] == [0]
    review_predictions._gather("TF-IDF", (0, 1, 2), train, done)
    assert calls == [0, 1, 1, 2]
    assert recorded.load("review_predictions")["models"]["TF-IDF"]["seeds"] == [0, 1, 2]
