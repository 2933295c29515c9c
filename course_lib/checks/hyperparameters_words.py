"""What the self-checks of chapter 17 know of comparisons: what else differs between two runs, and what a line proves.

The comparisons are about the chapter's plans, with its 2,000 reviews; the results are made up.
"""

from course_lib.checks.answers import expect

COMPARED = {
    "A": ("is training longer than 2 epochs of use?", "3 epochs against 2; the rate falls to 0 over each plan"),
    "B": ("is a batch of 8 better?", "batch 8 against 16, 3 epochs both; the rate falls to 0 over each plan"),
    "C": ("is a batch of 8 better?", "batch 8 against 16, 375 updates both; the rate falls to 0 over each plan"),
    "D": ("is more weight decay better?", "decay 0.05 against 0.01, 3 epochs of batch 16 both, the same seeds"),
}
"""What was asked, and the two runs that shall answer it."""

FACTORS = ("nothing", "updates", "reviews read", "schedule")

_FAIR = {
    ("A", "nothing"): "look at step 200: the long plan is at 0.93e-5 there, the short one at 0.40e-5",
    ("A", "updates"): "more updates are what a longer training is; that was the question. What else do the first 250 "
    "steps not share?",
    ("A", "reviews read"): "more reading is what a longer training is; that was the question. What else do the first "
    "250 steps not share?",
    ("B", "nothing"): "how many batches of 8 are 2,000 reviews, and how many of 16?",
    ("B", "reviews read"): "both read each review 3 times. How often does each step?",
    ("B", "schedule"): "both fall in a line from the first update to the last, and after half of the reviews both "
    "stand at half the rate. How many updates are that?",
    ("C", "nothing"): "375 batches of 8: how many times does that run see each review?",
    ("C", "updates"): "both make 375. What does each of them read?",
    ("C", "schedule"): "both fall in a line over 375 updates: at each update the rate is the same. What does it read?",
    ("D", "updates"): "2,000 reviews, batch 16, 3 epochs: 375 in both",
    ("D", "reviews read"): "3 epochs in both, and with one seed even in the same order",
    ("D", "schedule"): "the same 375 updates from the same peak: the rates are equal at each step",
}
_RIGHT = ("schedule", "updates", "reviews read", "nothing")


def check_fair(answer: tuple[str, str, str, str]) -> str:
    """What else differs in each comparison of COMPARED; raises Hint, or says what the right answer shows."""
    expect(isinstance(answer, tuple) and len(answer) == 4, f"expected four words, got {answer!r}")
    words = [str(word).strip().lower() for word in answer]
    for name, word, right in zip(COMPARED, words, _RIGHT, strict=True):
        expect(word in FACTORS, f"{name}: expected one of {', '.join(FACTORS)}; got {word!r}")
        expect(word == right, f"{name}: {_FAIR.get((name, word), '')}")
    return "B and C are two questions about one setting; only D changes one thing and nothing with it"


RESULTS = {
    "A": ("macro F1 +0.021", "95% interval +0.006 to +0.036, for other seeds and other reviews"),
    "B": ("macro F1 +0.021", "one run of each setting"),
    "C": ("validation loss -0.030", "95% interval -0.045 to -0.015, for other seeds and other reviews"),
    "D": ("macro F1 -0.004", "95% interval -0.013 to +0.005, for other seeds and other reviews"),
    "E": ("macro F1 +0.008, the best of seven", "95% interval +0.001 to +0.015; corrected for seven -0.002 to +0.018"),
}
"""What a changed setting scored, minus the base, and what is known of it."""

VERDICTS = ("better", "worse", "cannot tell")

_VERDICT_HINTS = {
    ("A", "worse"): "a higher macro F1 is better",
    ("A", "cannot tell"): "the whole interval lies above 0, and it minds seeds and reviews. What more do you want?",
    ("B", "better"): "the same number as in A. What is missing beside it?",
    ("B", "worse"): "F1 went up. But can one run of each say so?",
    ("C", "worse"): "the loss went down. Is less loss worse?",
    ("C", "cannot tell"): "0 lies outside the interval, which minds seeds and reviews",
    ("D", "worse"): "the interval holds 0, and gains up to 0.005",
    ("D", "better"): "F1 went down, and the interval holds 0",
    ("E", "better"): "it was chosen out of seven because it was the best. Which interval minds that, and does it hold "
    "0?",
    ("E", "worse"): "F1 went up. The question is whether the best of seven would be up again",
}
_PROVEN = ("better", "cannot tell", "better", "cannot tell", "cannot tell")


def check_verdicts(answer: tuple[str, str, str, str, str]) -> str:
    """What each line of RESULTS proves; raises Hint, or says what the right answer shows."""
    expect(isinstance(answer, tuple) and len(answer) == 5, f"expected five verdicts, got {answer!r}")
    words = [str(word).strip().lower().removesuffix(" from this") for word in answer]
    for name, word, right in zip(RESULTS, words, _PROVEN, strict=True):
        equal = word in ("equal", "the same", "same", "no difference", "no effect")
        expect(not equal, f"{name}: an interval around 0 does not show that two settings are equal; what then?")
        expect(word in VERDICTS, f"{name}: expected one of {', '.join(VERDICTS)}; got {word!r}")
        expect(word == right, f"{name}: {_VERDICT_HINTS.get((name, word), '')}")
    return "three of five cannot tell, and one of these has the same +0.021 as a line that can"
