"""Labeled texts made into what Trainer reads, once and before training (chapter 16)."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from course_lib.data import DataError, Review


@dataclass(frozen=True, eq=False)
class Tokenized:
    """Texts as token ids.

    Attributes:
        rows: a dict for each text with input_ids, attention_mask and labels, not padded.
        cut: how many texts were longer than the limit.
        seconds: what tokenizing took.
    """

    rows: list[dict[str, Any]]
    cut: int
    seconds: float

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each text."""
        return [len(row["input_ids"]) for row in self.rows]


def tokenize(reviews: Sequence[Review], tokenizer: Any, max_length: int) -> Tokenized:
    """Tokenize reviews, all in one call, which a fast tokenizer spreads over the cores.

    Args:
        reviews: N labeled texts.
        tokenizer: of the checkpoint.
        max_length: most tokens to keep, special ones included.
    """
    started = time.perf_counter()
    texts = [review.text for review in reviews]
    encoded = tokenizer(texts, truncation=True, max_length=max_length, return_overflowing_tokens=True, verbose=False)
    first: dict[int, int] = {}  # a long text fills several rows; the first of them is what is read
    for row, text in enumerate(encoded["overflow_to_sample_mapping"]):
        first.setdefault(text, row)
    rows = [
        {"input_ids": encoded["input_ids"][row], "attention_mask": encoded["attention_mask"][row], "labels": r.label}
        for row, r in zip(first.values(), reviews, strict=True)
    ]
    pieces = Counter(encoded["overflow_to_sample_mapping"])
    return Tokenized(rows, sum(count > 1 for count in pieces.values()), time.perf_counter() - started)


def check_texts(part: str, reviews: Sequence[Review], n_labels: int) -> None:
    """Refuse what would train without an error and mean nothing.

    Args:
        part: what to call them in an error: "training", "validation".
        reviews: labeled texts.
        n_labels: how many labels there are.

    Raises:
        DataError: there is no text, one is empty, or a label is not from 0 to n_labels - 1.
    """
    if not reviews:
        raise DataError(f"{part} data: expected at least one text; got none")
    for review in reviews:
        if not review.text.strip():
            raise DataError(f"{part} data, {review.id!r}: the text is empty: leave the row out, or restore its text")
        if not 0 <= review.label < n_labels:
            raise DataError(
                f"{part} data, {review.id!r}: expected a label from 0 to {n_labels - 1}; got {review.label}: count the "
                "labels from 0, or say how many there are"
            )


def check_classes(reviews: Sequence[Review], *, allow_single_class: bool) -> str | None:
    """Say what is wrong with training data that has one class only.

    Returns:
        A warning, or None where there are two classes or more.

    Raises:
        DataError: there is one class, and that is not allowed.
    """
    labels = {review.label for review in reviews}
    if len(labels) > 1:
        return None
    problem = (
        f"all {len(reviews):,} training texts have the label {labels.pop()}: the model will learn to answer it to "
        "everything, and an evaluation on the same class will show 100%"
    )
    if not allow_single_class:
        raise DataError(f"{problem}. Shuffle before you take a part of the data; --allow-single-class runs it anyway")
    return f"warning: {problem}"
