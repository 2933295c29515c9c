"""A model made from a checkpoint: from safetensors alone, in silence, and with what is new in it by name (chapter 16).

Legend: B texts in a batch, V vocabulary.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from course_lib.pretrained.checkpoints import PretrainedError, locate, not_there


class Loaded(NamedTuple):
    """A model, its tokenizer, and the names of the parameters that are newly initialized: random, and untrained."""

    model: Any
    tokenizer: Any
    new: tuple[str, ...]


def load_encoder(name: str | Path = "minilm") -> tuple[Any, Any]:
    """Load a pretrained encoder, without any head, in evaluation mode on the CPU.

    Args:
        name: a key of `CHECKPOINTS`, or a folder.

    Returns:
        The model (a `transformers.PreTrainedModel`, fp32) and its tokenizer.

    Raises:
        PretrainedError: there is no such checkpoint, it is out of reach or damaged, or a part of the model would be
            without weights.
    """
    from transformers import AutoModel  # imported here: it takes a second, which the other modules do without

    model, tokenizer, new = _load(AutoModel, name)
    if new:
        raise PretrainedError(f"{name}: the file has no weights for {', '.join(new)}; they would stay random")
    return model, tokenizer


def load_classifier(name: str | Path = "minilm", n_labels: int = 2, *, seed: int = 0) -> Loaded:
    """Load a pretrained encoder with a head that gives one score for each label, in evaluation mode on the CPU.

    Args:
        name: a key of `CHECKPOINTS`, or a folder. A folder of a finished fine-tuning brings its head along.
        n_labels: how many labels there are, at least 2.
        seed: decides the random start of a new head, and nothing else: torch's own generator stays where it was.

    Returns:
        model (its `logits` are (B, n_labels)), tokenizer, and new: the head's weights, unless the checkpoint had them.

    Raises:
        ValueError: n_labels is below 2.
        PretrainedError: as `load_encoder`, or the checkpoint has a head for another number of labels.
    """
    from transformers import AutoModelForSequenceClassification

    if n_labels < 2:
        raise ValueError(f"n_labels must be at least 2; got {n_labels}")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return _load(AutoModelForSequenceClassification, name, num_labels=n_labels)


def load_causal_lm(name: str | Path) -> Loaded:
    """Load a pretrained language model that predicts the next token, in evaluation mode on the CPU.

    Args:
        name: a key of `CHECKPOINTS`, or a folder.

    Returns:
        model (its `logits` are (B, T, V)), tokenizer, and new, which is empty: an output layer that shares its weights
        with the input is not new, though older versions of transformers called it missing.

    Raises:
        PretrainedError: as `load_encoder`.
    """
    from transformers import AutoModelForCausalLM

    loaded = _load(AutoModelForCausalLM, name)
    if loaded.new:
        raise PretrainedError(f"{name}: the file has no weights for {', '.join(loaded.new)}; they would stay random")
    return loaded


def load_tokenizer(name: str | Path = "minilm") -> Any:
    """Load the tokenizer of a checkpoint alone.

    Raises:
        PretrainedError: as `load_encoder`.
    """
    from transformers import AutoTokenizer

    where, local = locate(name)
    with quiet(), _explained(name):
        return AutoTokenizer.from_pretrained(where, local_files_only=local)


def _load(kind: Any, name: str | Path, **options: Any) -> Loaded:
    """Load a model from safetensors, and its tokenizer, in silence."""
    from transformers import AutoConfig

    where, local = locate(name)
    with quiet(), _explained(name):
        _check_head(name, AutoConfig.from_pretrained(where, local_files_only=local), options)
        model, report = kind.from_pretrained(
            where, local_files_only=local, use_safetensors=True, output_loading_info=True, **options
        )
    return Loaded(model.eval(), load_tokenizer(name), tuple(sorted(report["missing_keys"])))


def _check_head(name: str | Path, config: Any, options: dict[str, Any]) -> None:
    """Refuse a classifier whose trained head has another number of labels; a plain body has no head to lose."""
    wanted = options.get("num_labels")
    trained = any("SequenceClassification" in kind for kind in config.architectures or ())
    if wanted is not None and trained and config.num_labels != wanted:
        raise PretrainedError(
            f"{name}: its head was trained for {config.num_labels} labels, and {wanted} are asked for; take the "
            "checkpoint that it was fine-tuned from, or data with its labels"
        )


@contextmanager
def _explained(name: str | Path) -> Iterator[None]:
    """Turn what transformers raises on a checkpoint that is absent or damaged into one error that says what to do."""
    from huggingface_hub.errors import HTTPError  # of httpx or httpx2, whichever the installed version uses
    from safetensors import SafetensorError

    try:
        yield
    except PretrainedError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError, HTTPError) as error:
        raise not_there(name, error) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back the progress bars and the load report of transformers; what they say is in return values."""
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
