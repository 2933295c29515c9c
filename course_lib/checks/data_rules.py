"""The self-check of chapter 03's rules by hand: is a classifier above 65%, and if not, what is it that fails it?

The learner's rules are unknown here, so each diagnosis changes the reviews a little (other case, no punctuation, a
"not" in front) and watches whether answers change that should not, or stay that should change.
"""

import re
from collections.abc import Callable, Sequence

from course_lib.checks.answers import Hint, expect
from course_lib.checks.probe import NOTHING
from course_lib.data import load_reviews

TARGET = 0.65
GAP = 0.05  # between the share right on the training reviews and on these
FEW = 5  # reviews whose answer may change by chance of the wording
GOOD = ("great", "good", "excellent", "wonderful", "brilliant", "fantastic", "superb", "perfect", "lovely", "best")
BAD = ("bad", "awful", "terrible", "boring", "dull", "poor", "stupid", "horrible", "worst", "rubbish")
INSIDE = {"badge": 0, "glove": 1, "goodbyes": 1, "greatcoat": 1, "spoors": 0, "boringly": 0, "gladioli": 1}
"""Words that hold another one, and the label that the one inside suggests."""

Classifier = Callable[[str], int]


def _label(answer: object) -> int:
    expect(answer is not None, NOTHING + " For some review your function gives None")
    expect(
        not isinstance(answer, str),
        f"your function returns text, {answer!r}; a label is a number here: 1 would recommend, 0 would not",
    )
    try:
        value = float(answer)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise Hint(f"expected 0 or 1 for a review, got {type(answer).__name__}: {answer!r}") from error
    expect(
        value in (0.0, 1.0),
        f"expected 0 or 1 for a review, got {answer!r}. A sum of votes has yet to become a label: above 0 or not?",
    )
    return int(value)


def _answers(classify: Classifier, texts: Sequence[str]) -> list[int]:
    return [_label(classify(text)) for text in texts]


def _share(guesses: Sequence[int], labels: Sequence[int]) -> float:
    return sum(a == b for a, b in zip(guesses, labels, strict=True)) / len(labels)


def _changes(first: Sequence[int], second: Sequence[int]) -> int:
    return sum(a != b for a, b in zip(first, second, strict=True))


def _bare(text: str) -> str:
    return " ".join(re.sub(r"[^\w\s'’-]", " ", text).split())


def _turned(classify: Classifier, plain: str, other: str) -> tuple[int, int]:
    """How many of the good and of the bad words are read right in `plain` and the other way in `other`."""
    counts = []
    for words, label in ((GOOD, 1), (BAD, 0)):
        pairs = [(_label(classify(plain.format(word))), _label(classify(other.format(word)))) for word in words]
        counts.append(pairs.count((label, 1 - label)))
    return counts[0], counts[1]


def _check_negation(classify: Classifier) -> None:
    plain, negated = "The film is {}.", "The film is not {}."
    expect(
        min(_turned(classify, negated, plain)) < 2,
        '"not" is handled the wrong way round: "The film is bad." is praise to it and "The film is not bad." blame. '
        "Turn the vote when a negation stands before the word, and not otherwise (or are your two labels exchanged?)",
    )
    far = "The film is {}, and the woman who sat in the row behind us did not talk."
    good, bad = _turned(classify, plain, far)
    expect(
        min(good, bad) < 2 or max(good, bad) < 7,
        'one "not" anywhere turns your whole answer, even one at the other end of the review. Let it turn only the '
        "word or two that follow it",
    )


def _reads_past_negation(classify: Classifier) -> bool:
    """Whether good and bad words are known, and "not" before them changes nothing."""
    known = [
        _label(classify(f"The film is {word}.")) == label for words, label in ((GOOD, 1), (BAD, 0)) for word in words
    ]
    return sum(known) > len(known) / 2 and max(_turned(classify, "The film is {}.", "The film is not {}.")) == 0


def _check_form(classify: Classifier, texts: list[str], guesses: list[int]) -> None:
    """Does the answer hang on capitals or punctuation?"""
    changed = _changes(guesses, _answers(classify, [text.lower() for text in texts]))
    expect(
        changed < FEW,
        f'your answer changes for {changed} reviews when they are put into lower case: is "Great" another word than '
        '"great" to your rules?',
    )
    changed = _changes(guesses, _answers(classify, [_bare(text) for text in texts]))
    expect(
        changed < FEW,
        f"your answer changes for {changed} reviews when commas and full stops are taken away: text.split() leaves "
        '"great," and "great." as words of their own. split_words separates them',
    )


def _check_memory(classify: Classifier, accuracy: float) -> None:
    train = load_reviews("train")
    known = _share(_answers(classify, [review.text for review in train]), [review.label for review in train])
    expect(
        known < 0.9,
        f"{known:.0%} on the training reviews and {accuracy:.1%} on these: it knows the answers by heart, and these "
        "reviews it has not seen",
    )
    expect(
        known < accuracy + GAP,
        f"{known:.1%} on the training reviews and {accuracy:.1%} on these: your rules fit the reviews that you took "
        "them from. Prefer words that stand in many reviews",
    )


def _check_words(classify: Classifier) -> None:
    empty = _label(classify("It is what it is."))
    hit = [word for word, label in INSIDE.items() if empty != label == _label(classify(f"It is a {word}."))]
    expect(
        not hit,
        f'"{hit[0] if hit else ""}" sets off one of your rules, though the word of the rule only stands inside it: '
        "compare whole words (split_words)",
    )


def check_rules(classify: Classifier) -> str:
    """Score a learner's rules on the validation reviews; raises Hint, or says what the right answer shows."""
    reviews = load_reviews("validation")
    texts, labels = [review.text for review in reviews], [review.label for review in reviews]
    guesses = _answers(classify, texts)
    accuracy = _share(guesses, labels)
    expect(
        guesses == _answers(classify, texts),
        "asked twice about the same reviews, your function gives different answers: that is a coin, not a rule",
    )
    if accuracy > TARGET:
        return (
            f"{accuracy:.1%} of {len(labels)} reviews. It is your best of several tries on these reviews, so expect a "
            "little less on others"
        )
    ones = sum(guesses)
    expect(
        0 < ones < len(labels),
        f"your function says {guesses[0]} for every review, and the {len(labels)} are half and half: {accuracy:.0%} "
        "right without reading",
    )
    _check_negation(classify)
    expect(
        accuracy > 0.45,
        f"{accuracy:.1%} right. Exchange your two labels, and it is {1 - accuracy:.1%}: praise is 1 here, blame 0",
    )
    _check_form(classify, texts, guesses)
    _check_memory(classify, accuracy)
    _check_words(classify)
    expect(
        accuracy < TARGET - GAP or not _reads_past_negation(classify),
        f'{accuracy:.1%}, and more than {TARGET:.0%} is asked. Your words are good ones, but "not good" is praise to '
        'your function and "not bad" is blame',
    )
    often, count = (1, ones) if 2 * ones > len(labels) else (0, len(labels) - ones)
    expect(
        count < 0.7 * len(labels),
        f"{accuracy:.1%}, and it says {often} for {count} of {len(labels)} reviews: it seems that most reviews hold "
        f"none of your words and get {often} by default. More rules, for words that many reviews hold",
    )
    raise Hint(
        f"{accuracy:.1%}, and more than {TARGET:.0%} is asked. Print the training reviews that your rules get wrong, "
        "and ask of each which word should have voted"
    )
