"""What every rival returns, and the run that both networks share.

Shape legend: N texts, B texts in a batch, T tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import metrics
from course_lib.data import Review, ReviewBatches
from course_lib.run_record import RunRecord
from course_lib.schedules import Linear
from course_lib.training import FitConfig, evaluate, fit, predict, prediction_loss
from course_lib.training.loop import Objective
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


def texts_and_labels(reviews: Sequence[Review]) -> tuple[list[str], list[int]]:
    """Part N reviews into texts and labels. Raises ValueError when only one label is there: nothing to tell apart."""
    labels = [review.label for review in reviews]
    if len(set(labels)) < 2:
        raise ValueError(
            f"reviews must hold both labels; got {len(labels)} reviews of label {labels[0] if labels else 'none'}: "
            "there is nothing to tell apart"
        )
    return [review.text for review in reviews], labels


@dataclass(frozen=True, eq=False)
class Network:
    """A network before its training.

    Attributes:
        name: what a table calls it.
        model: called as model(ids, mask); gives logits (B, 2).
        optimizer: over the model's parameters, at the peak rates.
        encode: from a text to token ids.
        objective: the summed loss and the logits of a batch.
        target: what the objective is told of a training review.
    """

    name: str
    model: nn.Module
    optimizer: torch.optim.Optimizer
    encode: Callable[[str], list[int]]
    objective: Objective = prediction_loss
    target: Callable[[Review], int] = attrgetter("label")


def train_network(
    network: Network,
    reviews: Sequence[Review],
    validation: Sequence[Review] | None,
    settings: Any,
    *,
    seed: int,
    on_step: Watch | None,
) -> Trained:
    """Train a network with a tenth of warm-up and a straight line down, and keep its last weights.

    Args:
        network: what to train, and how it reads.
        reviews: N labeled reviews.
        validation: measured after each epoch; None measures nothing.
        settings: a dataclass with max_length, epochs, batch_size and precision; the record keeps all of it.
        seed: decides the order of the reviews.
        on_step: called after each update.
    """

    def batches(texts: Sequence[str], labels: Sequence[int], **choice: Any) -> ReviewBatches:
        ids = [network.encode(text) for text in texts]
        return ReviewBatches(ids, labels, seed=seed, max_length=settings.max_length, **choice)

    def low() -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bf16")

    def measure(model: nn.Module) -> dict[str, float]:
        with low():
            return evaluate(model, held_out)

    def logits(texts: Sequence[str]) -> Tensor:
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # texts of like length share a batch
        row = [texts[i] for i in order]
        source = batches(row, [0] * len(row), batch_size=EVAL_BATCH, shuffle=False, bucket=False)
        answers = torch.empty(len(texts), LABELS)
        with low():
            answers[order] = predict(network.model, source)[1]
        return answers

    texts, _ = texts_and_labels(reviews)
    train_batches = batches(texts, [network.target(review) for review in reviews], batch_size=settings.batch_size)
    if validation is not None:
        held_out = batches(*texts_and_labels(validation), batch_size=EVAL_BATCH, shuffle=False)
    config = FitConfig(epochs=settings.epochs, precision=settings.precision, restore_best=False, seed=seed)
    total = config.total_steps(len(train_batches))
    record = fit(
        network.model,
        train_batches,
        network.optimizer,
        Linear(total_steps=total, warmup_steps=total // 10),
        config,
        objective=network.objective,
        evaluate=None if validation is None else measure,
        on_step=on_step,
        progress=False,
        run={"model": network.name, "settings": asdict(settings), "reviews": len(reviews)},
    )
    return Trained(network.name, logits, record, network.model.eval())
