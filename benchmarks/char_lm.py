"""Race the recipe `char-lm` (pocket scale) against nanoGPT's published recipe for a CPU, on the same text.

    python benchmarks/char_lm.py
    python benchmarks/char_lm.py --rounds 3 --json char_lm.json

Target: `char-lm` reaches, in at most half the time, the held-out loss at which the published recipe ends.

The published recipe: 4 layers, 4 heads, width 128, context 64, batch 12, 2,000 steps of AdamW at 1e-3 with cosine decay
to 1e-4 and 100 warm-up steps, betas 0.9 and 0.99, decay 0.1, clipping at 1, no dropout, float32. Here it is the
recipe's own model in its "gpt2" style (it keeps the biases that nanoGPT leaves out), trained by the same `fit` on the
same nine tenths of the Python manual. Both are measured on all of the last tenth, in blocks of 64 characters, every
character counting once.

Time is that of training alone: the evaluations along the way, which only this race needs, are timed and taken out. What
`char-lm` does differently: see its settings, which this script prints. Where the processor multiplies bf16 natively the
recipe uses it; `--set_fp32 1` forbids it.
"""

import time
from dataclasses import replace
from statistics import median
from typing import Any

import torch
from side_by_side import arguments, met, show

from course_lib import training
from course_lib.data import TextBlocks, load_text, split_text
from course_lib.hardware import detect
from course_lib.models import TransformerLM
from course_lib.recipes.char_lm import RECIPE, CharLMSettings
from course_lib.tokenization import CharTokenizer
from course_lib.training import RunState, StopTraining

TARGET = 0.5
LOOK_EVERY = 50
PUBLISHED = CharLMSettings(
    epochs=100,
    max_steps=2000,
    batch_size=12,
    learning_rate=1e-3,
    betas=(0.9, 0.99),
    weight_decay=0.1,
    schedule="cosine",
    warmup_steps=100,
    floor=0.1,
    clip_norm=1.0,
    style="gpt2",
    precision="fp32",
)


class Stopwatch:
    """Seconds between each start and stop, added up."""

    def __init__(self) -> None:
        self.seconds = self._since = 0.0

    def start(self) -> None:
        """Go on counting."""
        self._since = time.perf_counter()

    def stop(self) -> None:
        """Stop counting."""
        self.seconds += time.perf_counter() - self._since


class Race:
    """One run that notes, at each look, the training time so far and the held-out loss."""

    def __init__(self, settings: CharLMSettings, seed: int, text: str) -> None:
        self.settings, self.seed = settings, seed
        tokenizer = CharTokenizer.fit(text)
        train, held_out = (tokenizer.encode(part) for part in split_text(text, settings.held_out))
        self.batches = TextBlocks(train, block_size=settings.context, batch_size=settings.batch_size, seed=seed)
        self.held_out = TextBlocks(held_out, block_size=64, batch_size=128, shuffle=False)
        torch.manual_seed(seed)
        self.model = TransformerLM(settings.model_config(tokenizer.vocab_size))
        self.looks: list[tuple[int, float, float]] = []  # step, seconds of training, held-out loss

    def go(self, until: float | None = None) -> None:
        """Train to the end, or to the first look at which the held-out loss is at most `until`."""
        settings = replace(self.settings, eval_every=None)
        config = replace(settings.fit_config(detect("cpu").precisions, self.seed), eval_every=10**9)
        clock = Stopwatch()

        def on_step(state: RunState) -> None:
            if state.step % LOOK_EVERY and not state.done:
                return
            clock.stop()
            loss = training.evaluate(self.model, self.held_out)["val_loss"]
            self.looks.append((state.step, clock.seconds, loss))
            if until is not None and loss <= until:
                raise StopTraining("reached the loss")
            clock.start()

        schedule = settings.make_schedule(config.total_steps(len(self.batches)))
        optimizer = settings.make_optimizer(self.model, fused=self.settings.style != "gpt2")
        clock.start()
        training.fit(self.model, self.batches, optimizer, schedule, config, on_step=on_step, progress=False)


def main() -> None:
    options = arguments(__doc__, rounds=3, set_fp32=0)
    text = load_text("manual")
    ours = RECIPE.scales["pocket"]
    assert isinstance(ours, CharLMSettings)
    if options.set_fp32:
        ours = replace(ours, precision="fp32")
    rows: dict[str, dict[str, Any]] = {}
    ratios = []
    for seed in range(options.rounds):
        published = Race(PUBLISHED, seed, text)
        published.go()
        goal = published.looks[-1][2]
        mine = Race(ours, seed, text)
        mine.go(until=goal)
        for name, race in (("published", published), ("char-lm", mine)):
            step, seconds, loss = race.looks[-1]
            rows[f"{name}, seed {seed}"] = {
                "steps": step,
                "seconds": seconds,
                "held-out loss": loss,
                "characters a second": step * race.settings.batch_size * race.settings.context / seconds,
            }
        reached = mine.looks[-1][2] <= goal
        ratios.append(mine.looks[-1][1] / published.looks[-1][1] if reached else float("inf"))
    verdicts = [
        f"seed {seed}: char-lm takes {ratio:.2f} of the time" if ratio < float("inf") else f"seed {seed}: not reached"
        for seed, ratio in enumerate(ratios)
    ]
    verdicts.append(f"median {median(ratios):.2f} (target {TARGET}: {met(median(ratios) <= TARGET)})")
    verdicts.append(f"char-lm: {ours}")
    show("char-lm against nanoGPT's published CPU recipe", rows, verdicts, options.json)


if __name__ == "__main__":
    main()
