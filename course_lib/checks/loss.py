"""Self-checks of chapter 07: a loss that breaks is recognized by where it breaks, a wrong one by its number.

Each check computes, beside the right value, the values that the likely mistakes would give. An answer that equals one
of them gets that mistake's hint; any other gets the numbers side by side.

Shape legend: B rows (predictions), V classes.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.checks.answers import Verdict, expect, judge
from course_lib.checks.loss_probe import as_tensor, compare, try_stable_loss


def least_loss(answer: Callable[[float, bool], float]) -> Verdict:
    """Check `least_loss(p_wrong, is_favorite)`: the lowest loss that a wrong word's probability leaves possible.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, _least_loss)


def stable_loss(answer: Callable[[Tensor, Tensor], Tensor]) -> Verdict:
    """Check `stable_loss(logits, targets)`: mean cross-entropy of (B, V) logits of any size.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, try_stable_loss)


def loss_gradient(answer: Callable[[Tensor, Tensor], Tensor]) -> Verdict:
    """Check `loss_gradient(logits, targets)`: the slopes (B, V) of the mean loss of a batch.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, _loss_gradient)


def units(answer: Callable[[float, int, int], tuple[float, float]]) -> Verdict:
    """Check `units(nats_per_token, tokens, characters)`: perplexity per token and bits per character.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, _units)


_CASES = ((0.1, False), (0.1, True), (0.6, False), (0.6, True))  # the last: a favorite that leaves less than it has


def _at_cases(rule: Callable[[float, bool], float]) -> Tensor:
    return torch.tensor([rule(p, favorite) for p, favorite in _CASES], dtype=torch.float64)


def _least_loss(answer: Callable[[float, bool], float]) -> str:
    values = [as_tensor(answer(p, favorite), "one number, the loss in nats") for p, favorite in _CASES]
    expect(all(value.numel() == 1 for value in values), "expected one number, the loss in nats; yours gave several")
    right = _at_cases(lambda p, f: -math.log(min(p, 1 - p) if f else 1 - p))
    mistakes = {
        "that is the loss of a right word with this probability; here it belongs to a wrong word. How much does it "
        "leave for the right one?": _at_cases(lambda p, f: -math.log(p)),
        "you use what the wrong word leaves, and that is half of it. If the wrong word is the favorite, what is the "
        "most that any other word can have?": _at_cases(lambda p, f: -math.log(1 - p)),
        "a favorite with 0.6 leaves 0.4 for all the others; the right word cannot have more than that": _at_cases(
            lambda p, f: -math.log(p if f else 1 - p)
        ),
        "a loss of 0 needs probability 1, and the wrong word has taken some of it": _at_cases(lambda p, f: 0.0),
        "the two cases are swapped: only of a favorite do we know that no word has more": _at_cases(
            lambda p, f: -math.log(1 - p if f else min(p, 1 - p))
        ),
        "that is the highest probability of the right word; the loss is minus its logarithm": right.neg().exp(),
        "the sign is turned: a logarithm of a probability is negative, the loss is minus that": -right,
        "that is the logarithm to base 10; nats need the natural one, math.log": right / math.log(10),
        "that is the logarithm to base 2, the loss in bits; nats need the natural one, math.log": right / math.log(2),
    }
    compare(torch.stack([value.reshape(()) for value in values]), right, mistakes, f"for {_CASES}")
    return "a wrong word's probability bounds the loss from below, and never says what it is; from above, nothing does"


def _loss_gradient(answer: Callable[[Tensor, Tensor], Tensor]) -> str:
    rows = torch.tensor([[2.0, 1.0, 0.1, -1.0], [0.5, 2.5, 0.0, 1.0], [-1.0, 0.3, 1.2, 0.4]], dtype=torch.float64)
    targets = torch.tensor([0, 3, 2])  # (3,)
    logits = rows.clone()
    got = as_tensor(answer(logits, targets), "a tensor of slopes")
    expect(torch.equal(logits, rows), "your function changed the logits it was given; work on a new tensor")
    shape = tuple(got.shape)
    expect(shape == (3, 4), f"expected a slope for each logit, shape (3, 4); yours has {shape}")
    p, hot = rows.softmax(1), torch.nn.functional.one_hot(targets, 4).double()  # (3, 4), (3, 4)
    every = torch.zeros_like(p)
    every[:, targets] = 1.0
    right = (p - hot) / 3
    mistakes = {
        "these are the slopes of the summed loss; the mean shares one whole among its rows": 3 * right,
        "every sign is turned: raising the right class's logit lowers the loss": -right,
        "a mean over the rows divides by the number of rows, not by the number of logits": right / 4,
        "you divided by the number of classes; the mean is over the rows": 3 * right / 4,
        "these are the probabilities; what is different for the right classes?": p / 3,
        "these are the probabilities, and of the summed loss; what is different for the right classes?": p,
        "hot[:, targets] = 1 sets every target's column in every row; row i should have its 1 at target i alone": (
            (p - every) / 3
        ),
        "softmax ran down the columns; the classes of one prediction stand in a row (dim=1)": (
            (rows.softmax(0) - hot) / 3
        ),
        "you subtracted from the logits themselves; turn them into probabilities first": (rows - hot) / 3,
    }
    compare(got, right, mistakes, "for three rows of four logits")
    return "probabilities minus one-hot, shared among the rows; no slope exceeds 1 divided by the number of rows"


def _units(answer: Callable[[float, int, int], tuple[float, float]]) -> str:
    nats, tokens, characters = 2.0, 300, 1350
    got = as_tensor(answer(nats, tokens, characters), "two numbers: perplexity per token, bits per character")
    expect(got.shape == (2,), f"expected two numbers, perplexity and bits; yours has shape {tuple(got.shape)}")
    perplexity, bits = got.tolist()
    right = math.exp(nats), nats / math.log(2) * tokens / characters
    expect(not torch.allclose(got, torch.tensor(right[::-1]).double()), "both numbers are right, in the other order")
    for value, wanted, name, mistakes in (
        (perplexity, right[0], "perplexity", {
            "2 to the power of nats mixes two units: nats go with e, bits with 2": 2**nats,
            "that is e to the power of bits; nats go with e, bits with 2": math.exp(nats / math.log(2)),
            "that is the perplexity per character; asked was per token": math.exp(nats * tokens / characters),
            "that is still the loss; perplexity is the number of equal choices with this loss": nats,
        }),
        (bits, right[1], "bits per character", {
            "that is bits per token; share the same total among the characters": nats / math.log(2),
            "those are nats per character; how many nats is one bit?": nats * tokens / characters,
            "you multiplied by ln 2: a bit is the smaller unit, so the number of bits is the larger one": (
                nats * math.log(2) * tokens / characters
            ),
            "tokens and characters are swapped: first the total, nats times tokens, then share it among the "
            "characters": nats / math.log(2) * characters / tokens,
            "those are the bits of the whole text; share them among its characters": nats / math.log(2) * tokens,
        }),
    ):  # fmt: skip
        for hint, wrong in mistakes.items():
            expect(not math.isclose(value, wrong, rel_tol=1e-6), hint)
        expect(
            math.isclose(value, wanted, rel_tol=1e-6),
            f"{name}: for {nats} nats per token, {tokens} tokens and {characters} characters you gave {value:.4g}; "
            f"expected {wanted:.4g}",
        )
    return "perplexity belongs to its token; bits per character belong to the text, however it was cut"
