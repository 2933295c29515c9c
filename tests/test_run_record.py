"""The record of a run: the source's schema to the letter, JSON that stays JSON, and pictures that are pictures."""

import json
import math

import matplotlib.image
import numpy as np
import pytest
import torch

from course_lib import run_record
from course_lib.files import OutputError
from course_lib.run_record import CURVE_FILE, EPOCHS_FILE, METRICS_FILE, RecordError, RunRecord


def record(rows=6, **run):
    made = RunRecord(run)
    for row in range(rows):
        made.log(
            step=10 * (row + 1),
            epoch=row // 3,
            train_loss=2.0 - 0.1 * row,
            learning_rate=1e-3 * row,
            val_loss=1.9 - 0.1 * row if row % 3 == 2 else None,
        )
    return made


def strict(path):
    """Parse as JSON's own rules have it: no NaN, no Infinity."""
    return json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_the_file_has_the_schema_of_the_source(tmp_path):
    record(seed=3).save(tmp_path)
    content = strict(tmp_path / "training_metrics.json")
    assert list(content) == ["train_loss", "val_loss", "learning_rate", "epochs", "steps", "run"]
    assert content["train_loss"] == pytest.approx([2.0, 1.9, 1.8, 1.7, 1.6, 1.5])
    assert content["val_loss"] == [None, None, pytest.approx(1.7), None, None, pytest.approx(1.4)]
    assert content["learning_rate"] == pytest.approx([0.0, 1e-3, 2e-3, 3e-3, 4e-3, 5e-3])
    assert content["epochs"] == [0, 0, 0, 1, 1, 1]
    assert content["steps"] == [10, 20, 30, 40, 50, 60]
    assert content["run"] == {"seed": 3}
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "loss_by_epoch.png",
        "training_curve.png",
        "training_metrics.json",
    ]


def test_save_and_load_are_inverse(tmp_path):
    made = record(seed=1, note="ä", nested={"betas": [0.9, 0.99]})
    made.save(tmp_path, pictures=False)
    for place in (tmp_path, tmp_path / METRICS_FILE, str(tmp_path)):
        assert RunRecord.load(place).to_dict() == made.to_dict()
    loaded = RunRecord.load(tmp_path)
    loaded.log(step=70, epoch=2, train_loss=1.0, learning_rate=0.0)
    assert len(loaded) == 7
    assert len(made) == 6


def test_what_json_has_no_word_for_becomes_null_or_text(tmp_path):
    made = RunRecord(
        {"best": math.nan, "clip": math.inf, "shape": (2, 3), "device": torch.device("cpu"), 1: np.int64(2)}
    )
    made.log(
        step=np.int64(1),
        epoch=0,
        train_loss=math.nan,
        learning_rate=np.float32(0.5),
        val_loss=math.inf,
        grad_norm=-math.inf,
        val_f1=np.float64(0.25),
    )
    made.save(tmp_path)
    content = strict(tmp_path / METRICS_FILE)
    assert [content[name] for name in ("train_loss", "val_loss", "grad_norm")] == [[None], [None], [None]]
    assert [content[name] for name in ("steps", "learning_rate", "val_f1")] == [[1], [0.5], [0.25]]
    assert content["run"] == {"best": None, "clip": None, "shape": [2, 3], "device": "cpu", "1": 2}


def test_a_column_that_comes_late_has_null_before():
    made = record(2)
    made.log(step=30, epoch=0, train_loss=1.0, learning_rate=0.1, val_accuracy=0.5)
    made.log(step=40, epoch=0, train_loss=1.0, learning_rate=0.1)
    assert made["val_accuracy"] == [None, None, 0.5, None]
    assert len({len(values) for values in made.columns.values()}) == 1


@pytest.mark.parametrize("step", [20, 19, 0])
def test_steps_must_grow(step):
    made = record(2)
    with pytest.raises(RecordError, match=f"expected more than 20, the last one logged, got {step}"):
        made.log(step=step, epoch=0, train_loss=1.0, learning_rate=0.1)
    assert len(made) == 2


def test_epoch_means_weigh_each_row_by_its_steps():
    made = RunRecord()
    for step, epoch, loss in ((10, 0, 4.0), (12, 0, 1.0), (13, 1, 7.0), (23, 1, None), (33, 1, 2.0)):
        made.log(step=step, epoch=epoch, train_loss=loss, learning_rate=0.1, val_loss=loss if epoch else None)
    assert made.epoch_means() == {0: (4.0 * 10 + 1.0 * 2) / 12, 1: (7.0 * 1 + 2.0 * 10) / 11}
    assert made.epoch_means("val_loss") == {1: (7.0 + 20.0) / 11}
    assert made.evaluated() == [(13, 7.0), (33, 2.0)]
    assert RunRecord().epoch_means() == {}


COMPLETE = {"train_loss": [1.0], "val_loss": [None], "learning_rate": [0.1], "epochs": [0], "steps": [1]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected JSON"),
        ("", "expected JSON"),
        ("[1, 2]", "expected a JSON object .* got list"),
        ('"text"', "got str"),
        (json.dumps({"steps": [1]}), "missing: train_loss, val_loss, learning_rate, epochs"),
        (json.dumps({**COMPLETE, "val_loss": None}), "missing: val_loss"),
        (json.dumps({**COMPLETE, "steps": [1, 2]}), "expected columns of one length, got .*'steps': 2"),
        (json.dumps({**COMPLETE, "run": [1]}), "expected a JSON object under run, got list"),
    ],
)
def test_files_that_are_no_record_are_named(text, message, tmp_path):
    path = tmp_path / "some.json"
    path.write_text(text)
    with pytest.raises(RecordError, match=rf"some\.json: .*{message}"):
        RunRecord.load(path)


def test_missing_and_undecodable_files_are_named(tmp_path):
    with pytest.raises(RecordError, match=r"training_metrics\.json: no such file"):
        RunRecord.load(tmp_path)
    (tmp_path / METRICS_FILE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecordError, match=r"training_metrics\.json: expected JSON"):
        RunRecord.load(tmp_path)


def test_the_source_file_alone_is_a_record(tmp_path):
    (tmp_path / METRICS_FILE).write_text(json.dumps({**COMPLETE, "model": "a name beside the columns"}))
    assert RunRecord.load(tmp_path).columns == COMPLETE


# --- pictures ---------------------------------------------------------------------------------------------------------


def empty_rates():
    made = RunRecord()
    for step in (1, 2):
        made.log(step=step, epoch=0, train_loss=None, learning_rate=0.0)
    return made


def many_epochs():
    made = RunRecord()
    for step in range(1, 60):
        made.log(step=step, epoch=step, train_loss=1 / step, learning_rate=0.1, val_loss=2 / step)
    return made


@pytest.mark.parametrize("made", [record(), record(1), record(3), empty_rates(), many_epochs()])
def test_pictures_are_images_with_something_on_them(made, tmp_path):
    made.save(tmp_path)
    for name, height in ((CURVE_FILE, 768), (EPOCHS_FILE, 384)):
        image = matplotlib.image.imread(tmp_path / name)
        assert image.shape[:2] == (height, 840)
        assert image[..., :3].std() > 0.01


def test_the_curve_shows_loss_above_and_rate_on_a_log_scale_below():
    upper, lower = run_record.training_curve(record()).axes
    training, validation = upper.get_lines()
    assert training.get_xdata().tolist() == [10, 20, 30, 40, 50, 60]
    assert list(validation.get_xdata()) == [30, 60]
    assert lower.get_yscale() == "log"
    assert all(ax.get_xlabel() and ax.get_ylabel() for ax in (upper, lower))
    (ax,) = run_record.loss_by_epoch(record()).axes
    means, last = ax.get_lines()
    assert means.get_ydata().tolist() == pytest.approx([1.9, 1.6])
    assert list(last.get_ydata()) == pytest.approx([1.7, 1.4])


def test_drawing_leaves_pyplot_alone(tmp_path):
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    record().save(tmp_path)
    assert pyplot.get_fignums() == before


def test_no_rows_draw_nothing_and_write_the_file(tmp_path):
    RunRecord().save(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [METRICS_FILE]


def test_pictures_are_renewed_seldom_and_numbers_each_time(tmp_path, monkeypatch):
    now, drawn = [0.0], []
    monkeypatch.setattr(run_record.time, "monotonic", lambda: now[0])
    curve = run_record.training_curve

    def draw(made):
        drawn.append(len(made))
        now[0] += 1.0  # drawing takes a second
        return curve(made)

    monkeypatch.setattr(run_record, "training_curve", draw)
    made = RunRecord()
    for step in range(1, 11):
        now[0] += 50.0
        made.log(step=step, epoch=0, train_loss=1.0, learning_rate=0.1)
        made.refresh(tmp_path)
        assert strict(tmp_path / METRICS_FILE)["steps"][-1] == step
    assert drawn == [1, 5, 9]  # one second in 200 and no more
    made.save(tmp_path)
    assert drawn[-1] == 10


@pytest.mark.parametrize("name", [METRICS_FILE, CURVE_FILE, EPOCHS_FILE])
def test_each_file_is_replaced_in_one_step(name, tmp_path, monkeypatch):
    record().save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    replace = run_record.replacing.__globals__["os"].replace

    def refuse(source, target):
        if target.name == name:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr("course_lib.files.os.replace", refuse)
    with pytest.raises(OutputError, match=rf"the disk is full.*{name}"):
        record(2).save(tmp_path)
    assert (tmp_path / name).read_bytes() == before[name]
    assert {path.name for path in tmp_path.iterdir()} == before.keys()
