"""Between a transformers classifier and the course: how it is called, and which loss it learns from (chapter 16).

Shape legend: B reviews in a batch, T positions of the longest of them, V labels, A micro-batches in an update.
"""

from typing import Any

from torch import Tensor, nn

from course_lib.losses import cross_entropy


class AsCourseModel(nn.Module):
    """A transformers sequence classifier, called the way `fit`, `evaluate` and `predict` call a model.

    Args:
        classifier: gives `.logits` (B, V); it becomes part of this module, and trains, moves and changes mode with it.
    """

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Classify token ids (B, T) with mask (B, T), True where real, -> logits (B, V)."""
        logits: Tensor = self.classifier(input_ids=ids, attention_mask=mask.long()).logits
        return logits


def without_dropout(model: nn.Module) -> nn.Module:
    """Set every dropout of a model to 0, in place, so that training draws nothing; returns the model."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def group_loss(outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
    """The course's loss as the Trainer's `compute_loss_func`: summed, then divided once for the whole update.

    Without it the Trainer of transformers 5.23 adds up the means of the A micro-batches of an update, for BERT and
    DistilBERT classifiers: their forward takes any keyword, the Trainer concludes that they divide the loss
    themselves, and they do not. Loss and gradient are then A times too large. With it each review counts once.

    Args:
        outputs: what the classifier gave for one micro-batch; `.logits` (B, V).
        labels: its classes, (B,).
        num_items_in_batch: labels in all A micro-batches of this update, as the Trainer counts them; None, as when it
            evaluates, divides by the labels of this batch.

    Returns:
        This micro-batch's share of the update's mean loss, a scalar in nats.
    """
    if num_items_in_batch is None:
        return cross_entropy(outputs.logits, labels)
    return cross_entropy(outputs.logits, labels, reduction="sum") / num_items_in_batch
