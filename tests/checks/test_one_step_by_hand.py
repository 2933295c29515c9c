import json
from pathlib import Path

import pytest
import torch

from course_lib.checks import one_step_by_hand as checks

# --- the answers: the starter, the solution, and what people write instead ---


def update_starter(weights: list[float], gradients: list[float], rate: float) -> list[float]: ...


def update_solution(weights, gradients, rate):
    return [w - rate * g for w, g in zip(weights, gradients, strict=True)]


def update_in_place(weights, gradients, rate):
    for i, g in enumerate(gradients):
        weights[i] -= rate * g
    return weights


def update_without_return(weights, gradients, rate):
    [w - rate * g for w, g in zip(weights, gradients, strict=True)]


UPDATES = {
    "wrong way": lambda w, g, r: [a + r * b for a, b in zip(w, g, strict=True)],
    "where is the rate": lambda w, g, r: [a - b for a, b in zip(w, g, strict=True)],
    "dividing by the rate": lambda w, g, r: [a - b / r for a, b in zip(w, g, strict=True)],
    "equally far": lambda w, g, r: [a - r * (1 if b > 0 else -1) for a, b in zip(w, g, strict=True)],
    "does not depend on how large": lambda w, g, r: [a - r * b * a for a, b in zip(w, g, strict=True)],
    "where does it start": lambda w, g, r: [-r * b for b in g],
    "first one's step": lambda w, g, r: [a - r * g[0] for a in w],
    "changed the lists": update_in_place,
    "is there a return": update_without_return,
    "shape": lambda w, g, r: [w[0] - r * g[0]],
    "expected 3 numbers": lambda w, g, r: w[0] - r * g[0],
    "you gave [0.9, -1.2, 0.1]": lambda w, g, r: [a - 2 * r * b for a, b in zip(w, g, strict=True)],
}


def numerical_starter(f, weights: torch.Tensor, nudge: float) -> torch.Tensor:
    """Slope of f for each weight."""


def one_by_one(f, weights, above, below, distance):
    gradient = torch.zeros_like(weights)
    for i in range(len(weights)):
        step = torch.zeros_like(weights)
        step[i] = 1.0
        gradient[i] = (f(weights + above * step) - f(weights - below * step)) / distance
    return gradient


def numerical_solution(f, weights, nudge):
    return one_by_one(f, weights, nudge, nudge, 2 * nudge)


def numerical_in_place(f, weights, nudge):
    """Right as well: nudges the tensor it was given and puts every entry back."""
    gradient = []
    for i in range(len(weights)):
        weights[i] += nudge
        above = float(f(weights))
        weights[i] -= 2 * nudge
        below = float(f(weights))
        weights[i] += nudge
        gradient.append((above - below) / (2 * nudge))
    return gradient


def numerical_not_put_back(f, weights, nudge):
    gradient = torch.zeros_like(weights)
    for i in range(len(weights)):
        before = f(weights)
        weights[i] += nudge
        gradient[i] = (f(weights) - before) / nudge
    return gradient


def numerical_all_at_once(f, weights, nudge):
    return torch.full_like(weights, float(f(weights + nudge) - f(weights - nudge)) / (2 * nudge))


NUMERICALS = {
    "upwards only": lambda f, w, n: one_by_one(f, w, n, 0, n),
    "downwards only": lambda f, w, n: one_by_one(f, w, 0, n, n),
    "two nudges": lambda f, w, n: one_by_one(f, w, n, n, n),
    "divided by the distance": lambda f, w, n: one_by_one(f, w, n, n, 1),
    "without brackets": lambda f, w, n: one_by_one(f, w, n, n, 1) / 2 * n,
    "above minus below": lambda f, w, n: one_by_one(f, w, -n, -n, 2 * n),
    "all weights at once": numerical_all_at_once,
    "put each one back": numerical_not_put_back,
    "shape": lambda f, w, n: (f(w + n) - f(w - n)) / (2 * n),
    "is there a return": lambda f, w, n: print(end=""),
}


def logits_starter(logits: torch.Tensor, target: int) -> torch.Tensor: ...


def one_hot(logits, target):
    return torch.nn.functional.one_hot(torch.tensor(target), len(logits)).to(logits)


def logits_solution(logits, target):
    return torch.softmax(logits, dim=0) - one_hot(logits, target)


def logits_in_place(logits, target):
    logits -= logits.logsumexp(0)
    logits[target] += 1
    return logits


LOGITS = {
    "these are the probabilities": lambda z, t: torch.softmax(z, dim=0),
    "every sign is turned": lambda z, t: one_hot(z, t) - torch.softmax(z, dim=0),
    "from every entry": lambda z, t: torch.softmax(z, dim=0) - 1,
    "into probabilities first": lambda z, t: z - one_hot(z, t),
    "with respect to the probability": lambda z, t: -one_hot(z, t) / torch.softmax(z, dim=0)[t],
    "only the right word": lambda z, t: (torch.softmax(z, dim=0) - 1) * one_hot(z, t),
    "changed the logits": logits_in_place,
    "shape": lambda z, t: torch.softmax(z, dim=0)[t] - 1,
    "you gave": lambda z, t: torch.softmax(z, dim=0) - 2 * one_hot(z, t),
}


def hidden_starter(dlogits: torch.Tensor, W2: torch.Tensor, h: torch.Tensor) -> torch.Tensor: ...


def hidden_solution(dlogits, W2, h):
    return (W2.T @ dlogits) * (1 - h**2)


HIDDENS = {
    "One more step back": lambda d, W, h: W.T @ d,
    "column j of W2": lambda d, W, h: (W @ d) * (1 - h**2),
    "is missing too": lambda d, W, h: W @ d,
    "through tanh already": lambda d, W, h: (W.T @ d) * (1 - torch.tanh(h) ** 2),
    "sigmoid": lambda d, W, h: (W.T @ d) * h * (1 - h),
    "you added": lambda d, W, h: W.T @ d + (1 - h**2),
    "slopes of tanh alone": lambda d, W, h: 1 - h**2,
    "shape": lambda d, W, h: W * d,
    "but for 5 x 3": lambda d, W, h: (W[:3].T @ d[:3]) * (1 - h**2),
}

NAMES = {
    "db2 is a copy of it": "dlogits",
    "nearer to the input": "dW2",
    "tells you that dlogits is right": "db2",
    "What is done to dh next": "dh",
    "What is it made from": "dW1",
    "a plain copy": "db1",
    "in common": "dx",
    "choose one of": "dZ2",
    "a name in quotes": 3,
}

EXERCISES = {
    "updated_weights": (update_starter, [update_solution], UPDATES),
    "numerical_gradient": (numerical_starter, [numerical_solution, numerical_in_place], NUMERICALS),
    "logits_gradient": (logits_starter, [logits_solution], LOGITS),
    "hidden_gradient": (hidden_starter, [hidden_solution], HIDDENS),
    "first_wrong": (..., ["dz", " dz "], NAMES),
}


def test_a_tensor_is_as_good_as_a_list():
    verdict = checks.updated_weights(lambda w, g, r: torch.tensor(w).double() - r * torch.tensor(g).double())
    assert verdict.state == "right", verdict.text


def test_answers_that_stop_get_their_error():
    verdict = checks.hidden_gradient(lambda d, W, h: d @ W.T @ d @ h)
    assert verdict.state == "wrong"
    assert "Error" in verdict.text


def quiz() -> list[dict]:
    return json.loads(
        (Path(__file__).parents[2] / "notebooks" / "quiz" / "05_one_step_by_hand.json").read_text(encoding="utf-8")
    )


def test_the_quiz_numbers_are_right():
    right = [a["value"] for q in quiz() for a in q["answers"] if q["type"] == "numeric" and a.get("correct")]
    assert right == pytest.approx([update_solution([0.5], [-2.0], 0.1)[0], 0.25 - 1])
