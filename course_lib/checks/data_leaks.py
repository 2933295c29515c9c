"""Chapter 03's planted leak: an exam of which a part stands in the training set, and the check of who found it.

Three kinds of copies are planted: exact, retyped (other capitals and punctuation), and reworded (a word changed here
and there). As a decoy, some training reviews stand twice in the training set, which is no leak into the exam.
"""

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache

from course_lib.checks.answers import Hint, expect
from course_lib.data import Leak, Review, find_leaks, load_reviews

SEED = 18
TRAIN, EXAM = 600, 200
COPIES = 10  # of each kind, and as many decoys
REWORDED_EVERY = (6, 11)  # one word in six changed, or one in eleven: similarities on both sides of one half
FILLERS = ("again", "later", "though", "still", "somehow", "really", "quite", "also", "even", "then")


@dataclass(frozen=True, kw_only=True)
class Planted:
    """The two sets, and the ids of the exam reviews that leaked, by kind."""

    train: tuple[Review, ...]
    exam: tuple[Review, ...]
    exact: frozenset[str]
    retyped: frozenset[str]
    reworded: frozenset[str]

    @property
    def all(self) -> frozenset[str]:
        """Ids of all leaked exam reviews."""
        return self.exact | self.retyped | self.reworded


def _retype(text: str) -> str:
    return re.sub(r"[.,;!]", "", text).upper()


def _reword(text: str, every: int, rng: random.Random) -> str:
    words = text.split()
    for place in range(every // 2, len(words), every):
        words[place] = rng.choice(FILLERS)
    return " ".join(words)


@cache
def plant() -> Planted:
    """Make the training set and the exam; always the same."""
    rng = random.Random(SEED)
    # Not from the test set: chapter 03 scores no model on it before its last section.
    train = load_reviews("train", seed=SEED, limit=TRAIN)
    exam = [replace(r, id=f"ex-{i:03d}") for i, r in enumerate(load_reviews("validation", seed=SEED, limit=EXAM))]
    # Only long reviews are reworded: in a short one a changed word changes most runs of three.
    long = rng.sample([review for review in exam if len(review.text.split()) >= 35], COPIES)
    short = [review for review in exam if review not in long]
    exact, retyped = rng.sample(short, COPIES), []
    for review in rng.sample([review for review in short if review not in exact], COPIES):
        retyped.append(review)
    copies = [review.text for review in exact] + [_retype(review.text) for review in retyped]
    copies += [_reword(review.text, REWORDED_EVERY[i % 2], rng) for i, review in enumerate(long)]
    labels = [review.label for review in (*exact, *retyped, *long)]
    decoys = rng.sample(train, COPIES)
    added = [replace(train[0], text=text, label=label) for text, label in zip(copies, labels, strict=True)]
    mixed = [*train, *added, *decoys]
    rng.shuffle(mixed)
    return Planted(
        train=tuple(replace(r, id=f"tr-{i:03d}", phenomenon=None, register=None) for i, r in enumerate(mixed)),
        exam=tuple(exam),
        exact=frozenset(review.id for review in exact),
        retyped=frozenset(review.id for review in retyped),
        reworded=frozenset(review.id for review in long),
    )


def _name(item: object, planted: Planted) -> str:
    """The id that an item of the answer stands for."""
    if isinstance(item, Leak):
        return item.test_id or planted.exam[item.test_index].id
    if isinstance(item, Review):
        return item.id
    if isinstance(item, int) and not isinstance(item, bool) and 0 <= item < len(planted.exam):
        return planted.exam[item].id
    if isinstance(item, str):
        return item
    raise Hint(f'expected ids of exam reviews, such as "ex-007"; among yours is {item!r}')


def _names(answer: object, planted: Planted) -> set[str]:
    is_many = isinstance(answer, Iterable) and not isinstance(answer, str)
    expect(is_many, f'expected a list or set of ids, such as ["ex-007", "ex-123"]; got {type(answer).__name__}')
    found = {_name(item, planted) for item in answer}  # type: ignore[attr-defined]  # is_many says that it iterates
    expect(
        found,
        "none, by your answer. The copies have got ids of their own, as copies do: compare the texts, not the ids",
    )
    wrong_side = {name for name in found if name.startswith("tr-")}
    expect(
        not wrong_side,
        f"{len(wrong_side)} of yours are training reviews (tr-...). Asked are the exam reviews that are known already; "
        "a review that stands twice in the training set has leaked nowhere",
    )
    known = {review.id for review in planted.exam}
    strange = found - known
    expect(not strange, f'no review of the exam is called {min(strange, default="")!r}; ids look like "ex-007"')
    return found


def _similarity_of(names: Iterable[str], planted: Planted) -> float:
    """The highest similarity to a training review that one of these exam reviews has."""
    chosen = [review for review in planted.exam if review.id in set(names)]
    return max((leak.similarity for leak in find_leaks(planted.train, chosen, threshold=0.15)), default=0.0)


def check_leaked(answer: Iterable[str | int | Leak | Review]) -> str:
    """Compare what a learner found with what was planted; raises Hint, or says what the right answer shows."""
    planted = plant()
    found = _names(answer, planted)
    missing, false = planted.all - found, found - planted.all
    expect(
        len(found) < 0.9 * len(planted.exam),
        f"you named {len(found)} of {len(planted.exam)}: a test that accuses everybody finds nobody. Two reviews share "
        "words always; they share runs of words only when one was copied",
    )
    expect(
        not false,
        f'{len(false)} of yours were not planted. Print such a pair: two reviewers may well both write "I want my '
        f'hour back". You also miss {len(missing)}. Raise your threshold until what is reported is one text twice',
    )
    expect(
        found - planted.exact,
        f"{len(found)} of {len(planted.all)}, all of them equal to the letter. What stays the same when somebody "
        "retypes a review in capitals and leaves the commas out?",
    )
    expect(
        found & planted.reworded,
        f"{len(found)} of {len(planted.all)}: copies with other capitals and punctuation too, but none in which a word "
        "was changed. Look at what two texts share instead of asking whether they are equal",
    )
    if missing:
        raise Hint(
            f"{len(found)} of {len(planted.all)}, and no false alarm. The most similar pair that you miss shares "
            f"{_similarity_of(missing, planted):.0%} of its runs of three words. List the similarities of all pairs, "
            "from 0.15 up, and look for the gap between chance and copy"
        )
    share = len(planted.all) / len(planted.exam)
    return (
        f"all {len(planted.all)}, {share:.0%} of the exam, and nobody accused wrongly: equal texts show exact copies, "
        "normalized ones retyped copies, shared runs of words the rest"
    )
