"""Time `training.fit` beside a bare loop of the same forward, backward and step.

    python benchmarks/fit_overhead.py
    python benchmarks/fit_overhead.py --rounds 15 --json fit_overhead.json

Target: `fit` costs at most 2% more time than the bare loop.

Two models, since what a loop costs shows most where a step is short: the character model of `char-lm` (a step takes
some 20 ms) and the encoder of `encoder-imdb` on batches of reviews. Both loops get the same batches in the same order,
the same loss, gradient clipping and fused AdamW; both end with the same losses, which is checked. `fit` runs as people
run it: progress bar, a row of the record every 10 steps, a check of each loss for NaN. It writes no files here; what
those cost is bounded by their own throttle (`run_record.DRAWING_SHARE`).
"""

import contextlib
import io

import torch
from side_by_side import arguments, met, show, summary, take_turns
from torch import nn

from course_lib import optim, training
from course_lib.data import BatchSource, ReviewBatches, TextBlocks, load_reviews, load_text, split_text
from course_lib.models import EncoderConfig, LMConfig, TransformerClassifier, TransformerLM
from course_lib.schedules import Linear
from course_lib.tokenization import CharTokenizer, WordTokenizer

TARGET = 1.02


def character_batches(steps: int) -> BatchSource:
    text = load_text("manual")
    ids = CharTokenizer.fit(text).encode(split_text(text)[0])
    return TextBlocks(ids, block_size=64, batch_size=12, batches_per_epoch=steps)


def review_batches(steps: int) -> BatchSource:
    reviews = load_reviews("train", limit=steps * 32)
    tokenizer = WordTokenizer.fit(review.text for review in reviews)
    return ReviewBatches([tokenizer.encode(r.text) for r in reviews], [r.label for r in reviews], batch_size=32)


class Setup:
    """One model, its optimizer and its batches; started anew for each turn, with the same weights."""

    def __init__(self, make_model: type[nn.Module], config: object, batches: BatchSource) -> None:
        torch.manual_seed(0)
        self.model = make_model(config)
        self.weights = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.batches = batches
        self.losses: dict[str, list[float]] = {}

    def start(self) -> tuple[torch.optim.Optimizer, Linear]:
        """Go back to the first weights, with a fresh optimizer and schedule."""
        self.model.load_state_dict(self.weights)
        torch.manual_seed(1)
        optimizer = optim.AdamW(optim.parameter_groups(self.model, 0.1), lr=1e-3, fused=True)
        return optimizer, Linear(total_steps=len(self.batches))

    def bare(self) -> None:
        """The loop as one would write it for this run alone."""
        optimizer, schedule = self.start()
        parameters = list(self.model.parameters())
        losses = []
        self.model.train()
        for step, batch in enumerate(self.batches.epoch(0)):
            for group in optimizer.param_groups:
                group["lr"] = 1e-3 * schedule(step)
            loss = training.prediction_loss(self.model, batch)[0] / batch.targets.numel()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            losses.append(loss.item())
        self.losses["bare loop"] = losses

    def fit(self) -> None:
        """The library's loop on the same."""
        optimizer, schedule = self.start()
        config = training.FitConfig(epochs=1, clip_norm=1.0, log_every=10)
        with contextlib.redirect_stderr(io.StringIO()):  # the progress bar is drawn, and not shown
            record = training.fit(self.model, self.batches, optimizer, schedule, config)
        self.losses["fit"] = record["train_loss"]

    def difference(self) -> float:
        """How far the rows of fit's record are from the bare loop's means over the same ten steps."""
        bare, rows = self.losses["bare loop"], self.losses["fit"]
        means = [sum(bare[i : i + 10]) / len(bare[i : i + 10]) for i in range(0, len(bare), 10)]
        return max(abs(mean - row) for mean, row in zip(means, rows, strict=True))


def main() -> None:
    options = arguments(__doc__, rounds=9, character_steps=100, review_steps=12)
    setups = {
        "character model": Setup(TransformerLM, LMConfig(vocab_size=128), character_batches(options.character_steps)),
        "encoder": Setup(TransformerClassifier, EncoderConfig(), review_batches(options.review_steps)),
    }
    rows, verdicts = {}, []
    for name, setup in setups.items():
        seconds = take_turns({"bare loop": setup.bare, "fit": setup.fit}, options.rounds)
        for variant, figures in summary(seconds, "bare loop").items():
            rows[f"{name}, {variant}"] = figures
        ratio = rows[f"{name}, fit"]["ratio"]
        verdicts.append(
            f"{name}: fit takes {ratio:.3f} times the bare loop's time (target {TARGET}: {met(ratio <= TARGET)}); "
            f"losses differ by at most {setup.difference():.1e}"
        )
    show("training.fit beside a bare loop", rows, verdicts, options.json)


if __name__ == "__main__":
    main()
