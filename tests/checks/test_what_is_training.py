import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from course_lib.checks import what_is_training as checks

# --- the answers: the starter, the solution, and what people write instead ---


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def average_starter(probabilities: list[float]) -> float: ...


def average_solution(probabilities):
    losses = [-math.log(probability) for probability in probabilities]
    return sum(losses) / len(losses)


def average_without_return(probabilities):
    mean(-math.log(p) for p in probabilities)


AVERAGES = {
    "below zero": lambda ps: mean(math.log(p) for p in ps),
    "took one logarithm": lambda ps: -math.log(mean(ps)),
    "the sum of the losses": lambda ps: -sum(math.log(p) for p in ps),
    "in bits": lambda ps: mean(-math.log2(p) for p in ps),
    "tenfolds": lambda ps: mean(-math.log10(p) for p in ps),
    "how much was missing": lambda ps: mean(1 - p for p in ps),
    "weighted each loss": lambda ps: -sum(p * math.log(p) for p in ps),
    "first prediction alone": lambda ps: -math.log(ps[0]),
    "where is the logarithm": mean,
    "is there a return": average_without_return,
    "expected one number": lambda ps: [-math.log(p) for p in ps],
    "for [1.0, 1.0]": lambda ps: mean(-math.log(p) for p in ps) if 0.5 in ps else 1.0,
    "you gave": lambda ps: mean(-2 * math.log(p) for p in ps),
    "ZeroDivisionError": lambda ps: 1 / 0,
}


def alphabet_starter(first_loss: float) -> int: ...


def alphabet_solution(first_loss):
    return round(math.exp(first_loss))


ALPHABETS = {
    "10 ** loss": lambda loss: round(10**loss),
    "2 ** loss": lambda loss: round(2**loss),
    "once more": math.log,
    "how many of that size": lambda loss: math.exp(-loss),
    "no alphabet has a fraction": math.exp,
    "the loss, rounded": round,
    "cuts off": lambda loss: int(math.exp(loss)),
    "always goes up": lambda loss: math.ceil(math.exp(loss)),
    "expected one number": lambda loss: "65",
    "you gave": lambda loss: round(math.exp(loss)) + 1,
    "but for the source's 4.19": lambda loss: 65,
}


def frequency_starter(text: str) -> float:
    """The loss of a guesser who counts."""


def frequency_solution(text):
    loss = 0.0
    for count in Counter(text).values():
        share = count / len(text)
        loss += share * -math.log(share)
    return loss


def frequency_by_walking(text):
    """Right as well: goes through the text and averages over its characters."""
    counts = Counter(text)
    return mean(-math.log(counts[character] / len(text)) for character in text)


def shares(text):
    return [count / len(text) for count in Counter(text).values()]


FREQUENCIES = {
    "logarithm of counts": lambda t: mean(-math.log(Counter(t)[c]) for c in t),
    "each letter of the alphabet count once": lambda t: mean(-math.log(s) for s in shares(t)),
    "the sum of the losses over the alphabet": lambda t: sum(-math.log(s) for s in shares(t)),
    "sum over the whole text": lambda t: frequency_solution(t) * len(t),
    "an even spread": lambda t: math.log(len(set(t))),
    "below zero": lambda t: -frequency_solution(t),
    "in bits": lambda t: frequency_solution(t) / math.log(2),
    "math.log10": lambda t: frequency_solution(t) / math.log(10),
    "commonest character": lambda t: -math.log(max(shares(t))),
    "before the logarithm": lambda t: -math.log(sum(s * s for s in shares(t))),
    "the perplexity": lambda t: math.exp(frequency_solution(t)),
    "with spaces": lambda t: frequency_solution(t.replace(" ", "")),
    "nothing to guess": lambda t: frequency_solution(t) or 1.0,
    "expected one number": shares,
    "you gave": lambda t: 2 * frequency_solution(t),
}

RUNS = {"A": "learned", "B": "nothing adjusted", "C": "started trained", "D": "only frequencies"}
VERDICTS = {
    "run A is not": RUNS | {"A": "started trained"},
    "run B is not": RUNS | {"B": "learned"},
    "run C is not": RUNS | {"C": "learned"},
    "run D is not": RUNS | {"D": "learned"},
    "run D is missing": {run: RUNS[run] for run in "ABC"},
    "run C: expected one of": RUNS | {"C": "trained"},
    "run B: expected one of": RUNS | {"B": 2},
    "expected a dictionary": list(RUNS.values()),
}

EXERCISES = {
    "average_loss": (average_starter, [average_solution], AVERAGES),
    "alphabet_size": (alphabet_starter, [alphabet_solution], ALPHABETS),
    "frequency_loss": (frequency_starter, [frequency_solution, frequency_by_walking], FREQUENCIES),
    "verdicts": (dict.fromkeys("ABCD", ...), [RUNS, {run: f" {v.title()} " for run, v in RUNS.items()}], VERDICTS),
}


def test_a_verdict_left_open_leaves_the_exercise_open():
    assert checks.verdicts(RUNS | {"C": ...}).state == "open"


@pytest.mark.parametrize("as_number", [np.float64, torch.tensor, lambda x: np.array([x])])
def test_a_number_of_another_library_is_as_good(as_number):
    assert checks.average_loss(lambda ps: as_number(average_solution(ps))).state == "right"
    assert checks.alphabet_size(lambda loss: as_number(float(alphabet_solution(loss)))).state == "right"


def quiz() -> list[dict]:
    return json.loads(
        (Path(__file__).parents[2] / "notebooks" / "quiz" / "01_what_is_training.json").read_text(encoding="utf-8")
    )


def test_the_quiz_numbers_are_right():
    low, high = next(a["range"] for q in quiz() for a in q["answers"] if q["type"] == "numeric" and a.get("correct"))
    assert low < math.exp(-1.386) < high
    assert math.log(50_257) == pytest.approx(10.82, abs=0.005)  # the first loss in the second question
    assert math.exp(4.5) == pytest.approx(90, abs=0.5)
