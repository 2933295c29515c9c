"""Time the encoder on Pocket Reviews with length buckets, with per-batch padding in random order, and padded to 256.

    python benchmarks/length_buckets.py
    python benchmarks/length_buckets.py --rounds 5 --json length_buckets.json
    python benchmarks/length_buckets.py --rounds 0 --accuracy_seeds 3      (only the accuracies; minutes)

Targets, in reviews a second: length buckets train at least 4 times as fast as padding to 256, and at least 1.6 times as
fast as padding each batch, in random order, to its longest review. The validation accuracy stays within its interval.

Speed: the same 5.8M-parameter encoder, batch 32, forward, backward, clipping and fused AdamW, on the same number of
reviews each turn. Accuracy: `encoder-imdb` at pocket scale trained with and without buckets, over seeds, each with its
95% Wilson interval on the 500 validation reviews.
"""

import torch
from side_by_side import arguments, met, show, summary, take_turns

from course_lib import metrics, optim, training
from course_lib.data import ReviewBatches, load_reviews
from course_lib.hardware import detect
from course_lib.models import EncoderConfig, TransformerClassifier
from course_lib.recipes import find, run
from course_lib.schedules import Constant
from course_lib.tokenization import WordTokenizer

VARIANTS: dict[str, dict[str, object]] = {
    "buckets": {"bucket": True},
    "random order": {"bucket": False},
    "padded to 256": {"bucket": False, "pad_to": 256},
}
TARGETS = {"random order": 1.6, "padded to 256": 4.0}
BATCH = 32


class Turn:
    """Train on the next few batches of one variant; each turn goes on where the last one stopped."""

    def __init__(self, steps: int, options: dict[str, object]) -> None:
        reviews = load_reviews("train")
        tokenizer = WordTokenizer.fit(review.text for review in reviews)
        ids, labels = [tokenizer.encode(r.text) for r in reviews], [r.label for r in reviews]
        self.batches = ReviewBatches(ids, labels, batch_size=BATCH, **options)  # type: ignore[arg-type]
        torch.manual_seed(0)
        self.model = TransformerClassifier(EncoderConfig())
        self.optimizer = optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        self.config = training.FitConfig(max_steps=steps, log_every=steps)
        self.seed = 0

    def __call__(self) -> None:
        """Take the turn."""
        self.batches.seed = self.seed  # another order each turn, so that no turn is lucky with its lengths
        self.seed += 1
        training.fit(self.model, self.batches, self.optimizer, Constant(), self.config, progress=False)


def accuracies(seeds: int) -> list[str]:
    lines = []
    for buckets in (True, False):
        for seed in range(seeds):
            recipe, settings = find("encoder-imdb", "pocket", {"buckets": str(buckets)})
            outcome = run(recipe, settings, scale="pocket", hardware=detect("cpu"), seed=seed, progress=False)
            best = outcome.record["steps"].index(outcome.record.run["best_step"])
            accuracy = outcome.record["val_accuracy"][best]
            low, high = metrics.wilson_interval(round(accuracy * 500), 500)
            name = "buckets" if buckets else "random order"
            lines.append(
                f"{name}, seed {seed}: validation accuracy {accuracy:.3f}, 95% interval {low:.3f} to {high:.3f}"
            )
    return lines


def main() -> None:
    options = arguments(__doc__, rounds=5, steps=16, accuracy_seeds=0)
    rows, verdicts = {}, []
    if options.rounds:
        turns = {name: Turn(options.steps, how) for name, how in VARIANTS.items()}
        rows = summary(take_turns(turns, options.rounds), "buckets")
        for row in rows.values():
            row["reviews a second"] = options.steps * BATCH / row["seconds"]
        for name, target in TARGETS.items():
            ratio = rows[name]["ratio"]
            verdicts.append(
                f"buckets train {ratio:.2f} times as fast as {name} (target {target}: {met(ratio >= target)})"
            )
    verdicts += accuracies(options.accuracy_seeds)
    show("length buckets", rows or {"-": {"seconds": 0.0}}, verdicts, options.json)


if __name__ == "__main__":
    main()
