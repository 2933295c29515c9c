"""What the self-check of chapter 11 knows of validation loss below training loss: four runs, one cause each.

The runs are made up: real ones mix their causes.
"""

from course_lib.checks.answers import expect

BELOW = {
    "A": ("printed 0.52, validation 0.45", "training set again, after the epoch: 0.40 without dropout, 0.40 with it"),
    "B": ("printed 0.52, validation 0.45", "training set again, after the epoch: 0.40 without dropout, 0.52 with it"),
    "C": ("printed 0.52, validation 0.45", "without dropout still 0.52; on 500 newly collected reviews: 0.55"),
    "D": (
        "printed 0.52, validation 0.45",
        "200 of the 500 validation reviews are also training reviews; on the other 300: 0.56",
    ),
}
"""Each run prints the same two losses; the second text is what somebody measured afterwards, in nats per review."""

WORDS = ("average", "dropout", "easier", "leak")

_HINTS = {
    ("A", "dropout"): "with dropout on it is 0.40 as well, so this run loses nothing by dropout",
    ("A", "easier"): "the model's loss on its training set is 0.40, below validation: validation is not the easier one",
    ("A", "leak"): "nothing was found in both sets. And 0.40 lies below validation, as usual",
    ("B", "average"): "the finished model, with dropout on, costs what was printed: the epoch's average hides nothing",
    ("B", "easier"): "without dropout the training set costs 0.40, below validation: validation is not the easier one",
    ("B", "leak"): "nothing was found in both sets. And 0.40 lies below validation, as usual",
    ("C", "average"): "the finished model costs 0.52 on its training set too: the average over the epoch is not it",
    ("C", "dropout"): "without dropout it is still 0.52",
    ("C", "leak"): "nothing was found in both sets. What do the newly collected reviews say of these 500?",
    ("D", "average"): "measured anew or not, training is not what was looked at. Why is 0.45 so far from 0.56?",
    ("D", "dropout"): "with or without dropout, training is not what was looked at. Why is 0.45 so far from 0.56?",
    ("D", "easier"): "easier, yes, but for a reason: two fifths of these reviews the model has seen with their labels",
}


def check_causes(answer: tuple[str, str, str, str]) -> str:
    """The cause of each run of BELOW; raises Hint, or says what the right answer shows."""
    expect(isinstance(answer, tuple) and len(answer) == 4, f"expected four words, got {answer!r}")
    words = [str(word).strip().lower() for word in answer]
    for run, word in zip(BELOW, words, strict=True):
        expect(word in WORDS, f"run {run}: expected one of {', '.join(WORDS)}, got {word!r}")
    for run, word, right in zip(BELOW, words, WORDS, strict=True):
        expect(word == right, f"run {run}: {_HINTS.get((run, word), '')}")
    return "four causes for the same two printed numbers. Only a further measurement told them apart"
