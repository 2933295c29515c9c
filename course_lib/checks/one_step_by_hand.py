"""Self-checks of chapter 05: a wrong gradient or update is recognized by the number it produces.

Each check computes, beside the right value, the values that the likely mistakes would give. An answer that equals one
of them gets that mistake's hint; any other gets the numbers side by side.
"""

from collections.abc import Callable

import torch

from course_lib.checks.answers import Hint, Verdict, expect, judge

_NOTHING = "nothing came back from your function; is there a return?"


def updated_weights(answer: Callable[[list[float], list[float], float], list[float]]) -> Verdict:
    """Check `updated_weights(weights, slopes, rate)`: one step of gradient descent on lists of any length.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, _updated_weights)


def numerical_gradient(answer: Callable[..., torch.Tensor]) -> Verdict:
    """Check `numerical_gradient(f, weights, nudge)`: central differences of any function of a vector.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, _numerical_gradient)


def logits_gradient(answer: Callable[[torch.Tensor, int], torch.Tensor]) -> Verdict:
    """Check `logits_gradient(logits, target)`: the slope of softmax cross-entropy with respect to each logit.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, _logits_gradient)


def hidden_gradient(answer: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]) -> Verdict:
    """Check `hidden_gradient(dlogits, W2, h)`: the slopes taken back through the second layer and the tanh.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, _hidden_gradient)


def first_wrong(answer: str) -> Verdict:
    """Check the name of the first wrong quantity in the chapter's `broken_backward`.

    Args:
        answer: The learner's string, such as "dW2".

    Returns:
        The verdict to show.
    """
    return judge(answer, _first_wrong)


def _vector(answer: object, length: int) -> torch.Tensor:
    """The answer as a float64 vector, or the hint on why it is none."""
    expect(answer is not None, _NOTHING)
    try:
        numbers = answer if isinstance(answer, torch.Tensor) else list(answer)  # type: ignore[call-overload]
        vector = torch.as_tensor(numbers, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise Hint(f"expected {length} numbers, got {type(answer).__name__}: {answer!r}") from error
    shape = tuple(vector.shape)
    expect(shape == (length,), f"expected one number for each of the {length}, shape ({length},); yours has {shape}")
    return vector


def _show(vector: torch.Tensor) -> str:
    return "[" + ", ".join(f"{value:.4g}" for value in vector.tolist()) + "]"


def _compare(got: torch.Tensor, right: torch.Tensor, mistakes: dict[str, torch.Tensor], task: str) -> None:
    """Accept the right vector; else give the hint of the mistake that produces what came, or both side by side."""
    if torch.allclose(got, right, rtol=1e-7, atol=1e-9):
        return
    for hint, wrong in mistakes.items():
        expect(not torch.allclose(got, wrong, rtol=1e-7, atol=1e-9), hint)
    raise Hint(f"{task} you gave {_show(got)}; expected {_show(right)}")


def _updated_weights(answer: Callable[..., list[float]]) -> str:
    weights, gradients, rate = [1.0, -2.0, 0.5], [0.5, -4.0, 2.0], 0.1
    result = answer(weights, gradients, rate)
    expect(
        (weights, gradients) == ([1.0, -2.0, 0.5], [0.5, -4.0, 2.0]),
        "your function changed the lists it was given; whoever called it has lost the old weights. Build a new list.",
    )
    w, g = torch.tensor(weights, dtype=torch.float64), torch.tensor(gradients, dtype=torch.float64)
    mistakes = {
        "every weight went the wrong way: with a positive slope the loss falls when the weight falls. "
        "Which sign belongs before the rate?": w + rate * g,
        "you took away the whole gradient; where is the rate?": w - g,
        "dividing by the rate makes a small rate a large step; it should make a small one": w - g / rate,
        "every weight moved equally far; a steep slope should move its weight further": w - rate * g.sign(),
        "you scaled the weight by its slope; the step does not depend on how large the weight is": w * (1 - rate * g),
        "that is how far each weight moves; where does it start from?": -rate * g,
        "every weight took the first one's step; weight i goes with gradient i": w - rate * g[0],
    }
    task = f"for weights {weights}, gradients {gradients} and rate {rate}"
    _compare(_vector(result, 3), w - rate * g, mistakes, task)
    return "each weight moves against its own slope, by rate times slope, and the old list is still there"


def _f(v: torch.Tensor) -> torch.Tensor:
    return (v**3).sum() + v[0] * v[1]


def _differences(w: torch.Tensor, nudge: float, up: float, down: float) -> torch.Tensor:
    """f(w + up * nudge) - f(w - down * nudge), entry by entry."""
    steps = nudge * torch.eye(len(w), dtype=torch.float64)
    return torch.stack([_f(w + up * step) - _f(w - down * step) for step in steps])


def _numerical_gradient(answer: Callable[..., torch.Tensor]) -> str:
    start, nudge = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64), 0.1
    w = start.clone()
    got = _vector(answer(_f, w, nudge), 3)
    right = _differences(start, nudge, 1, 1) / (2 * nudge)
    together = torch.full_like(start, float(_f(start + nudge) - _f(start - nudge)) / (2 * nudge))
    mistakes = {
        "you measured from the weight upwards only; measure from one nudge below to one nudge above, and the bend of "
        "the curve cancels": _differences(start, nudge, 1, 0) / nudge,
        "you measured from the weight downwards only; the other side is missing": _differences(start, nudge, 0, 1)
        / nudge,
        "between one nudge below and one nudge above lie two nudges: divide by that distance": 2 * right,
        "that is the difference of the loss; a slope is that difference divided by the distance": 2 * nudge * right,
        "all signs are turned: take (above minus below)": -right,
        "every entry is the same: you nudged all weights at once. Nudge one, put it back, then the next": together,
        "dividing by the distance twice, or by nudge * 2 without brackets? "
        "a / 2 * nudge divides by 2 and then multiplies": right * nudge**2,
    }
    moved = not torch.allclose(w, start, rtol=0, atol=1e-12)
    expect(not moved, "the weights you were given have moved: put each one back, or nudge a copy (weights.clone())")
    _compare(got, right, mistakes, f"for f(w) = sum of w cubed + w0 w1 at {_show(start)} with nudge {nudge}")
    return "two calls of the function for each weight give its slope, and no calculus was needed"


def _logits_gradient(answer: Callable[[torch.Tensor, int], torch.Tensor]) -> str:
    logits, target = torch.tensor([2.0, 1.0, 0.1, -1.0], dtype=torch.float64), 1
    given = logits.clone()
    got = _vector(answer(given, target), 4)
    expect(torch.equal(given, logits), "your function changed the logits it was given; work on a new tensor")
    p = torch.softmax(logits, dim=0)
    hot = torch.zeros_like(p)
    hot[target] = 1.0
    mistakes = {
        "these are the probabilities. For the wrong words that is the slope; what is different for the right word, "
        "whose logit you would like to raise?": p,
        "every sign is turned: raising the right word's logit lowers the loss, so its slope is negative": hot - p,
        "you subtracted 1 from every entry; only the right word has a 1 in its one-hot vector": p - 1,
        "you subtracted from the logits themselves; turn them into probabilities first": logits - hot,
        "that is the slope with respect to the probability of the right word; go one step further back, "
        "to the logits": -hot / p[target],
        "only the right word has a slope here, but softmax shares one whole among all: raising any other logit takes "
        "from the right word": (p - 1) * hot,
    }
    _compare(got, p - hot, mistakes, f"for logits {_show(logits)} and target {target}")
    return "what the model said minus what it should have said: probabilities minus one-hot, and they sum to zero"


def _hidden_gradient(answer: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]) -> str:
    square = torch.tensor([[0.5, -1.0, 0.2], [0.3, 0.8, -0.6], [-0.9, 0.1, 0.4]], dtype=torch.float64)
    h = torch.tensor([0.9, -0.5, 0.1], dtype=torch.float64)
    d = torch.tensor([0.2, -0.7, 0.5], dtype=torch.float64)
    dh, bend = square.T @ d, 1 - h**2
    mistakes = {
        "these are the slopes of the loss for h. One more step back: z became h through tanh, whose own slope is "
        "1 - h**2": dh,
        "you collected with W2 as it stands. Hidden unit j reaches the logits through column j of W2; "
        "which matrix has those as its rows?": (square @ d) * bend,
        "you collected with W2 as it stands, and the slope of tanh is missing too": square @ d,
        "h has been through tanh already; its slope is 1 - h**2, not 1 - tanh(h)**2": dh * (1 - torch.tanh(h) ** 2),
        "h * (1 - h) is the slope of the sigmoid; this layer has tanh": dh * h * (1 - h),
        "slopes along one path multiply; you added the slope of tanh": dh + bend,
        "these are the slopes of tanh alone; what arrives from the logits is missing": bend,
    }
    _compare(_vector(answer(d, square, h), 3), dh * bend, mistakes, "for a 3 x 3 matrix W2")
    tall = torch.cat([square, square.flip(1)[:2]])
    d = torch.cat([d, -d[:2]])
    _compare(_vector(answer(d, tall, h), 3), (tall.T @ d) * bend, {}, "right for a 3 x 3 matrix W2, but for 5 x 3")
    return "collect over all paths with W2.T, then multiply by the slope of tanh; the same two lines serve any depth"


_FOUND = {
    "dlogits": "dlogits is right: db2 is a copy of it, and db2 agrees with the nudges. Go on, backward from there.",
    "dW2": "dW2 agrees with the nudges. The fault lies further back, nearer to the input.",
    "db2": "db2 agrees with the nudges. It tells you that dlogits is right too. Go on, backward from there.",
    "dh": "dh is no weight, so look at its line: every logit's slope comes back through W2.T, as it should. "
    "What is done to dh next?",
    "dW1": "dW1 disagrees with the nudges, but its own line is right. What is it made from?",
    "db1": "db1 disagrees with the nudges, but it is a plain copy. Of what?",
    "dx": "dx disagrees with the nudges, but so do dW1 and db1. What do the three have in common?",
}


def _first_wrong(answer: str) -> str:
    names = ", ".join([*_FOUND, "dz"])
    expect(isinstance(answer, str), f"expected a name in quotes, one of {names}; got {type(answer).__name__}")
    name = answer.strip()
    if name == "dz":
        return "the slope of tanh is 1 - h**2, not 1 - z**2; dW1, db1 and dx are made from dz and inherit the fault"
    raise Hint(_FOUND.get(name, f"{name!r} is no line of broken_backward; choose one of {names}"))
