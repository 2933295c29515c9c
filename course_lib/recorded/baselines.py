"""Five classifiers on the same reviews, and the accident of one class: what chapter 15 reads.

`python -m course_lib.recorded.baselines` trains naive Bayes, a logistic regression, an LSTM from scratch and the
encoder of the recipe `encoder-imdb` on the 2,500 training reviews, and replays the third source's accident with the
same recipe. It writes `baselines.json`: what each answers on every validation and test review. MiniLM's answers are in
`review_predictions.json`. The encoder takes most of the time, four minutes a seed. An interrupted script goes on where
it stopped; `--fresh` begins again.

Shape legend: B reviews in a batch, T tokens, C channels.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from course_lib import recorded, sentiment
from course_lib.data import Batch, Review, ReviewBatches, load_reviews
from course_lib.data.batching import Side
from course_lib.models import count_parameters, masked_mean
from course_lib.recipes.encoder_imdb import RECIPE, EncoderSettings, build
from course_lib.schedules import Linear
from course_lib.tokenization import WordTokenizer
from course_lib.training import FitConfig, evaluate, fit, predict, prediction_loss

NAME = "baselines"
SEEDS = (0, 1, 2, 3, 4)
SPLITS = ("validation", "test")
_EVAL_BATCH = 100  # reviews side by side where no gradient is kept
ENCODER: EncoderSettings = RECIPE.scales["pocket"]  # type: ignore[assignment]
"""The third source's model and settings, on Pocket Reviews."""
ACCIDENT = replace(ENCODER, order="sorted_by_label", train_limit=1250, validation_limit=250, test_limit=500)
"""The same with reviews sorted by label, of which the first half is read: every part has one class."""


@dataclass(frozen=True, kw_only=True)
class LSTMSettings:
    """The LSTM, and how it is trained.

    Args:
        vocab_size: Words with a vector of their own.
        max_length: T, tokens read of a review.
        d_model: Channels of a word's vector, and of the state in either direction.
        dropout: Share of the vectors' and the mean state's channels dropped in training.
        learning_rate: The peak, after a tenth of the run; it falls to 0 in a straight line.
        epochs: Passes over the reviews; the best by validation loss is kept.
        batch_size: Reviews in a batch.
    """

    vocab_size: int = 10_000
    max_length: int = 256
    d_model: int = 64
    dropout: float = 0.3
    learning_rate: float = 3e-3
    epochs: int = 8
    batch_size: int = 32


SWEEP = (
    LSTMSettings(),
    LSTMSettings(learning_rate=1e-3),
    LSTMSettings(learning_rate=1e-2),
    LSTMSettings(dropout=0.5),
    LSTMSettings(d_model=32),
    LSTMSettings(d_model=128),
)
"""What is tried with SWEEP_SEEDS; the highest mean accuracy on validation is trained with all seeds."""
SWEEP_SEEDS = (0, 1)


class LSTMClassifier(nn.Module):
    """Words in both directions through an LSTM, the mean of its states, and one linear layer.

    Args:
        settings: Sizes.
    """

    def __init__(self, settings: LSTMSettings) -> None:
        super().__init__()
        self.embedding = nn.Embedding(settings.vocab_size, settings.d_model)
        self.lstm = nn.LSTM(settings.d_model, settings.d_model, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(settings.dropout)
        self.head = nn.Linear(2 * settings.d_model, 2)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Classify token ids (B, T), padded on the right, with mask (B, T), True where real -> logits (B, 2)."""
        x = self.dropout(self.embedding(ids))  # (B, T, C)
        # Packed, so that the direction from the end does not begin in the padding.
        packed = pack_padded_sequence(x, mask.sum(dim=1).cpu(), batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=ids.shape[1])
        return self.head(self.dropout(masked_mean(states, mask)))  # (B, T, 2C) -> (B, 2C) -> (B, 2)


def batches(reviews: Sequence[Review], words: WordTokenizer, **choice: Any) -> ReviewBatches:
    """Reviews as batches of ids; `choice` is what `ReviewBatches` can be told."""
    ids = [words.encode(review.text) for review in reviews]
    return ReviewBatches(ids, [review.label for review in reviews], **choice)


def fitted(reviews: Sequence[Review], size: int) -> WordTokenizer:
    """The vocabulary of some reviews."""
    return WordTokenizer.fit((review.text for review in reviews), size=size)


def answers(predictions: Callable[[list[str]], Tensor]) -> dict[str, str]:
    """One digit for each review of the two splits, in the order of `load_reviews`."""
    texts = {split: [review.text for review in load_reviews(split)] for split in SPLITS}  # type: ignore[arg-type]
    return {split: "".join(map(str, predictions(mine).tolist())) for split, mine in texts.items()}


def _network_answers(model: nn.Module, words: WordTokenizer, max_length: int, side: Side) -> dict[str, str]:
    def predictions(texts: list[str]) -> Tensor:
        ids = [words.encode(text) for text in texts]
        choice: dict[str, Any] = {"shuffle": False, "bucket": False, "pad_side": side, "max_length": max_length}
        return predict(model, ReviewBatches(ids, [0] * len(ids), batch_size=_EVAL_BATCH, **choice))[1].argmax(dim=-1)

    return answers(predictions)


def naive_bayes(seed: int) -> dict[str, Any]:
    """Count the words of each class. It has no seed."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline

    reviews, start = load_reviews("train"), time.perf_counter()
    pipeline = make_pipeline(CountVectorizer(), MultinomialNB())
    pipeline.fit([review.text for review in reviews], [review.label for review in reviews])
    seconds = time.perf_counter() - start
    size = pipeline[-1].feature_log_prob_.size + pipeline[-1].class_log_prior_.size
    return {"seconds": seconds, "parameters": size, **answers(lambda texts: torch.tensor(pipeline.predict(texts)))}


def logistic_regression(seed: int) -> dict[str, Any]:
    """Fit the course's TF-IDF and logistic regression. It has no seed."""
    start = time.perf_counter()
    trained = sentiment.train_tfidf(load_reviews("train"))
    seconds = time.perf_counter() - start
    size = trained.model[-1].coef_.size + trained.model[-1].intercept_.size
    return {"seconds": seconds, "parameters": size, **answers(trained.predictions)}


def counting() -> tuple[Callable[[nn.Module, Batch], tuple[Tensor, Tensor]], list[int]]:
    """The usual objective, and a list to which it adds how many answers of each batch were wrong."""
    wrong: list[int] = []

    def objective(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        loss, logits = prediction_loss(model, batch)
        wrong.append(int((logits.argmax(dim=-1) != batch.targets).sum()))
        return loss, logits

    return objective, wrong


def lstm(seed: int, settings: LSTMSettings) -> dict[str, Any]:
    """Train the LSTM."""
    train, validation = load_reviews("train"), load_reviews("validation")
    words, choice = fitted(train, settings.vocab_size), {"seed": seed, "max_length": settings.max_length}
    source = batches(train, words, batch_size=settings.batch_size, **choice)
    held_out = batches(validation, words, batch_size=_EVAL_BATCH, shuffle=False, **choice)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model, start = LSTMClassifier(settings), time.perf_counter()
        optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, fused=True)
        config = FitConfig(epochs=settings.epochs, seed=seed)
        total = config.total_steps(len(source))
        plan = Linear(total_steps=total, warmup_steps=total // 10)
        record = fit(
            model, source, optimizer, plan, config, evaluate=partial(evaluate, source=held_out), progress=False
        )
    facts = {"seconds": time.perf_counter() - start, "parameters": count_parameters(model)}
    return {
        **facts,
        "val_loss": seen(record["val_loss"]),
        **_network_answers(model, words, settings.max_length, "right"),
    }


def encoder(seed: int, settings: EncoderSettings) -> dict[str, Any]:
    """Train the encoder of the recipe as `python -m course_lib run encoder-imdb` does, and count its wrong answers."""
    objective, wrong = counting()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        system, start = build(settings, seed), time.perf_counter()
        model, config = system.model, replace(settings.fit_config((), seed), log_every=1)
        plan, optimizer = settings.make_schedule(config.total_steps(len(system.train))), settings.make_optimizer(model)
        how: dict[str, Any] = {"objective": objective, "evaluate": system.evaluate, "progress": False}
        record = fit(model, system.train, optimizer, plan, config, **how)
    seconds = time.perf_counter() - start
    columns = {name: seen(record[name]) for name in ("train_loss", "val_loss", "val_accuracy")}
    train = load_reviews("train", order=settings.order, limit=settings.train_limit, seed=seed)  # type: ignore[arg-type]
    words = fitted(train, settings.vocab_size)
    facts = {"seconds": seconds, "parameters": count_parameters(model), "wrong_of": len(train), "wrong": wrong}
    return {**facts, **columns, **_network_answers(model, words, settings.max_length, "left")}


def seen(column: list[Any]) -> list[float]:
    """What a record's column holds, to four digits."""
    return [float(f"{value:.4g}") for value in column if value is not None]


def _accuracy(row: dict[str, Any]) -> float:
    """On validation."""
    labels = [review.label for review in load_reviews("validation")]
    return mean(int(answer) == label for answer, label in zip(row["validation"], labels, strict=True))


def _gather(done: dict[str, Any], name: str, seeds: tuple[int, ...], train: Callable[[int], dict[str, Any]]) -> None:
    """Train for each seed that is not done yet, and save after each."""
    rows = done["runs"].setdefault(name, {})
    for seed in seeds:
        if str(seed) not in rows:
            row = train(seed)
            rows[str(seed)] = {**row, "seconds": round(row["seconds"], 1)}
            recorded.save(NAME, {key: value for key, value in done.items() if key != "made_by"})


def _choose(done: dict[str, Any]) -> LSTMSettings:
    """Try SWEEP, and keep what was tried."""
    for settings in SWEEP[len(done["sweep"]) :]:
        accuracies = [_accuracy(lstm(seed, settings)) for seed in SWEEP_SEEDS]
        done["sweep"].append({**asdict(settings), "validation": accuracies})
    best = max(range(len(SWEEP)), key=lambda i: mean(done["sweep"][i]["validation"]))
    return SWEEP[best]


def main() -> None:
    """Train what is missing, and write baselines.json."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--fresh", action="store_true", help="forget what was recorded before")
    torch.set_num_threads(1)  # so that a run repeats to the last digit
    done: dict[str, Any] = {} if parser.parse_args().fresh or not recorded.exists(NAME) else recorded.load(NAME)
    done.setdefault("sweep", [])
    done.setdefault("runs", {})
    _gather(done, "naive Bayes", SEEDS[:1], naive_bayes)
    _gather(done, "logistic regression", SEEDS[:1], logistic_regression)
    chosen = _choose(done)
    done["settings"] = {"LSTM": asdict(chosen), "encoder": asdict(ENCODER), "accident": asdict(ACCIDENT)}
    _gather(done, "LSTM", SEEDS, lambda seed: lstm(seed, chosen))
    _gather(done, "accident", SEEDS, lambda seed: encoder(seed, ACCIDENT))
    _gather(done, "encoder", SEEDS, lambda seed: encoder(seed, ENCODER))


if __name__ == "__main__":
    main()
