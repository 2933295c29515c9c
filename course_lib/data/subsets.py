"""Parts of a labeled set: balanced draws of any size, and labels turned around on purpose (chapters 4 and 11)."""

import random
from collections.abc import Sequence
from dataclasses import replace

from course_lib.data.reviews import Review


def draw_balanced(reviews: Sequence[Review], size: int, subset: int) -> list[Review]:
    """Draw a balanced subset at random.

    Args:
        reviews: What to draw from, half of them or more of either label.
        size: How many, an even number: half of each label.
        subset: Which draw; two sizes of one draw are nested.

    Returns:
        The reviews, the labels in turn.

    Raises:
        ValueError: The size is odd, below 2, or more than the rarer label allows.
    """
    of_label = [[review for review in reviews if review.label == label] for label in (0, 1)]
    most = 2 * min(map(len, of_label))
    if size % 2 or not 2 <= size <= most:
        raise ValueError(f"size: expected an even number from 2 to {most}, half of each label; got {size!r}")
    for label, mine in enumerate(of_label):
        random.Random(2 * subset + label).shuffle(mine)
    return [review for pair in zip(*of_label, strict=False) for review in pair][:size]


def turn_labels(reviews: Sequence[Review], share: float, seed: int) -> list[Review]:
    """Give a share of the reviews the other label, as many of label 0 as of label 1, chosen at random.

    Args:
        reviews: N reviews.
        share: Of each label, from 0 to 1; rounded to whole reviews.
        seed: Decides which.

    Returns:
        As many reviews in the same order; those that were turned are new objects.

    Raises:
        ValueError: The share is no share.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share: expected a number from 0 to 1, got {share!r}")
    turned: set[int] = set()
    for label in (0, 1):
        places = [i for i, review in enumerate(reviews) if review.label == label]
        turned.update(random.Random(2 * seed + label).sample(places, round(share * len(places))))
    return [replace(review, label=1 - review.label) if i in turned else review for i, review in enumerate(reviews)]
