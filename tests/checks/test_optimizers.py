import json
from pathlib import Path

import pytest
import torch

from course_lib.checks import optimizers as checks

# --- the answers: the starter, the solution, and what people write instead ---


class SGD:
    """The base class that the chapter gives."""

    def __init__(self, rate):
        self.rate, self.steps = rate, 0

    def step(self, w, g):
        self.steps += 1
        return w - self.rate * self.direction(g)

    def direction(self, g):
        return g


class MomentumStarter(SGD):
    velocity = 0.0

    def direction(self, g): ...


def momentum(change, late=False):
    """A Momentum whose velocity changes by `change(velocity, g, rate)`."""

    class Momentum(SGD):
        velocity = 0.0

        def direction(self, g):
            before, self.velocity = self.velocity, change(self.velocity, g, self.rate)
            return before if late else self.velocity

    return Momentum


class MomentumInStep(SGD):
    """Right as well: its own `__init__`, and the whole step rewritten."""

    def __init__(self, rate):
        super().__init__(rate)
        self.velocity = None

    def direction(self, g):
        self.velocity = g.clone() if self.velocity is None else self.velocity.mul(0.9).add(g)
        return self.velocity


class MomentumNotKept(SGD):
    velocity = 0.0

    def direction(self, g):
        return 0.9 * self.velocity + g


class MomentumForAll(SGD):
    velocity = 0.0

    def direction(self, g):
        type(self).velocity = 0.9 * self.velocity + g
        return self.velocity


class MomentumWithoutReturn(SGD):
    velocity = 0.0

    def direction(self, g):
        self.velocity = 0.9 * self.velocity + g


class MomentumInPlace(SGD):
    velocity = 0.0

    def direction(self, g):
        g += 0.9 * self.velocity
        self.velocity = g.clone()
        return self.velocity


MOMENTA = {
    "that is SGD": MomentumNotKept,
    "you averaged": momentum(lambda v, g, r: 0.9 * v + 0.1 * g),
    "never forgets": momentum(lambda v, g, r: v + g),
    "lost 10% too": momentum(lambda v, g, r: 0.9 * (v + g)),
    "stands at the gradient": momentum(lambda v, g, r: v + 0.9 * g),
    "points uphill": momentum(lambda v, g, r: 0.9 * v - g),
    "of the step before": momentum(lambda v, g, r: 0.9 * v + g, late=True),
    "the rate is in twice": momentum(lambda v, g, r: 0.9 * v + r * g),
    "began with the velocity of the first": MomentumForAll,
    "is there a return": MomentumWithoutReturn,
    "changed the gradient": MomentumInPlace,
    "in the shape of the weights": momentum(lambda v, g, r: 0.9 * v + g.sum()[None, None]),
    "expected the class": momentum(lambda v, g, r: 0.9 * v + g)(0.1),
    "after three steps": momentum(lambda v, g, r: 0.5 * v + g),
}


def corrected_starter(average, beta: float, t: int): ...


def corrected_in_place(average, beta, t):
    average /= 1 - beta**t
    return average


CORRECTED = {
    "as it came": lambda a, b, t: a,
    "the share of one gradient": lambda a, b, t: a / (1 - b),
    "the share of the zero": lambda a, b, t: a / b**t,
    "do not multiply": lambda a, b, t: a * (1 - b**t),
    "not beta * t": lambda a, b, t: a / (1 - b * t),
    "not t - 1": lambda a, b, t: a / (1 - b ** (t - 1)),
    "not t + 1": lambda a, b, t: a / (1 - b ** (t + 1)),
    "do not share equally": lambda a, b, t: a / t,
    "changed the average": corrected_in_place,
    "with beta 0.999": lambda a, b, t: a / (1 - 0.9**t),
    "is there a return": lambda a, b, t: print(end=""),
    "you gave": lambda a, b, t: a / (1 + b**t),
}


def update(w, g, m, v, t, rate, decay, *, l2=0.0, l2_m=0.0, l2_v=0.0, before=0.0, after=0.0, bias=True):
    """Adam's update with the decay wherever it is put."""
    m = 0.9 * m + 0.1 * (g + (l2 + l2_m) * w)
    v = 0.999 * v + 0.001 * (g + (l2 + l2_v) * w) ** 2
    m_hat, v_hat = (m / (1 - 0.9**t), v / (1 - 0.999**t)) if bias else (m, v)
    w = w - before * w - rate * m_hat / (v_hat.sqrt() + 1e-8)
    return w - after * w, m, v


def adamw_starter(w, g, m, v, t, rate, decay):
    g = g + decay * w
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g**2
    step = (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
    w = w - rate * step
    return w, m, v


def adamw_solution(w, g, m, v, t, rate, decay):
    return update(w, g, m, v, t, rate, decay, before=rate * decay)


def adamw_by_the_old_weight(w, g, m, v, t, rate, decay):
    """Right as well: after the update, by the share of the weight as it was before."""
    new, m, v = update(w, g, m, v, t, rate, decay)
    return [new - rate * decay * w, m, v]


def adamw_in_place(w, g, m, v, t, rate, decay):
    w.mul_(1 - rate * decay)
    m.lerp_(g, 0.1)
    v.mul_(0.999).addcmul_(g, g, value=0.001)
    w.addcdiv_(m / (1 - 0.9**t), (v / (1 - 0.999**t)).sqrt() + 1e-8, value=-rate)
    return w, m, v


def adamw_with(**places):
    """An answer with decay at these places; each is a function of rate and decay."""

    def answer(w, g, m, v, t, rate, decay):
        numbers = {name: place(rate, decay) if callable(place) else place for name, place in places.items()}
        return update(w, g, m, v, t, rate, decay, **numbers)

    return answer


def whole(rate, decay):
    return decay


def share(rate, decay):
    return rate * decay


ADAMWS = {
    "what do 100 leave": adamw_with(before=whole),
    "gone altogether": adamw_with(),
    "in both places now": adamw_with(l2=whole, before=share),
    "where it shrinks w the rate is missing": adamw_with(l2=whole, before=whole),
    "scaled by the rate but is still": adamw_with(l2=share),
    "the weights grow": adamw_with(before=lambda rate, decay: -rate * decay),
    "shrank the weights after": adamw_with(after=share),
    "after the update, and without": adamw_with(after=whole),
    "still in m: neither": adamw_with(l2_m=whole, before=share),
    "still in v: neither": adamw_with(l2_v=whole, before=share),
    "w itself does not shrink": adamw_with(l2_m=whole),
    "you took away the share `rate`": adamw_with(before=lambda rate, decay: rate),
    "correction was lost": adamw_with(before=share, bias=False),
    "is there a return": lambda *numbers: print(end=""),
    "expected three things": lambda *numbers: adamw_solution(*numbers)[0],
    "w should be": adamw_with(before=lambda rate, decay: 3 * rate * decay),
    "m should be": lambda *n: (adamw_solution(*n)[0], n[2], adamw_solution(*n)[2]),
    "NameError": lambda *numbers: undefined,  # noqa: F821
}

FORMULAS = {
    "run 1 arrived at 1.97684, but 'no rate on decay'": ("no rate on decay", "AdamW", "no correction"),
    "run 1 arrived at 1.97684, but 'AdamW'": ("AdamW", "source", "no correction"),
    "run 2 arrived at 1.99898, but 'Adam' ": ("source", "Adam", "no correction"),
    "run 2 arrived at 1.99898, but 'L2'": ("source", "L2", "no correction"),
    "run 3 arrived at 1.99684, but 'Adam' ": ("source", "AdamW", "Adam"),
    "none of the six names": ("source", "AdamW", "RMSProp"),
    "three names, one for each": ("source", "AdamW"),
    "three names in brackets": "source",
    "a name in quotes": ("source", 2, "Adam"),
}

EXERCISES = {
    "momentum": (MomentumStarter, [momentum(lambda v, g, r: 0.9 * v + g), MomentumInStep], MOMENTA),
    "corrected": (
        corrected_starter,
        [lambda a, b, t: a / (1 - b**t), lambda a, b, t: a * (1 / (1 - pow(b, t)))],
        CORRECTED,
    ),
    "adamw_step": (adamw_starter, [adamw_solution, adamw_by_the_old_weight, adamw_in_place], ADAMWS),
    "formulas": (
        (..., ..., ...),
        [("source", "AdamW", "no correction"), ["Source", "adamw ", "No correction"]],
        FORMULAS,
    ),
}


def test_a_function_of_nothing_but_dots_is_open_too():
    def dots(w, g, m, v, t, rate, decay): ...

    assert checks.adamw_step(dots).state == "open"


def test_one_name_of_three_is_open():
    assert checks.formulas(("source", ..., ...)).state == "open"


def first_updates() -> dict[str, float]:
    """The weight after the first update by each formula: 2.0 before, gradient 0.5, rate 0.001, decay 0.01."""
    w, g, zero = torch.tensor(2.0).double(), torch.tensor(0.5).double(), torch.tensor(0.0).double()
    places = {
        "Adam": {},
        "AdamW": {"before": 1e-5},
        "no correction": {"bias": False},
        "L2": {"l2": 0.01},
        "source": {"before": 0.01, "bias": False},
        "no rate on decay": {"before": 0.01},
    }
    return {name: update(w, g, zero, zero, 1, 0.001, 0.01, **settings)[0].item() for name, settings in places.items()}


def test_the_logged_weights_are_those_of_the_formulas():
    arrived = first_updates()
    rounded = [round(arrived[name], 5) for name in ("source", "AdamW", "no correction")]
    assert rounded == list(checks.LOGGED)


@pytest.mark.parametrize("name", first_updates())
def test_the_hints_name_the_right_number(name):
    answer = [name] * 3
    if name == "source":
        answer[1:] = ["no rate on decay", "source"]
    verdict = checks.formulas(tuple(answer))
    assert verdict.state == "wrong"
    if name != "source":
        assert f"{first_updates()[name]:.5f}" in verdict.text


def test_only_adam_and_l2_look_alike_after_one_step():
    arrived = {name: round(weight, 5) for name, weight in first_updates().items()}
    assert arrived["Adam"] == arrived["L2"]
    assert len(set(arrived.values())) == len(arrived) - 1


def test_the_notebook_shows_the_logged_weights():
    text = (Path(__file__).parents[2] / "notebooks" / "08_optimizers.ipynb").read_text(encoding="utf-8")
    for run, weight in enumerate(checks.LOGGED, start=1):
        assert f"| {run} | 2.0 | {weight:.5f} |" in text


def quiz() -> list[dict]:
    path = Path(__file__).parents[2] / "notebooks" / "quiz" / "08_optimizers.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_quiz_numbers_are_right():
    right = [a["value"] for q in quiz() for a in q["answers"] if q["type"] == "numeric" and a.get("correct")]
    velocity = 0.0
    for _ in range(1000):
        velocity = 0.9 * velocity + 1.0
    w, zero = torch.tensor(1.0).double(), torch.tensor(0.0).double()
    shrunk = adamw_solution(w, zero, zero, zero, 1, 0.001, 0.1)[0]
    assert right == pytest.approx([0.01 * velocity, 1 - shrunk.item()])
