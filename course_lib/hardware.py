"""What this machine can compute with, and how to make a run repeatable on it (chapters 01 and 19).

`detect()` looks once, when asked, and reports a `Hardware`: the device, its name, memory and usable precisions. Nothing
is chosen in silence: the environment variable COURSE_DEVICE and the argument `device` override the choice, and a
device that is asked for and absent is an error that says what there is.
"""

import os
import platform
import random
from dataclasses import asdict, dataclass

import numpy as np
import psutil
import torch

DEVICE_VARIABLE = "COURSE_DEVICE"
"""Environment variable that overrides the choice of device, for example COURSE_DEVICE=cpu."""

KINDS = ("cuda", "mps", "xpu", "cpu")
"""The devices the course runs on, in the order of preference."""


class DeviceError(ValueError):
    """A device that was asked for and is not here."""


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """What a run computes with.

    Args:
        device: The device in torch's words, for example "cuda:0" or "cpu".
        name: The maker's name of the chip.
        cores: CPU cores that this process may use.
        memory_bytes: Memory of the device; for a CPU and for MPS that of the machine.
        precisions: Number formats the device multiplies natively, of "fp32", "bf16", "fp16" and "tf32".
        torch_version: The version of torch that looked.
        system: Operating system and processor architecture.
        python_version: The version of Python.
    """

    device: str
    name: str
    cores: int
    memory_bytes: int
    precisions: tuple[str, ...]
    torch_version: str
    system: str
    python_version: str

    @property
    def kind(self) -> str:
        """The device without its index: "cuda", "mps", "xpu" or "cpu"."""
        return self.device.partition(":")[0]

    def to_dict(self) -> dict[str, object]:
        """The same facts for JSON."""
        return asdict(self)


def available() -> tuple[str, ...]:
    """The kinds of device that are here, best first; "cpu" is always the last."""
    here = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "xpu": torch.xpu.is_available(),
        "cpu": True,
    }
    return tuple(kind for kind in KINDS if here[kind])


def detect(device: str | None = None) -> Hardware:
    """Choose the device to train on and describe it.

    Args:
        device: For example "cuda", "cuda:1" or "cpu". None asks the variable COURSE_DEVICE, and if that is unset takes
            the best device there is.

    Returns:
        The device and its properties.

    Raises:
        DeviceError: The device has an unknown name or is not here.
    """
    asked_by = "the argument device" if device else f"the variable {DEVICE_VARIABLE}"
    asked = device or os.environ.get(DEVICE_VARIABLE) or available()[0]
    kind, _, index = asked.strip().lower().partition(":")
    if kind not in KINDS or (index and not index.isdecimal()):
        raise DeviceError(f"{asked_by} expected one of {', '.join(KINDS)} (or cuda:1 and the like), got {asked!r}.")
    if kind not in available():
        raise DeviceError(
            f"{asked_by} asked for {asked!r}, which torch {torch.__version__} does not find here. "
            f"This machine has: {', '.join(available())}. Choose one of these, or install a torch built for {kind}."
        )
    number = int(index or 0)
    if number >= _count(kind):
        raise DeviceError(
            f"{asked_by} asked for {asked!r}, but this machine has {_count(kind)} {kind} device(s), from 0."
        )
    return _describe(kind, number)


def _count(kind: str) -> int:
    if kind == "cuda":
        return torch.cuda.device_count()
    return torch.xpu.device_count() if kind == "xpu" else 1


def _describe(kind: str, number: int) -> Hardware:
    device, name, memory = kind, _processor(), psutil.virtual_memory().total
    if kind in ("cuda", "xpu"):
        properties = getattr(torch, kind).get_device_properties(number)
        device, name, memory = f"{kind}:{number}", properties.name, properties.total_memory
    return Hardware(
        device=device,
        name=name,
        cores=usable_cores(),
        memory_bytes=memory,
        precisions=_precisions(kind, number),
        torch_version=str(torch.__version__),  # a plain string: it goes into JSON and checkpoints
        system=f"{platform.system()} {platform.machine()}",
        python_version=platform.python_version(),
    )


def usable_cores() -> int:
    """CPU cores that this process may use, which a container can make fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    """The processor's name as torch's CPU detection or the system gives it."""
    return torch.cpu.get_capabilities().get("cpu_name") or platform.processor() or platform.machine()


def _precisions(kind: str, number: int) -> tuple[str, ...]:
    """Formats that the hardware multiplies itself; emulated ones are slower than fp32 and are left out."""
    if kind == "cuda":
        major, _ = torch.cuda.get_device_capability(number)
        return ("fp32", "fp16") + (("tf32", "bf16") if major >= 8 else ())
    if kind == "mps":
        return ("fp32", "fp16")
    if kind == "xpu":
        return ("fp32", "fp16", "bf16")
    units = torch.cpu.get_capabilities()  # a CPU without bf16 units emulates them, slower than fp32
    return ("fp32", "bf16") if units.get("avx512_bf16") or units.get("amx_bf16") else ("fp32",)


def peak_memory(device: str = "cpu") -> int:
    """The most memory that this process has held so far, in bytes.

    Args:
        device: "cuda:0" and the like ask torch about the accelerator; all else is the process's resident memory.
    """
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # Windows, where psutil knows the peak
        return int(psutil.Process().memory_info().peak_wset)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if platform.system() == "Darwin" else peak * 1024)  # macOS counts bytes, Linux kilobytes


def memory_in_use(device: str = "cpu") -> int:
    """The memory that this process holds now, in bytes; as `peak_memory`."""
    if device.startswith("cuda"):
        return int(torch.cuda.memory_allocated(device))
    return int(psutil.Process().memory_info().rss)


def seed_everything(seed: int) -> None:
    """Start every random number generator that a run may use from one number: Python's, NumPy's and torch's.

    Args:
        seed: 0 to 2**32 - 1, the range NumPy takes.

    Raises:
        ValueError: The seed is outside that range.
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed: expected 0 to 2**32 - 1, got {seed}.")
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries that a run calls still draw from NumPy's global generator
    torch.manual_seed(seed)  # every device's generator
