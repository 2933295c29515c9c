"""Learning curves of the slow classifiers, a run for each size and subset: what chapter 04 reads beside its live runs.

A run trains on a subset of the training reviews and is measured on the validation and on the test reviews. The subsets
of one number are nested, so that a larger one adds reviews and takes none away. Small sets are read more often, since
they would otherwise get too few updates to learn anything: see `epochs_for`.

`python -m course_lib.recorded.learning_curve` trains the encoder (some ten minutes on one core), and
`python -m course_lib.recorded.learning_curve minilm` MiniLM (an hour or two). Each run that is done is kept, so an
interrupted script goes on where it stopped. Other default settings than the recorded ones begin their part again.
"""

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from course_lib import metrics, recorded, sentiment
from course_lib.data import Review, draw_balanced, load_reviews, turn_labels
from course_lib.data.reviews import Split
from course_lib.losses import cross_entropy
from course_lib.sentiment import EncoderSettings, MiniLMSettings, Trained

NAME = "learning_curve"
SIZES = (50, 100, 200, 400, 800, 1600, 2500)
SUBSETS = {"encoder": 5, "minilm": 3}
LEAST_STEPS = {"encoder": 395, "minilm": 100}  # 395 is what five epochs of all 2,500 reviews have
MOST_EPOCHS = {"encoder": 100, "minilm": 12}
ALTERED_SIZE = 1600
WRONG_SHARES = (0.05, 0.1, 0.2, 0.4)
COPIES = 4


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What one run is trained on.

    Args:
        size: Reviews to train on, counting copies.
        subset: Which draw of the training reviews; it is the run's seed as well.
        wrong: Share of the labels that are turned around.
        copies: How often each distinct review is there.
    """

    size: int
    subset: int
    wrong: float = 0.0
    copies: int = 1

    def reviews(self) -> list[Review]:
        """The reviews of this run, from the training split."""
        distinct = draw_balanced(load_reviews("train"), self.size // self.copies, self.subset)
        return turn_labels(distinct, self.wrong, self.subset) * self.copies


def epochs_for(part: str, size: int, settings: EncoderSettings | MiniLMSettings) -> int:
    """The settings' own epochs, or as many as give LEAST_STEPS updates, but MOST_EPOCHS at most of those.

    Args:
        part: "encoder" or "minilm".
        size: Reviews to train on.
        settings: Whose batch size and epochs count.
    """
    needed = math.ceil(LEAST_STEPS[part] / math.ceil(size / settings.batch_size))
    return max(settings.epochs, min(needed, MOST_EPOCHS[part]))


def conditions(part: str) -> Iterator[Condition]:
    """All runs of a part, subset by subset: the encoder's also with wrong labels and with copies."""
    for subset in range(SUBSETS[part]):
        for size in SIZES:
            yield Condition(size=size, subset=subset)
        if part == "encoder":
            for share in WRONG_SHARES:
                yield Condition(size=ALTERED_SIZE, subset=subset, wrong=share)
            yield Condition(size=ALTERED_SIZE, subset=subset, copies=COPIES)


def measure(trained: Trained) -> dict[str, float]:
    """Share of wrong answers and mean loss in nats on the validation and the test reviews."""
    figures = {}
    splits: tuple[Split, ...] = ("validation", "test")
    for split in splits:
        reviews = load_reviews(split)
        labels = torch.tensor([review.label for review in reviews])  # (N,)
        logits = trained.logits([review.text for review in reviews])  # (N, 2)
        figures[f"{split}_error"] = 1 - metrics.accuracy(labels, logits.argmax(dim=1))
        figures[f"{split}_loss"] = float(cross_entropy(logits, labels))
    return figures


def train(part: str, condition: Condition) -> Trained:
    """Train one run with the settings that `sentiment` has now.

    Args:
        part: "encoder" or "minilm".
        condition: What to train on.
    """
    settings: Any = _settings(part)
    settings = replace(settings, epochs=epochs_for(part, condition.size, settings))
    learn: Any = sentiment.train_encoder if part == "encoder" else sentiment.train_minilm
    trained: Trained = learn(condition.reviews(), seed=condition.subset, settings=settings)
    return trained


def _settings(part: str) -> EncoderSettings | MiniLMSettings:
    return EncoderSettings() if part == "encoder" else MiniLMSettings()


def _gather(part: str, largest: int, done: dict[str, Any]) -> None:
    """Train what is missing up to a size, and save after each run."""
    settings = asdict(_settings(part))
    made_by = {key: value for key, value in recorded._made_by(NAME).items() if key != "script"}
    if done.get(part, {}).get("settings") != settings:
        done[part] = {"settings": settings, "runs": []}
    mine = done[part]
    mine["made_by"] = made_by  # of this part: the recording's own is that of the part trained last
    places = {tuple(run[key] for key in ("size", "subset", "wrong", "copies")) for run in mine["runs"]}
    for condition in conditions(part):
        if condition.size > largest or tuple(asdict(condition).values()) in places:
            continue
        start = time.perf_counter()
        figures = measure(train(part, condition))
        epochs = epochs_for(part, condition.size, _settings(part))
        figures = {name: round(figure, 4) for name, figure in figures.items()}
        seconds = round(time.perf_counter() - start)
        mine["runs"].append({**asdict(condition), "epochs": epochs, **figures, "seconds": seconds})
        recorded.save(NAME, {key: value for key, value in done.items() if key != "made_by"})


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing of one part, and write learning_curve.json.

    Args:
        arguments: In place of the command line's.
    """
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("part", nargs="?", default="encoder", choices=tuple(SUBSETS))
    parser.add_argument("--largest", type=int, default=SIZES[-1], help="leave out larger sizes")
    parser.add_argument("--fresh", action="store_true", help="forget this part's recorded runs")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)  # one thread repeats to the last digit, and small models gain nothing from a second
    done = recorded.load(NAME) if recorded.exists(NAME) else {}
    if chosen.fresh:
        done.pop(chosen.part, None)
    _gather(chosen.part, chosen.largest, done)


if __name__ == "__main__":
    main()
