"""Three classifiers of reviews behind one call: words counted, an encoder from scratch, MiniLM fine-tuned.

They are the course's rivals: chapters 3, 4, 10 and 11 train them on the same reviews and compare what comes out. Each
`train_...` takes reviews and gives back a `Trained`, which turns texts into logits; how it got there is its settings.

Shape legend: N texts, B texts in a batch, T tokens, C features.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import metrics, pretrained
from course_lib.data import Review, ReviewBatches
from course_lib.models import EncoderConfig, TransformerClassifier, masked_mean
from course_lib.run_record import RunRecord
from course_lib.schedules import Linear
from course_lib.tokenization import WordTokenizer
from course_lib.training import FitConfig, evaluate, fit, predict
from course_lib.training.state import RunState

LABELS = 2  # 0 = would not recommend, 1 = would
EVAL_BATCH = 100  # reviews side by side where no gradient is kept
Watch = Callable[[RunState], None]


@dataclass(frozen=True, eq=False)
class Trained:
    """A classifier of reviews after training.

    Attributes:
        name: what a table calls it.
        logits: from N texts to logits (N, 2), fp32 on the CPU, in the order of the texts.
        record: the run's curves; None for TF-IDF, whose solver keeps none.
        model: what was trained: a scikit-learn pipeline, or a torch module in evaluation mode.
    """

    name: str
    logits: Callable[[Sequence[str]], Tensor]
    record: RunRecord | None
    model: Any

    def probabilities(self, texts: Sequence[str]) -> Tensor:
        """The probability of label 1 for each of N texts, (N,)."""
        return self.logits(texts).softmax(dim=-1)[:, 1]

    def predictions(self, texts: Sequence[str]) -> Tensor:
        """The likelier label of each of N texts, (N,), int64."""
        return self.logits(texts).argmax(dim=-1)

    def accuracy(self, reviews: Sequence[Review]) -> float:
        """Share of N reviews whose label is predicted."""
        labels = torch.tensor([review.label for review in reviews])
        return metrics.accuracy(labels, self.predictions([review.text for review in reviews]))


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """The small encoder, and how it is trained: chosen on validation, see EXPERIMENTS.md.

    Args:
        vocab_size: words with a vector of their own, the two special tokens included.
        max_length: T, tokens read of a review.
        d_model: C; the feed-forward layer is four times as wide.
        n_layers: blocks.
        dropout: share of activations dropped in training.
        learning_rate: the peak, after a tenth of the run; it falls to 0 in a straight line.
        weight_decay: of AdamW, on every parameter.
        epochs: passes over the reviews.
        batch_size: B.
    """

    vocab_size: int = 10_000
    max_length: int = 128
    d_model: int = 64
    n_layers: int = 1
    dropout: float = 0.3
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    epochs: int = 5
    batch_size: int = 32


@dataclass(frozen=True, kw_only=True)
class MiniLMSettings:
    """MiniLM with a new head, and how it is fine-tuned: chosen on validation, see EXPERIMENTS.md.

    Args:
        max_length: T, tokens read of a review.
        dropout: share of activations dropped in training.
        learning_rate: the peak of the top layer, after a tenth of the run; it falls to 0 in a straight line.
        layer_decay: each layer's rate is this times the rate of the layer above it.
        head_factor: the new head's rate is this times the rate of the top layer.
        freeze_embeddings: whether the vectors of the words, half of all weights, stay as they are.
        weight_decay: of AdamW, on matrices only.
        epochs: passes over the reviews.
        batch_size: B.
        precision: "bf16" or "fp32".
    """

    max_length: int = 160
    dropout: float = 0.1
    learning_rate: float = 2e-4
    layer_decay: float = 0.8
    head_factor: float = 10.0
    freeze_embeddings: bool = True
    weight_decay: float = 0.01
    epochs: int = 4
    batch_size: int = 16
    precision: str = "bf16"


class PretrainedClassifier(nn.Module):
    """A pretrained encoder, the mean of its last hidden states, and one linear layer.

    Args:
        encoder: a transformers encoder; it becomes part of this module and is trained with it.
        dropout: share of activations dropped in training, in the encoder and before the head.
        n_classes: labels to tell apart.
    """

    def __init__(self, encoder: nn.Module, *, dropout: float = 0.1, n_classes: int = LABELS) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        width: int = encoder.config.hidden_size  # type: ignore[union-attr, assignment]
        self.head = nn.Linear(width, n_classes)
        nn.init.normal_(self.head.weight, std=0.02)  # BERT's own
        nn.init.zeros_(self.head.bias)
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Classify token ids (B, T) with mask (B, T), True where real, -> logits (B, n_classes)."""
        hidden = self.encoder(input_ids=ids, attention_mask=mask.long()).last_hidden_state  # (B, T, C)
        return self.head(self.dropout(masked_mean(hidden, mask)))


def train_tfidf(reviews: Sequence[Review]) -> Trained:
    """Count words and pairs of words, weigh the rare ones up, and fit a logistic regression. It has no seed.

    Args:
        reviews: N labeled reviews, both labels among them.

    Raises:
        ValueError: only one label is there.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    texts, labels = _texts_and_labels(reviews)
    pipeline = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=10, max_iter=1000)).fit(
        texts, labels
    )

    def logits(texts: Sequence[str]) -> Tensor:
        return torch.from_numpy(pipeline.predict_log_proba(list(texts))).float()  # (N, 2)

    return Trained("TF-IDF", logits, None, pipeline)


def train_encoder(
    reviews: Sequence[Review],
    validation: Sequence[Review] | None = None,
    *,
    seed: int = 0,
    settings: EncoderSettings | None = None,
    on_step: Watch | None = None,
) -> Trained:
    """Train the small encoder from scratch, its vocabulary from these reviews alone.

    Args:
        reviews: what to learn from, both labels among them.
        validation: measured after each epoch and used for nothing else; None measures nothing.
        seed: decides the starting weights, the dropout and the order of the reviews; torch's own generator stays.
        settings: None is `EncoderSettings()`.
        on_step: called after each update, as `training.fit` does.

    Raises:
        ValueError: only one label is there.
    """
    chosen = settings or EncoderSettings()
    texts, _ = _texts_and_labels(reviews)
    tokenizer = WordTokenizer.fit(texts, size=chosen.vocab_size)
    names = ("max_length", "d_model", "n_layers", "dropout")
    sizes = {name: getattr(chosen, name) for name in names}
    config = EncoderConfig(vocab_size=tokenizer.vocab_size, d_ff=4 * chosen.d_model, n_heads=4, **sizes)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = TransformerClassifier(config)
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=chosen.learning_rate, weight_decay=chosen.weight_decay, fused=True
        )
        return _train("encoder", model, optimizer, tokenizer.encode, reviews, validation, chosen, seed, on_step)


def train_minilm(
    reviews: Sequence[Review],
    validation: Sequence[Review] | None = None,
    *,
    seed: int = 0,
    settings: MiniLMSettings | None = None,
    on_step: Watch | None = None,
) -> Trained:
    """Fine-tune MiniLM from its package.

    Args:
        reviews: what to learn from, both labels among them.
        validation: measured after each epoch and used for nothing else; None measures nothing.
        seed: decides the head's start, the dropout and the order of the reviews; torch's own generator stays.
        settings: None is `MiniLMSettings()`.
        on_step: called after each update, as `training.fit` does.

    Raises:
        ValueError: only one label is there.
        PretrainedError: MiniLM's files are missing or damaged.
    """
    chosen = settings or MiniLMSettings()
    _texts_and_labels(reviews)
    encoder, tokenizer = pretrained.load_encoder("minilm")

    def encode(text: str) -> list[int]:
        ids: list[int] = tokenizer(text, truncation=True, max_length=chosen.max_length)["input_ids"]
        return ids

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = PretrainedClassifier(encoder, dropout=chosen.dropout)
        optimizer = torch.optim.AdamW(_layer_groups(model, chosen), fused=True)
        return _train("MiniLM", model, optimizer, encode, reviews, validation, chosen, seed, on_step)


def _layer_groups(model: PretrainedClassifier, settings: MiniLMSettings) -> list[dict[str, Any]]:
    """The top layer's group comes first, so that its rate is the one the record shows."""
    layers = list(model.encoder.encoder.layer)  # type: ignore[union-attr, arg-type]
    rates = [settings.learning_rate * settings.layer_decay**depth for depth in range(len(layers) + 1)]
    parts = [(layer.parameters(), rate) for layer, rate in zip(reversed(layers), rates, strict=False)]
    parts.append((model.head.parameters(), settings.learning_rate * settings.head_factor))
    if not settings.freeze_embeddings:
        parts.append((model.encoder.embeddings.parameters(), rates[-1]))  # type: ignore[union-attr]
    groups = []
    model.requires_grad_(False)
    for parameters, rate in parts:
        mine = [parameter.requires_grad_() for parameter in parameters]
        for wide in (True, False):  # biases and the scales of norms are not decayed
            chosen = [parameter for parameter in mine if (parameter.ndim > 1) == wide]
            groups.append({"params": chosen, "lr": rate, "weight_decay": settings.weight_decay if wide else 0.0})
    return groups


def _train(
    name: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    encode: Callable[[str], list[int]],
    reviews: Sequence[Review],
    validation: Sequence[Review] | None,
    settings: EncoderSettings | MiniLMSettings,
    seed: int,
    on_step: Watch | None,
) -> Trained:
    precision = getattr(settings, "precision", "fp32")

    def batches(texts: Sequence[str], labels: Sequence[int], **choice: Any) -> ReviewBatches:
        ids = [encode(text) for text in texts]
        return ReviewBatches(ids, labels, seed=seed, max_length=settings.max_length, **choice)

    def measure(model: nn.Module) -> dict[str, float]:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            return evaluate(model, held_out)

    def logits(texts: Sequence[str]) -> Tensor:
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # texts of like length share a batch
        rows = batches([texts[i] for i in order], [0] * len(order), batch_size=EVAL_BATCH, shuffle=False, bucket=False)
        answers = torch.empty(len(texts), LABELS)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            answers[order] = predict(model, rows)[1]
        return answers

    train_batches = batches(*_texts_and_labels(reviews), batch_size=settings.batch_size, bucket=True)
    if validation is not None:
        held_out = batches(*_texts_and_labels(validation), batch_size=EVAL_BATCH, shuffle=False, bucket=True)
    config = FitConfig(epochs=settings.epochs, precision=precision, restore_best=False, seed=seed)
    total = config.total_steps(len(train_batches))
    record = fit(
        model,
        train_batches,
        optimizer,
        Linear(total_steps=total, warmup_steps=total // 10),
        config,
        evaluate=None if validation is None else measure,
        on_step=on_step,
        progress=False,
        run={"model": name, "settings": asdict(settings), "reviews": len(reviews)},
    )
    return Trained(name, logits, record, model.eval())


def _texts_and_labels(reviews: Sequence[Review]) -> tuple[list[str], list[int]]:
    labels = [review.label for review in reviews]
    if len(set(labels)) < 2:
        raise ValueError(
            f"reviews must hold both labels; got {len(labels)} reviews of label {labels[0] if labels else 'none'}: "
            "there is nothing to tell apart"
        )
    return [review.text for review in reviews], labels
