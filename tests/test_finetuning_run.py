"""Tests of course_lib.finetuning.run and classify: whole runs of Trainer on a tiny random BERT and easy texts."""

import errno
import json
import math
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_checkpoints import save_body
from transformers.trainer_pt_utils import safe_globals

from course_lib.checkpoints import CheckpointError
from course_lib.data import DataError, Review
from course_lib.files import OutputError
from course_lib.finetuning import FineTuneConfig, FineTuned, Forecast, Watching, fine_tune_classifier
from course_lib.finetuning.predict import load_saved
from course_lib.finetuning.trainer import checkpoints, newest_checkpoint
from course_lib.hardware import detect
from course_lib.pretrained import PretrainedError
from course_lib.run_record import COLUMNS, RunRecord
from course_lib.training import DivergenceError, StopTraining

CPU = detect("cpu")
LENGTH = 12


def easy(n: int, start: int = 0) -> list[Review]:
    """Texts of several lengths, of which one word says everything; labels alternate."""
    opinion = ("terrible", "wonderful")
    return [Review(f"r{i}", f"a {opinion[i % 2]} film{' and more' * (i % 3)}", i % 2) for i in range(start, start + n)]


TRAIN, VALIDATION = easy(22), easy(8, start=100)
BASE: dict[str, Any] = {"epochs": 3, "batch_size": 4, "accumulation": 2, "learning_rate": 5e-3, "log_every": 1}
STEPS = 9  # 22 texts: 6 micro-batches, the last of two texts, 3 updates, 3 epochs


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_body(tmp_path_factory.mktemp("tiny"))


def tune(body: Path, out: Path | None = None, *, train: Any = TRAIN, validation: Any = VALIDATION, **more: Any) -> Any:
    choice = {k: more.pop(k) for k in ("resume", "watching", "n_labels", "allow_single_class", "layers") if k in more}
    config = FineTuneConfig(**{**BASE, "max_length": LENGTH, **more})
    return fine_tune_classifier(train, validation, checkpoint=body, config=config, hardware=CPU, out=out, **choice)


def stop_at(step: int) -> Watching:
    def on_step(done: int) -> None:
        if done == step:
            raise StopTraining("Ctrl-C")

    return Watching(on_step=on_step)


@pytest.fixture(scope="module")
def whole(body: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[FineTuned, Path, list[Forecast]]:
    """One run to its end, its folder, and what it forecast."""
    out, told = tmp_path_factory.mktemp("whole"), list[Forecast]()
    return tune(body, out, watching=Watching(on_forecast=told.append)), out, told


# --- what a run comes to --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def learned(body: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[FineTuned, Path]:
    """A run that is long enough to learn; about a second."""
    out = tmp_path_factory.mktemp("learned")
    longer = {"epochs": 8, "accumulation": 1, "learning_rate": 3e-3, "schedule": "constant"}
    return tune(body, out, **longer, eval_every=16), out


def test_it_learns_an_easy_task_from_ln_2_on(learned: tuple[FineTuned, Path]) -> None:
    done, _ = learned
    losses = done.record["train_loss"]
    assert losses[0] == pytest.approx(math.log(2), abs=0.08)
    assert losses[-1] < 0.3 * math.log(2)
    assert done.figures["eval_f1_weighted"] == 1.0
    assert done.finished
    assert done.record.run["ended"] == "finished"


def test_the_folder_has_the_three_files_the_model_and_its_tokenizer(
    whole: tuple[FineTuned, Path, list[Forecast]],
) -> None:
    _, out, _ = whole
    names = {path.name for path in out.iterdir() if not path.name.startswith("checkpoint-")}
    assert names == {
        "training_metrics.json",
        "training_curve.png",
        "loss_by_epoch.png",
        "model.safetensors",
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    config = json.loads((out / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert config["id2label"] == {"0": "negative", "1": "positive"}
    assert json.loads((out / "tokenizer_config.json").read_text())["model_max_length"] == LENGTH
    if os.name == "posix":
        mask = os.umask(0)
        os.umask(mask)
        assert {path.stat().st_mode & 0o777 for path in out.iterdir() if path.is_file()} == {0o666 & ~mask}


def test_nothing_that_is_pickled_needs_to_be_trusted(whole: tuple[FineTuned, Path, list[Forecast]]) -> None:
    _, out, _ = whole
    for folder in checkpoints(out):
        names = {path.name for path in folder.iterdir()}
        assert names == {
            *("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"),
            *("optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"),
        }
        with safe_globals():  # NumPy's arrays, which transformers allows in its own loading
            for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
                assert torch.load(folder / name, weights_only=True)
    assert not [path for path in out.rglob("*") if path.suffix in (".bin", ".pkl", ".pt") and path.parent == out]


def test_the_record_has_trainers_own_numbers(whole: tuple[FineTuned, Path, list[Forecast]]) -> None:
    done, out, _ = whole
    record = RunRecord.load(out)
    assert set(COLUMNS) <= set(record.columns)
    assert record["steps"] == list(range(1, STEPS + 1))
    logged = {line["step"]: line for line in done.log if "loss" in line}
    assert record["train_loss"] == [logged[step]["loss"] for step in record["steps"]]
    assert record["learning_rate"] == [logged[step]["learning_rate"] for step in record["steps"]]
    assert record["learning_rate"] == pytest.approx([5e-3 * (STEPS - s) / STEPS for s in range(STEPS)])
    assert record["grad_norm"] == [logged[step]["grad_norm"] for step in record["steps"]]
    assert record["epochs"] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    state = json.loads((checkpoints(out)[-1] / "trainer_state.json").read_text())
    assert [line["loss"] for line in state["log_history"] if "loss" in line] == record["train_loss"]
    evaluated = {line["step"]: line for line in done.log if "eval_loss" in line}
    assert record.evaluated() == [(step, evaluated[step]["eval_loss"]) for step in (3, 6, 9)]
    for name in ("f1_weighted", "f1_macro", "f1_positive", "accuracy", "confusion_matrix"):
        rows = [value for value in record[f"eval_{name}"] if value is not None]
        assert rows == [evaluated[step][f"eval_{name}"] for step in (3, 6, 9)]
    assert [sum(map(sum, table)) for table in record["eval_confusion_matrix"] if table] == [8, 8, 8]
    assert "eval_f1" not in record.columns
    assert record.run["finetuning"]["learning_rate"] == 5e-3
    assert record.run["reviews"] == 22


def test_the_weights_are_those_of_the_best_step(whole: tuple[FineTuned, Path, list[Forecast]]) -> None:
    done, out, _ = whole
    best = done.record.run["best_step"]
    f1 = dict(zip(done.record["steps"], done.record["eval_f1_weighted"], strict=True))
    assert best < STEPS, "reached before the end, so that best and last differ"
    assert f1[best] == max(value for value in f1.values() if value is not None) == done.record.run["best"]
    saved, stored = load_file(out / "model.safetensors"), load_file(out / f"checkpoint-{best}" / "model.safetensors")
    last = load_file(out / f"checkpoint-{STEPS}" / "model.safetensors")
    assert all(torch.equal(saved[name], stored[name]) for name in stored)
    assert not torch.equal(saved["classifier.weight"], last["classifier.weight"])
    state = done.model.state_dict()
    assert all(torch.equal(state[name], stored[name]) for name in stored)
    assert done.figures["step"] == best
    assert not done.model.training


def test_no_more_checkpoints_stay_than_were_asked_for(whole: tuple[FineTuned, Path, list[Forecast]]) -> None:
    done, out, _ = whole
    assert {path.name for path in checkpoints(out)} == {f"checkpoint-{done.record.run['best_step']}", "checkpoint-9"}


def test_the_forecast_is_told_once_and_remembered(whole: tuple[FineTuned, Path, list[Forecast]]) -> None:
    done, _, told = whole
    assert told == [done.forecast]
    assert told[0].steps == STEPS
    assert told[0].after == 6
    assert told[0].seconds > 0
    assert told[0].memory_bytes > 0


def test_what_was_saved_reads_as_far_as_it_was_trained_to(learned: tuple[FineTuned, Path]) -> None:
    done, out = learned
    classifier = load_saved(out)
    assert classifier.max_length == LENGTH
    text = "a wonderful film " + "terrible " * 30
    cut = done.tokenizer(text, truncation=True, max_length=LENGTH, return_tensors="pt")
    with torch.no_grad():
        expected = done.model(**cut).logits
    torch.testing.assert_close(classifier.logits([text]), expected, rtol=0, atol=1e-5)
    assert [answer.label for answer in classifier.predict(["a wonderful film", "a terrible film"])] == [1, 0]


# --- seeds and generators -------------------------------------------------------------------------------------------


def test_the_seed_decides_and_the_callers_generators_stay(
    body: Path, whole: tuple[FineTuned, Path, list[Forecast]]
) -> None:
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    again, other = tune(body, max_steps=3), tune(body, max_steps=3, seed=1)
    assert random.getstate() == before[0]
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), before[1], strict=True))  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])
    torch.rand(7)
    third = tune(body, max_steps=3)
    assert again.record["train_loss"] == third.record["train_loss"]
    assert again.record["train_loss"][0] == whole[0].record["train_loss"][0]
    assert not set(again.record["train_loss"]) & set(other.record["train_loss"])


@pytest.mark.parametrize("accumulation", [1, 2, 4])
def test_the_first_loss_is_ln_2_whatever_the_accumulation(body: Path, accumulation: int) -> None:
    # Without group_loss, Trainer adds up the means of the micro-batches: 2 ln 2 and 4 ln 2 would be logged.
    done = tune(body, validation=None, max_steps=1, accumulation=accumulation)
    assert done.record["train_loss"] == [pytest.approx(math.log(2), abs=0.08)]
    assert done.figures == {}


def test_recomputed_activations_change_no_loss(body: Path, whole: tuple[FineTuned, Path, list[Forecast]]) -> None:
    done = tune(body, max_steps=3, validation=None, schedule="constant")
    again = tune(body, max_steps=3, validation=None, schedule="constant", gradient_checkpointing=True)
    assert again.record["train_loss"] == pytest.approx(done.record["train_loss"], abs=1e-6)
    assert again.record["grad_norm"] == pytest.approx(done.record["grad_norm"], rel=1e-4)


def test_no_clipping_clips_nothing(body: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clipped: list[float] = []
    real = torch.nn.utils.clip_grad_norm_

    def noting(parameters: Any, max_norm: float, *rest: Any, **more: Any) -> Any:
        clipped.append(max_norm)
        return real(parameters, max_norm, *rest, **more)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", noting)
    free = tune(body, max_steps=2, validation=None, clip_norm=None)
    assert [norm for norm in clipped if math.isfinite(norm)] == []
    held = tune(body, max_steps=2, validation=None, clip_norm=1e-6)
    assert clipped[-2:] == [1e-6, 1e-6]
    assert free.record["grad_norm"][0] == pytest.approx(held.record["grad_norm"][0], rel=1e-5), "before clipping"
    assert free.record["train_loss"][1] != held.record["train_loss"][1]


def test_bf16_and_groups_of_like_length_run(body: Path) -> None:
    done = tune(body, max_steps=2, validation=None, precision="bf16", group_by_length=True)
    assert all(math.isfinite(loss) for loss in done.record["train_loss"])
    assert next(done.model.parameters()).dtype == torch.float32, "the weights stay fp32"


def test_a_frozen_body_stays_and_the_head_learns(body: Path) -> None:
    start = load_file(body / "model.safetensors")
    done = tune(body, max_steps=3, validation=None, freeze_body=True, weight_decay=0.1)
    trained = done.model.state_dict()
    assert all(torch.equal(trained[f"bert.{name}"], value) for name, value in start.items())
    again = tune(body, max_steps=1, validation=None, learning_rate=0.0)
    assert not torch.equal(trained["classifier.weight"], again.model.state_dict()["classifier.weight"])


def test_three_labels_and_one_layer(body: Path, tmp_path: Path) -> None:
    texts = [Review(f"r{i}", ("dull", "fine", "great")[i % 3], i % 3) for i in range(12)]
    done = tune(body, tmp_path, train=texts, validation=texts[:6], n_labels=3, layers=1, epochs=1)
    assert np.array(done.figures["eval_confusion_matrix"]).shape == (3, 3)
    assert "eval_f1_positive" not in done.figures
    classifier = load_saved(tmp_path)
    assert classifier.logits(["fine"]).shape == (1, 3)
    assert classifier.predict(["fine"])[0].name in ("LABEL_0", "LABEL_1", "LABEL_2")
    assert json.loads((tmp_path / "config.json").read_text())["num_hidden_layers"] == 1
    with pytest.raises(PretrainedError, match="trained for 3 labels, and 2 are asked for"):
        tune(tmp_path)


# --- ends that are not the planned one ------------------------------------------------------------------------------


def test_early_stopping_ends_the_run_and_says_so(body: Path, tmp_path: Path) -> None:
    done = tune(body, tmp_path, epochs=50, eval_every=1, patience=3, learning_rate=0.0)
    assert done.record["steps"] == [1, 2, 3, 4], "the first is the best, and three more do not improve"
    assert done.record.run["ended"] == "stopped early: eval_f1_weighted did not improve"
    assert done.record.run["best_step"] == 1
    assert done.finished
    assert (tmp_path / "model.safetensors").is_file()


@pytest.fixture(scope="module")
def ragged(body: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[FineTuned, Path]:
    """A run that logs every second update, beside which stopped ones are held."""
    out = tmp_path_factory.mktemp("ragged")
    return tune(body, out, log_every=2), out


def same(done: FineTuned, other: FineTuned) -> None:
    for column in ("steps", "train_loss", "val_loss", "learning_rate", "epochs", "grad_norm", "eval_confusion_matrix"):
        assert done.record[column] == other.record[column], column
    weights, others = done.model.state_dict(), other.model.state_dict()
    assert all(torch.equal(weights[name], others[name]) for name in others)
    timing = ("runtime", "per_second")
    kept = [{k: v for k, v in each.figures.items() if not k.endswith(timing)} for each in (done, other)]
    assert kept[0] == kept[1]


# 5: in the middle of an epoch and of a log window. 6: at the end of both. 8: after the best weights were met.
@pytest.mark.parametrize("step", [5, 6, 8])
def test_a_stopped_run_goes_on_to_the_same_bits(
    body: Path, ragged: tuple[FineTuned, Path], step: int, tmp_path: Path
) -> None:
    stopped = tune(body, tmp_path, log_every=2, watching=stop_at(step))
    assert not stopped.finished
    assert stopped.record.run["ended"] == f"stopped at step {step}: Ctrl-C"
    assert newest_checkpoint(tmp_path).name == f"checkpoint-{step}"
    assert not (tmp_path / "model.safetensors").exists(), "an unfinished run leaves no model to use by mistake"
    half = tmp_path / "checkpoint-77"  # what a kill in the middle of a save leaves: no trainer_state.json
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    mine = tmp_path / "checkpoint-notes"
    mine.mkdir()
    resumed = tune(body, tmp_path, log_every=2, resume=True)
    assert resumed.finished
    assert mine.exists(), "a folder of that name which no run wrote"
    assert not half.exists()
    same(resumed, ragged[0])
    times = RunRecord.load(tmp_path)["seconds"]
    assert times == sorted(times), "the second sitting goes on counting"
    assert times[0] > 0.001, "and keeps what it took over"


def test_the_newest_checkpoint_survives_where_only_one_is_kept(body: Path, tmp_path: Path) -> None:
    tune(body, tmp_path, keep_checkpoints=1, watching=stop_at(8))
    assert newest_checkpoint(tmp_path).name == "checkpoint-8"


def test_patience_is_remembered(body: Path, tmp_path: Path) -> None:
    choice = {"epochs": 50, "eval_every": 1, "patience": 3, "learning_rate": 0.0}
    tune(body, tmp_path, **choice, watching=stop_at(3))
    done = tune(body, tmp_path, **choice, resume=True)
    assert done.record["steps"] == [1, 2, 3, 4]
    assert done.record.run["ended"].startswith("stopped early")


def test_without_a_whole_checkpoint_there_is_nothing_to_go_on_from(body: Path, tmp_path: Path) -> None:
    for name, state in (("checkpoint-3", None), ("checkpoint-4", '{"global_'), ("checkpoint-x", "{}")):
        (tmp_path / name).mkdir()
        if state is not None:
            (tmp_path / name / "trainer_state.json").write_text(state)
    with pytest.raises(CheckpointError, match=r"found none that is whole; start the run without resuming"):
        tune(body, tmp_path, resume=True)


@pytest.mark.parametrize("out", [True, False])
def test_a_loss_that_is_not_a_number_ends_the_run(body: Path, out: bool, tmp_path: Path) -> None:
    with pytest.raises(DivergenceError, match=r"step \d: the (eval_)?loss is (nan|inf).*lower the learning rate"):
        tune(body, tmp_path if out else None, learning_rate=1e30, clip_norm=None, schedule="constant", epochs=6)
    if out:
        assert RunRecord.load(tmp_path).run["ended"].startswith("failed: DivergenceError")
        assert not (tmp_path / "model.safetensors").exists()


# --- a disk that is full --------------------------------------------------------------------------------------------


def full_at_the_second(real: Callable[..., Any], error: Callable[[], Exception]) -> Callable[..., Any]:
    """Fails for good once checkpoint-6 is written to, after some bytes."""

    def save(content: Any, path: Any, *rest: Any, **more: Any) -> Any:
        if "checkpoint-6" in str(path):
            Path(path).write_bytes(b"half")
            raise error()
        return real(content, path, *rest, **more)

    return save


def no_space() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def from_torch() -> RuntimeError:
    error = RuntimeError("[enforce fail at inline_container.cc:603] . unexpected pos")
    error.__context__ = no_space()
    return error


@pytest.mark.parametrize("error", [no_space, from_torch])
def test_a_full_disk_leaves_the_checkpoint_before_it_whole(
    body: Path, ragged: tuple[FineTuned, Path], error: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full_at_the_second(torch.save, error))
        with pytest.raises(OutputError, match=r"the disk is full; free space or choose another folder.*checkpoint-6"):
            tune(body, tmp_path, log_every=2)
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-3"]
    assert RunRecord.load(tmp_path).run["ended"].startswith("failed: OutputError")
    same(tune(body, tmp_path, log_every=2, resume=True), ragged[0])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 20 MB: room for one checkpoint of 13 MB, not for two."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("there is no mount here")
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)  # torch may still hold the file it failed on


def test_a_disk_that_is_really_full(body: Path, small_disk: Path) -> None:
    with pytest.raises(OutputError, match="the disk is full"):
        tune(body, small_disk, log_every=2)
    assert [path.name for path in small_disk.glob("checkpoint-*")] == ["checkpoint-3"]
    state = torch.load(small_disk / "checkpoint-3" / "optimizer.pt", weights_only=True)
    assert len(state["state"]) > 10
    assert load_file(small_disk / "checkpoint-3" / "model.safetensors")


def test_a_model_that_cannot_be_saved_leaves_the_checkpoints(
    body: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import PreTrainedModel

    real = PreTrainedModel.save_pretrained

    def save(self: Any, folder: Any, **more: Any) -> None:
        if "checkpoint-" not in str(folder):
            Path(folder).mkdir()
            raise no_space()
        real(self, folder, **more)

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", save)
    with pytest.raises(OutputError, match="the disk is full"):
        tune(body, tmp_path, max_steps=2)
    assert not (tmp_path / "config.json").exists()
    assert not list(tmp_path.glob(".model*"))
    assert newest_checkpoint(tmp_path).name == "checkpoint-2"


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": []}, "training data: expected at least one text"),
        ({"train": [*TRAIN, Review("x", " ", 1)]}, "training data, 'x': the text is empty"),
        ({"train": [*TRAIN, Review("x", "y", 2)]}, "training data, 'x': expected a label from 0 to 1; got 2"),
        ({"validation": [Review("x", "y", -1)]}, "validation data, 'x': expected a label from 0 to 1; got -1"),
        ({"validation": []}, "validation data: expected at least one text"),
        ({"train": TRAIN[::2]}, "all 11 training texts have the label 0"),
        ({"max_length": 513}, "max_length: expected at most 512, the positions that the model has; got 513"),
    ],
)
def test_data_that_would_teach_nothing_is_refused(body: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        tune(body, **changes)
    assert str(caught.value).startswith(message)


def test_one_class_is_trained_on_when_it_is_allowed(body: Path) -> None:
    one = {"train": TRAIN[::2], "validation": VALIDATION[::2], "allow_single_class": True}
    done = tune(body, **one, learning_rate=1e-2, schedule="constant", epochs=8)
    assert done.figures["eval_accuracy"] == 1.0, "and proves nothing"
    assert done.record["train_loss"][-1] < 0.5


def test_a_figure_or_a_patience_without_its_evaluation_is_refused_before_anything_is_loaded() -> None:
    nowhere = Path("nowhere")
    with pytest.raises(ValueError, match=r"best_metric: expected one of loss, accuracy, .*; got 'f1'"):
        tune(nowhere, best_metric="f1")
    with pytest.raises(ValueError, match=r"best_metric: .*; got 'f1_positive'"):
        tune(nowhere, best_metric="f1_positive", n_labels=3)


def test_patience_needs_validation_data(body: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="patience: expected validation data"):
        tune(body, tmp_path / "new", validation=None, patience=1)
    assert not (tmp_path / "new").exists()


def test_more_steps_than_the_epochs_have_add_no_epoch(body: Path) -> None:
    done = tune(body, validation=None, epochs=1, max_steps=50)
    assert done.record["steps"] == [1, 2, 3]
    assert done.record["learning_rate"][-1] == pytest.approx(5e-3 / 3), "the schedule ends with the run"
