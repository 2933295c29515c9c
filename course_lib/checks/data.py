"""Self-checks of chapter 03: rules by hand, a split in three, a planted leak, a mean without padding.

The longer checks live beside this module: `data_rules`, `data_split` and `data_leaks`.

Shape legend: B reviews in a batch, T positions, C numbers a token has.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from course_lib.checks import data_leaks
from course_lib.checks.answers import Hint, Verdict, expect, judge
from course_lib.checks.data_rules import check_rules
from course_lib.checks.data_split import check_split
from course_lib.checks.loss_probe import as_tensor, compare
from course_lib.data import Leak, Review
from course_lib.models import masked_mean as right_mean


def classify(answer: Callable[[str], int]) -> Verdict:
    """Check `classify(text)`, a classifier of rules: 0 or 1 for a review, right on more than 65% of the validation set.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, check_rules)


def split_three(answer: Callable[[Sequence[Review], int], Sequence[Sequence[Review]]]) -> Verdict:
    """Check `split_three(reviews, seed)`: training, validation and test part, 70%, 10% and 20% of the reviews.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, check_split)


def suspects() -> tuple[list[Review], list[Review]]:
    """The training reviews and the exam of the exercise "find the planted leak", the same at every call.

    Returns:
        Training reviews with ids "tr-...", exam reviews with ids "ex-...".
    """
    planted = data_leaks.plant()
    return list(planted.train), list(planted.exam)


def leaked(answer: Iterable[str | int | Leak | Review]) -> Verdict:
    """Check which reviews of the exam stand, copied or nearly so, among the training reviews of `suspects()`.

    Args:
        answer: Ids of exam reviews; places in the exam, exam reviews or `Leak` objects do as well.

    Returns:
        The verdict to show.
    """
    return judge(answer, data_leaks.check_leaked)


def mean_of_words(answer: Callable[[Tensor, Tensor], Tensor]) -> Verdict:
    """Check `mean_of_words(x, mask)`: the mean (B, C) of token vectors (B, T, C) without the padding.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, _mean_of_words)


def _means(x: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """What the likely mistakes give, by their hints."""
    weight = mask.unsqueeze(-1).to(x.dtype)  # (B, T) -> (B, T, 1)
    lengths = mask.sum(dim=1)  # (B,)
    total = (x * weight).sum(dim=1)  # (B, C)
    padding = (x * (1 - weight)).sum(dim=1) / (1 - weight).sum(dim=1)  # (B, C)
    first = torch.stack([row[:n].mean(dim=0) for row, n in zip(x, lengths.tolist(), strict=True)])  # (B, C)
    last = torch.stack([row[-n:].mean(dim=0) for row, n in zip(x, lengths.tolist(), strict=True)])  # (B, C)
    return {
        "that is the plain mean over all positions, padding included": x.mean(dim=1),
        "the padding adds nothing any more, but it still counts: you divide by all positions": total / x.shape[1],
        "you divide by the number of words, but the padding's vectors are in the sum": x.sum(dim=1) / lengths[:, None],
        "that is the sum over the words; divide by their number": total,
        "that is the mean of the padding: the mask is True at words": padding,
        "you divide by all words of the batch; each review has its own number": total / mask.sum(),
        "your function takes the first places of a row for its words; in one of these rows the padding is on the left, "
        "and the mask says so": first,
        "your function takes the last places of a row for its words; in one of these rows the padding is on the right, "
        "and the mask says so": last,
    }


def _mean_of_words(answer: Callable[[Tensor, Tensor], Tensor]) -> str:
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)  # (B, T, C): padding has vectors as well
    mask = torch.tensor([[True, True, True, False, False], [False, True, True, True, True]])  # (B, T)
    x = rows.clone()
    result: Any = answer(x, mask.clone())
    got = as_tensor(result, "a tensor of one row for each review")
    expect(torch.equal(x, rows), "your function changed the vectors that it was given; work on new ones")
    shape = tuple(got.shape)
    expect(
        shape != (3,),
        "you averaged over the reviews as well: of shape (B, T, C), only the T positions are to be averaged",
    )
    expect(shape == (2, 3), f"expected a row for each of the 2 reviews, shape (2, 3); yours has {shape}")
    compare(got, right_mean(rows, mask), _means(rows, mask), "for two reviews of 3 and 4 words")
    if not isinstance(result, Tensor):
        raise Hint("the numbers are right; return them as a tensor, so that a model can be trained through them")
    return "what stands at a masked place is multiplied by 0 and not counted: padding on either side changes nothing"
