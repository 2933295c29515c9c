"""The recorded runs of chapter 16: whole, what their script says they are, and repeatable where that is cheap."""

import json
import math
from dataclasses import asdict, replace

import pytest
import torch

from course_lib import metrics, recorded
from course_lib.data import load_reviews
from course_lib.recorded import fine_tuning
from course_lib.recorded.fine_tuning import ARMS, DOCUMENT, HEAD_RATES, SEEDS, best_head_rate, head_accuracy, train

RECORDING = recorded.load("fine_tuning")
RUNS = [(name, run) for name, arm in RECORDING["arms"].items() for run in arm["runs"]]
IDS = [f"{name}, run {i % len(SEEDS)}" for i, (name, _) in enumerate(RUNS)]


def test_recording_is_whole_and_of_the_arms_that_the_script_has():
    assert list(RECORDING["arms"]) == list(ARMS)
    for name, arm in RECORDING["arms"].items():
        assert arm["config"] == json.loads(json.dumps(asdict(ARMS[name])))
        assert len(arm["runs"]) == len(SEEDS), name


@pytest.mark.parametrize(("name", "run"), RUNS, ids=IDS)
def test_a_run_has_every_step_the_epochs_and_the_rates_of_its_settings(name, run):
    config = ARMS[name]
    assert [row[0] for row in run["log"]] == list(range(10, 471, 10))
    assert [look["step"] for look in run["looks"]] == [157, 314, 471]
    assert [look["epoch"] for look in run["looks"]] == [1, 2, 3]
    for step, epoch, loss, norm, rate in run["log"]:
        whole, done = divmod(step, 157)
        assert epoch == pytest.approx(whole + done * 2 / 313, rel=1e-3)
        rising = (step - 1) / config.warmup_steps
        falling = (471 - (step - 1)) / (471 - config.warmup_steps) if config.warmup_steps < 471 else math.inf
        assert rate == pytest.approx(config.learning_rate * min(rising, falling), rel=1e-3)
        assert 0 < loss < 5
        assert norm > 0


@pytest.mark.parametrize(("name", "run"), RUNS, ids=IDS)
def test_the_answers_give_the_accuracy_of_the_last_look(name, run):
    for part, count in (("validation", 500), ("test", 1000)):
        assert len(run[part]) == count
        assert set(run[part]) <= {"0", "1"}
    truth = [review.label for review in load_reviews("validation")]
    # The look is taken in bf16 where the processor has units for it, the answers in fp32.
    score = metrics.accuracy(truth, [int(digit) for digit in run["validation"]])
    assert score == pytest.approx(run["looks"][-1]["eval_accuracy"], abs=0.02), name


def test_runs_of_different_seeds_differ():
    for arm in RECORDING["arms"].values():
        assert len({run["validation"] for run in arm["runs"]}) == len(arm["runs"])


def test_the_arms_differ_from_the_document_in_what_their_names_say():
    for name, config in ARMS.items():
        changed = {key for key, value in asdict(config).items() if value != asdict(DOCUMENT)[key]}
        assert changed <= {"warmup_steps", "freeze_body", "learning_rate"}, name
    assert ARMS["warm-up 500"] == DOCUMENT


def test_the_best_rate_of_a_head_is_the_frozen_arms_own():
    heads = RECORDING["heads"]
    assert heads["rates"] == list(HEAD_RATES)
    assert best_head_rate(heads["first token"]) == ARMS["frozen, 1e-1"].learning_rate
    for name in ("first token", "mean"):
        assert [len(row) for row in heads[name]] == [len(SEEDS)] * len(HEAD_RATES)
        assert all(0.45 < share < 0.8 for row in heads[name] for share in row)


def test_a_head_learns_what_its_vectors_say_and_repeats():
    labels = {part: torch.tensor([r.label for r in load_reviews(part)]) for part in ("train", "validation")}
    told = {part: torch.nn.functional.one_hot(label, 2).float() for part, label in labels.items()}  # (N, 2)
    assert head_accuracy(told["train"], told["validation"], 1e-2, seed=0) == 1.0
    noise = torch.randn(2500, 2, generator=torch.Generator().manual_seed(0))
    blind = [head_accuracy(noise, torch.zeros(500, 2), 1e-2, seed=seed) for seed in (3, 3)]
    assert blind[0] == blind[1] == 0.5


def test_a_short_run_has_the_same_form(monkeypatch):
    few = {"train": load_reviews("train")[:8], "validation": load_reviews("validation")[:4]}
    few["test"] = load_reviews("test")[:2]
    monkeypatch.setattr(fine_tuning, "load_reviews", few.__getitem__)
    run = train(replace(DOCUMENT, epochs=1, log_every=1, max_length=8, warmup_steps=1), seed=0)
    assert run.keys() == RUNS[0][1].keys()
    assert [len(row) for row in run["log"]] == [5]
    assert run["looks"][0].keys() == RUNS[0][1]["looks"][0].keys()
    assert (len(run["validation"]), len(run["test"])) == (4, 2)
    json.dumps(run, allow_nan=False)


def test_main_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(recorded, "FOLDER", tmp_path)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr("sys.argv", ["fine_tuning"])
    monkeypatch.setattr(fine_tuning, "heads", lambda: {"first token": [], "mean": []})
    calls: list[int] = []

    def stub(config, seed):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(seed)
        return {"seed": seed}

    monkeypatch.setattr(fine_tuning, "train", stub)
    with pytest.raises(KeyboardInterrupt):
        fine_tuning.main()
    first = list(calls)
    calls.clear()
    monkeypatch.setattr(fine_tuning, "train", lambda config, seed: calls.append(seed) or {"seed": seed})
    fine_tuning.main()
    assert first == [0, 0, 0]
    assert len(first + calls) == len(SEEDS) * len(ARMS)
    made = recorded.load("fine_tuning")
    assert made.keys() == RECORDING.keys()
    assert all([run["seed"] for run in arm["runs"]] == list(SEEDS) for arm in made["arms"].values())
