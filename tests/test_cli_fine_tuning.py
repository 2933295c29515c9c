"""The command line of the fine-tuned recipes and of `predict`, as a person meets it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tiny_checkpoints import save_body
from typer.testing import CliRunner

from course_lib.cli import app
from course_lib.finetuning.trainer import newest_checkpoint
from course_lib.run_record import RunRecord

SMALL = {"train_limit": 32, "validation_limit": 8, "test_limit": 10, "max_length": 16, "log_every": 1}
AVERAGES = ("weighted", "macro", "positive")


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_DEVICE", "cpu")
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_body(tmp_path_factory.mktemp("tiny"))


def command(*arguments: object, stdin: str | None = None) -> Any:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), "a traceback reached a person"
    assert "Traceback" not in result.stderr
    return result


def changes(body: Path, **more: object) -> list[str]:
    return [
        part for key, value in {**SMALL, "checkpoint": body, **more}.items() for part in ("--set", f"{key}={value}")
    ]


@pytest.fixture(scope="module")
def done(body: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    out = tmp_path_factory.mktemp("cli") / "run"
    os.environ["COURSE_DEVICE"] = "cpu"
    try:
        result = command("run", "distilbert-imdb", "--out", out, *changes(body, learning_rate="3e-3", warmup_steps=1))
    finally:
        del os.environ["COURSE_DEVICE"]
    assert result.exit_code == 0, result.stderr
    return result, out


def test_a_run_goes_through_five_phases_in_order_and_ends_with_a_verdict(done: tuple[Any, Path]) -> None:
    result, out = done
    text = result.stdout
    parts = [
        "[1/5] Loading model and tokenizer",
        "newly initialized: classifier.bias, classifier.weight.",
        "ln 2 = 0.693",
        "[2/5] Loading reviews",
        "training: 32 reviews, ",
        "validation, measured on the way",
        "test, judges once at the end",
        "[3/5] Tokenizing",
        "were cut at 16",
        "[4/5] Setting up training",
        "4 micro-batches of 8 an epoch, 2 to an update: 2 updates an epoch, 6 in all",
        "a checkpoint takes about ",
        "[5/5] Training",
        "in all and ",
        "GB of memory, told from the first 5 updates",
        "Ctrl-C saves a checkpoint",
        "EVALUATION",
        "finished, after ",
        "Test accuracy ",
        "95% interval",
        "commonest class",
        "seed may differ",
        f"Saved: python -m course_lib predict {out}",
    ]
    places = [text.find(part) for part in parts]
    assert -1 not in places, parts[places.index(-1)]
    assert places == sorted(places)
    assert len(RunRecord.load(out)) == 6


def test_the_evaluation_names_every_average(done: tuple[Any, Path]) -> None:
    block = done[0].stdout.partition("EVALUATION")[2]
    for name in (
        "eval_loss",
        "eval_accuracy",
        *(f"eval_{s}_{a}" for s in ("precision", "recall", "f1") for a in AVERAGES),
    ):
        assert re.search(rf"^ +{name}: \d\.\d{{4}}$", block, re.MULTILINE), name
    assert re.search(r"eval_confusion_matrix: \[\[\d+, \d+\], \[\d+, \d+\]\]", block)
    assert not re.search(r"\b(eval_)?(f1|recall|precision):", block), "a bare average cannot be read"


def test_a_warm_up_longer_than_the_run_is_warned_of(body: Path, tmp_path: Path) -> None:
    result = command("run", "distilbert-imdb", "--out", tmp_path, "--max-steps", "1", *changes(body))
    assert result.exit_code == 0, result.stderr
    assert "warning: the warm-up of 500 updates outlives the run of 1" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["distilbert-imdb", "--variation", "x"], 2, "no variation 'x'; there are: warmup-47, frozen"),
        (["distilbert-imdb", "--set", "best_metric=f1"], 2, "best_metric: expected one of loss, accuracy"),
        (["distilbert-imdb", "--set", "checkpoint=nowhere"], 2, "no checkpoint 'nowhere': expected one of minilm"),
        (["bert-imdb", "--set", "order=sorted_by_label"], 1, "Shuffle before you take a part"),
        (["bert-imdb", "--set", "layers=5"], 2, "a divisor or a multiple of the 2 that the body has; got 5"),
        (["char-lm", "--allow-single-class"], 2, "no setting 'allow_single_class'"),
        (["distilbert-imdb", "--resume"], 2, "run.json"),
    ],
)
def test_what_cannot_be_is_one_line(body: Path, tmp_path: Path, arguments: list[str], code: int, expected: str) -> None:
    given = [] if "char-lm" in arguments else changes(body)
    result = command("run", arguments[0], "--out", tmp_path, *given, *arguments[1:])
    assert result.exit_code == code
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert expected in lines[0]


def test_one_class_runs_when_it_is_asked_for(body: Path, tmp_path: Path) -> None:
    given = changes(body, order="sorted_by_label")
    result = command("run", "bert-imdb", "--out", tmp_path, "--max-steps", "1", "--allow-single-class", *given)
    assert result.exit_code == 0, result.stderr
    assert "warning: all 32 training texts have the label 0" in result.stdout
    assert "This run shows nothing about the model." in result.stdout


def test_a_variation_names_its_folder(body: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = command("run", "distilbert-imdb", "--variation", "frozen", "--max-steps", "1", *changes(body))
    assert result.exit_code == 0, result.stderr
    folder = tmp_path / "runs" / "distilbert-imdb-pocket-frozen"
    assert RunRecord.load(folder).run["settings"]["freeze_body"] is True
    assert "the head alone train" in result.stdout


def test_full_scale_without_a_network_says_how_to_get_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    result = command("run", "distilbert-imdb", "--scale", "full", "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert "hf download distilbert/distilbert-base-uncased" in result.stderr


# --- Ctrl-C ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send to another process")
def test_ctrl_c_saves_a_checkpoint_and_the_run_resumes_to_its_end(body: Path, tmp_path: Path) -> None:
    steps = 200
    given = changes(body, epochs=100, test_limit=4, validation_limit=4)
    line = ["-m", "course_lib", "run", "distilbert-imdb", "--out", str(tmp_path), "--max-steps", str(steps), *given]
    process = subprocess.Popen([sys.executable, *line], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 150
    while not (tmp_path / "training_metrics.json").exists():
        assert time.monotonic() < deadline, "no record in time"
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=150)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "stopping after this update" in err
    assert f"A checkpoint was saved in {tmp_path}." in out
    stopped = RunRecord.load(tmp_path)["steps"][-1]
    assert stopped < steps
    assert newest_checkpoint(tmp_path).name == f"checkpoint-{stopped}"
    again = next(line for line in out.splitlines() if line.startswith("go on with: "))
    resumed = command(*again.removeprefix("go on with: python -m course_lib ").split())
    assert resumed.exit_code == 0, resumed.stderr
    assert "finished, after " in resumed.stdout
    assert RunRecord.load(tmp_path)["steps"] == list(range(1, steps + 1)), "no step is missing, none is there twice"
    assert (tmp_path / "model.safetensors").is_file()


# --- predict --------------------------------------------------------------------------------------------------------


def test_predict_answers_a_text(done: tuple[Any, Path]) -> None:
    result = command("predict", done[1], "a wonderful film")
    assert result.exit_code == 0, result.stderr
    assert re.fullmatch(r"(negative \(0\)|positive \(1\)), probability 0\.\d{3}\n", result.stdout)


def test_predict_says_when_it_did_not_read_to_the_end(done: tuple[Any, Path]) -> None:
    result = command("predict", done[1], "word " * 50)
    assert "cut: only the first part of its 52 tokens was read" in result.stdout


def test_predict_reads_lines_and_skips_empty_ones(done: tuple[Any, Path]) -> None:
    result = command("predict", done[1], stdin="a [bold]fine[/bold] film\n\nterrible\r\n")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    assert lines[0].endswith(": a [bold]fine[/bold] film")
    assert lines[1].endswith(": terrible")


def test_predict_gives_json(done: tuple[Any, Path]) -> None:
    one = json.loads(command("predict", done[1], "schön", "--json").stdout)
    assert one.keys() == {"text", "label", "name", "probability", "tokens", "cut"}
    assert (one["text"], one["cut"]) == ("schön", False)
    assert one["name"] == ("negative", "positive")[one["label"]]
    assert 0.5 <= one["probability"] <= 1
    several = json.loads(command("predict", done[1], "--json", stdin="good\nbad\n").stdout)
    assert [row["text"] for row in several] == ["good", "bad"]


def test_predict_reads_a_checkpoint_of_a_run(done: tuple[Any, Path]) -> None:
    newest = newest_checkpoint(done[1])
    assert command("predict", newest, "fine").exit_code == 0


@pytest.mark.parametrize(
    ("text", "stdin", "expected"),
    [
        ("", None, "got an empty text"),
        ("  ", None, "got an empty text"),
        (None, "\n \n", "got none"),
        (None, "", "got none"),
    ],
)
def test_predict_wants_words(done: tuple[Any, Path], text: str | None, stdin: str | None, expected: str) -> None:
    result = command("predict", done[1], *([] if text is None else [text]), stdin=stdin)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert expected in result.stderr
    assert result.stdout == ""


def test_predict_refuses_a_folder_that_holds_no_classifier(body: Path, tmp_path: Path) -> None:
    for folder, expected in (
        (tmp_path / "no", "run distilbert-imdb"),
        (tmp_path, "run distilbert-imdb"),
        (body, "BertModel"),
    ):
        result = command("predict", folder, "fine")
        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 1
        assert expected in result.stderr


def test_predict_reads_a_run_of_the_encoder_from_scratch(tmp_path: Path) -> None:
    sizes = {"d_model": 16, "n_heads": 2, "n_layers": 1, "d_ff": 16, "train_limit": 64, "validation_limit": 20}
    given = [part for key, value in (sizes | {"test_limit": 20}).items() for part in ("--set", f"{key}={value}")]
    assert command("run", "encoder-imdb", "--out", tmp_path, "--max-steps", "2", *given).exit_code == 0
    result = command("predict", tmp_path, "a wonderful film")
    assert result.exit_code == 0, result.stderr
    assert re.fullmatch(r"(negative \(0\)|positive \(1\)), probability 0\.\d{3}\n", result.stdout)
    assert "cut: " in command("predict", tmp_path, "word " * 300).stdout
