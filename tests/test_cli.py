import json
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from course_lib.cli import app
from course_lib.recipes import RECIPES
from course_lib.run_record import RunRecord

TINY = {"d_model": 16, "n_heads": 2, "n_layers": 1, "d_ff": 32, "context": 16, "held_out": 0.01, "eval_every": 5}
SET_TINY = [part for key, value in (TINY | {"log_every": 1}).items() for part in ("--set", f"{key}={value}")]


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setenv("COURSE_DEVICE", "cpu")
    monkeypatch.setenv("COLUMNS", "200")


def command(*arguments):
    """The command line in this process: the same code as a shell runs, without starting Python and torch each time."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), "a traceback reached a person"
    return result


def test_hardware_as_a_table_and_as_json():
    table = command("hardware")
    assert table.exit_code == 0
    assert "cores" in table.stdout
    facts = json.loads(command("hardware", "--json").stdout)
    assert facts["device"] == "cpu"
    assert facts["cores"] >= 1
    assert "fp32" in facts["precisions"]
    assert "cpu" in facts["available"]


@pytest.mark.skipif("__import__('torch').cuda.is_available()")
@pytest.mark.parametrize("how", ["argument", "variable"])
def test_a_device_that_is_absent_is_one_line_that_says_what_there_is(how, monkeypatch):
    if how == "variable":
        monkeypatch.setenv("COURSE_DEVICE", "cuda")
    result = command("hardware", *(["--device", "cuda"] if how == "argument" else []))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert "This machine has: " in result.stderr
    assert "cpu" in result.stderr


def test_recipes_lists_each_scale_with_its_forecast():
    listed = json.loads(command("recipes", "--json").stdout)
    assert {(row["name"], row["scale"]) for row in listed} == {
        (name, scale) for name in RECIPES for scale in ("pocket", "full")
    }
    for row in listed:
        assert row["forecast_seconds"] > 0
        assert row["steps"] > 0
        assert row["settings"]["learning_rate"] > 0


def test_run_trains_and_says_where_and_how_well(tmp_path):
    result = command("run", "char-lm", "--out", tmp_path / "a", "--seed", "3", "--max-steps", "10", *SET_TINY)
    assert result.exit_code == 0, result.stderr
    record = RunRecord.load(tmp_path / "a")
    assert record["steps"] == list(range(1, 11))
    assert record.run["seed"] == 3
    for expected in ("about ", "before training", "after training", "held-out loss", "finished"):
        assert expected in result.stdout


def test_a_run_without_a_folder_makes_a_fresh_one_each_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert command("run", "char-lm", "--max-steps", "1", *SET_TINY).exit_code == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["char-lm-pocket", "char-lm-pocket-2"]


def test_python_dash_m_is_the_command_line():
    line = [sys.executable, "-m", "course_lib", "run", "bert"]
    result = subprocess.run(line, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == "error: no recipe 'bert'; there are: distilbert-imdb, bert-imdb, encoder-imdb, char-lm\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "bert"], "there are: distilbert-imdb, bert-imdb, encoder-imdb, char-lm"),
        (["run", "char-lm", "--scale", "huge"], "there are: pocket, full"),
        (["run", "char-lm", "--set", "lr=1"], "no setting 'lr'; there are: epochs"),
        (["run", "char-lm", "--set", "learning_rate=fast"], "expected a number; got 'fast'"),
        (["run", "char-lm", "--set", "learning_rate"], "expected key=value"),
        (["run", "char-lm", "--seed", "-1"], "--seed: expected 0 to"),
        (["run", "char-lm", "--max-steps", "0"], "max_steps: expected at least 1"),
        (["run", "char-lm", "--out", "/proc/nowhere"], "/proc/nowhere: cannot write"),
        (["run", "char-lm", "--out", "FILE/run"], "choose another folder"),
        (["run", "char-lm", "--out", "EMPTY", "--resume"], "run.json"),
    ],
)
def test_what_cannot_be_exits_with_2_and_one_line(tmp_path, arguments, expected):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    arguments = [a.replace("FILE", str(tmp_path / "file")).replace("EMPTY", str(tmp_path / "empty")) for a in arguments]
    result = command(*arguments)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert expected in result.stderr
    assert result.stdout == ""


def test_an_unknown_command_or_option_exits_with_2_and_no_traceback():
    for arguments in (["nope"], ["run"], ["run", "char-lm", "--bogus"], ["hardware", "--bogus"]):
        result = command(*arguments)
        assert result.exit_code == 2
        assert "Traceback" not in result.stderr


def test_full_scale_without_a_network_says_how_to_get_the_data(tmp_path):
    result = command("run", "encoder-imdb", "--scale", "full", "--out", tmp_path, "--set", "n_layers=1")
    assert result.exit_code == 1
    assert "stanfordnlp/imdb" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_diverging_run_says_where_and_what_to_try_and_keeps_a_valid_record(tmp_path):
    extra = [
        "--set",
        "warmup_steps=0",
        "--set",
        "learning_rate=1e30",
        "--set",
        "clip_norm=none",
        "--set",
        "style=gpt2",
        "--set",
        "schedule=constant",
    ]
    result = command("run", "char-lm", "--out", tmp_path, "--max-steps", "50", *SET_TINY, *extra)
    assert result.exit_code == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: step ")
    for expected in ("The rate was 1e+30", "gradient norm", "Try a rate ten times lower"):
        assert expected in last
    assert "Traceback" not in result.stderr
    assert RunRecord.load(tmp_path).run["ended"].startswith("diverged")


def start_long_run(folder):
    line = [
        sys.executable,
        "-m",
        "course_lib",
        "run",
        "char-lm",
        "--out",
        str(folder),
        "--max-steps",
        "100000",
        *SET_TINY,
    ]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (folder / "checkpoint.pt").exists():
        assert time.monotonic() < deadline, "no checkpoint in a minute"
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    return process


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    process = start_long_run(tmp_path)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    again = next(line for line in out.splitlines() if line.startswith("go on with: "))
    assert "--resume" in again
    assert str(tmp_path) in again
    stopped_at = RunRecord.load(tmp_path)["steps"][-1]
    arguments = again.removeprefix("go on with: python -m course_lib ").split()
    arguments[arguments.index("--max-steps") + 1] = "100000"
    resumed = subprocess.Popen([sys.executable, "-m", "course_lib", *arguments], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while RunRecord.load(tmp_path)["steps"][-1] <= stopped_at + 5 and time.monotonic() < deadline:
        time.sleep(0.1)
    resumed.send_signal(signal.SIGKILL)
    resumed.wait()
    record = RunRecord.load(tmp_path)
    assert record["steps"] == list(range(1, record["steps"][-1] + 1)), "no step is missing, none is there twice"


def test_the_start_does_not_import_torch():
    code = "import sys, course_lib.cli; print([m for m in ('torch', 'transformers', 'matplotlib') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
