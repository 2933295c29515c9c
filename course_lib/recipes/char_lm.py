"""Recipe `char-lm`: a transformer that learns to write, one character at a time (the fourth source's run).

Full scale keeps what that document tells of its run: tiny Shakespeare, AdamW, a peak rate of 1e-4 with cosine decay and
no warm-up, 5,625 updates. It does not tell the model's size or the batch; those are the course's. Pocket scale learns
from the Python manual that every Python carries.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch

from course_lib import metrics
from course_lib.data import TextBlocks, load_text, split_text
from course_lib.generation import generate, next_token_logits
from course_lib.models import LMConfig, TransformerLM, count_parameters
from course_lib.recipes.from_scratch import carry_out
from course_lib.recipes.settings import RecipeError, Settings, check_choice
from course_lib.recipes.system import Recipe, System, Workload, save_parts
from course_lib.tokenization import CharTokenizer
from course_lib.training import evaluate, measuring

EVAL_BATCH = 128
SAMPLE_CHARACTERS = 240
SAMPLE_TEMPERATURE = 0.7


@dataclass(frozen=True, kw_only=True)
class CharLMSettings(Settings):
    """Settings of the character model and its text.

    Args:
        source: "manual" (offline) or "shakespeare".
        held_out: Share of the characters, the last ones, that is never trained on.
        context: Characters that the model sees at once.
        d_model: Channels of a character's vector.
        n_heads: Attention heads.
        n_layers: Blocks.
        d_ff: Hidden units of the feed-forward layers.
        dropout: Share of activations dropped in training.
        style: "gpt2", or "modern" for rotary positions, normalized queries and keys, and squared ReLU.
        lookback: Characters before it that each character's vector starts with.
        prompt: What the samples before and after training begin with.
    """

    source: str = "manual"
    held_out: float = 0.1
    context: int = 64
    d_model: int = 128
    n_heads: int = 4
    n_layers: int = 4
    d_ff: int = 512
    dropout: float = 0.0
    style: str = "gpt2"
    lookback: int = 0
    prompt: str = "The "

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("source", self.source, ("manual", "shakespeare"))
        check_choice("style", self.style, ("gpt2", "modern"))
        if not 0 < self.held_out < 1:
            raise RecipeError(f"held_out: expected a share above 0 and below 1; got {self.held_out}")
        if not self.prompt:
            raise RecipeError("prompt: expected at least one character; got an empty text")
        try:
            self.model_config(vocab_size=1)
        except ValueError as error:
            raise RecipeError(str(error)) from error

    def model_config(self, vocab_size: int) -> LMConfig:
        """The sizes of the model for a vocabulary of that many characters."""
        names = ("d_model", "n_heads", "n_layers", "d_ff", "dropout", "style", "lookback")
        sizes = {name: getattr(self, name) for name in names}
        return LMConfig(vocab_size=vocab_size, max_length=self.context, **sizes)


def build(settings: CharLMSettings, seed: int) -> System:
    """Load the text, hold its end out, and make the model.

    Raises:
        DataError: The text cannot be read.
        RecipeError: The settings do not fit the text.
    """
    text = load_text("manual" if settings.source == "manual" else "shakespeare")
    tokenizer = CharTokenizer.fit(text)  # an alphabet, known beforehand; it says nothing about the held-out text
    training_text, held_out_text = split_text(text, settings.held_out)
    unknown = sorted(set(settings.prompt) - set(text))
    if unknown:
        raise RecipeError(f"prompt: expected characters of the text; got {unknown[0]!r}, which it does not have")
    try:
        train = TextBlocks(
            tokenizer.encode(training_text), block_size=settings.context, batch_size=settings.batch_size, seed=seed
        )
        held_out = TextBlocks(
            tokenizer.encode(held_out_text), block_size=settings.context, batch_size=EVAL_BATCH, shuffle=False
        )
    except ValueError as error:
        raise RecipeError(f"context: {error}") from error
    config = settings.model_config(tokenizer.vocab_size)
    model = TransformerLM(config)
    return System(
        model=model,
        train=train,
        evaluate=lambda model: evaluate(model, held_out),
        report=lambda model: _report(evaluate(model, held_out), tokenizer.vocab_size),
        save=lambda folder: save_parts(folder, tokenizer, config),
        facts=(
            f"model: {count_parameters(model):,} parameters",
            f"text: {len(training_text):,} characters to train on, the last {len(held_out_text):,} held out",
            f"alphabet: {tokenizer.vocab_size} characters",
        ),
        look=lambda: sample(model, tokenizer, settings.prompt, seed),
    )


def sample(model: TransformerLM, tokenizer: CharTokenizer, prompt: str, seed: int) -> str:
    """The prompt and what the model writes after it; the same seed draws the same way each time."""
    ids = torch.tensor([tokenizer.encode(prompt)])  # (1, T)
    logits = next_token_logits(model, model.config.max_length)
    with measuring(model):
        tokens = generate(logits, ids, max_new_tokens=SAMPLE_CHARACTERS, temperature=SAMPLE_TEMPERATURE, seed=seed)
        written = tokenizer.decode(int(token) for token in tokens)
    return prompt + written


def _report(figures: dict[str, float], alphabet: int) -> tuple[dict[str, Any], list[str]]:
    """The held-out loss in three units, beside what knowing nothing would get."""
    loss = figures["val_loss"]
    bits = loss / math.log(2)
    perplexity = metrics.perplexity(loss)
    words = [
        f"held-out loss {loss:.3f} nats per character ({bits:.3f} bits, perplexity {perplexity:.2f})",
        f"An untrained model needs about ln {alphabet} nats: it chooses among {alphabet}, this one as if among "
        f"{perplexity:.1f}.",
        "The held-out text also chose the best weights, so this figure is a little too good; there is no third part.",
    ]
    return {**figures, "bits_per_character": bits, "perplexity_per_character": perplexity}, words


def workload(settings: CharLMSettings) -> Workload:
    """Count the characters of a run."""
    characters = len(load_text()) if settings.source == "manual" else 1_115_394  # of tiny Shakespeare
    blocks = math.ceil(characters * (1 - settings.held_out) / settings.context)
    steps, evaluations = settings.steps_and_evaluations(math.ceil(blocks / settings.batch_size))
    return Workload(
        model=TransformerLM(settings.model_config(vocab_size=128)),
        tokens=settings.context,
        train_sequences=steps * settings.batch_size * settings.accumulation,
        eval_sequences=(evaluations + 1) * round(characters * settings.held_out / settings.context),
        predicts_next=True,
    )


RECIPE = Recipe(
    name="char-lm",
    source="what-is-training, section 5.12",
    title="a character transformer that learns to write",
    scales={
        "pocket": CharLMSettings(
            epochs=100,
            max_steps=800,
            batch_size=12,
            learning_rate=3e-3,
            betas=(0.9, 0.99),
            weight_decay=0.3,
            schedule="linear",
            warmup_steps=40,
            clip_norm=1.0,
            log_every=10,
            eval_every=200,
            precision="auto",
            n_layers=3,
            style="modern",
            lookback=3,
        ),
        "full": CharLMSettings(
            source="shakespeare",
            epochs=100,
            max_steps=5625,
            batch_size=32,
            learning_rate=1e-4,
            schedule="cosine",
            weight_decay=0.01,
            clip_norm=1.0,
            log_every=5,
            eval_every=500,
            context=256,
            d_model=384,
            n_heads=6,
            n_layers=6,
            d_ff=1536,
            precision="auto",
            prompt="ROMEO:",
        ),
    },
    build=build,
    workload=workload,
    carry_out=carry_out,
)
