"""What the three rivals answer on every validation and test review: what chapter 10 and its widget read.

`python -m course_lib.recorded.review_predictions` trains TF-IDF once and the encoder and MiniLM from five seeds each on
the 2,500 training reviews, by the settings that `course_lib.sentiment` has as defaults, and writes
`review_predictions.json`. MiniLM takes most of the time. Each run that is done is kept, so an interrupted script goes
on where it stopped; `--fresh` begins again.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

from course_lib import recorded, sentiment
from course_lib.data import Review, load_reviews
from course_lib.sentiment import Trained

SEEDS = (0, 1, 2, 3, 4)
NAME = "review_predictions"
SPLITS = ("validation", "test")
DIGITS = 6  # of a probability; none is 0 or 1, since the loss of a sure error would be infinite


def outcome(trained: Trained) -> dict[str, Any]:
    """The probability of label 1 for each review of the two splits, and the curve of the run if it has one."""
    answers: dict[str, Any] = {}
    for split in SPLITS:
        texts = [review.text for review in load_reviews(split)]  # type: ignore[arg-type]
        sure = 10**-DIGITS
        answers[split] = [round(min(max(p, sure), 1 - sure), DIGITS) for p in trained.probabilities(texts).tolist()]
    if trained.record is not None:
        columns = ("train_loss", "val_loss", "val_accuracy", "val_macro_f1")
        answers["settings"] = trained.record.run["settings"]
        answers["history"] = {name: [_short(value) for value in _by_epoch(trained, name)] for name in columns}
    return answers


def _by_epoch(trained: Trained, column: str) -> list[float]:
    assert trained.record is not None
    if column == "train_loss":
        return list(trained.record.epoch_means().values())
    return [value for value in trained.record[column] if value is not None]


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _gather(name: str, seeds: tuple[int, ...], train: Callable[[int], Trained], done: dict[str, Any]) -> dict[str, Any]:
    """Train for each seed that is not done yet; save after each, since MiniLM takes minutes a seed."""
    mine = done["models"].setdefault(name, {"seeds": [], "seconds": [], **{split: [] for split in SPLITS}})
    for seed in seeds:
        if seed in mine["seeds"]:
            continue
        start = time.perf_counter()
        trained = train(seed)
        mine["seconds"].append(round(time.perf_counter() - start))
        mine["seeds"].append(seed)
        result = outcome(trained)
        if "settings" in result:
            mine["settings"] = result.pop("settings")
        for key, value in result.items():
            mine.setdefault(key, []).append(value)
        recorded.save(NAME, {key: value for key, value in done.items() if key != "made_by"})
    return mine


def main() -> None:
    """Train what is missing, and write review_predictions.json."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--fresh", action="store_true", help="forget what was recorded before")
    parser.add_argument("--models", nargs="+", choices=("TF-IDF", "encoder", "MiniLM"), help="only these")
    chosen = parser.parse_args()
    train, validation = load_reviews("train"), load_reviews("validation")
    done: dict[str, Any] = {} if chosen.fresh or not recorded.exists(NAME) else recorded.load(NAME)
    done["labels"] = {split: _labels(load_reviews(split)) for split in SPLITS}  # type: ignore[arg-type]
    done.setdefault("models", {})
    rivals: dict[str, tuple[tuple[int, ...], Callable[[int], Trained]]] = {
        "TF-IDF": (SEEDS[:1], lambda seed: sentiment.train_tfidf(train)),
        "encoder": (SEEDS, lambda seed: sentiment.train_encoder(train, validation, seed=seed)),
        "MiniLM": (SEEDS, lambda seed: sentiment.train_minilm(train, validation, seed=seed)),
    }
    for name in chosen.models or rivals:
        _gather(name, *rivals[name], done)


def _labels(reviews: list[Review]) -> list[int]:
    return [review.label for review in reviews]


if __name__ == "__main__":
    main()
