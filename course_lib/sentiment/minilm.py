"""The rival that has read before: MiniLM with a new head, fine-tuned on the reviews (chapters 4 and 10).

Beside what every fine-tuning does, three habits of the field that pay on 2,500 reviews: lower layers move less; each
review is read after the small push that harms its loss most (adversarial training); and the same vector has to
tell the review's phenomenon too (multi-task learning), which the other rivals are never told. EXPERIMENTS.md says what
each is worth.

Shape legend: B texts in a batch, T tokens, C features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import pretrained
from course_lib.data import PHENOMENA, Batch, Review
from course_lib.losses import cross_entropy
from course_lib.models import masked_mean
from course_lib.sentiment.trained import LABELS, Network, Trained, Watch, texts_and_labels, train_network


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
        push: how far training moves a review's word vectors (T, C), as one long vector, the way that makes its loss
            worse, before it learns from it; 0 leaves them where they are.
        phenomena: weight of a second loss, that of telling the phenomenon; the record's train_loss includes it. With 0
            the reviews' phenomena are not looked at.
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
    push: float = 0.16
    phenomena: float = 0.3
    precision: str = "bf16"


class PretrainedClassifier(nn.Module):
    """A pretrained encoder, the mean of its last hidden states, and one linear layer.

    Args:
        encoder: a transformers encoder; it becomes part of this module and is trained with it.
        dropout: share of activations dropped in training, in the encoder and before the head.
    """

    def __init__(self, encoder: nn.Module, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        width: int = encoder.config.hidden_size  # type: ignore[union-attr, assignment]
        self.head = nn.Linear(width, LABELS + len(PHENOMENA))
        nn.init.normal_(self.head.weight, std=0.02)  # BERT's own
        nn.init.zeros_(self.head.bias)
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout

    def word_vectors(self, ids: Tensor) -> Tensor:
        """Look up the vectors of token ids (B, T), before positions are added -> (B, T, C)."""
        return self.encoder.get_input_embeddings()(ids)  # type: ignore[operator]

    def scores(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Read word vectors (B, T, C) with mask (B, T) -> logits of the labels, then of the phenomena, (B, 2 + 6)."""
        hidden = self.encoder(inputs_embeds=vectors, attention_mask=mask.long()).last_hidden_state  # (B, T, C)
        return self.head(self.dropout(masked_mean(hidden, mask)))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Classify token ids (B, T) with mask (B, T), True where real, -> logits of the labels (B, 2)."""
        return self.scores(self.word_vectors(ids), mask)[:, :LABELS]


@dataclass(frozen=True, eq=False)
class FineTuningLoss:
    """The objective that `fit` minimizes: of label and phenomenon, after the push.

    A batch's targets are label + 2 * phenomenon, so that one number carries both.

    Attributes:
        settings: push and phenomena.

    Source: Miyato, Dai and Goodfellow, "Adversarial training methods for semi-supervised text classification" (2017),
        equation 5: epsilon = push, g = slope; without their normalization of the vectors.
    """

    settings: MiniLMSettings

    def __call__(self, model: PretrainedClassifier, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the summed loss in nats and the label's logits, both after the push."""
        vectors = model.word_vectors(batch.inputs)  # (B, T, C)
        if self.settings.push:
            vectors = vectors + self._push(model, batch)
        scores = model.scores(vectors, batch.mask)
        return self._loss(scores, batch.targets), scores[:, :LABELS]

    def _push(self, model: PretrainedClassifier, batch: Batch) -> Tensor:
        """For each review, the step of that length along the gradient of its loss by its word vectors, (B, T, C)."""
        vectors = model.word_vectors(batch.inputs).detach().requires_grad_()  # (B, T, C)
        loss = self._loss(model.scores(vectors, batch.mask), batch.targets)
        (slope,) = torch.autograd.grad(loss, vectors)  # of the vectors alone, so cheaper than a whole backward pass
        length = slope.flatten(1).norm(dim=1).clamp(min=1e-12)[:, None, None]  # (B, 1, 1)
        return self.settings.push * slope / length

    def _loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        loss = cross_entropy(scores[:, :LABELS], targets % LABELS, reduction="sum")
        if not self.settings.phenomena:
            return loss
        second = cross_entropy(scores[:, LABELS:], targets // LABELS, reduction="sum")
        return loss + self.settings.phenomena * second


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
        ValueError: only one label is there, or a review has no phenomenon and `phenomena` is not 0.
        PretrainedError: MiniLM's files are missing or damaged.
    """
    chosen = settings or MiniLMSettings()
    texts_and_labels(reviews)
    if chosen.phenomena and (bare := [review.id for review in reviews if review.phenomenon is None]):
        raise ValueError(
            f"every review must say its phenomenon; {len(bare)} do not, the first is {bare[0]!r}: set phenomena=0"
        )
    encoder, tokenizer = pretrained.load_encoder("minilm")

    def encode(text: str) -> list[int]:
        ids: list[int] = tokenizer(text, truncation=True, max_length=chosen.max_length)["input_ids"]
        return ids

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = PretrainedClassifier(encoder, dropout=chosen.dropout)
        optimizer = torch.optim.AdamW(_layer_groups(model, chosen), fused=True)
        objective = FineTuningLoss(chosen)
        network = Network("MiniLM", model, optimizer, encode, objective, _both)  # type: ignore[arg-type]
        return train_network(network, reviews, validation, chosen, seed=seed, on_step=on_step)


def _both(review: Review) -> int:
    """Label and phenomenon as one target; where there is no phenomenon nobody reads it."""
    return review.label + LABELS * (PHENOMENA.index(review.phenomenon) if review.phenomenon else 0)


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
