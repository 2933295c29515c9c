import dataclasses
import json
import math

import pytest
import torch

from course_lib import optim, recipes, schedules
from course_lib.files import OutputError
from course_lib.hardware import detect
from course_lib.models import LMConfig, TransformerLM, count_parameters
from course_lib.recipes import RecipeError, duration, find, forecast, parse_changes, run
from course_lib.recipes.settings import parse
from course_lib.run_record import COLUMNS, RunRecord
from course_lib.training import StopTraining

CPU = detect("cpu")
FROM_SCRATCH = [name for name, recipe in recipes.RECIPES.items() if recipe.build]
"""Trained by the course's own loop; those by Trainer have their tests in test_recipes_fine_tuning.py."""

TINY = {"d_model": "16", "n_heads": "2", "n_layers": "1", "d_ff": "32"}
TINY_ENCODER = TINY | {
    "train_limit": "64",
    "validation_limit": "20",
    "test_limit": "40",
    "epochs": "2",
    "batch_size": "16",
}
TINY_LM = TINY | {"context": "16", "max_steps": "12", "eval_every": "6", "log_every": "2", "held_out": "0.01"}


def tiny(name, **changes):
    return find(name, "pocket", (TINY_ENCODER if name == "encoder-imdb" else TINY_LM) | changes)


def go(name, out=None, changes=None, **arguments):
    recipe, settings = tiny(name, **(changes or {}))
    return run(recipe, settings, scale="pocket", hardware=CPU, out=out, progress=False, **arguments)


@pytest.mark.parametrize("name", recipes.RECIPES)
@pytest.mark.parametrize("scale", ["pocket", "full"])
def test_every_recipe_has_both_scales_and_settings_that_hold(name, scale):
    recipe, settings = find(name, scale)
    assert recipe.name == name
    assert settings == recipe.scales[scale]
    assert dataclasses.replace(settings) == settings, "validation passes"


def test_pocket_scale_needs_no_network_and_full_scale_is_the_hub():
    for recipe in recipes.RECIPES.values():
        assert recipe.scales["pocket"].source in ("pocket", "manual")
        assert recipe.scales["full"].source in ("imdb", "shakespeare")


def test_the_encoder_is_the_sources_model_and_run():
    settings = recipes.RECIPES["encoder-imdb"].scales["full"]
    work = recipes.RECIPES["encoder-imdb"].workload(settings)
    assert count_parameters(work.model) == 5_785_858
    assert (settings.optimizer, settings.learning_rate, settings.batch_size, settings.epochs) == ("adam", 1e-4, 32, 5)
    assert (settings.pad_side, settings.max_length, settings.dropout) == ("left", 256, 0.1)
    assert work.train_sequences / settings.batch_size == 5 * 157, "ceil(5,000 / 32) = 157 batches an epoch"
    pocket = dataclasses.asdict(recipes.RECIPES["encoder-imdb"].scales["pocket"])
    differs = {key for key, value in dataclasses.asdict(settings).items() if pocket[key] != value}
    assert differs == {"source", "train_limit", "validation_limit", "buckets"}


def test_the_character_run_is_the_sources_run():
    settings = recipes.RECIPES["char-lm"].scales["full"]
    assert (settings.max_steps, settings.learning_rate, settings.schedule) == (5625, 1e-4, "cosine")
    assert (settings.warmup_steps, settings.log_every, settings.optimizer) == (0, 5, "adamw")


@pytest.mark.parametrize("name", FROM_SCRATCH)
def test_a_run_leaves_a_folder_that_says_how_it_was_made(tmp_path, name):
    lines: list[str] = []
    outcome = go(name, tmp_path / "run", tell=lines.append)
    folder = tmp_path / "run"
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "training_metrics.json",
        "training_curve.png",
        "loss_by_epoch.png",
        "checkpoint.pt",
        "model.safetensors",
        "model.json",
        "tokenizer.json",
        "run.json",
        "result.json",
    }
    record = RunRecord.load(folder)
    assert set(COLUMNS) <= set(record.columns)
    assert record["val_loss"][-1] is not None
    assert record.run["seed"] == 0
    assert record.run["versions"]["torch"] == torch.__version__
    assert record.run["hardware"]["device"] == "cpu"
    assert record.run["settings"]["d_model"] == 16
    assert "python -m course_lib run" in record.run["script"]
    result = json.loads((folder / "result.json").read_text())
    assert result["figures"] == json.loads(json.dumps(outcome.figures))
    assert result["says"] == outcome.words
    assert outcome.finished
    assert any(line.startswith("about ") for line in lines), "the forecast comes first"


def test_the_classifier_is_reported_beside_its_baseline_and_interval():
    outcome = go("encoder-imdb")
    low, high = outcome.figures["test_accuracy_interval"]
    assert low <= outcome.figures["test_accuracy"] <= high
    assert outcome.figures["majority_baseline"] >= 0.5
    assert sum(map(sum, outcome.figures["confusion_matrix"])) == 40
    assert "interval" in outcome.words[0]
    assert "commonest class" in outcome.words[1]


def test_sorted_data_replays_the_accident_and_the_verdict_says_so():
    lines: list[str] = []
    settings = {"order": "sorted_by_label", "test_limit": "40", "validation_limit": "20"}
    outcome = go("encoder-imdb", changes=settings | {"epochs": "6", "learning_rate": "1e-2"}, tell=lines.append)
    assert outcome.figures["test_accuracy"] == 1.0
    assert outcome.figures["majority_baseline"] == 1.0
    assert "shows nothing" in outcome.words[-1]
    assert any("one class only" in line for line in lines)


def test_text_is_shown_before_and_after_training_from_the_same_prompt():
    lines: list[str] = []
    go("char-lm", tell=lines.append)
    before = next(line for line in lines if line.startswith("before training"))
    after = next(line for line in lines if line.startswith("after training"))
    assert before.splitlines()[1].startswith("The ")
    assert after.splitlines()[1].startswith("The ")
    assert before.splitlines()[1:] != after.splitlines()[1:]


@pytest.mark.parametrize("name", FROM_SCRATCH)
def test_the_same_seed_gives_the_same_losses_and_another_seed_others(name):
    first, again, other = go(name, seed=1), go(name, seed=1), go(name, seed=2)
    assert first.record["train_loss"] == again.record["train_loss"]
    assert first.figures == again.figures
    assert first.record["train_loss"] != other.record["train_loss"]


def test_an_untrained_character_model_starts_at_ln_v():
    outcome = go("char-lm", changes={"log_every": "1"})
    alphabet = json.loads(json.dumps(outcome.words))[1]
    assert "ln 10" in alphabet, "103 or 104 characters, by the version of Python"
    assert outcome.record["train_loss"][0] == pytest.approx(math.log(103), abs=0.1)


@pytest.mark.parametrize("name", FROM_SCRATCH)
def test_a_stopped_run_resumes_to_the_same_losses(tmp_path, name):
    def stop(state):
        if state.step == 5:
            raise StopTraining("test")

    whole = go(name)
    stopped = go(name, tmp_path / "run", on_step=stop)
    assert not stopped.finished
    assert stopped.record["steps"][-1] <= 5
    resumed = go(name, tmp_path / "run", resume=True)
    assert resumed.finished
    assert resumed.record["train_loss"] == whole.record["train_loss"]
    assert resumed.record["val_loss"] == whole.record["val_loss"]
    assert resumed.figures == whole.figures


def test_a_folder_with_a_run_is_never_overwritten(tmp_path):
    go("char-lm", tmp_path)
    before = (tmp_path / "training_metrics.json").read_bytes()
    with pytest.raises(OutputError, match="already holds a run"):
        go("char-lm", tmp_path)
    assert (tmp_path / "training_metrics.json").read_bytes() == before


def test_resuming_with_other_settings_names_what_differs(tmp_path):
    go("char-lm", tmp_path)
    with pytest.raises(RecipeError, match=r"learning_rate 0\.00[0-9]+, now 0\.5"):
        go("char-lm", tmp_path, changes={"learning_rate": "0.5"}, resume=True)
    with pytest.raises(RecipeError, match="another seed: 0, now 7"):
        go("char-lm", tmp_path, seed=7, resume=True)


def test_resuming_where_no_run_is_says_so(tmp_path):
    with pytest.raises(RecipeError, match=r"run\.json"):
        go("char-lm", tmp_path, resume=True)


def test_a_warm_up_that_outlives_the_run_is_told_and_run_as_asked():
    lines: list[str] = []
    outcome = go("char-lm", changes={"warmup_steps": "500"}, tell=lines.append)
    assert any("outlives the run of 12" in line for line in lines)
    assert max(outcome.record["learning_rate"]) < 0.03 * find("char-lm", "pocket")[1].learning_rate


def test_settings_build_the_optimizer_and_the_schedule_they_name():
    model = TransformerLM(LMConfig(d_model=8, n_heads=2, n_layers=1, d_ff=8))
    _, settings = tiny(
        "char-lm", learning_rate="0.5", betas="0.8,0.95", weight_decay="0.3", schedule="cosine", floor="0.1"
    )
    optimizer = settings.make_optimizer(model)
    assert isinstance(optimizer, optim.AdamW)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0]
    assert {group["lr"] for group in optimizer.param_groups} == {0.5}
    assert {group["betas"] for group in optimizer.param_groups} == {(0.8, 0.95)}
    schedule = settings.make_schedule(100)
    assert schedule == schedules.Cosine(total_steps=100, warmup_steps=settings.warmup_steps, floor=0.1)
    _, adam = tiny("char-lm", optimizer="adam", weight_decay="0", schedule="constant", warmup_steps="0")
    assert type(adam.make_optimizer(model)) is optim.Adam
    assert [adam.make_schedule(10)(step) for step in (0, 9)] == [1.0, 1.0]


def test_auto_precision_takes_bf16_only_where_the_hardware_has_it():
    _, settings = find("char-lm", "pocket", {"precision": "auto"})
    assert settings.fit_config(("fp32", "bf16"), seed=0).precision == "bf16"
    assert settings.fit_config(("fp32",), seed=0).precision == "fp32"


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (int, "3", 3),
        (float, "1e-3", 1e-3),
        (int | None, "none", None),
        (int | None, "4", 4),
        (bool, "true", True),
        (bool, "No", False),
        (str, "a b", "a b"),
        (tuple[float, float], "0.9, 0.99", (0.9, 0.99)),
        (tuple[float, float], "(0.9,0.99)", (0.9, 0.99)),
    ],
)
def test_values_are_read_by_their_type(kind, text, value):
    assert parse("key", text, kind) == value


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (int, "3.5", "a whole number"),
        (float, "fast", "a number"),
        (int, "none", "a whole number"),
        (int | None, "x", "a whole number or none"),
        (bool, "maybe", "true or false"),
        (tuple[float, float], "0.9", "2 numbers, as in 0.9,0.99"),
    ],
)
def test_a_value_of_another_type_says_what_was_expected(kind, text, expected):
    with pytest.raises(RecipeError, match=f"key: expected {expected}; got '{text}'"):
        parse("key", text, kind)


@pytest.mark.parametrize(
    ("name", "scale", "changes", "message"),
    [
        ("bert", "pocket", {}, "no recipe 'bert'; there are: distilbert-imdb, bert-imdb, encoder-imdb, char-lm"),
        ("char-lm", "huge", {}, "no scale 'huge'; there are: pocket, full"),
        ("char-lm", "pocket", {"lr": "1"}, "no setting 'lr'; there are: epochs, max_steps"),
        ("char-lm", "pocket", {"optimizer": "lion"}, "optimizer: expected one of adam, adamw; got 'lion'"),
        ("char-lm", "pocket", {"batch_size": "0"}, "batch_size: expected at least 1; got 0"),
        ("char-lm", "pocket", {"learning_rate": "-1"}, "learning_rate: expected 0 or more; got -1.0"),
        ("char-lm", "pocket", {"learning_rate": "nan"}, "learning_rate: expected 0 or more; got nan"),
        ("char-lm", "pocket", {"clip_norm": "0"}, "clip_norm: expected above 0, or none; got 0.0"),
        ("char-lm", "pocket", {"held_out": "1"}, "held_out: expected a share"),
        ("char-lm", "pocket", {"prompt": ""}, "prompt: expected at least one character"),
        ("char-lm", "pocket", {"n_heads": "3"}, "n_heads=3"),
        ("char-lm", "pocket", {"style": "rnn"}, "style: expected one of gpt2, modern"),
        ("char-lm", "pocket", {"betas": "1,2"}, "betas"),
        ("char-lm", "pocket", {"floor": "2"}, "floor"),
        ("encoder-imdb", "pocket", {"source": "yelp"}, "source: expected one of pocket, imdb"),
        ("encoder-imdb", "pocket", {"order": "random"}, "order: expected one of shuffled, sorted_by_label"),
        ("encoder-imdb", "pocket", {"dropout": "1"}, "dropout"),
        ("encoder-imdb", "full", {"weight_decay": "0.1"}, "weight_decay: expected 0 with adam"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(name, scale, changes, message):
    with pytest.raises(RecipeError) as caught:
        find(name, scale, changes)
    assert message in str(caught.value)


def test_settings_that_do_not_fit_the_data_are_refused():
    with pytest.raises(RecipeError, match="10000"):
        go("encoder-imdb", changes={"train_limit": "10000"})
    with pytest.raises(RecipeError, match="prompt"):
        go("char-lm", changes={"prompt": "中"})


@pytest.mark.parametrize("pair", ["novalue", "=1", " =1"])
def test_a_change_needs_a_key_and_a_value(pair):
    with pytest.raises(RecipeError, match="expected key=value"):
        parse_changes([pair])
    assert parse_changes(["a=b=c", "d="]) == {"a": "b=c", "d": ""}


def test_the_forecast_counts_the_steps_and_grows_with_the_run():
    recipe, settings = tiny("char-lm", max_steps="100")
    short = forecast(recipe, settings, CPU)
    assert short.steps == 100
    assert short.seconds > 0
    recipe, settings = tiny("encoder-imdb", epochs="3")
    assert forecast(recipe, settings, CPU).steps == 3 * 4, "64 reviews in batches of 16, three epochs"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (61, "61 s"), (150, "2 min"), (5400, "90 min"), (9000, "2.5 h"), (90_000, "25 h")],
)
def test_durations_are_said_as_a_person_would(seconds, words):
    assert duration(seconds) == words
