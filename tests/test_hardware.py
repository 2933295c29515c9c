"""Detection on machines that are not here, overrides, refusals, seeds, and imports that look at nothing."""

import json
import os
import platform
import random
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from course_lib import hardware
from course_lib.hardware import DEVICE_VARIABLE, DeviceError, available, detect, seed_everything


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch):
    """A machine with a CPU and nothing else, whatever the tests run on."""
    monkeypatch.delenv(DEVICE_VARIABLE, raising=False)
    for backend in (torch.cuda, torch.backends.mps, torch.xpu):
        monkeypatch.setattr(backend, "is_available", lambda: False)


@pytest.fixture
def two_gpus(monkeypatch):
    properties = [
        SimpleNamespace(name="NVIDIA H200", total_memory=140 * 2**30),
        SimpleNamespace(name="Tesla T4", total_memory=15 * 2**30),
    ]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: properties[number])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: ((9, 0), (7, 5))[number])


def test_a_machine_without_accelerator_trains_on_its_cpu():
    found = detect()
    assert (found.device, found.kind) == ("cpu", "cpu")
    assert found.name
    assert found.cores == hardware.usable_cores() >= 1
    assert found.memory_bytes == psutil.virtual_memory().total
    assert found.precisions in (("fp32",), ("fp32", "bf16"))
    assert found.torch_version == torch.__version__
    assert type(found.torch_version) is str  # torch's own class of text cannot be loaded from a checkpoint
    assert found.system == f"{platform.system()} {platform.machine()}"
    assert found.python_version == platform.python_version()
    assert available() == ("cpu",)
    assert json.loads(json.dumps(found.to_dict()))["precisions"] == list(found.precisions)


def test_cores_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 5, 7}, raising=False)
    assert detect().cores == 3
    monkeypatch.delattr(os, "sched_getaffinity")  # macOS and Windows have none
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert detect().cores == 6


@pytest.mark.usefixtures("two_gpus")
def test_cuda_is_preferred_and_the_index_chooses():
    first, second = detect(), detect("cuda:1")
    assert (first.device, first.kind, first.name) == ("cuda:0", "cuda", "NVIDIA H200")
    assert (second.device, second.name, second.memory_bytes) == ("cuda:1", "Tesla T4", 15 * 2**30)
    assert set(first.precisions) == {"fp32", "fp16", "tf32", "bf16"}
    assert set(second.precisions) == {"fp32", "fp16"}  # bf16 is emulated before capability 8
    assert available() == ("cuda", "cpu")
    assert detect("cpu").device == "cpu"


@pytest.mark.usefixtures("two_gpus")
def test_an_argument_beats_the_variable_and_both_beat_the_choice(monkeypatch):
    monkeypatch.setenv(DEVICE_VARIABLE, "cpu")
    assert detect().device == "cpu"
    assert detect("cuda:1").device == "cuda:1"
    monkeypatch.setenv(DEVICE_VARIABLE, " CUDA:1 ")
    assert detect().device == "cuda:1"
    monkeypatch.setenv(DEVICE_VARIABLE, "")
    assert detect().device == "cuda:0"


def test_mps_and_xpu(monkeypatch):
    monkeypatch.setattr(torch.xpu, "is_available", lambda: True)
    monkeypatch.setattr(torch.xpu, "device_count", lambda: 1)
    monkeypatch.setattr(
        torch.xpu, "get_device_properties", lambda number: SimpleNamespace(name="Arc", total_memory=2**34)
    )
    found = detect()
    assert (found.device, found.name, found.memory_bytes) == ("xpu:0", "Arc", 2**34)
    assert "bf16" in found.precisions
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    found = detect()
    assert (found.device, found.memory_bytes) == ("mps", psutil.virtual_memory().total)
    assert found.precisions == ("fp32", "fp16")
    assert available() == ("mps", "xpu", "cpu")
    with pytest.raises(DeviceError, match="has 1 mps device"):
        detect("mps:1")


@pytest.mark.parametrize(
    ("capabilities", "precisions"),
    [
        ({"cpu_name": "A"}, ("fp32",)),
        ({"cpu_name": "A", "avx512_bf16": True}, ("fp32", "bf16")),
        ({"amx_bf16": True, "avx512_bf16": False}, ("fp32", "bf16")),
        ({"avx512_bf16": False}, ("fp32",)),
    ],
)
def test_a_cpu_computes_bf16_only_with_units_for_it(capabilities, precisions, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    found = detect()
    assert found.precisions == precisions
    assert found.name == capabilities.get("cpu_name", found.name) != ""


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "mps", "xpu"])
def test_a_device_that_is_not_here_is_an_error_that_says_what_is(device, monkeypatch):
    kind = device.partition(":")[0]
    with pytest.raises(DeviceError, match=rf"the argument device asked for '{device}'.*This machine has: cpu.*{kind}"):
        detect(device)
    monkeypatch.setenv(DEVICE_VARIABLE, device)
    with pytest.raises(DeviceError, match=f"the variable {DEVICE_VARIABLE} asked for '{device}'"):
        detect()
    assert issubclass(DeviceError, ValueError)


@pytest.mark.parametrize("device", ["gpu", "tpu", "cuda:x", "cuda:-1", "cuda:1.5", ":0", " "])
def test_an_unknown_name_is_an_error_that_lists_the_names(device):
    with pytest.raises(DeviceError, match="expected one of cuda, mps, xpu, cpu"):
        detect(device)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("device", ["cuda:2", "cuda:99", "cpu:1"])
def test_an_index_beyond_the_last_says_how_many_there_are(device):
    with pytest.raises(DeviceError, match=rf"asked for '{device}', but this machine has [12] (cuda|cpu) device\(s\)"):
        detect(device)


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_a_seed_repeats_every_generator(seed):
    draws = []
    for _ in range(2):
        seed_everything(seed)
        draws.append((random.random(), np.random.rand(), torch.rand(3).tolist()))  # noqa: NPY002
    assert draws[0] == draws[1]
    seed_everything((seed + 1) % 2**32)
    for first, second in zip(draws[0], (random.random(), np.random.rand(), torch.rand(3).tolist()), strict=True):  # noqa: NPY002
        assert first != second


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_refused_before_anything_is_seeded(seed):
    state = random.getstate()
    with pytest.raises(ValueError, match=f"expected 0 to 2..32 - 1, got {seed}"):
        seed_everything(seed)
    assert random.getstate() == state


PROBE = """
import random, psutil, torch
def refuse(*_, **__):
    raise SystemExit("importing looked at the machine")
for owner, names in (
    (torch.cuda, ("is_available", "device_count", "init", "get_device_properties")), (torch.xpu, ("is_available",)),
    (torch.backends.mps, ("is_available",)), (torch.cpu, ("get_capabilities",)), (psutil, ("virtual_memory",)),
):
    for name in names:
        setattr(owner, name, refuse)
state = random.getstate(), torch.get_rng_state()
import course_lib, course_lib.hardware, course_lib.run_record, course_lib.checkpoints, course_lib.files
import course_lib.models, course_lib.training, course_lib.generation
assert random.getstate() == state[0] and torch.equal(torch.get_rng_state(), state[1])
"""


def test_importing_looks_at_nothing_and_says_nothing():
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    light = "import sys, course_lib; assert not {'torch', 'numpy', 'matplotlib'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", light]).returncode == 0
