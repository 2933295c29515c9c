"""The self-check of chapter 03's split in three: every review once, in random order, and the same at each call."""

from collections.abc import Callable, Sequence

from course_lib.checks.answers import expect
from course_lib.checks.probe import NOTHING
from course_lib.data import Review

Split = Callable[[Sequence[Review], int], Sequence[Sequence[Review]]]
SHARES = (0.7, 0.1, 0.2)  # training, validation, test: three sizes, so that exchanged parts are noticed


def _pool(n: int) -> list[Review]:
    """Reviews sorted by label, as files often are."""
    return [Review(id=f"r{i:03d}", text=f"review {i}", label=int(2 * i >= n)) for i in range(n)]


def _ids(answer: Split, reviews: list[Review], seed: int) -> list[list[str]]:
    """Split and name what is in each part; refuses what is no split in three."""
    before = list(reviews)
    parts = answer(reviews, seed)
    expect(parts is not None, NOTHING)
    expect(
        reviews == before,
        "the list that you were given has another order now, or is shorter: shuffle a copy, or the caller will wonder",
    )
    expect(isinstance(parts, list | tuple), f"expected three lists of reviews, got {type(parts).__name__}")
    expect(
        len(parts) != 2,
        "two parts, as in the source: then the part that chooses is the part that reports. Where is the third?",
    )
    expect(len(parts) == 3, f"expected three parts, got {len(parts)}")
    for part in parts:
        is_reviews = isinstance(part, list | tuple) and all(isinstance(review, Review) for review in part)
        expect(is_reviews, f"each part is a list of reviews; one of yours is {type(part).__name__} of something else")
    return [[review.id for review in part] for part in parts]


def _check_members(parts: list[list[str]], n: int) -> None:
    everything = [name for part in parts for name in part]
    twice = len(everything) - len(set(everything))
    expect(
        not twice,
        f"{twice} reviews stand in two places: a review in two parts is a leak. Drawing each part anew from all "
        "reviews does that; shuffle once and cut",
    )
    lost = n - len(everything)
    expect(not lost, f"of {n} reviews {lost} are in no part: let one part take what is left over by rounding")


def _check_sizes(parts: list[list[str]], n: int) -> None:
    sizes = [len(part) for part in parts]
    near = [abs(size - share * n) <= 1 for size, share in zip(sizes, SHARES, strict=True)]
    swapped = abs(sizes[1] - SHARES[2] * n) <= 1 and abs(sizes[2] - SHARES[1] * n) <= 1
    expect(
        not swapped,
        f"of {n} reviews your parts have {sizes}: validation and test are exchanged (10% and 20% were asked)",
    )
    expect(all(near), f"of {n} reviews your parts have {sizes}; asked were 70%, 10% and 20%")


def check_split(answer: Split) -> str:
    """Try a learner's split on 100 and on 97 sorted reviews; raises Hint, or says what the right answer shows."""
    parts = _ids(answer, _pool(100), 0)
    _check_members(parts, 100)
    _check_sizes(parts, 100)
    in_order = [name for part in parts for name in part]
    expect(
        in_order != [review.id for review in _pool(100)],
        "you cut the list in the order it came in. These reviews are sorted by label, so your test part has one label "
        "only: shuffle before you cut",
    )
    again = _ids(answer, _pool(100), 0)
    expect(
        again == parts,
        "the same seed gave another split: today's test reviews are tomorrow's training reviews. Draw from a generator "
        "of your own, random.Random(seed)",
    )
    other = _ids(answer, _pool(100), 1)
    expect(other != parts, "seeds 0 and 1 gave the same split; where does your function use the seed?")
    tests = {name for name in parts[2] if int(name[1:]) >= 50}
    expect(
        0 < len(tests) < len(parts[2]),
        "your test part holds one label only, and the whole has two: the shuffle came too late, or reached one part",
    )
    _check_members(_ids(answer, _pool(97), 0), 97)
    return (
        "each review is in one part, and the seed says in which: train on the first, choose on the second, report "
        "the third"
    )
