"""Reviews that stand in two splits at once, or twice in one: copies and near copies (chapters 3 and 4).

A test example that was also trained on measures memory. Copies hide behind a changed word, so a text becomes the set of
its **shingles** (runs of `shingle` words), and two texts are compared by their Jaccard similarity: shared shingles over
all shingles. Comparing all pairs takes one step for each pair. MinHash signatures, cut into bands, name the few pairs
worth comparing, and each of those is compared exactly. So what is reported is true, and the probability to miss a pair
is below `MISS_PROBABILITY`.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from course_lib.data.reviews import Review

Kind = Literal["exact", "near"]
Shingles = frozenset[tuple[str, ...]]

MISS_PROBABILITY = 1e-6
"""The most that the chance may be to miss a pair whose similarity is at the threshold; above it, it falls fast."""

_SYMBOL = re.compile(r"[^\w\s]|_")
_APOSTROPHES = "'’‘ʼ"


@dataclass(frozen=True, kw_only=True)
class Leak:
    """A test example that is in the training set too.

    Args:
        kind: "exact" when the texts are equal after `normalize`, otherwise "near".
        train_index: place in `train`, from 0.
        test_index: place in `test`, from 0.
        similarity: Jaccard similarity of their shingles, 0 to 1. A near pair may reach 1: the same shingles, repeated.
        train_id: id of the training example when it is a Review, otherwise None.
        test_id: id of the test example when it is a Review, otherwise None.
    """

    kind: Kind
    train_index: int
    test_index: int
    similarity: float
    train_id: str | None = None
    test_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Duplicate:
    """Two examples of one set that are copies; the fields are those of `Leak`, the first example the earlier one."""

    kind: Kind
    first_index: int
    second_index: int
    similarity: float
    first_id: str | None = None
    second_id: str | None = None


def find_leaks(
    train: Sequence[Review] | Sequence[str],
    test: Sequence[Review] | Sequence[str],
    *,
    threshold: float = 0.5,
    shingle: int = 3,
    permutations: int = 128,
    seed: int = 0,
) -> list[Leak]:
    """Find the pairs of a training and a test example whose texts are equal or nearly so.

    Labels play no part: a copy with the other label is reported as well.

    Args:
        train: the training examples, reviews or texts.
        test: the test examples, reviews or texts.
        threshold: the least Jaccard similarity to report, above 0 and at most 1.
        shingle: words in a shingle. A text with fewer words is one shingle of all its words, so it matches only copies.
        permutations: length of a MinHash signature; a low threshold needs more.
        seed: decides the hash functions of the signatures.

    Returns:
        The pairs, most similar first, then by their places. The same arguments give the same list.

    Raises:
        ValueError: an argument is out of its range, or an example is neither a Review nor a text.

    Source: Broder, "On the resemblance and containment of documents" (1997): resemblance r(A, B) = similarity, w =
        shingle. Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4: s = threshold, b = bands.
    """
    train_side, test_side = _fingerprints("train", train, shingle), _fingerprints("test", test, shingle)
    left, right = [shingles for _, shingles in train_side], [shingles for _, shingles in test_side]
    return [
        Leak(
            kind="exact" if train_side[i][0] == test_side[j][0] else "near",
            train_index=i,
            test_index=j,
            similarity=similarity,
            train_id=_id(train[i]),
            test_id=_id(test[j]),
        )
        for similarity, i, j in _pairs(left, right, threshold, permutations, seed)
    ]


def find_duplicates(
    examples: Sequence[Review] | Sequence[str],
    *,
    threshold: float = 0.5,
    shingle: int = 3,
    permutations: int = 128,
    seed: int = 0,
) -> list[Duplicate]:
    """Find the pairs within one set whose texts are equal or nearly so.

    Args:
        examples: reviews or texts.
        threshold, shingle, permutations, seed: as in `find_leaks`.

    Returns:
        The pairs, each once, most similar first, then by their places. A text that stands there n times gives
        n * (n - 1) / 2 of them.

    Raises:
        ValueError: an argument is out of its range, or an example is neither a Review nor a text.
    """
    side = _fingerprints("examples", examples, shingle)
    shingles = [found for _, found in side]
    return [
        Duplicate(
            kind="exact" if side[i][0] == side[j][0] else "near",
            first_index=i,
            second_index=j,
            similarity=similarity,
            first_id=_id(examples[i]),
            second_id=_id(examples[j]),
        )
        for similarity, i, j in _pairs(shingles, shingles, threshold, permutations, seed)
        if i < j
    ]


def normalize(text: str) -> str:
    """Reduce a text to its words, so that copies with other capitals, white space or punctuation become equal.

    Letters are case-folded, in Unicode's form NFKC; apostrophes vanish ("don't" is "dont"); any other character that is
    no letter, digit or accent separates words; words are joined by one space. A text without a single word keeps its
    symbols instead, since "!!!" is no copy of "???".

    Args:
        text: any string, empty allowed.

    Returns:
        The words, or the symbols; empty for a text without either.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(_SYMBOL.sub(_blank, folded).split()) or " ".join(folded.split())


def jaccard(first: frozenset[Any], second: frozenset[Any]) -> float:
    """Share of the elements of two sets that both hold: intersection over union, and 1 for two empty sets."""
    shared = len(first & second)
    union = len(first) + len(second) - shared
    return shared / union if union else 1.0


def word_shingles(text: str, shingle: int = 3) -> Shingles:
    """Collect the runs of `shingle` consecutive words of a normalized text; a shorter text is one run of all its words.

    Raises:
        ValueError: shingle is below 1.
    """
    if shingle < 1:
        raise ValueError(f"shingle must be at least 1 word; got {shingle}")
    words = text.split()
    return frozenset(tuple(words[start : start + shingle]) for start in range(max(1, len(words) - shingle + 1)))


def _pairs(
    left: list[Shingles], right: list[Shingles], threshold: float, permutations: int, seed: int
) -> list[tuple[float, int, int]]:
    """(similarity, place in left, place in right) of the pairs that reach the threshold, most similar first."""
    from datasketch import MinHashLSH  # imported here: it loads scipy, which importing the course does not need

    index = MinHashLSH(num_perm=permutations, params=_bands(threshold, permutations))
    for i, signature in enumerate(_signatures(left, permutations, seed)):
        index.insert(i, signature)
    found = [
        (similarity, i, j)
        for j, signature in enumerate(_signatures(right, permutations, seed))
        for i in index.query(signature)
        if (similarity := jaccard(left[i], right[j])) >= threshold
    ]
    return sorted(found, key=lambda pair: (-pair[0], pair[1], pair[2]))


def _signatures(sets: list[Shingles], permutations: int, seed: int) -> Iterable[Any]:
    from datasketch import MinHash

    # SHA-1 of bytes, and no hash(): Python salts the hash of a string anew in each process.
    encoded = ([" ".join(words).encode("utf-8", "surrogatepass") for words in shingles] for shingles in sets)
    return MinHash.generator(encoded, num_perm=permutations, seed=seed)


def _bands(threshold: float, permutations: int) -> tuple[int, int]:
    """Bands and rows of a signature: the most rows, so the fewest candidates, that keep to MISS_PROBABILITY.

    Two signatures agree in a place with probability s, their similarity; in all r rows of a band with s^r; in none of
    b bands with (1 - s^r)^b, and then the pair is missed.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be above 0 and at most 1; got {threshold}")
    if permutations < 2:
        raise ValueError(f"permutations must be at least 2; got {permutations}")
    for rows in range(permutations // 2, 0, -1):
        bands = permutations // rows
        if (1 - threshold**rows) ** bands <= MISS_PROBABILITY:
            return bands, rows
    raise ValueError(
        f"threshold={threshold} is too low for signatures of {permutations} permutations, which would miss pairs: "
        "raise permutations or the threshold"
    )


def _fingerprints(name: str, examples: Sequence[Review] | Sequence[str], shingle: int) -> list[tuple[str, Shingles]]:
    """The normalized text of each example and its shingles."""
    if isinstance(examples, str):
        raise ValueError(f"{name} must be a list of reviews or of texts; got one text: put it into a list")
    texts = []
    for number, example in enumerate(examples):
        text = example.text if isinstance(example, Review) else example
        if not isinstance(text, str):
            raise ValueError(f"{name}[{number}] must be a Review or a text; got {type(example).__name__}")
        texts.append(normalize(text))
    return [(text, word_shingles(text, shingle)) for text in texts]


def _id(example: Review | str) -> str | None:
    return example.id if isinstance(example, Review) else None


def _blank(match: re.Match[str]) -> str:
    """What a symbol becomes: an accent or vowel sign that no single letter includes stays, for it is part of a word."""
    symbol = match[0]
    if unicodedata.category(symbol).startswith("M"):
        return symbol
    return "" if symbol in _APOSTROPHES else " "
