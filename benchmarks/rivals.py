"""How good are the three classifiers of reviews, as a whole and by phenomenon?

    python benchmarks/rivals.py            reads the recorded answers on the 1,000 test reviews
    python benchmarks/rivals.py --train    trains all three once, side by side, and gives MiniLM's time in theirs

Figures are means over the recorded seeds. The interval is of the luck in drawing the test reviews (bootstrap over
reviews, each with the share of seeds that got it right); the luck of the seeds is the range beside it.
"""

import argparse
import time

import numpy as np

from course_lib import recorded, sentiment
from course_lib.data import PHENOMENA, load_reviews
from course_lib.sentiment import Trained

RESAMPLES = 4000


def shares_right(split: str = "test") -> dict[str, np.ndarray]:
    """Whether each seed's run got each review right: (seeds, N) booleans, by model."""
    recording = recorded.load("review_predictions")
    labels = np.array(recording["labels"][split])
    return {name: (np.array(runs[split]) >= 0.5) == labels for name, runs in recording["models"].items()}


def interval(right: np.ndarray) -> tuple[float, float]:
    """95% interval of the mean accuracy of (seeds, N) answers, by drawing reviews again."""
    by_review = right.mean(axis=0)
    rng = np.random.default_rng(0)
    means = by_review[rng.integers(len(by_review), size=(RESAMPLES, len(by_review)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def table() -> None:
    """Print the recorded figures as Markdown."""
    phenomena = np.array([review.phenomenon for review in load_reviews("test")])
    counts = [f"{name} ({(phenomena == name).sum()})" for name in PHENOMENA]
    print("| model | seeds | accuracy | 95% interval | worst to best seed | " + " | ".join(counts) + " |")
    print("|---" * (5 + len(PHENOMENA)) + "|")
    for name, right in shares_right().items():
        low, high = interval(right)
        runs = right.mean(axis=1)
        parts = [f"{right[:, phenomena == kind].mean():.2f}" for kind in PHENOMENA]
        row = [
            name,
            len(right),
            f"{right.mean():.3f}",
            f"{low:.3f} to {high:.3f}",
            f"{runs.min():.3f} to {runs.max():.3f}",
        ]
        print("| " + " | ".join(map(str, [*row, *parts])) + " |")


def race() -> None:
    """Train all three in this process, one after the other, and print seconds and ratios."""
    reviews, test = load_reviews("train"), load_reviews("test")
    rivals = {"TF-IDF": sentiment.train_tfidf, "encoder": sentiment.train_encoder, "MiniLM": sentiment.train_minilm}
    seconds: dict[str, float] = {}
    for name, train in rivals.items():
        start = time.perf_counter()
        trained: Trained = train(reviews)
        seconds[name] = time.perf_counter() - start
        ratio = seconds[name] / seconds["encoder"] if "encoder" in seconds else float("nan")
        print(
            f"{name:8} {seconds[name]:6.1f} s, {ratio:5.1f} of the encoder's; test {trained.accuracy(test):.3f}",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--train", action="store_true", help="train all three once instead")
    race() if parser.parse_args().train else table()
