"""Self-checks of chapter 15 on runs: the numbers in a table, the test of labels that stops a run, and four logs."""

from collections.abc import Callable

from course_lib.checks.answers import Hint, expect
from course_lib.checks.probe import close, number

WORDS = ("copies", "one class", "sound", "leak")
"""Of the logs A to D; they are in `recorded/spoiled_exams.json`, in this order."""

# --- the document's table ---

_WRONG = {
    4968: "that is how many were right",
    6: "of 1,000 it would be 6, but training accuracy is a share of the 5,000 training reviews",
    0: "100% is the test accuracy. Read the training accuracy of epoch 1",
    3200: "99.36% is a share already: 0.64 of a hundred, not of one, are wrong",
}
_BATCHES = {
    156: "156 batches of 32 are 4,992 reviews. The other 8 make a batch too",
    156.25: "a quarter of a batch is a batch: the last one is smaller",
    785: "that is five epochs; one was asked for",
    188: "the test reviews do not belong to an epoch of training",
}
_NATS = {
    0.0178
    * 5000: "that is the sum over all reviews, if the mean is over reviews. Asked: over batches, each with its mean",
    0.0178: "that is the mean over the batches. Their sum was asked for",
    0.0178 * 32: "that is the sum over the reviews of an average batch; multiply the mean by the number of batches",
    0.0178 * 156: "one batch is missing",
    0.0178 * 785: "the 0.0178 belongs to epoch 1, and one epoch has 157 batches",
}


def check_table(answer: tuple[float, float, float]) -> str:
    """Compare the learner's three numbers with those that follow from the document's table.

    Raises:
        Hint: Names the first number that is wrong, and what it would be.
    """
    expect(isinstance(answer, tuple) and len(answer) == 3, f"expected three numbers, got {answer!r}")
    wrong, batches, nats = (number(part) for part in answer)
    for mine, right, hints, name in ((wrong, 32, _WRONG, "wrong"), (batches, 157, _BATCHES, "batches")):
        for value, hint in hints.items():
            expect(not close([mine], [value]), f"{name}: {hint}")
        expect(abs(mine - right) < 0.01, f"{name}: {mine:g} is not it")
    for value, hint in _NATS.items():
        expect(not close([nats], [value]), f"nats: {hint}")
    expect(abs(nats - 0.0178 * 157) < 0.01, f"nats: expected the mean times the number of batches, you gave {nats:g}")
    return "32 wrong, as many as a batch holds, and 2.79 nats, what four batches cost at ln 2. An epoch has 157"


# --- the guard ---

_MIXED, _RARE, _ZEROS, _ONES = [0, 1, 1, 0, 1, 0], [1] * 19 + [0], [0] * 6, [1] * 6
_FAIR = {
    "half and half": (_MIXED, _MIXED[:4]),
    "one in twenty: rare is not absent, and a baseline will show it": (_RARE, _RARE),
    "three classes": ([0, 1, 2, 0, 1, 2], [2, 1, 0]),
}
_UNFAIR = {
    "training and test of label 0 alone went through: that is the document's run": (_ZEROS, _ZEROS),
    "training and test of label 1 alone went through. The one label may be any": (_ONES, _ONES),
    "training on one label, a test of both: went through. Look at each list by itself": (_ZEROS, _MIXED),
    "training on both labels, a test of one: went through. Its accuracy is the recall of one class": (_MIXED, _ONES),
    "a training list with no label at all went through": ([], _MIXED),
    "a test list with no label at all went through": (_MIXED, []),
}


def _refusal(answer: Callable[[list[int], list[int]], object], train: list[int], test: list[int]) -> bool:
    """Whether the answer refuses these labels by raising ValueError."""
    try:
        said = answer([*train], [*test])
    except ValueError:
        return True
    expect(not isinstance(said, bool), "a result can be overlooked. Raise ValueError, so that the run stops")
    expect(not isinstance(said, str), "a text can be overlooked. Raise ValueError with it, so that the run stops")
    return False


def check_guard(answer: Callable[[list[int], list[int]], None]) -> str:
    """Try the learner's guard on fair and unfair labels.

    Raises:
        Hint: Names the first pair of lists on which it is wrong.
    """
    refused = {name: _refusal(answer, *lists) for name, lists in (_FAIR | _UNFAIR).items()}
    expect(any(refused.values()), "it lets everything through, the document's run too")
    expect(not all(refused.values()), "it refuses everything, two equally frequent labels too")
    for name in _FAIR:
        expect(not refused[name], f"fair labels were refused: {name}")
    for name in _UNFAIR:
        expect(refused[name], name)
    return "it costs a line, runs before the first batch, and would have stopped the document's run"


# --- four logs ---

_HINTS = {
    (
        0,
        "sound",
    ): "its training is that of log C, number for number. What differs, if one test stays at 78% and one does not?",
    (0, "one class"): "about half of epoch 1's answers are wrong, as with two labels that are guessed",
    (
        0,
        "leak",
    ): "a word that tells the label is learned within an epoch. Here the test rises as slowly as the training",
    (1, "sound"): "an opinion is not learned within so few batches, by any model of this chapter",
    (1, "copies"): "copies are known only once training knows them, and here all was right after the first moments",
    (1, "leak"): "before a telling word is known, every second answer is wrong. Count the wrong ones in batches",
    (2, "copies"): "copied reviews would be answered as well as the training reviews, and here the two part",
    (2, "one class"): "with one class there is nothing to be wrong about after the first moments",
    (2, "leak"): "with a telling word the test would be at 100%",
    (3, "sound"): "no unseen opinion was ever judged with a loss of 0.0000. Something stands in the text",
    (3, "copies"): "after epoch 1 the training reviews are not known yet, and the test is at 100% already",
    (
        3,
        "one class",
    ): "hundreds were wrong in epoch 1: several batches of guesses. One class needs no more than one or two",
}


def check_verdicts(answer: tuple[str, str, str, str]) -> str:
    """Compare the learner's four words with what the logs are.

    Raises:
        Hint: Says which number of which log speaks against the word.
    """
    expect(isinstance(answer, tuple) and len(answer) == len(WORDS), f"expected four words, got {answer!r}")
    for place, (word, right) in enumerate(zip(answer, WORDS, strict=True)):
        said, log = str(word).strip().lower(), "ABCD"[place]
        expect(said in WORDS, f"log {log}: expected one of {', '.join(map(repr, sorted(WORDS)))}, got {word!r}")
        if said != right:
            raise Hint(f"log {log}: {_HINTS[place, said]}")
    return (
        "three perfect or nearly perfect tests, three causes; epoch 1 tells them apart, and the 78% is the honest one"
    )
