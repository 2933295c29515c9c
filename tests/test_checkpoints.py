"""Checkpoints: round trips, every kind of damage, other models, and disks that refuse."""

import errno
import os
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from test_files import failing, mounted, names
from torch import nn

from course_lib import checkpoints, files
from course_lib.checkpoints import (
    CheckpointError,
    load_checkpoint,
    load_weights,
    load_weights_into,
    random_state,
    restore_random_state,
    save_checkpoint,
    save_weights,
    weights_of,
)
from course_lib.files import OutputError


def model(width=3, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width), nn.Linear(width, 1))


def content():
    return {
        "model": model().state_dict(),
        "numbers": [1, 2.5, None, True],
        "text": "ä",
        "pair": (1, 2),
        "random": random_state(),
    }


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, content())
    loaded = load_checkpoint(str(path))
    for name in ("numbers", "text", "pair"):
        assert loaded[name] == content()[name]
    for name, weight in model().state_dict().items():
        assert torch.equal(loaded["model"][name], weight)
    assert names(tmp_path) == ["checkpoint.pt"]


def test_every_generator_continues_where_it_was(tmp_path):
    def draw():
        return random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), float(torch.randn(()))  # noqa: NPY002

    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    draw()  # the normal draws of Python and NumPy keep a second number back, which is part of the state
    save_checkpoint(tmp_path / "c.pt", {"random": random_state()})
    expected = [draw() for _ in range(3)]
    random.seed(2)
    np.random.seed(2)  # noqa: NPY002
    torch.manual_seed(2)
    restore_random_state(load_checkpoint(tmp_path / "c.pt")["random"])
    assert [draw() for _ in range(3)] == expected


def test_weights_of_is_a_copy_that_training_does_not_change():
    net = model()
    kept = weights_of(net)
    before = {name: weight.clone() for name, weight in kept.items()}
    with torch.no_grad():
        for weight in net.state_dict().values():
            weight.add_(1)
    for name, weight in kept.items():
        assert torch.equal(weight, before[name])
        assert not weight.requires_grad


# --- damage -----------------------------------------------------------------------------------------------------------


def test_a_checkpoint_cut_off_anywhere_is_refused(tmp_path):
    path = tmp_path / "c.pt"
    save_checkpoint(path, content())
    whole = path.read_bytes()
    for length in [*range(0, 200, 20), *np.linspace(200, len(whole) - 1, 60).astype(int).tolist()]:
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"c\.pt: expected a checkpoint of this course.*Remove it"):
            load_checkpoint(path)


def test_flipped_bits_are_noticed_by_their_check_sums(tmp_path):
    """A weight with a wrong bit still looks like a weight; torch.load does not compare the sums it wrote."""
    path = tmp_path / "c.pt"
    weights = torch.arange(20_000, dtype=torch.float32)
    save_checkpoint(path, {"model": {"w": weights}})
    whole = path.read_bytes()
    payload = whole.index(weights[100:110].numpy().tobytes())
    for place in (payload, payload + 1, payload + 40_000):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(bytes(damaged))
        with pytest.raises(CheckpointError, match="check sum"):
            load_checkpoint(path)


def test_scrambled_checkpoints_raise_nothing_but_checkpoint_errors(tmp_path):
    path, rng, refused = tmp_path / "c.pt", np.random.default_rng(0), 0
    save_checkpoint(path, content())
    whole = path.read_bytes()
    for _ in range(150):
        damaged = bytearray(whole)
        place = int(rng.integers(len(whole) - 20))
        damaged[place : place + 20] = rng.bytes(20)
        path.write_bytes(bytes(damaged))
        try:
            load_checkpoint(path)
        except CheckpointError:
            refused += 1
    assert refused >= 140  # the rest hit the padding between two parts


@pytest.mark.parametrize("junk", [b"", b"garbage", b"\x80\x04\x95", b"PK\x03\x04" + bytes(60), bytes(1000), b"{}"])
def test_what_is_no_checkpoint_is_refused(junk, tmp_path):
    (tmp_path / "c.pt").write_bytes(junk)
    with pytest.raises(CheckpointError, match=r"c\.pt.*cut off, damaged or of another kind"):
        load_checkpoint(tmp_path / "c.pt")


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("save", [torch.save, lambda bomb, path: path.write_bytes(pickle.dumps(bomb))])
def test_a_pickle_bomb_does_not_go_off(save, tmp_path):
    save({"format": checkpoints.FORMAT, "model": Bomb(tmp_path / "exploded")}, tmp_path / "c.pt")
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path / "c.pt")
    assert not (tmp_path / "exploded").exists()
    assert "weights_only" not in str(caught.value)  # torch advises to load it all the same


@pytest.mark.parametrize(
    ("saved", "found"), [({"format": 99}, "got 99"), ({"model": 1}, "got None"), ([1, 2], "got list")]
)
def test_another_format_is_refused(saved, found, tmp_path):
    torch.save(saved, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=f"expected a checkpoint of format {checkpoints.FORMAT}, {found}"):
        load_checkpoint(tmp_path / "c.pt")


def test_a_missing_checkpoint_says_what_to_do(tmp_path):
    with pytest.raises(CheckpointError, match=r"c\.pt: no such checkpoint; start the run without resuming"):
        load_checkpoint(tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match="expected a checkpoint"):
        load_checkpoint(tmp_path)


# --- weights of another model -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (model(4), r"'0.bias' Sequential expected \(4,\), got \(3,\)"),
        (nn.Sequential(model()), "got nothing|expected nothing"),
        (nn.Sequential(*list(model())[:2]), "expected nothing"),
        (nn.Sequential(*model(), nn.Linear(1, 1)), "'3.bias' Sequential expected .1,., got nothing"),
    ],
)
def test_weights_of_another_model_are_refused_and_nothing_is_copied(other, words, tmp_path):
    before = weights_of(other)
    save_weights(tmp_path / "w.safetensors", weights_of(model(seed=5)))
    with pytest.raises(CheckpointError, match=rf"w\.safetensors: holds the weights of another model.*({words})"):
        load_weights(tmp_path / "w.safetensors", other)
    with pytest.raises(CheckpointError, match="somewhere: holds the weights of another model"):
        load_weights_into(other, model(seed=5).state_dict(), "somewhere")
    for name, weight in other.state_dict().items():
        assert torch.equal(weight, before[name])


def test_safetensors_come_back_as_they_were_with_their_metadata(tmp_path):
    from safetensors import safe_open

    path, first, second = tmp_path / "w.safetensors", model(), model(seed=1)
    weights = weights_of(first)
    weights["0.weight"] = weights["0.weight"].t().contiguous().t()  # not contiguous
    save_weights(path, weights, {"made": "here"})
    load_weights(path, second)
    for name, weight in second.state_dict().items():
        assert torch.equal(weight, first.state_dict()[name])
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"made": "here"}


def test_damaged_and_missing_safetensors_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    with pytest.raises(CheckpointError, match=r"w\.safetensors: no such file"):
        load_weights(path, model())
    save_weights(path, weights_of(model()))
    whole = path.read_bytes()
    for damaged in (*(whole[:n] for n in range(0, len(whole), 25)), b"garbage" * 10, whole[:-1], whole + b"x"):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"w\.safetensors: expected safetensors, but the file is cut off"):
            load_weights(path, model())
    with pytest.raises(CheckpointError, match="expected safetensors"):
        load_weights(tmp_path, model())


# --- disks ------------------------------------------------------------------------------------------------------------

WRITERS = pytest.mark.parametrize(
    "write",
    [
        lambda path, size: save_checkpoint(path, {"model": {"w": torch.zeros(size)}}),
        lambda path, size: save_weights(path, {"w": torch.zeros(size)}),
    ],
    ids=["checkpoint", "safetensors"],
)


@WRITERS
def test_a_full_disk_leaves_the_file_before(write, tmp_path):
    with mounted(tmp_path / "tiny", "size=256k") as folder:
        path = folder / "file"
        write(path, 100)
        before = path.read_bytes()
        with pytest.raises(OutputError, match=r"the disk is full.*file"):
            write(path, 1_000_000)
        assert path.read_bytes() == before
        assert names(folder) == ["file"]


@WRITERS
def test_a_read_only_disk_is_named(write, tmp_path):
    with (
        mounted(tmp_path / "ro", "size=256k,ro") as folder,
        pytest.raises(OutputError, match="read-only; choose another folder"),
    ):
        write(folder / "file", 100)


@WRITERS
@pytest.mark.parametrize(
    ("error", "raised"),
    [(failing(errno.ENOSPC), OutputError), (failing(errno.EROFS), OutputError), (None, KeyboardInterrupt)],
)
def test_a_write_that_fails_leaves_the_file_before(write, error, raised, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    path = tmp_path / "file"
    write(path, 100)
    before = path.read_bytes()
    monkeypatch.setattr(files.os, "fsync", error or interrupt)
    with pytest.raises(raised):
        write(path, 100)
    assert path.read_bytes() == before
    assert names(tmp_path) == ["file"]


class Interrupting:
    """A file that is interrupted, or full, after some bytes."""

    def __init__(self, file, error):
        self.file, self.error, self.left = file, error, 2_000

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)

    def write(self, data):
        self.left -= len(data)
        if self.left < 0:
            raise self.error
        return self.file.write(data)


@pytest.mark.parametrize(
    ("error", "raised"), [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(errno.ENOSPC, "No space"), OutputError)]
)
def test_an_interrupt_while_torch_writes_keeps_its_kind(error, raised, tmp_path, monkeypatch):
    path, opened = tmp_path / "c.pt", Path.open
    save_checkpoint(path, {"step": 1})
    monkeypatch.setattr(Path, "open", lambda self, mode="r": Interrupting(opened(self, mode), error))
    with pytest.raises(raised):
        save_checkpoint(path, {"model": {"w": torch.zeros(10_000)}})
    monkeypatch.undo()
    assert load_checkpoint(path)["step"] == 1
    assert names(tmp_path) == ["c.pt"]
