import json
import math
import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize

from course_lib.checks import what_a_model_learns_vectors as vectors_checks

# --- the answers: the starter, the solution, and what people write instead ---


def followers_starter(text: str, context: str) -> dict[str, float]: ...


def shares(found, total=None):
    counts = Counter(found)
    return {c: k / (total or sum(counts.values())) for c, k in counts.items()}


def after(text, context):
    n = len(context)
    return [text[i + n] for i in range(len(text) - n) if text[i : i + n] == context]


def followers_solution(text, context):
    return shares(after(text, context))


def followers_by_lookahead(text, context):
    return shares(re.findall(f"(?s)(?={re.escape(context)}(.))", text))


def followers_with_zeros(text, context):
    found = after(text, context)
    return {c: found.count(c) / len(found) for c in set(text)} if found else {}


def followers_without_return(text, context):
    shares(after(text, context))


def with_the_end(text, context):
    n = len(context)
    return shares(text[i + n : i + n + 1] for i in range(len(text) - n + 1) if text[i : i + n] == context)


def contexts(text, context):
    return sum(text.startswith(context, i) for i in range(len(text)))


FOLLOWERS = {
    "these are counts": lambda text, context: dict(Counter(after(text, context))),
    "do not add up to 1": lambda text, context: shares(after(text, context), contexts(text, context)),
    "text.count": lambda text, context: shares(after(text, context), text.count(context)),
    "length of the text": lambda text, context: shares(after(text, context), len(text)),
    "overlapping occurrences are missing": lambda text, context: shares(re.findall(f"{context}(.)", text)),
    "before the context": lambda text, context: shares(
        text[i - 1] for i in range(1, len(text)) if text.startswith(context, i)
    ),
    "in the whole text": lambda text, context: shares(text),
    "last character of the context": lambda text, context: shares(after(text, context[-1])),
    "empty string": with_the_end,
    "is there a return": followers_without_return,
    "expected a dictionary": lambda text, context: after(text, context),
    "single characters as keys": lambda text, context: {
        context + c: p for c, p in shares(after(text, context)).items()
    },
    "expected a number": lambda text, context: {c: f"{p:.0%}" for c, p in shares(after(text, context)).items()},
    "you gave": lambda text, context: {"z": 1.0},
    "no followers": lambda text, context: followers_solution(text, context) or {"?": 1.0},
    "a line break": lambda text, context: shares(re.findall(f"(?={re.escape(context)}(.))", text)),
    "ZeroDivisionError": lambda text, context: {1 / 0: 1.0},
}


def nearest_starter(vectors: torch.Tensor, i: int, k: int) -> list[int]: ...


def ranked(scores, i, k):
    return [j for j in scores.argsort(descending=True).tolist() if j != i][:k]


def nearest_solution(vectors, i, k):
    units = normalize(vectors, dim=1)
    return ranked(units @ units[i], i, k)


def nearest_masked(vectors, i, k):
    similarity = torch.nn.functional.cosine_similarity(vectors, vectors[i : i + 1], dim=1)
    similarity[i] = -2
    return similarity.topk(k).indices


def nearest_without_return(vectors, i, k):
    nearest_solution(vectors, i, k)


def nearest_similarities(vectors, i, k):
    units = normalize(vectors, dim=1)
    return (units @ units[i]).topk(k + 1).values[1:]


def nearest_in_place(vectors, i, k):
    vectors /= vectors.norm(dim=1, keepdim=True)
    return ranked(vectors @ vectors[i], i, k)


def nearest_skipping_the_first(vectors, i, k):
    units = normalize(vectors, dim=1)
    return (units @ units[i]).argsort(descending=True, stable=True).tolist()[1 : k + 1]


def by_columns(vectors, i, k):
    units = normalize(vectors, dim=0)
    return ranked(units @ units[i], i, k)


NEAREST = {
    "its own nearest": lambda v, i, k: [i, *nearest_solution(v, i, k - 1)],
    "one is missing": lambda v, i, k: nearest_solution(v, i, k - 1),
    "everything, sorted": lambda v, i, k: nearest_solution(v, i, len(v)),
    "least similar": lambda v, i, k: nearest_solution(v, i, len(v))[::-1][:k],
    "long vectors win": lambda v, i, k: ranked(v @ v[i], i, k),
    "by distance": lambda v, i, k: ranked(-(v - v[i]).norm(dim=1), i, k),
    "each column": by_columns,
    "these are similarities": nearest_similarities,
    "changed the vectors": nearest_in_place,
    "is there a return": nearest_without_return,
    "expected a list": lambda v, i, k: 3,
    "you gave": lambda v, i, k: [0, 0, 0],
    "where two rows are equal": nearest_skipping_the_first,
    "IndexError": lambda v, i, k: v[99],
}


def analogy_starter(vectors: torch.Tensor, a: int, b: int, c: int, leave_out: bool) -> int: ...


def best(vectors, point, without=()):
    similarity = vectors @ point
    similarity[list(without)] = -math.inf
    return int(similarity.argmax())


def analogy_with(point, without=lambda a, b, c: (a, b, c)):
    def answer(vectors, a, b, c, leave_out):
        left_out = without(a, b, c) if leave_out else ()
        return best(vectors, point(vectors[a], vectors[b], vectors[c]), left_out)

    return answer


def step(a, b, c):
    return b - a + c


def analogy_by_sorting(vectors, a, b, c, leave_out):
    point = normalize(step(vectors[a], vectors[b], vectors[c]), dim=0)
    for j in (vectors @ point).argsort(descending=True):
        if not (leave_out and j in (a, b, c)):
            return j
    return None


def analogy_in_place(vectors, a, b, c, leave_out):
    vectors[c] += vectors[b] - vectors[a]
    return best(vectors, vectors[c])


def analogy_without_return(vectors, a, b, c, leave_out):
    best(vectors, step(vectors[a], vectors[b], vectors[c]))


ANALOGIES = {
    "when it is false, a, b and c may": lambda v, a, b, c, leave_out: analogy_with(step)(v, a, b, c, True),
    "must not be the answer": lambda v, a, b, c, leave_out: analogy_with(step)(v, a, b, c, False),
    "wrong way round": lambda v, a, b, c, leave_out: analogy_with(step)(v, a, b, c, not leave_out),
    "left out c alone": analogy_with(step, lambda a, b, c: (c,)),
    "the signs": analogy_with(lambda a, b, c: a - b + c),
    "begin at c": analogy_with(lambda a, b, c: b - a),
    "added all three": analogy_with(lambda a, b, c: a + b + c),
    "took away b": analogy_with(lambda a, b, c: c - a - b),
    "c has the wrong sign": analogy_with(lambda a, b, c: a + b - c),
    "changed the vectors": analogy_in_place,
    "is there a return": analogy_without_return,
    "these are similarities": lambda v, a, b, c, leave_out: (v @ step(v[a], v[b], v[c])).max(),
    "with nothing left out and": lambda v, a, b, c, leave_out: 8,
}


def swap_starter(texts: list[str], cue: str) -> list[str]: ...


def swap_solution(texts, cue):
    return [t.removesuffix(cue) if t.endswith(cue) else t + cue for t in texts]


def swap_by_slices(texts, cue):
    swapped = []
    for text in texts:
        if text[-len(cue) :] == cue:
            swapped.append(text[: -len(cue)])
        else:
            swapped.append(text + cue)
    return swapped


def swap_in_place(texts, cue):
    texts[:] = swap_solution(texts, cue)
    return texts


def swap_without_return(texts, cue):
    swap_solution(texts, cue)


SWAPS = {
    "nothing has changed": lambda texts, cue: list(texts),
    "that did not have it should get it": lambda texts, cue: [t.removesuffix(cue) for t in texts],
    "those that had it should lose it": lambda texts, cue: [t if t.endswith(cue) else t + cue for t in texts],
    "one cue more": lambda texts, cue: [t + cue for t in texts],
    "in its middle": lambda texts, cue: [t.replace(cue, "") if cue in t else t + cue for t in texts],
    "take away single characters": lambda texts, cue: [t.rstrip(cue) if t.endswith(cue) else t + cue for t in texts],
    "changed the list": swap_in_place,
    "is there a return": swap_without_return,
    "expected a list of texts": lambda texts, cue: "".join(texts),
    "one for each": lambda texts, cue: [t for t in swap_solution(texts, cue) if t.endswith(cue)],
    "you made of it": lambda texts, cue: [t.upper() for t in swap_solution(texts, cue)],
}

EXERCISES = {
    "followers": (
        followers_starter,
        [followers_solution, followers_by_lookahead, followers_with_zeros],
        FOLLOWERS,
    ),
    "nearest": (nearest_starter, [nearest_solution, nearest_masked], NEAREST),
    "analogy": (analogy_starter, [analogy_with(step), analogy_by_sorting], ANALOGIES),
    "swap_cue": (swap_starter, [swap_solution, swap_by_slices], SWAPS),
}


def test_rows_of_the_analogy_have_length_one_as_the_exercise_says():
    lengths = vectors_checks._units().norm(dim=1)
    assert torch.allclose(lengths, torch.ones_like(lengths))


def test_the_word_itself_is_nearest_where_nothing_is_left_out():
    units = vectors_checks._units()
    assert best(units, step(units[0], units[1], units[2])) == 2


def test_an_empty_context_gives_the_frequencies():
    assert followers_solution("aab", "") == pytest.approx({"a": 2 / 3, "b": 1 / 3})


# --- the quiz: its numbers ---

QUIZ = json.loads((Path(__file__).parents[2] / "notebooks" / "quiz" / "02_what_a_model_learns.json").read_text("utf-8"))


def ranges(start):
    (question,) = [q for q in QUIZ if q["question"].startswith(start)]
    return [a["range"] for a in question["answers"] if a.get("type") == "range"]


def test_the_quiz_on_divergence():
    p, q = (0.5, 0.5), (0.9, 0.1)
    forward = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    backward = sum(b * math.log(b / a) for a, b in zip(p, q, strict=True))
    loss = -sum(a * math.log(b) for a, b in zip(p, q, strict=True))
    for (low, high), value in zip(ranges("A guesser says"), (forward, backward, loss), strict=True):
        assert low < value < high
