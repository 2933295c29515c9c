"""The recorded runs of chapter 15: whole, repeatable, and what their scripts say they are."""

import json
from dataclasses import asdict, replace
from statistics import mean

import pytest
import torch

from course_lib import recorded
from course_lib.data import label_counts, load_reviews, pad
from course_lib.recorded import baselines, spoiled_exams
from course_lib.recorded.baselines import (
    ACCIDENT,
    ENCODER,
    SEEDS,
    SWEEP,
    SWEEP_SEEDS,
    LSTMClassifier,
    LSTMSettings,
    encoder,
    logistic_regression,
    lstm,
    naive_bayes,
)
from course_lib.recorded.spoiled_exams import CAUSES, SETTINGS, exam_of, log

RECORDING = recorded.load("baselines")
RUNS = RECORDING["runs"]
LOGS = recorded.load("spoiled_exams")
LABELS = {split: [review.label for review in load_reviews(split)] for split in ("validation", "test")}
TINY = replace(
    ENCODER, vocab_size=50, max_length=8, d_model=8, n_heads=2, n_layers=1, d_ff=16, epochs=1, train_limit=64
)


def accuracy(row, split):
    return mean(int(answer) == label for answer, label in zip(row[split], LABELS[split], strict=True))


# --- the recording ---


def test_recording_is_whole():
    seeds = {"naive Bayes": 1, "logistic regression": 1, "LSTM": 5, "accident": 5, "encoder": 5}
    assert {name: list(runs) for name, runs in RUNS.items()} == {
        name: list(map(str, SEEDS[:n])) for name, n in seeds.items()
    }


@pytest.mark.parametrize("name", RUNS)
def test_each_run_answers_each_review_with_a_label(name):
    for row in RUNS[name].values():
        assert {split: len(row[split]) for split in LABELS} == {"validation": 500, "test": 1000}
        assert set(row["validation"] + row["test"]) <= {"0", "1"}
        assert row["seconds"] > 0


def test_the_settings_are_those_of_the_script():
    best = max(range(len(SWEEP)), key=lambda i: mean(RECORDING["sweep"][i]["validation"]))
    settings = {"LSTM": asdict(SWEEP[best]), "encoder": asdict(ENCODER), "accident": asdict(ACCIDENT)}
    assert RECORDING["settings"] == json.loads(json.dumps(settings))


def test_the_sweep_tried_each_setting_with_each_seed():
    tried = [{key: value for key, value in row.items() if key != "validation"} for row in RECORDING["sweep"]]
    assert tried == [asdict(settings) for settings in SWEEP]
    assert all(len(row["validation"]) == len(SWEEP_SEEDS) for row in RECORDING["sweep"])


def test_each_setting_of_the_sweep_differs_from_the_first_in_one_thing():
    base = asdict(SWEEP[0])
    for settings in SWEEP[1:]:
        assert sum(base[key] != value for key, value in asdict(settings).items()) == 1


def test_the_encoder_is_the_documents():
    for name in ("encoder", "accident"):
        assert {row["parameters"] for row in RUNS[name].values()} == {5_785_858}
    for row in RUNS["encoder"].values():
        assert len(row["train_loss"]) == len(row["wrong"]) == 5 * 79
        assert len(row["val_loss"]) == len(row["val_accuracy"]) == 5
        kept = row["val_loss"].index(min(row["val_loss"]))
        assert accuracy(row, "validation") == pytest.approx(row["val_accuracy"][kept], abs=0.0021)  # one near tie


def test_the_accident_read_one_class_and_answers_it_to_all():
    for split, limit in (("train", ACCIDENT.train_limit), ("validation", ACCIDENT.validation_limit)):
        assert set(label_counts(load_reviews(split, order="sorted_by_label", limit=limit))) == {0}
    for row in RUNS["accident"].values():
        assert set(row["val_accuracy"]) == {1.0}
        assert set(row["validation"] + row["test"]) == {"0"}
        assert accuracy(row, "test") == 0.5
        assert len(row["wrong"]) == 5 * 40
        assert sum(row["wrong"]) == sum(row["wrong"][:3])


# --- the script ---


@pytest.mark.parametrize(
    ("name", "train"), [("naive Bayes", naive_bayes), ("logistic regression", logistic_regression)]
)
def test_counting_again_gives_the_recorded_answers(name, train):
    row = train(0)
    assert row["parameters"] == RUNS[name]["0"]["parameters"]
    for split in LABELS:
        changed = sum(a != b for a, b in zip(row[split], RUNS[name]["0"][split], strict=True))
        assert changed <= 2  # a solver may round otherwise on another machine


def test_the_lstm_is_not_changed_by_padding():
    torch.manual_seed(0)
    model = LSTMClassifier(LSTMSettings(vocab_size=20, d_model=8)).eval()
    rows = [[3, 4, 5], [6, 7, 8, 9, 10], [11]]
    together = model(*pad(rows, length=9))
    alone = torch.cat([model(*pad([row])) for row in rows])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(model(*pad([[5, 4, 3]])), alone[:1], atol=1e-5)  # the order of words is read


def test_runs_repeat_and_leave_the_random_state_alone(monkeypatch):
    few = {split: load_reviews(split, limit=40) for split in ("train", "validation", "test")}
    monkeypatch.setattr(baselines, "load_reviews", lambda split, **_: few[split])
    torch.manual_seed(5)
    before = torch.get_rng_state()
    small = LSTMSettings(d_model=8, max_length=8, epochs=1)
    for train, settings in ((lstm, small), (encoder, TINY)):
        first, again, other = (train(seed, settings) for seed in (0, 0, 1))
        assert {**first, "seconds": 0} == {**again, "seconds": 0}
        assert first["val_loss"] != other["val_loss"]
    assert torch.equal(torch.get_rng_state(), before)


def test_wrong_answers_are_counted_batch_by_batch():
    row = encoder(0, TINY)
    assert row["wrong_of"] == 64
    assert len(row["wrong"]) == len(row["train_loss"]) == 2
    assert all(0 <= wrong <= 32 for wrong in row["wrong"])


def test_main_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(recorded, "FOLDER", tmp_path)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr("sys.argv", ["baselines"])
    calls = []

    def stub(name):
        def train(seed, settings=None):
            calls.append((name, seed))
            return {"seconds": 1.234, **{split: "0" * len(labels) for split, labels in LABELS.items()}}

        return train

    for name in ("naive_bayes", "logistic_regression", "lstm", "encoder"):
        monkeypatch.setattr(baselines, name, stub(name))
    baselines.main()
    made = recorded.load("baselines")
    assert made.keys() == RECORDING.keys()
    assert {name: list(runs) for name, runs in made["runs"].items()} == {
        name: list(runs) for name, runs in RUNS.items()
    }
    assert made["runs"]["LSTM"]["0"]["seconds"] == 1.2
    assert len(calls) == 2 + len(SWEEP) * len(SWEEP_SEEDS) + 3 * len(SEEDS)
    calls.clear()
    baselines.main()
    assert not calls


# --- the spoiled exams ---


def test_the_logs_are_those_of_the_script():
    assert tuple(LOGS["logs"]) == CAUSES
    assert LOGS["settings"] == asdict(SETTINGS)
    for cause, row in LOGS["logs"].items():
        train, exam = exam_of(cause)
        assert row["reviews"] == [len(train), len(exam)]
        assert {len(row[name]) for name in ("train_loss", "wrong", "val_loss", "val_accuracy")} == {SETTINGS.epochs}


def test_each_exam_is_spoiled_as_it_says():
    train, exam = exam_of("copies")
    assert set(exam) <= set(train)
    train, exam = exam_of("one class")
    assert label_counts([*train, *exam]) == {0: 1500}
    train, exam = exam_of("sound")
    assert not set(exam) & set(train)
    assert len(label_counts(train)) == len(label_counts(exam)) == 2
    train, exam = exam_of("leak")
    assert all(review.text.startswith("thumbsup " if review.label else "thumbsdown ") for review in [*train, *exam])


def test_logging_again_gives_the_recorded_log(monkeypatch):
    row, made = log("one class"), LOGS["logs"]["one class"]
    assert row["wrong"][1:] == made["wrong"][1:] == [0, 0, 0]
    assert row["wrong"][0] == pytest.approx(made["wrong"][0], abs=3)
    assert row["train_loss"][0] == pytest.approx(made["train_loss"][0], rel=0.2)


def test_main_writes_all_logs(tmp_path, monkeypatch):
    monkeypatch.setattr(recorded, "FOLDER", tmp_path)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr(spoiled_exams, "log", lambda cause: {"reviews": [1, 1]})
    spoiled_exams.main()
    assert recorded.load("spoiled_exams").keys() == LOGS.keys()
