import json
import math
from pathlib import Path

import pytest
import torch

from course_lib import recorded
from course_lib.checks import encoder_from_scratch as checks
from course_lib.checks.encoder_from_scratch import _CONFIGS, _count
from course_lib.checks.encoder_from_scratch_runs import WORDS
from course_lib.models import EncoderConfig, TransformerClassifier, attention, count_parameters

# --- the answers: the starter, the solution, and what people write instead ---


def attend_starter(queries, keys, values, mask): ...


def attend_solution(queries, keys, values, mask):
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
    scores = scores.masked_fill(~mask[:, None, None, :], -math.inf)
    return scores.softmax(dim=-1) @ values


def attend_by_library(queries, keys, values, mask):
    return attention(queries, keys, values, mask=mask[:, None, None, :])[0]


def attend_with_large_number(queries, keys, values, mask):
    scores = torch.einsum("bhqd,bhkd->bhqk", queries, keys) * queries.shape[-1] ** -0.5
    scores = scores - 1e9 * (~mask[:, None, None, :]).double()
    return torch.einsum("bhqk,bhkd->bhqd", scores.softmax(-1), values)


def wrong_attention(*, scale=math.sqrt, dim=-1, fill=-math.inf, after=False, hide=lambda mask: mask[:, None, None, :]):
    def answer(q, k, v, mask):
        scores = q @ k.transpose(-2, -1) / scale(q.shape[-1])
        if not after and hide is not None:
            scores = scores.masked_fill(~hide(mask), fill)
        weights = scores if dim is None else scores.softmax(dim=dim)
        return (weights * hide(mask) if after else weights) @ v

    return answer


ATTEND = {
    "are not divided": wrong_attention(scale=lambda D: 1),
    "you divide by D": wrong_attention(scale=lambda D: D),
    "root of T": wrong_attention(scale=lambda D: math.sqrt(5)),
    "all channels together": wrong_attention(scale=lambda D: math.sqrt(3 * D)),
    "over the queries": wrong_attention(dim=-2),
    "not made into weights": wrong_attention(dim=None, fill=0.0),
    "exp(0) is 1": wrong_attention(fill=0.0),
    "after the softmax": wrong_attention(after=True),
    "upside down": wrong_attention(hide=lambda mask: ~mask[:, None, None, :]),
    "hides rows": wrong_attention(hide=lambda mask: mask[:, None, :, None]),
    "is not used": wrong_attention(hide=None),
    "What do they mix": lambda q, k, v, mask: (q @ k.transpose(-2, -1)).softmax(-1),
    "shape of the values": lambda q, k, v, mask: attend_solution(q, k, v, mask).transpose(1, 2),
    "got tuple": lambda q, k, v, mask: attention(q, k, v, mask=mask[:, None, None, :]),
    "is there a return": lambda q, k, v, mask: print(end=""),
    "differ from equation 1": lambda q, k, v, mask: attend_solution(q, k, v, mask) + 1,
    "your code stopped": lambda q, k, v, mask: q @ k,
}


def parameters_starter(config): ...


def parameters_solution(config):
    C, F, classes = config.d_model, config.d_ff, config.n_classes
    attention = 4 * (C * C + C)
    forward = C * F + F + F * C + C
    norm = 2 * C
    block = attention + forward + 2 * norm
    head = C * C + C + C * classes + classes
    return config.vocab_size * C + config.n_layers * block + norm + head


COUNTS = {
    "one bias for each output": lambda c: _count(c, biases=0),
    "four maps": lambda c: _count(c, maps=3),
    "share the maps": lambda c: _count(c, heads=True),
    "positions were counted": lambda c: _count(c, places=1),
    "two norms": lambda c: _count(c, norms=1),
    "norms are missing": lambda c: _count(c, norms=0),
    "two vectors": lambda c: _count(c, gains=1),
    "and back": lambda c: _count(c, feed=1),
    "after the last block": lambda c: _count(c, last=0),
    "the head has two layers": lambda c: _count(c, wide=0),
    "weights of its own": lambda c: _count(c, once=True),
    "expected 5,785,858": lambda c: 5_785_859,
    "n_classes=5": lambda c: 5_785_858 if c == EncoderConfig() else 0,
    "is there a return": lambda c: print(end=""),
}

TABLE = {
    "how many were right": (4968, 157, 2.79),
    "of 1,000 it would be 6": (6, 157, 2.79),
    "is the test accuracy": (0, 157, 2.79),
    "is a share already": (3200, 157, 2.79),
    "wrong: 31 is not it": (31, 157, 2.79),
    "The other 8": (32, 156, 2.79),
    "quarter of a batch": (32, 5000 / 32, 2.79),
    "five epochs": (32, 785, 2.79),
    "test reviews do not belong": (32, 188, 2.79),
    "batches: 150 is not it": (32, 150, 2.79),
    "sum over all reviews": (32, 157, 0.0178 * 5000),
    "Their sum was asked for": (32, 157, 0.0178),
    "an average batch": (32, 157, 0.0178 * 32),
    "one batch is missing": (32, 157, 0.0178 * 156),
    "belongs to epoch 1": (32, 157, 0.0178 * 785),
    "you gave 5": (32, 157, 5),
    "three numbers": (32, 157),
    "expected one number": (32, 157, "2.79 nats"),
}


def but(place, word):
    return tuple(word if i == place else right for i, right in enumerate(WORDS))


VERDICTS = {
    "number for number": but(0, "sound"),
    "log A: about half": but(0, "one class"),
    "within an epoch": but(0, "leak"),
    "log B: an opinion": but(1, "sound"),
    "log B: copies are known": but(1, "copies"),
    "Count the wrong ones in batches": but(1, "leak"),
    "here the two part": but(2, "copies"),
    "nothing to be wrong about": but(2, "one class"),
    "would be at 100%": but(2, "leak"),
    "Something stands in the text": but(3, "sound"),
    "not known yet": but(3, "copies"),
    "several batches of guesses": but(3, "one class"),
    "expected one of": but(2, "fine"),
    "four words": ("copies", "sound"),
}


def guard_starter(train_labels, test_labels): ...


def guard_solution(train_labels, test_labels):
    for name, labels in (("training", train_labels), ("test", test_labels)):
        if len(set(labels)) < 2:
            raise ValueError(f"{name}: expected two labels or more, got {set(labels)}")


def guard_by_counts(train_labels, test_labels):
    for labels in (train_labels, test_labels):
        if not labels or max(map(labels.count, labels)) == len(labels):
            raise ValueError(f"one label only: {labels[:3]}")


def refuses(condition):
    def answer(train, test):
        if condition(train, test):
            raise ValueError("no")

    return answer


def few(labels):
    return len(set(labels)) < 2


GUARDS = {
    "lets everything through": lambda train, test: print(end=""),
    "refuses everything": refuses(lambda train, test: True),
    "a result can be overlooked": lambda train, test: not (few(train) or few(test)),
    "a text can be overlooked": lambda train, test: "one class" if few(train) or few(test) else "fine",
    "half and half": refuses(lambda train, test: few(train) or few(test) or train != test),
    "rare is not absent": refuses(
        lambda train, test: any(not x or max(map(x.count, x)) > 0.9 * len(x) for x in (train, test))
    ),
    "three classes": refuses(lambda train, test: len(set(train)) != 2 or len(set(test)) != 2),
    "of label 0 alone": refuses(lambda train, test: set(train) != set(test)),
    "of label 1 alone": refuses(lambda train, test: not (any(train) and any(test))),
    "a test of both": refuses(lambda train, test: few(train + test)),
    "recall of one class": refuses(lambda train, test: few(train) or not test),
    "a training list with no label": refuses(lambda train, test: len(set(train)) == 1 or few(test)),
    "a test list with no label": refuses(lambda train, test: few(train) or len(set(test)) == 1),
}

EXERCISES = {
    "attend": (attend_starter, [attend_solution, attend_by_library, attend_with_large_number], ATTEND),
    "parameters": (
        parameters_starter,
        [parameters_solution, lambda config: count_parameters(TransformerClassifier(config))],
        COUNTS,
    ),
    "from_the_table": (
        (..., ..., ...),
        [(32, 157, 0.0178 * 157), (32.0, 157, 2.79), (5000 * (1 - 0.9936), 157, 2.795)],
        TABLE,
    ),
    "guard": (guard_starter, [guard_solution, guard_by_counts], GUARDS),
    "verdicts": ((..., ..., ..., ...), [WORDS, ("Copies", " one class", "SOUND ", "leak")], VERDICTS),
}


# --- what else must hold ---


@pytest.mark.parametrize("config", _CONFIGS)
def test_the_count_is_that_of_the_model(config):
    assert _count(config) == count_parameters(TransformerClassifier(config))


def test_heads_and_positions_change_no_count():
    assert _count(EncoderConfig(n_heads=16, max_length=512)) == _count(EncoderConfig()) == 5_785_858


def test_the_logs_are_recorded_under_the_words_that_are_asked_for():
    assert tuple(recorded.load("spoiled_exams")["logs"]) == WORDS


def test_a_half_answered_tuple_is_open():
    assert checks.from_the_table((32, ..., ...)).state == "open"
    assert checks.verdicts(("sound", ..., ..., ...)).state == "open"


def quiz() -> list[dict]:
    path = Path(__file__).parents[2] / "notebooks" / "quiz" / "15_encoder_from_scratch.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_quiz_numbers_are_right():
    right = [a["value"] for q in quiz() for a in q["answers"] if q["type"] == "numeric" and a.get("correct")]
    assert right == [4 * (256 * 256 + 256)]
