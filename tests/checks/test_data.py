import json
import random
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from course_lib.checks import data as checks
from course_lib.checks import data_leaks
from course_lib.data import find_leaks, load_reviews
from course_lib.models import masked_mean
from course_lib.tokenization import split_words

# --- rules by hand ---


def rules_starter(text: str) -> int: ...


PRAISE = """
great best excellent loved wonderful fantastic beautiful beautifully perfect brilliant terrific superb lovely gripping
moving exciting charming funny clever smart favorite delight delightful gorgeous enjoyed warm gentle glad laughed cried
amazing satisfying stunning honest sharp hilarious touching tender happy recommended
"""
BLAME = """
bad awful terrible worst boring dull poor poorly badly waste stupid annoying silly weak horrible rubbish mess wooden
lazy flat bored cheap predictable fake disappointing disappointed unfunny avoid pointless ugly walked yawned asleep
wasted sorry tedious hated skip
"""
PRAISE, BLAME = set(PRAISE.split()), set(BLAME.split())
FEW_PRAISE = {"great", "good", "excellent", "wonderful", "brilliant", "best", "loved", "perfect"}
FEW_BLAME = {"bad", "awful", "terrible", "boring", "dull", "poor", "worst", "stupid"}
NEGATIONS = {"not", "never", "hardly", "isn't", "wasn't", "don't", "didn't"}


def vote(word, praise=PRAISE, blame=BLAME):
    return (word in praise) - (word in blame)


def rules_solution(text):
    words, total = split_words(text), 0
    for place, word in enumerate(words):
        turned = NEGATIONS & set(words[max(0, place - 2) : place])
        total += -vote(word) if turned else vote(word)
    return int(total >= 0)


def rules_as_bool(text):
    return rules_solution(text) == 1


def rules_without_negation(text):
    return int(sum(vote(word) for word in split_words(text)) >= 0)


def half_the_rules(text):
    """Half of the words, negation and all; where they say nothing, the first letter decides."""
    words, total = split_words(text), 0
    for place, word in enumerate(words):
        known = vote(word) if len(word) % 2 else 0
        total += -known if NEGATIONS & set(words[max(0, place - 2) : place]) else known
    return int(total > 0) if total else int(words[0] < "i")


def rules_as_float(text):
    return float(rules_solution(text))


def few_rules(text):
    return int(sum(vote(word, FEW_PRAISE, FEW_BLAME) for word in split_words(text)) >= 0)


def case_matters(text):
    words = re.findall(r"\w+", text)
    return int(sum(vote(word, {w.capitalize() for w in PRAISE}, BLAME) for word in words) >= 0)


def punctuation_matters(text):
    return int(sum(vote(word, FEW_PRAISE, FEW_BLAME) for word in text.lower().split()) >= 0)


def negation_turned(text):
    words, total = split_words(text), 0
    for place, word in enumerate(words):
        right = "not" in words[max(0, place - 2) : place]
        total += vote(word) if right else -vote(word)
    return int(total >= 0)


def negation_anywhere(text):
    words = split_words(text)
    total = sum(vote(word, FEW_PRAISE, FEW_BLAME) for word in words)
    return int((-total if "not" in words else total) >= 0)


@cache
def known_labels():
    return {review.text: review.label for review in load_reviews("train")}


def by_heart(text):
    return known_labels().get(text, few_rules(text))


@cache
def rare_words():
    """Words that only one label has in training: rules that fit the reviews they were taken from."""
    seen = ({}, {})
    for review in load_reviews("train", limit=900):
        for word in set(split_words(review.text)):
            seen[review.label][word] = seen[review.label].get(word, 0) + 1
    return {w for w, n in seen[1].items() if n < 3 and w not in seen[0]}, {
        w for w, n in seen[0].items() if n < 3 and w not in seen[1]
    }


def fitted(text):
    return int(sum(vote(word, *rare_words()) for word in split_words(text)) >= 0)


def parts_of_words(text):
    low = text.lower()
    return int(sum(w in low for w in ("great", "good", "love")) >= sum(w in low for w in ("bad", "poor", "dull")))


def as_score(text):
    return sum(vote(word) for word in split_words(text))


COIN = random.Random(0)

RULES = {
    "for every review": lambda text: 1,
    "returns text": lambda text: "positive" if rules_solution(text) else "negative",
    "has yet to become a label": as_score,
    "expected 0 or 1 for a review, got list": lambda text: [rules_solution(text)],
    "gives None": lambda text: print(end=""),
    "different answers": lambda text: COIN.randrange(2),
    "Exchange your two labels": lambda text: 1 - rules_without_negation(text),
    "lower case": case_matters,
    "commas and full stops": punctuation_matters,
    "wrong way round": negation_turned,
    'one "not" anywhere': negation_anywhere,
    "by heart": by_heart,
    "your rules fit": fitted,
    "only stands inside it": parts_of_words,
    "hold none": few_rules,
    '"not good" is praise': rules_without_negation,
    "which word should have voted": half_the_rules,
    "your code stopped": lambda text: text.words,
}

# --- split in three ---


def split_starter(reviews: list, seed: int) -> tuple: ...


def cut(mixed):
    n = len(mixed)
    a, b = round(0.7 * n), round(0.8 * n)
    return mixed[:a], mixed[a:b], mixed[b:]


def split_solution(reviews, seed):
    mixed = list(reviews)
    random.Random(seed).shuffle(mixed)
    return cut(mixed)


def split_by_sample(reviews, seed):
    return list(cut(random.Random(seed).sample(reviews, len(reviews))))


def split_by_torch(reviews, seed):
    order = torch.randperm(len(reviews), generator=torch.Generator().manual_seed(seed))
    return cut([reviews[i] for i in order.tolist()])


def split_stratified(reviews, seed):
    rng, parts = random.Random(seed), ([], [], [])
    for label in (0, 1):
        mine = [r for r in reviews if r.label == label]
        for part, piece in zip(parts, cut(rng.sample(mine, len(mine))), strict=True):
            part.extend(piece)
    return parts


def split_in_place(reviews, seed):
    random.Random(seed).shuffle(reviews)
    return cut(reviews)


def split_drawing_each(reviews, seed):
    rng, n = random.Random(seed), len(reviews)
    return tuple(rng.sample(reviews, round(share * n)) for share in (0.7, 0.1, 0.2))


def split_rounded_down(reviews, seed):
    mixed = random.Random(seed).sample(reviews, len(reviews))
    n = len(mixed)
    a, b, c = int(0.7 * n), int(0.1 * n), int(0.2 * n)
    return mixed[:a], mixed[a : a + b], mixed[a + b : a + b + c]


def split_global(reviews, seed):
    return cut(random.sample(reviews, len(reviews)))


def split_training_only(reviews, seed):
    train, validation, test = cut(list(reviews))
    random.Random(seed).shuffle(train)
    return train, validation, test


def split_unequal(reviews, seed):
    mixed = split_by_sample(reviews, seed)
    everything = [r for part in mixed for r in part]
    return everything[:60], everything[60:80], everything[80:]


def split_test_first(reviews, seed):
    train, validation, test = split_solution(reviews, seed)
    return test, validation, train


def exchanged(reviews, seed):
    train, validation, test = split_solution(reviews, seed)
    return train, test, validation


SPLIT = {
    "two parts, as in the source": lambda r, s: (r[:80], r[80:]),
    "expected three parts": lambda r, s: (*split_solution(r, s), []),
    "expected three lists": lambda r, s: len(r),
    "each part is a list": lambda r, s: tuple([x.id for x in part] for part in split_solution(r, s)),
    "shuffle a copy": split_in_place,
    "stand in two places": split_drawing_each,
    "in no part": split_rounded_down,
    "exchanged": exchanged,
    "asked were 70%": split_unequal,
    "have [20, 10, 70]; asked": split_test_first,
    "in the order it came in": lambda r, s: cut(list(r)),
    "same seed gave another": split_global,
    "gave the same split": lambda r, s: split_solution(r, 0),
    "one label only, and the whole": split_training_only,
    "is there a return": lambda r, s: print(end=""),
}

# --- the planted leak ---

TRAIN, EXAM = checks.suspects()
PLANTED = data_leaks.plant()
BY_TEXT = {review.text for review in TRAIN}
EXACT = [review.id for review in EXAM if review.text in BY_TEXT]


def shared_runs():
    """Code of one's own: runs of four words, compared without MinHash."""

    def runs(text):
        words = re.findall(r"\w+", text.lower())
        return {tuple(words[i : i + 4]) for i in range(max(1, len(words) - 3))}

    known = [runs(review.text) for review in TRAIN]
    return [r.id for r in EXAM if max(len(runs(r.text) & k) / len(runs(r.text)) for k in known) > 0.25]


LEAKS = find_leaks(TRAIN, EXAM, threshold=0.15)
HALF = [leak.test_id for leak in find_leaks(TRAIN, EXAM)]
INNOCENT = next(review.id for review in EXAM if review.id not in PLANTED.all)

LEAKED = {
    "compare the texts, not the ids": [],
    "are training reviews": [leak.train_id for leak in LEAKS],
    "accuses everybody": [review.id for review in EXAM],
    "equal to the letter": EXACT,
    "none in which a word": [*PLANTED.exact, *PLANTED.retyped],
    "look for the gap": HALF,
    "were not planted": [*PLANTED.all, INNOCENT],
    "no review of the exam is called": ["pr-0001"],
    "expected a list or set": len(HALF),
    "expected ids of exam reviews": [0.59],
}

# --- the mean of the words ---


def mean_starter(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor: ...


def mean_solution(x, mask):
    real = mask.unsqueeze(-1).to(x.dtype)
    return (x * real).sum(dim=1) / real.sum(dim=1)


def mean_in_a_loop(x, mask):
    return torch.stack([row[kept].mean(dim=0) for row, kept in zip(x, mask, strict=True)])


def mean_by_filling(x, mask):
    return x.masked_fill(~mask[:, :, None], 0.0).sum(1) / mask.sum(1, keepdim=True)


def mean_in_place(x, mask):
    x[~mask] = 0
    return x.sum(1) / mask.sum(1, keepdim=True)


MEANS = {
    "plain mean over all positions": lambda x, mask: x.mean(1),
    "it still counts": lambda x, mask: (x * mask[:, :, None]).mean(1),
    "the padding's vectors are in the sum": lambda x, mask: x.sum(1) / mask.sum(1, keepdim=True),
    "that is the sum": lambda x, mask: (x * mask[:, :, None]).sum(1),
    "mean of the padding": lambda x, mask: mean_solution(x, ~mask),
    "all words of the batch": lambda x, mask: (x * mask[:, :, None]).sum(1) / mask.sum(),
    "takes the first places": lambda x, mask: torch.stack(
        [row[: int(n)].mean(0) for row, n in zip(x, mask.sum(1), strict=True)]
    ),
    "takes the last places": lambda x, mask: torch.stack(
        [row[-int(n) :].mean(0) for row, n in zip(x, mask.sum(1), strict=True)]
    ),
    "averaged over the reviews as well": lambda x, mask: x[mask].mean(0),
    "a row for each of the 2 reviews": lambda x, mask: x * mask[:, :, None],
    "changed the vectors": mean_in_place,
    "return them as a tensor": lambda x, mask: mean_solution(x, mask).tolist(),
    "you gave": lambda x, mask: 2 * mean_solution(x, mask),
    "is there a return": lambda x, mask: print(end=""),
}

EXERCISES = {
    "classify": (rules_starter, [rules_solution, rules_as_bool, rules_as_float], RULES),
    "split_three": (split_starter, [split_solution, split_by_sample, split_by_torch, split_stratified], SPLIT),
    "leaked": (
        ...,
        [
            {leak.test_id for leak in LEAKS},
            LEAKS,
            [leak.test_index for leak in LEAKS],
            [review for review in EXAM if review.id in PLANTED.all],
            shared_runs(),
        ],
        LEAKED,
    ),
    "mean_of_words": (mean_starter, [mean_solution, mean_in_a_loop, mean_by_filling, masked_mean], MEANS),
}


def test_the_leak_is_the_same_each_time_and_is_three_kinds_of_copies():
    data_leaks.plant.cache_clear()
    assert data_leaks.plant() == PLANTED
    assert len(PLANTED.all) == len(PLANTED.exact) + len(PLANTED.retyped) + len(PLANTED.reworded) == 30
    assert set(EXACT) == PLANTED.exact


def test_between_chance_and_copy_there_is_a_gap():
    similar = {leak.test_id: leak.similarity for leak in LEAKS}
    assert set(similar) == PLANTED.all
    assert min(similar.values()) > 0.3
    # The lowest threshold of find_leaks is far above any pair that chance made.
    rest = [replace(review, id=f"x{i}") for i, review in enumerate(EXAM) if review.id not in PLANTED.all]
    assert not find_leaks(TRAIN, rest, threshold=0.15)


def test_the_default_threshold_misses_some_and_accuses_nobody():
    assert PLANTED.exact | PLANTED.retyped < set(HALF) < PLANTED.all


def test_the_ids_and_the_order_do_not_tell():
    assert [review.id for review in TRAIN] == [f"tr-{i:03d}" for i in range(len(TRAIN))]
    assert [review.id for review in EXAM] == [f"ex-{i:03d}" for i in range(len(EXAM))]


def test_the_suspects_are_copies_that_a_learner_may_change():
    train, _ = checks.suspects()
    train.clear()
    assert checks.suspects()[0] == TRAIN


def test_the_quiz_numbers_are_right():
    path = Path(__file__).parents[2] / "notebooks" / "quiz" / "03_data.json"
    questions = json.loads(path.read_text(encoding="utf-8"))
    right = [a["value"] for q in questions for a in q["answers"] if q["type"] == "numeric" and a.get("correct")]
    reported = 100 * (200 + 0.8 * 800) / 1000
    padding = 100 * (40 - 10) / (2 * 40)
    assert right == pytest.approx([reported, padding])
