"""Self-checks of chapter 02: counting what follows, neighbors by cosine, analogies, and swapping a suspected cue.

Each check computes, beside the right answer, what the likely mistakes would give. An answer that equals one of them
gets that mistake's hint; any other gets both side by side.

The two on vectors are in `what_a_model_learns_vectors`. Shape legend: W words (rows), C features.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from numbers import Real

from torch import Tensor

from course_lib.checks.answers import Hint, Verdict, expect, judge
from course_lib.checks.what_a_model_learns_vectors import NOTHING, check_analogy, check_nearest


def followers(answer: Callable[[str, str], dict[str, float]]) -> Verdict:
    """Check `followers(text, context)`: the share of each character among those that follow a context.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, _followers)


def nearest(answer: Callable[[Tensor, int, int], list[int]]) -> Verdict:
    """Check `nearest(vectors, i, k)`: the k rows most similar to row i by cosine, without i.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, check_nearest)


def analogy(answer: Callable[[Tensor, int, int, int, bool], int]) -> Verdict:
    """Check `analogy(vectors, a, b, c, leave_out)`: the row closest to b - a + c.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, check_analogy)


def swap_cue(answer: Callable[[list[str], str], list[str]]) -> Verdict:
    """Check `swap_cue(texts, cue)`: texts that end with the cue lose it, all others get it.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, _swap_cue)


def _shares(found: Iterable[str], total: float | None = None) -> dict[str, float]:
    counts = Counter(found)
    return {character: count / (total or counts.total()) for character, count in counts.items()}


def _same(one: dict[str, float], other: dict[str, float]) -> bool:
    return one.keys() == other.keys() and all(math.isclose(one[key], other[key], rel_tol=1e-6) for key in one)


def _as_shares(answer: object) -> dict[str, float]:
    expect(answer is not None, NOTHING)
    expect(isinstance(answer, dict), f"expected a dictionary from character to share; got {type(answer).__name__}")
    shares = dict(answer)  # type: ignore[call-overload]
    for key, value in shares.items():
        expect(isinstance(key, str) and len(key) <= 1, f"expected single characters as keys; got {key!r}")
        expect(isinstance(value, Real), f"expected a number for each character; for {key!r} got {value!r}")
    expect(
        "" not in shares,
        "one of your followers is an empty string: at the end of the text nothing follows. Stop one place earlier",
    )
    return {key: float(value) for key, value in shares.items() if value}  # a share of 0 may be listed


def _followers(answer: Callable[[str, str], dict[str, float]]) -> str:
    text, context = "aaabaaac caab caa", "aa"
    n = len(context)
    places = [i for i in range(len(text) - n + 1) if text[i : i + n] == context]
    after = [text[i + n] for i in places if i + n < len(text)]  # a, b, a, c, b
    right = _shares(after)
    mistakes = {
        "these are counts; a share is a count divided by all counts together": {
            character: float(count) for character, count in Counter(after).items()
        },
        "your shares do not add up to 1: at the very end of the text the context has no follower. Divide by the number "
        "of followers, not of contexts": _shares(after, len(places)),
        "text.count does not count overlapping occurrences; divide by the number of followers that you found": _shares(
            after, text.count(context)
        ),
        "you divided by the length of the text; wanted is the share among the followers": _shares(after, len(text)),
        "overlapping occurrences are missing: in 'aaab' the context 'aa' occurs twice. Look at every place": _shares(
            re.findall(f"{context}(.)", text)
        ),
        "these are the characters before the context; wanted are those after it": _shares(
            text[i - 1] for i in places if i
        ),
        "that is the share of each character in the whole text; count only where the context came before": _shares(
            text
        ),
        "you looked only at the last character of the context; all of it has to match": _shares(
            text[i + 1] for i in range(len(text) - 1) if text[i] == context[-1]
        ),
    }
    got = _as_shares(answer(text, context))
    task = f"for followers({text!r}, {context!r})"
    if not _same(got, right):
        for hint, wrong in mistakes.items():
            expect(not _same(got, wrong), hint)
        raise Hint(f"{task} you gave {_short(got)}; expected {_short(right)}")
    got = _as_shares(answer("banana", "x"))
    expect(not got, f"right so far; but a context that never occurs has no followers: expected {{}}, you gave {got}")
    got = _as_shares(answer("a\nab", "a"))
    expect(_same(got, {"\n": 0.5, "b": 0.5}), f"a line break is a character too: in 'a\\nab' you found {_short(got)}")
    return "with a dictionary of such shares for each context you have a language model, made by counting alone"


def _short(shares: dict[str, float]) -> str:
    return "{" + ", ".join(f"{key!r}: {value:.3g}" for key, value in sorted(shares.items())) + "}"


def _swap_cue(answer: Callable[[list[str], str], list[str]]) -> str:
    cue = " Seen at 8."
    texts = ["Good." + cue, "Bad.", "Fine." + cue, "Seen at 8. It was long.", "Why" + cue + " Never again."]
    given = list(texts)
    got = answer(given, cue)
    expect(given == texts, "your function changed the list it was given; build a new one")
    expect(got is not None, NOTHING)
    expect(
        isinstance(got, list) and all(isinstance(text, str) for text in got),
        f"expected a list of texts; got {type(got).__name__}",
    )
    expect(len(got) == len(texts), f"expected {len(texts)} texts, one for each; got {len(got)}")
    ends = [text.endswith(cue) for text in texts]
    pairs = list(zip(texts, ends, strict=True))
    right = [text.removesuffix(cue) if end else text + cue for text, end in pairs]
    mistakes = {
        "nothing has changed: texts with the cue lose it, and the others get it": texts,
        "the cue was taken away, but the texts that did not have it should get it": [
            t.removesuffix(cue) for t in texts
        ],
        "the texts without the cue got it, but those that had it should lose it": [
            t if e else t + cue for t, e in pairs
        ],
        "now every text has one cue more; those that had it should lose it": [t + cue for t in texts],
        "a text that has the cue in its middle does not end with it: look at the end only (endswith)": [
            t.replace(cue, "") if cue in t else t + cue for t in texts
        ],
        "rstrip and strip take away single characters, as many as they find; removesuffix takes away the word": [
            t.rstrip(cue) if e else t + cue for t, e in pairs
        ],
    }
    if got != right:
        for hint, wrong in mistakes.items():
            expect(got != wrong, hint)
        first = next(i for i, (mine, theirs) in enumerate(zip(got, right, strict=True)) if mine != theirs)
        raise Hint(f"text {first} was {texts[first]!r}; you made of it {got[first]!r}, expected {right[first]!r}")
    return "one thing changed and everything else kept: whatever the answers do now, the cue did it"
