import json
import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from course_lib import losses
from course_lib.checks import loss as checks

# --- the answers: the starter, the solution, and what people write instead ---


def least_starter(p_wrong: float, is_favorite: bool) -> float: ...


def least_solution(p_wrong, is_favorite):
    left = 1 - p_wrong
    highest = min(p_wrong, left) if is_favorite else left
    return -math.log(highest)


def least_as_a_tensor(p_wrong, is_favorite):
    left = torch.tensor([1 - p_wrong] + [p_wrong] * is_favorite)
    return -left.log().max() if not is_favorite else (-left.log()).max()


LEAST = {
    "How much does it leave": lambda p, f: -math.log(p),
    "half of it": lambda p, f: -math.log(1 - p),
    "leaves 0.4": lambda p, f: -math.log(p if f else 1 - p),
    "a loss of 0": lambda p, f: 0.0,
    "swapped": lambda p, f: least_solution(p, not f),
    "minus its logarithm": lambda p, f: math.exp(-least_solution(p, f)),
    "sign is turned": lambda p, f: -least_solution(p, f),
    "base 10": lambda p, f: least_solution(p, f) / math.log(10),
    "base 2": lambda p, f: least_solution(p, f) / math.log(2),
    "is there a return": lambda p, f: print(end=""),
    "one number": lambda p, f: (-math.log(1 - p), math.inf),
    "you gave": lambda p, f: 1.0,
}


def stable_starter(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor: ...


def pick(values, targets):
    return values.gather(1, targets.unsqueeze(1)).squeeze(1)


def stable_solution(logits, targets):
    shifted = logits - logits.amax(dim=1, keepdim=True)
    log_total = shifted.exp().sum(dim=1).log()
    return (log_total - pick(shifted, targets)).mean()


def stable_by_index(logits, targets):
    highest = logits.max(dim=1).values
    total = highest + torch.log(torch.exp(logits - highest[:, None]).sum(dim=1))
    return (total - logits[torch.arange(len(targets)), targets]).sum() / len(targets)


def stable_by_logsumexp(logits, targets):
    return (torch.logsumexp(logits, 1) - pick(logits, targets)).mean()


def stable_in_a_loop(logits, targets):
    rows = []
    for row, target in zip(logits, targets, strict=True):
        shifted = row - row.max()
        rows.append(shifted.exp().sum().log() - shifted[target])
    return sum(rows) / len(rows)


def probabilities(logits):
    return logits.exp() / logits.exp().sum(1, keepdim=True)


def shifted_by(shift):
    def answer(logits, targets):
        shifted = logits - shift(logits)
        return (shifted.exp().sum(1).log() - pick(shifted, targets)).mean()

    return answer


def stable_in_place(logits, targets):
    logits -= logits.amax(1, keepdim=True)
    return stable_solution(logits, targets)


def stable_half_shifted(logits, targets):
    shifted = logits - logits.amax(1, keepdim=True)
    return (shifted.exp().sum(1).log() - pick(logits, targets)).mean()


def stable_half_detached(logits, targets):
    return (torch.logsumexp(logits, 1) - pick(logits.detach(), targets)).mean()


STABLE = {
    "exp(1000) is infinite": lambda z, t: -pick(probabilities(z), t).log().mean(),
    "log(0) is infinite": lambda z, t: -pick(z.softmax(1), t).log().mean(),
    "caps the loss": lambda z, t: -pick(z.softmax(1), t).clamp(min=1e-9).log().mean(),
    "largest exp exactly 1": shifted_by(lambda z: z.mean(1, keepdim=True)),
    "its own maximum": shifted_by(lambda z: z.max()),
    "sign is turned": lambda z, t: -stable_solution(z, t),
    "sum over the rows": lambda z, t: stable_solution(z, t) * len(t),
    "averaged over all classes": lambda z, t: -z.log_softmax(1).mean(),
    "added up all classes": lambda z, t: -z.log_softmax(1).sum(1).mean(),
    "every row's entry for every target": lambda z, t: -z.log_softmax(1)[:, t].mean(),
    "log of the sum alone": lambda z, t: z.logsumexp(1).mean(),
    "the log of the sum is missing": lambda z, t: (z.amax(1) - pick(z, t)).mean(),
    "if both lose it": stable_half_shifted,
    "log of the mean probability": lambda z, t: -pick(z.softmax(1), t).mean().log(),
    "has a logarithm": lambda z, t: -pick(z.softmax(1), t).mean(),
    "in bits": lambda z, t: stable_solution(z, t) / math.log(2),
    "applied twice": lambda z, t: F.cross_entropy(z.softmax(1), t),
    "take the mean": lambda z, t: z.logsumexp(1) - pick(z, t),
    "changed the logits": stable_in_place,
    "go backward": lambda z, t: stable_solution(z, t).item(),
    "slopes through it": stable_half_detached,
    "is there a return": lambda z, t: print(end=""),
    "moderate logits you gave": lambda z, t: stable_solution(z, t) + 1,
    "your code stopped": lambda z, t: z.gather(1, t),
}


def gradient_starter(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor: ...


def hot(logits, targets):
    return F.one_hot(targets, logits.shape[1])


def gradient_solution(logits, targets):
    return (logits.softmax(dim=1) - hot(logits, targets)) / len(targets)


def gradient_by_index(logits, targets):
    slopes = logits.softmax(dim=1)
    slopes[torch.arange(len(targets)), targets] -= 1
    return slopes / len(targets)


def gradient_by_autograd(logits, targets):
    leaf = logits.clone().requires_grad_()
    losses.cross_entropy(leaf, targets).backward()
    return leaf.grad


def gradient_every_column(logits, targets):
    slopes = logits.softmax(dim=1)
    slopes[:, targets] -= 1
    return slopes / len(targets)


def gradient_in_place(logits, targets):
    logits -= logits.logsumexp(1, keepdim=True)
    return (logits.exp() - hot(logits, targets)) / len(targets)


GRADIENT = {
    "summed loss; the mean": lambda z, t: z.softmax(1) - hot(z, t),
    "every sign is turned": lambda z, t: -gradient_solution(z, t),
    "not by the number of logits": lambda z, t: (z.softmax(1) - hot(z, t)) / z.numel(),
    "number of classes": lambda z, t: (z.softmax(1) - hot(z, t)) / z.shape[1],
    "probabilities; what is different": lambda z, t: z.softmax(1) / len(t),
    "probabilities, and of the summed": lambda z, t: z.softmax(1),
    "every target's column": gradient_every_column,
    "down the columns": lambda z, t: (z.softmax(0) - hot(z, t)) / len(t),
    "into probabilities first": lambda z, t: (z - hot(z, t)) / len(t),
    "changed the logits": gradient_in_place,
    "a slope for each logit": lambda z, t: gradient_solution(z, t).sum(0),
    "you gave": lambda z, t: 2 * gradient_solution(z, t),
    "is there a return": lambda z, t: print(end=""),
}


def units_starter(nats_per_token: float, tokens: int, characters: int) -> tuple: ...


def units_solution(nats, tokens, characters):
    return math.exp(nats), nats * tokens / math.log(2) / characters


def bits(nats):
    return nats / math.log(2)


UNITS = {
    "2 to the power of nats": lambda n, t, c: (2**n, bits(n) * t / c),
    "e to the power of bits": lambda n, t, c: (math.exp(bits(n)), bits(n) * t / c),
    "asked was per token": lambda n, t, c: (math.exp(n * t / c), bits(n) * t / c),
    "that is still the loss": lambda n, t, c: (n, bits(n) * t / c),
    "that is bits per token": lambda n, t, c: (math.exp(n), bits(n)),
    "nats per character": lambda n, t, c: (math.exp(n), n * t / c),
    "multiplied by ln 2": lambda n, t, c: (math.exp(n), n * math.log(2) * t / c),
    "tokens and characters are swapped": lambda n, t, c: (math.exp(n), bits(n) * c / t),
    "bits of the whole text": lambda n, t, c: (math.exp(n), bits(n) * t),
    "in the other order": lambda n, t, c: units_solution(n, t, c)[::-1],
    "expected two numbers, perplexity and bits": lambda n, t, c: math.exp(n),
    "perplexity: for": lambda n, t, c: (1.0, bits(n) * t / c),
    "is there a return": lambda n, t, c: print(end=""),
}

EXERCISES = {
    "least_loss": (least_starter, [least_solution, least_as_a_tensor], LEAST),
    "stable_loss": (
        stable_starter,
        [stable_solution, stable_by_index, stable_by_logsumexp, stable_in_a_loop, losses.cross_entropy],
        STABLE,
    ),
    "loss_gradient": (gradient_starter, [gradient_solution, gradient_by_index, gradient_by_autograd], GRADIENT),
    "units": (units_starter, [units_solution, lambda n, t, c: list(units_solution(n, t, c))], UNITS),
}


def test_more_digits_move_the_border_and_do_not_remove_it():
    verdict = checks.stable_loss(lambda z, t: -pick(z.double().softmax(1), t).log().mean())
    assert verdict.state == "wrong"
    assert "more digits" in verdict.text


def test_a_small_number_before_the_log_is_a_clip():
    verdict = checks.stable_loss(lambda z, t: -(pick(z.softmax(1), t) + 1e-9).log().mean())
    assert verdict.state == "wrong"
    assert "caps the loss" in verdict.text


def test_the_quiz_numbers_are_right():
    path = Path(__file__).parents[2] / "notebooks" / "quiz" / "07_loss.json"
    questions = json.loads(path.read_text(encoding="utf-8"))
    right = [a["value"] for q in questions for a in q["answers"] if q["type"] == "numeric" and a.get("correct")]
    logits, second = torch.tensor([[500.0, 0.0]]), torch.tensor([1])
    in_bits = units_solution(-math.log(0.25), 1, 1)[1]
    assert right == pytest.approx([stable_solution(logits, second).item(), 60 * 2.0 / 100, in_bits])
