"""Using a classifier that a run saved: a label, its probability, and whether the text was read to its end (chapter 16).

Two kinds of folder are known: what fine-tuning writes (config.json of transformers), and what the encoder from scratch
writes (model.json). Legend: N texts, B texts in a batch, K labels.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from course_lib.checkpoints import WEIGHTS_FILE, load_weights
from course_lib.data import pad
from course_lib.finetuning.adapter import AsCourseModel
from course_lib.finetuning.classify import NAMES
from course_lib.models import EncoderConfig, TransformerClassifier
from course_lib.pretrained import PretrainedError, load_classifier
from course_lib.tokenization import WordTokenizer

BATCH = 32


class Prediction(NamedTuple):
    """The answer to one text.

    Attributes:
        label: the likeliest class.
        name: what it is called.
        probability: what the model gives it; not calibrated unless you checked (chapter 10).
        tokens: how many tokens the text has.
        cut: whether it has more than the model reads.
    """

    label: int
    name: str
    probability: float
    tokens: int
    cut: bool


@dataclass(frozen=True, eq=False)
class Classifier:
    """A trained classifier and how it reads.

    Attributes:
        model: called as model(ids, mask), gives logits (B, K).
        encode: from texts to token ids, not cut.
        shorten: from one text's ids to at most max_length of them.
        max_length: tokens that are read.
        names: what the labels are called.
        pad_id: the token that fills up.
    """

    model: nn.Module
    encode: Callable[[Sequence[str]], list[list[int]]]
    shorten: Callable[[list[int]], list[int]]
    max_length: int
    names: dict[int, str]
    pad_id: int = 0

    def logits(self, texts: Sequence[str]) -> Tensor:
        """Logits of N texts, (N, K), fp32 on the CPU, in their order."""
        return self._logits([self.shorten(ids) for ids in self.encode(texts)])

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Answer N texts.

        Raises:
            ValueError: a text is empty.
        """
        for number, text in enumerate(texts, start=1):
            if not text.strip():
                raise ValueError(f"text {number}: expected words to judge; got an empty text")
        encoded = self.encode(texts)
        shares, labels = self._logits([self.shorten(ids) for ids in encoded]).softmax(dim=-1).max(dim=-1)  # (N,), (N,)
        return [
            Prediction(label, self.names.get(label, str(label)), share, len(ids), len(ids) > self.max_length)
            for ids, label, share in zip(encoded, labels.tolist(), shares.tolist(), strict=True)
        ]

    def _logits(self, rows: list[list[int]]) -> Tensor:
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))  # rows of like length share a batch
        parts = []
        was_training = self.model.training
        self.model.eval()
        device = next(self.model.parameters()).device
        with torch.inference_mode():
            for start in range(0, len(order), BATCH):
                ids, mask = pad([rows[i] for i in order[start : start + BATCH]], pad_id=self.pad_id)  # (B, T), (B, T)
                parts.append(self.model(ids.to(device), mask.to(device)).float().cpu())
        self.model.train(was_training)
        logits = torch.cat(parts)  # (N, K), in order of length
        logits[torch.tensor(order)] = logits.clone()
        return logits


def classifier_of(model: Any, tokenizer: Any, max_length: int | None = None) -> Classifier:
    """Wrap a classifier of transformers and its tokenizer.

    Args:
        model: gives `.logits`.
        tokenizer: what it reads with.
        max_length: tokens that are read; None is what the tokenizer was saved with, or the positions there are.
    """
    positions = model.config.max_position_embeddings
    limit = min(max_length or tokenizer.model_max_length, positions)

    def encode(texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]
        return ids

    def shorten(ids: list[int]) -> list[int]:
        return ids if len(ids) <= limit else [*ids[: limit - 1], ids[-1]]  # the last one is [SEP]

    names = {int(label): name for label, name in model.config.id2label.items()}
    return Classifier(AsCourseModel(model), encode, shorten, limit, names, tokenizer.pad_token_id)


def load_saved(folder: Path | str) -> Classifier:
    """Load what a run saved.

    Args:
        folder: of a fine-tuning run, one of its checkpoints, or a run of `encoder-imdb`.

    Raises:
        PretrainedError: it holds no classifier that can be loaded.
        CheckpointError: its weights are damaged.
    """
    folder = Path(folder)
    if (folder / "model.json").is_file():
        return _from_scratch(folder)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kinds = list(config["architectures"])
        labels = len(config.get("id2label") or NAMES)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PretrainedError(
            f"{folder}: expected the folder of a finished classifier, with config.json (fine-tuned) or model.json "
            "(made from scratch); `python -m course_lib run distilbert-imdb` trains one and says where it is"
        ) from error
    if not any("SequenceClassification" in kind for kind in kinds):
        raise PretrainedError(f"{folder}: expected a classifier; it holds {', '.join(kinds)}, which has no labels")
    loaded = load_classifier(folder, labels)
    if loaded.new:
        raise PretrainedError(f"{folder}: the file has no weights for {', '.join(loaded.new)}; they would be random")
    return classifier_of(loaded.model, loaded.tokenizer)


def _from_scratch(folder: Path) -> Classifier:
    try:
        sizes = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        if sizes.pop("model") != EncoderConfig.__name__:
            raise ValueError("it is a language model, which has no labels")
        model = TransformerClassifier(EncoderConfig(**sizes))
        tokenizer = WordTokenizer.load(folder / "tokenizer.json")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PretrainedError(f"{folder / 'model.json'}: expected the sizes of a classifier; {error}") from error
    load_weights(folder / WEIGHTS_FILE, model)
    limit = sizes["max_length"]
    return Classifier(
        model.eval(), lambda texts: [tokenizer.encode(text) for text in texts], lambda ids: ids[:limit], limit, NAMES
    )
