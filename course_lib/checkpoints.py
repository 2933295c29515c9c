"""Checkpoints: what a run needs to go on as if it had never stopped (chapter 06).

Weights alone do not resume a run. Its optimizer remembers moments, its schedule a step, dropout a random state, its
data an order. A checkpoint holds all of it in one file that is replaced in one step, so a crash leaves the last one
whole. Nothing here unpickles: checkpoints load with `weights_only=True`, model weights are safetensors.
"""

import pickle
import random
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from course_lib.files import explained, replacing

CHECKPOINT_FILE = "checkpoint.pt"
WEIGHTS_FILE = "model.safetensors"
FORMAT = 1
"""Raised whenever the content of a checkpoint changes its meaning."""


_LOADING_ERRORS = (
    *(OSError, EOFError, RuntimeError, ValueError),
    *(zipfile.BadZipFile, struct.error, pickle.UnpicklingError),
)
"""What zipfile and torch raise on a file that is not a whole checkpoint."""


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged or made by another model."""


def random_state() -> dict[str, Any]:
    """The state of every generator that a run may draw from, in types that `weights_only` loads."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 - the state of NumPy's global generator is what is saved
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """Put every generator back to a saved state; those of accelerators only where there are as many as then."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if len(state.get("cuda", [])) == torch.cuda.device_count() and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


@contextmanager
def generators_kept() -> Iterator[None]:
    """Leave every generator as it was before the block, whatever the block draws or seeds."""
    state = random_state()
    try:
        yield
    finally:
        restore_random_state(state)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the model's weights on the CPU that later training does not change."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in model.state_dict().items()}


def save_checkpoint(path: Path | str, content: dict[str, Any]) -> None:
    """Replace a checkpoint in one step.

    Args:
        path: The file.
        content: Tensors, numbers, strings, and lists, tuples and dicts of them; nothing else could be loaded again.

    Raises:
        OutputError: The folder cannot be written or the disk is full; the checkpoint before is still there.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save({"format": FORMAT, **content}, file)
        except RuntimeError as error:  # torch closes its archive after a failed write, and that fails in turn
            if error.__context__ is not None:  # the disk's error, or an interrupt
                raise error.__context__ from None
            raise


def load_checkpoint(path: Path | str) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        CheckpointError: The file is missing, cut off, damaged, or was not written by `save_checkpoint`.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(
            f"{path}: no such checkpoint; start the run without resuming, or name the folder it wrote to."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():  # torch writes check sums and does not compare them
                raise zipfile.BadZipFile(f"the check sum of {damaged} is wrong")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except _LOADING_ERRORS as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        if isinstance(error, pickle.UnpicklingError):  # torch's own words advise to load it all the same
            reason = "it holds more than tensors, numbers and text"
        raise CheckpointError(
            f"{path}: expected a checkpoint of this course, but it is cut off, damaged or of another kind ({reason}). "
            "Remove it and start again, or restore a copy."
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(f"{path}: expected a checkpoint of format {FORMAT}, got {found}; start the run again.")
    return content


def load_weights_into(model: nn.Module, weights: dict[str, Tensor], source: str) -> None:
    """Copy weights into a model that has the same names and shapes.

    Args:
        model: The model, on any device.
        weights: Name to tensor.
        source: Where they come from, for the error.

    Raises:
        CheckpointError: A name or a shape differs; nothing was copied.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if expected != found:
        name = next(iter(sorted(k for k in expected.keys() | found.keys() if expected.get(k) != found.get(k))))
        raise CheckpointError(
            f"{source}: holds the weights of another model: for {name!r} {type(model).__name__} expected "
            f"{expected.get(name, 'nothing')}, got {found.get(name, 'nothing')}. "
            "Build the model with the settings it was saved with."
        )
    model.load_state_dict(weights)


def save_weights(path: Path | str, weights: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Replace a safetensors file in one step.

    Raises:
        OutputError: The folder cannot be written or the disk is full.
    """
    with replacing(path) as temporary, explained(path):  # safetensors wraps the system's error
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, temporary, metadata)


def load_weights(path: Path | str, model: nn.Module) -> None:
    """Load a safetensors file into a model of the same names and shapes.

    Raises:
        CheckpointError: The file is missing, damaged, or belongs to another model.
    """
    path = Path(path)
    try:
        weights = load_file(path, device="cpu")
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file; a finished run writes its weights as {WEIGHTS_FILE}.") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: expected safetensors, but the file is cut off or damaged ({error}).") from error
    load_weights_into(model, weights, str(path))
