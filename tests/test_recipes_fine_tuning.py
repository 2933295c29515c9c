"""Tests of the recipes that Trainer carries out: the documents' settings to the letter, and both scales run."""

import dataclasses
import json
import math
import shutil
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from children import run_python
from test_reviews_and_batches import IMDB_COMMIT, OFFLINE_SWITCHES, _HubHandler, card, parquet
from tiny_checkpoints import save_as_hub_cache, save_body

from course_lib.checkpoints import CheckpointError
from course_lib.data import DataError
from course_lib.files import OutputError
from course_lib.hardware import detect
from course_lib.models import count_parameters
from course_lib.pretrained import PretrainedError
from course_lib.recipes import RECIPES, Outcome, RecipeError, find, run
from course_lib.recipes.fine_tune_settings import FineTuneSettings, checkpoints_on_disk
from course_lib.run_record import RunRecord
from course_lib.training import StopTraining

CPU = detect("cpu")
FINE_TUNED = ("distilbert-imdb", "bert-imdb")
SMALL = {
    "train_limit": "20",
    "validation_limit": "8",
    "test_limit": "10",
    "max_length": "24",
    "log_every": "1",
    "warmup_steps": "0",
    "save_every": "none",
    "epochs": "2",
}


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_body(tmp_path_factory.mktemp("tiny"))


def go(body: Path, name: str = "distilbert-imdb", out: Path | None = None, **more: Any) -> tuple[Outcome, list[str]]:
    arguments = {key: more.pop(key) for key in ("seed", "resume", "on_step") if key in more}
    recipe, settings = find(name, "pocket", {**SMALL, "checkpoint": str(body), **more})
    told: list[str] = []
    outcome = run(
        recipe, settings, scale="pocket", hardware=CPU, out=out, progress=False, tell=told.append, **arguments
    )
    return outcome, told


# --- settings -------------------------------------------------------------------------------------------------------


def settings_of(name: str, scale: str, variation: str | None = None) -> dict[str, Any]:
    return dataclasses.asdict(find(name, scale, variation=variation)[1])


def test_distilbert_at_full_scale_is_the_documents_run_to_the_letter() -> None:
    expected = {
        "checkpoint": "distilbert-base-uncased",
        "source": "imdb",
        "train_limit": 2500,
        "test_limit": 1000,
        "batch_size": 8,
        "eval_batch_size": 16,
        "accumulation": 2,
        "epochs": 3,
        "learning_rate": 3e-5,
        "weight_decay": 0.01,
        "warmup_steps": 500,
        "gradient_checkpointing": True,
        "log_every": 100,
        "best_metric": "f1_weighted",
        "optimizer": "adamw",
        "schedule": "linear",
        "max_steps": None,
        "layers": None,
        "freeze_body": False,
        "save_every": None,
        "eval_every": None,
    }
    settings = settings_of("distilbert-imdb", "full")
    assert {key: settings[key] for key in expected} == expected
    config = find("distilbert-imdb", "full")[1].config(seed=0)  # type: ignore[attr-defined]
    micro_batches, steps = config.plan(2500)
    assert (micro_batches, math.ceil(micro_batches / 2), steps) == (313, 157, 471)
    assert RECIPES["distilbert-imdb"].document_minutes == 54


def test_bert_at_full_scale_is_the_documents_run_to_the_letter() -> None:
    expected = {
        "checkpoint": "bert-base-uncased",
        "source": "imdb",
        "train_limit": 2000,
        "batch_size": 16,
        "accumulation": 1,
        "epochs": 3,
        "learning_rate": 2e-5,
        "weight_decay": 0.01,
        "warmup_steps": 0,
        "log_every": 10,
        "save_every": 10,
        "keep_checkpoints": None,
        "best_metric": None,
        "optimizer": "adamw",
        "schedule": "linear",
        "gradient_checkpointing": False,
        "freeze_body": False,
    }
    settings = settings_of("bert-imdb", "full")
    assert {key: settings[key] for key in expected} == expected
    config = find("bert-imdb", "full")[1].config(seed=0)  # type: ignore[attr-defined]
    assert config.plan(2000) == (125, 375)
    assert checkpoints_on_disk(config, 375, 125) == 38, "after 10, 20, ... 370, and at the end"


@pytest.mark.parametrize("name", FINE_TUNED)
def test_pocket_scale_changes_what_a_laptop_without_a_network_needs_and_nothing_else(name: str) -> None:
    full, pocket = settings_of(name, "full"), settings_of(name, "pocket")
    differs = {key for key in full if full[key] != pocket[key]}
    allowed = {"source", "checkpoint", "max_length", "keep_checkpoints", "precision"}
    if name == "distilbert-imdb":
        allowed |= {"gradient_checkpointing", "validation_limit"}
    assert differs == allowed
    assert (pocket["source"], pocket["checkpoint"], pocket["precision"]) == ("pocket", "minilm", "auto")


VARIATIONS: dict[tuple[str, str], dict[str, Any]] = {
    ("distilbert-imdb", "warmup-47"): {"warmup_steps": 47},
    ("distilbert-imdb", "frozen"): {"freeze_body": True, "learning_rate": 1e-1, "warmup_steps": 47},
    ("bert-imdb", "2-epochs"): {"epochs": 2},
    ("bert-imdb", "batch-8"): {"batch_size": 8},
    ("bert-imdb", "decay-0.05"): {"weight_decay": 0.05},
    ("bert-imdb", "distilbert"): {"checkpoint": "distilbert-base-uncased"},
    ("bert-imdb", "3-layers"): {"layers": 3},
}


def test_every_variation_is_listed_here() -> None:
    assert {(name, variation) for name in FINE_TUNED for variation in RECIPES[name].variations} == set(VARIATIONS)


@pytest.mark.parametrize(("name", "variation"), VARIATIONS)
@pytest.mark.parametrize("scale", ["pocket", "full"])
def test_a_variation_changes_exactly_what_it_names(name: str, variation: str, scale: str) -> None:
    plain, varied = settings_of(name, scale), settings_of(name, scale, variation)
    assert {key: varied[key] for key in plain if plain[key] != varied[key]} == VARIATIONS[name, variation]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "adam", "weight_decay": "0"}, "optimizer: expected one of adamw; got 'adam'"),
        ({"floor": "0.1"}, "floor: expected 0"),
        ({"max_length": "2"}, "max_length: expected at least 3"),
        ({"keep_checkpoints": "0"}, "keep_checkpoints: expected a whole number, at least 1"),
        ({"save_every": "7"}, "save_every: expected eval_every (None)"),
        ({"eval_batch_size": "0"}, "eval_batch_size: expected a whole number"),
        ({"best_metric": "f1"}, "best_metric: expected one of loss, accuracy"),
        ({"d_model": "4"}, "no setting 'd_model'; there are: epochs"),
        ({"source": "yelp"}, "source: expected one of pocket, imdb"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, str], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        find("distilbert-imdb", "pocket", changes)
    assert str(caught.value).startswith(message)


def test_an_unknown_variation_is_refused_with_those_there_are() -> None:
    with pytest.raises(RecipeError, match=r"bert-imdb: no variation 'x'; there are: 2-epochs, batch-8, decay-0.05"):
        find("bert-imdb", "pocket", variation="x")
    with pytest.raises(RecipeError, match="char-lm: no variation 'x'; there are: none"):
        find("char-lm", "pocket", variation="x")


def test_what_is_set_comes_after_the_variation() -> None:
    settings: Any = find("distilbert-imdb", "pocket", {"warmup_steps": "3"}, "frozen")[1]
    assert (settings.warmup_steps, settings.freeze_body, settings.learning_rate) == (3, True, 1e-1)


def test_the_workload_is_counted_without_any_weights() -> None:
    work = RECIPES["distilbert-imdb"].workload(find("distilbert-imdb", "full", {"layers": "1"})[1])
    assert work.train_sequences == 471 * 16
    assert work.eval_sequences == 3 * 1000 + 1000
    assert work.tokens == 256
    # 30,522 words and 512 positions, one layer of 768, and the head: 768 * 769 + 2 * 769.
    layer = 12 * 768**2 + 13 * 768
    assert count_parameters(work.model) == (30_522 + 512 + 2) * 768 + layer + 768 * 769 + 2 * 769


# --- pocket scale ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def done(body: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, list[str], Path]:
    out = tmp_path_factory.mktemp("run") / "run"
    return *go(body, out=out), out


def test_a_run_leaves_a_folder_that_says_how_it_was_made(done: tuple[Outcome, list[str], Path]) -> None:
    outcome, _, out = done
    names = {path.name for path in out.iterdir() if not path.name.startswith("checkpoint-")}
    assert names == {
        *("training_metrics.json", "training_curve.png", "loss_by_epoch.png", "run.json", "result.json"),
        *("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"),
    }
    record = RunRecord.load(out)
    assert record["steps"] == [1, 2, 3, 4], "20 reviews: 3 micro-batches of 8, 2 updates, 2 epochs"
    assert record.run["recipe"] == "distilbert-imdb"
    assert record.run["settings"]["train_limit"] == 20
    assert "transformers" in record.run["versions"]
    result = json.loads((out / "result.json").read_text())
    assert result["figures"] == json.loads(json.dumps(outcome.figures))
    assert result["says"] == outcome.words
    assert result["ended"] == "finished"


def test_the_verdict_has_its_interval_its_baseline_and_every_average(done: tuple[Outcome, list[str], Path]) -> None:
    outcome, _, out = done
    low, high = outcome.figures["test_accuracy_interval"]
    assert low <= outcome.figures["test_accuracy"] <= high
    assert sum(map(sum, outcome.figures["confusion_matrix"])) == 10
    assert sum(map(sum, outcome.figures["eval_confusion_matrix"])) == 8
    assert {f"eval_f1_{average}" for average in ("weighted", "macro", "positive")} <= outcome.figures.keys()
    assert "eval_f1" not in outcome.figures
    assert "95% interval" in outcome.words[0]
    assert "commonest class" in outcome.words[1]
    assert f"predict {out}" in outcome.words[-1]


@pytest.mark.parametrize("name", FINE_TUNED)
def test_the_same_seed_gives_the_same_figures_and_another_seed_others(body: Path, name: str) -> None:
    first, again, other = (go(body, name, max_steps="2", seed=seed)[0] for seed in (1, 1, 2))
    assert first.record["train_loss"] == again.record["train_loss"]
    assert first.record["train_loss"] != other.record["train_loss"]

    def untimed(outcome: Outcome) -> dict[str, Any]:
        ends = ("runtime", "per_second")
        return {k: v for k, v in outcome.figures.items() if not k.endswith(ends)}

    assert untimed(first) == untimed(again)


def test_a_stopped_run_says_what_was_kept_and_resumes_to_the_same_losses(
    body: Path, done: tuple[Outcome, list[str], Path], tmp_path: Path
) -> None:
    def stop(step: int) -> None:
        if step == 3:
            raise StopTraining("Ctrl-C")

    stopped, _ = go(body, out=tmp_path, on_step=stop)
    assert not stopped.finished
    assert stopped.words == [f"A checkpoint was saved in {tmp_path}."]
    with pytest.raises(RecipeError, match=r"learning_rate 3e-05, now 0\.5"):
        go(body, out=tmp_path, resume=True, learning_rate="0.5")
    with pytest.raises(OutputError, match="already holds a run"):
        go(body, out=tmp_path)
    resumed, _ = go(body, out=tmp_path, resume=True)
    assert resumed.record["train_loss"] == done[0].record["train_loss"]
    assert resumed.record["val_loss"] == done[0].record["val_loss"]
    assert resumed.figures["confusion_matrix"] == done[0].figures["confusion_matrix"]


def test_resuming_where_no_checkpoint_is_says_so(body: Path, tmp_path: Path) -> None:
    go(body, out=tmp_path, max_steps="1")
    for folder in tmp_path.glob("checkpoint-*"):
        shutil.rmtree(folder)
    with pytest.raises(CheckpointError, match="found none that is whole"):
        go(body, out=tmp_path, max_steps="1", resume=True)


def test_a_disk_that_is_too_small_is_refused_before_training(
    body: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 30e6  # a checkpoint of the tiny model takes 12 MB
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1e12, 0, free))  # type: ignore[attr-defined]
    many = {"save_every": "1", "keep_checkpoints": "none", "best_metric": "none"}
    with pytest.raises(OutputError, match=r"need 0\.0 GB and 0\.0 GB are free.*--set keep_checkpoints=2"):
        go(body, out=tmp_path / "a", **many)
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"run.json"}
    outcome, told = go(body, out=tmp_path / "b", **many | {"keep_checkpoints": "1", "max_steps": "1"})
    assert outcome.finished
    assert any("a checkpoint takes about 12 MB; 1 of them 0.0 GB" in line for line in told)


def test_a_warm_up_that_outlives_the_run_is_told(body: Path) -> None:
    outcome, told = go(body, warmup_steps="500", max_steps="2")
    assert any("warm-up of 500 updates outlives the run of 2: the rate never reaches 3e-05" in line for line in told)
    assert outcome.record["learning_rate"] == [0.0, pytest.approx(3e-5 / 500)]


def test_one_class_is_refused_unless_it_is_allowed(body: Path) -> None:
    with pytest.raises(DataError, match=r"all 20 training texts have the label 0.*--allow-single-class"):
        go(body, order="sorted_by_label")
    outcome, told = go(body, order="sorted_by_label", allow_single_class="true", max_steps="1")
    assert any("warning: all 20 training texts have the label 0" in line for line in told)
    assert any("shows nothing about the model" in line for line in outcome.words)


def test_a_checkpoint_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PretrainedError, match="no checkpoint"):
        go(tmp_path / "nowhere")
    with pytest.raises(DataError, match="max_length: expected at most 512, the positions"):
        go(save_body(tmp_path / "body"), max_length="600")


def test_the_config_passes_every_shared_setting_on() -> None:
    changes = {
        "betas": "0.8,0.9",
        "group_by_length": "true",
        "patience": "3",
        "keep_checkpoints": "4",
        "max_steps": "9",
    }
    settings: Any = find("distilbert-imdb", "pocket", changes)[1]
    config = settings.config(seed=5)
    assert isinstance(settings, FineTuneSettings)
    assert (config.betas, config.group_by_length, config.patience) == ((0.8, 0.9), True, 3)
    assert (config.keep_checkpoints, config.max_steps, config.seed) == (4, 9, 5)
    assert (config.batch_size, config.accumulation, config.learning_rate) == (8, 2, 3e-5)


# --- full scale, against a cache of the hub -------------------------------------------------------------------------


class Home(NamedTuple):
    folder: Path
    environment: dict[str, str]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A HF_HOME as earlier downloads leave it: two small models, and a small IMDB that `datasets` has fetched."""
    folder = tmp_path_factory.mktemp("home")
    save_as_hub_cache(folder / "hub", "distilbert/distilbert-base-uncased", "distilbert")
    save_as_hub_cache(folder / "hub", "google-bert/bert-base-uncased", "bert")
    texts = [f"film number {i} was {('terrible', 'wonderful')[i >= 20]}<br />" + " indeed" * 60 for i in range(40)]
    labels = [0] * 20 + [1] * 20
    server = ThreadingHTTPServer(("127.0.0.1", 0), _HubHandler)
    files = {"README.md": card("plain_text", "plain_text", ["train", "test"])}
    files |= {f"plain_text/{s}-00000-of-00001.parquet": parquet(text=texts, label=labels) for s in ("train", "test")}
    server.repositories = {"stanfordnlp/imdb": (IMDB_COMMIT, files)}  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    environment = {"HF_HOME": str(folder), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "COURSE_DEVICE": "cpu"}
    online = (
        environment | {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}"} | dict.fromkeys(OFFLINE_SWITCHES, "0")
    )
    result = run_python(
        "from course_lib.data import load_reviews\n[load_reviews(s, source='imdb') for s in ('train', 'test')]",
        **online,
    )
    server.shutdown()
    thread.join()
    server.server_close()
    assert result.returncode == 0, result.stderr
    return Home(folder, environment | dict.fromkeys(OFFLINE_SWITCHES, "1"))


@pytest.mark.parametrize(
    ("name", "limits", "steps", "says"),
    [
        # 20 reviews: 3 micro-batches of 8, 2 updates of 2, 3 epochs.
        ("distilbert-imdb", ["train_limit=20"], 6, "outlives the run of 6: the rate never reaches 3e-05"),
        # 20 reviews: 2 batches of 16, 3 epochs.
        ("bert-imdb", ["train_limit=20"], 6, "rate 2e-05, linear after 0 updates of warm-up, decay 0.01"),
    ],
)
def test_full_scale_runs_from_what_was_downloaded(
    home: Home, name: str, limits: list[str], steps: int, says: str, tmp_path: Path
) -> None:
    changes = [*limits, "validation_limit=10", "test_limit=12", "max_length=40", "log_every=1"]
    arguments = ["run", name, "--scale", "full", "--out", str(tmp_path / "run")]
    arguments += [part for change in changes for part in ("--set", change)]
    result = run_python(f"from course_lib.cli import app; app({arguments!r})", **home.environment)
    assert result.returncode == 0, result.stderr
    out = result.stdout
    short = {"distilbert-imdb": "distilbert-base-uncased", "bert-imdb": "bert-base-uncased"}[name]
    assert f"{short}: " in out
    assert "2 layers" in out, "the small model of the cache, and no other"
    assert says in out
    assert "20 were cut at 40" in out
    assert f"{steps} in all" in out
    record = RunRecord.load(tmp_path / "run")
    assert record["steps"] == list(range(1, steps + 1))
    assert record.run["settings"]["source"] == "imdb"
    expected = [3e-5 * step / 500 for step in range(6)] if name == "distilbert-imdb" else None
    if expected:
        assert record["learning_rate"] == pytest.approx(expected), "the rate is still rising at the end"
    kept = {path.name for path in (tmp_path / "run").glob("checkpoint-*")}
    assert kept == ({"checkpoint-2", "checkpoint-4", "checkpoint-6"} if name == "distilbert-imdb" else {"checkpoint-6"})
    assert (tmp_path / "run" / "result.json").is_file()
