"""Self-checks of chapter 02 on vectors: neighbors by cosine, and analogies. `what_a_model_learns` shows their verdicts.

Shape legend: W words (rows), C features.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from course_lib.checks.answers import Hint, expect

NOTHING = "nothing came back from your function; is there a return?"
"""The hint for a function that returns None."""


def _rows(answer: object, k: int) -> list[int]:
    expect(answer is not None, NOTHING)
    try:
        values = answer.tolist() if isinstance(answer, Tensor) else list(answer)  # type: ignore[call-overload]
    except TypeError as error:
        raise Hint(f"expected a list of {k} row numbers; got {type(answer).__name__}: {answer!r}") from error
    expect(
        all(float(value).is_integer() for value in values),
        "these are similarities; wanted are the numbers of the rows that have them",
    )
    return [int(value) for value in values]


def _table() -> Tensor:
    """Ten rows (W, C) of different lengths on which each likely mistake finds other neighbors."""
    generator = torch.Generator().manual_seed(2)
    directions = torch.randn(10, 4, generator=generator)  # (W, C)
    lengths = torch.tensor([1.0, 0.3, 4.0, 1.5, 0.5, 3.0, 0.8, 2.5, 0.4, 6.0])
    return directions / directions.norm(dim=1, keepdim=True) * lengths[:, None]


def check_nearest(answer: Callable[[Tensor, int, int], list[int]]) -> str:
    """Try `nearest` on ten rows of different lengths.

    Raises:
        Hint: The first thing that is wrong.
    """
    vectors, i, k = _table(), 3, 3
    given = vectors.clone()
    got = _rows(answer(given, i, k), k)
    expect(torch.equal(given, vectors), "your function changed the vectors it was given; work on a new tensor")
    units = vectors / vectors.norm(dim=1, keepdim=True)
    columns = vectors / vectors.norm(dim=0, keepdim=True)

    def ranked(scores: Tensor) -> list[int]:
        return [j for j in scores.argsort(descending=True).tolist() if j != i]

    order = ranked(units @ units[i])
    mistakes = {
        "the word itself is its own nearest neighbor; leave it out": [i, *order[: k - 1]],
        "one is missing: leave out the word itself first, and then take the first k": order[: k - 1],
        "that is everything, sorted; return the first k": order,
        "these are the least similar ones: sort from the largest cosine down": order[::-1][:k],
        "you compared by dot product, so long vectors win: divide by both lengths first (normalize)": ranked(
            vectors @ vectors[i]
        )[:k],
        "you compared by distance; vectors of one direction and different length are far apart and have cosine 1": (
            ranked(-(vectors - vectors[i]).norm(dim=1))[:k]
        ),
        "you normalized each column; each word is a row (dim=1)": ranked(columns @ columns[i])[:k],
    }
    if got != order[:k]:
        for hint, wrong in mistakes.items():
            expect(got != wrong, hint)
        raise Hint(f"for row {i} of ten rows and k = {k} you gave {got}; expected {order[:k]}")
    doubled = torch.cat([vectors, vectors[i : i + 1]])  # a twin of row i, in the last place
    got = _rows(answer(doubled, len(vectors), k), k)
    expect(
        got == [i, *order[: k - 1]],
        "right so far; but where two rows are equal, you left out the wrong one: leave out row i by its number, "
        "not by its place in the sorted list",
    )
    return "cosine compares directions alone, so a long vector is nobody's neighbor for its length"


def check_analogy(answer: Callable[[Tensor, int, int, int, bool], int]) -> str:
    """Try `analogy` on rows of length 1, with and without the rows of the question.

    Raises:
        Hint: The first thing that is wrong.
    """
    vectors, (a, b, c) = _units(), (0, 1, 2)
    results = {}
    for leave_out in (False, True):
        given = vectors.clone()
        result = answer(given, a, b, c, leave_out)
        expect(torch.equal(given, vectors), "your function changed the vectors it was given; work on a new tensor")
        expect(result is not None, NOTHING)
        found = _rows([result], 1)
        results[leave_out] = found[0]
    points = {
        "": vectors[b] - vectors[a] + vectors[c],
        "the signs: b - a is the step from a to b; you went the other way": vectors[a] - vectors[b] + vectors[c],
        "you left out c: the step from a to b has to begin at c": vectors[b] - vectors[a],
        "you added all three; the step from a to b is b minus a": vectors[a] + vectors[b] + vectors[c],
        "you took away b as well: the step from a to b is b minus a": vectors[c] - vectors[a] - vectors[b],
        "c has the wrong sign: wanted is b - a + c, the step from a to b begun at c": vectors[a]
        + vectors[b]
        - vectors[c],
    }
    best = {hint: (_best(vectors, point), _best(vectors, point, (a, b, c))) for hint, point in points.items()}
    plain, left = best.pop("")
    got = (results[False], results[True])
    if got != (plain, left):
        expect(got != (left, left), "right with leave_out; but when it is false, a, b and c may be the answer")
        expect(got != (plain, plain), "right without leave_out; but when it is true, a, b and c must not be the answer")
        expect(got != (left, plain), "leave_out is the wrong way round: when it is true, a, b and c are left out")
        only_c = _best(vectors, points[""], (c,))
        expect(got != (plain, only_c), "you left out c alone; with leave_out a and b cannot be the answer either")
        for hint, wrong in best.items():
            expect(got != wrong, hint)
        raise Hint(f"you gave {got[0]} with nothing left out and {got[1]} without a, b, c; expected {plain} and {left}")
    return "the same arithmetic, two rules of the game: say which one you played"


def _units() -> Tensor:
    """Nine rows of length 1 (W, C) on which each mistake ends at other rows; c is nearest to b - a + c."""
    rows = torch.randn(9, 3, generator=torch.Generator().manual_seed(19))
    return rows / rows.norm(dim=1, keepdim=True)


def _best(vectors: Tensor, point: Tensor, without: Sequence[int] = ()) -> int:
    scores = vectors @ point  # (W,)
    scores[list(without)] = -math.inf
    return int(scores.argmax())
