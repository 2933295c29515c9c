"""The recorded runs of chapter 17: whole, repeatable, and what their script says they are."""

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
)

from course_lib import metrics, recorded
from course_lib.data import load_reviews
from course_lib.finetuning.classify import new_classifier
from course_lib.recorded import hyperparameters
from course_lib.recorded.hyperparameters import ARMS, BASE, BODIES, SEEDS, TRAIN, Arm, cost, train

RECORDING = recorded.load("hyperparameters")
RUNS = [
    pytest.param(name, run, id=f"{name}, {seed}")
    for name, arm in RECORDING["arms"].items()
    for seed, run in enumerate(arm["runs"])
]
LABELS = [review.label for review in load_reviews("validation")]


def as_json(value):
    return json.loads(json.dumps(value))


def test_recording_is_whole():
    assert list(RECORDING["arms"]) == list(ARMS)
    assert list(RECORDING["bodies"]) == list(BODIES)
    assert RECORDING["seeds"] == list(SEEDS)
    assert RECORDING["train"] == TRAIN
    assert all(len(arm["runs"]) == len(SEEDS) == 5 for arm in RECORDING["arms"].values())


@pytest.mark.parametrize("name", RECORDING["arms"])
def test_recording_is_of_the_arm_that_the_script_has(name):
    recorded_arm = RECORDING["arms"][name]
    assert recorded_arm["config"] == as_json(asdict(ARMS[name].config))
    assert recorded_arm["layers"] == ARMS[name].layers


def test_each_arm_changes_one_thing():
    base = {**asdict(BASE), "layers": None}
    changes = {
        name: {key for key, value in {**asdict(arm.config), "layers": arm.layers}.items() if value != base[key]}
        for name, arm in ARMS.items()
    }
    assert changes.pop("base") == set()
    assert changes.pop("batch 8, equal steps") == {"batch_size", "max_steps"}
    assert all(len(changed) == 1 for changed in changes.values())


def test_the_base_is_the_documents_setting():
    assert (BASE.epochs, BASE.batch_size, BASE.learning_rate, BASE.weight_decay) == (3, 16, 2e-5, 0.01)
    assert (BASE.log_every, BASE.schedule, BASE.warmup_steps) == (10, "linear", 0)
    assert TRAIN * BASE.epochs / BASE.batch_size == 375


@pytest.mark.parametrize(("name", "run"), RUNS)
def test_a_run_has_the_steps_and_the_lines_of_its_settings(name, run):
    config = ARMS[name].config
    an_epoch = math.ceil(TRAIN / config.batch_size)
    assert run["steps"] == (config.max_steps or config.epochs * an_epoch)
    assert len(run["train_loss"]) == run["steps"] // config.log_every
    assert len(run["val_loss"]) == len(run["val_macro_f1"]) == math.ceil(run["steps"] / an_epoch)
    assert all(0 < loss < 2 for loss in run["train_loss"] + run["val_loss"])
    assert run["seconds"] > 0


@pytest.mark.parametrize(("name", "run"), RUNS)
def test_the_answers_are_those_of_the_last_look(name, run):
    assert len(run["answers"]) == len(LABELS) == 500
    assert set(run["answers"]) <= {"0", "1"}
    score = metrics.precision_recall_f1(LABELS, [int(answer) for answer in run["answers"]], average="macro").f1
    assert score == pytest.approx(run["val_macro_f1"][-1], abs=0.005)  # a P of one half may round to either side


def test_seeds_differ():
    assert all(len({run["answers"] for run in arm["runs"]}) == len(SEEDS) for arm in RECORDING["arms"].values())


@pytest.mark.parametrize("name", BODIES)
def test_bodies_have_the_parameters_that_were_recorded(name):
    if name.startswith("minilm"):
        _, _, layers = name.partition("-")
        model = new_classifier("minilm", layers=int(layers) if layers else None).model
    else:
        with torch.device("meta"):
            bert = name.startswith("bert")
            model = (
                BertForSequenceClassification(BertConfig())
                if bert
                else DistilBertForSequenceClassification(DistilBertConfig())
            )
    assert RECORDING["bodies"][name]["parameters"] == sum(p.numel() for p in model.parameters())


def test_the_cost_of_a_body_is_measured_on_real_updates(monkeypatch):
    monkeypatch.setattr(hyperparameters, "TRIAL_STEPS", 2)
    measured = cost("minilm-3")
    assert measured.keys() == RECORDING["bodies"]["minilm-3"].keys()
    assert measured["parameters"] == RECORDING["bodies"]["minilm-3"]["parameters"]
    assert measured["seconds_a_step"] > 0
    assert measured["training_bytes"] >= 4 * measured["parameters"]


@pytest.fixture
def few_reviews(monkeypatch):
    monkeypatch.setattr(
        hyperparameters, "reviews", lambda: (load_reviews("train", limit=32), load_reviews("validation", limit=8))
    )


def test_training_repeats_itself_and_follows_its_seed(few_reviews):
    arm = Arm(config=replace(BASE, epochs=1, batch_size=8, log_every=1, precision="fp32"), layers=1)
    first, again, other = (train(arm, seed) for seed in (0, 0, 1))
    assert first["train_loss"] == again["train_loss"] != other["train_loss"]
    assert (first["steps"], len(first["train_loss"]), len(first["answers"])) == (4, 4, 8)
    assert first.keys() == RECORDING["arms"]["base"]["runs"][0].keys()


def test_main_writes_a_recording_of_the_same_form(tmp_path, monkeypatch):
    run, bodies = RECORDING["arms"]["base"]["runs"][0], RECORDING["bodies"]
    monkeypatch.setattr(recorded, "FOLDER", tmp_path)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr(hyperparameters, "train", lambda arm, seed: {**run, "seconds": seed})
    monkeypatch.setattr(hyperparameters, "costs", lambda: bodies)
    hyperparameters.main()
    made = recorded.load("hyperparameters")
    assert made.keys() == RECORDING.keys()
    for name, arm in RECORDING["arms"].items():
        assert {key: made["arms"][name][key] for key in ("config", "layers")} == {
            key: arm[key] for key in ("config", "layers")
        }
        assert [r["seconds"] for r in made["arms"][name]["runs"]] == list(SEEDS)


def test_the_answers_tell_more_than_a_constant():
    answers = np.array([[int(a) for a in run["answers"]] for run in RECORDING["arms"]["base"]["runs"]])
    assert (answers == np.array(LABELS)).mean(axis=1).min() > 0.75
