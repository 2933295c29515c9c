"""Tests of course_lib.finetuning.forecast: the arithmetic, with given numbers and no clock that could flake."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from course_lib.finetuning import forecast as module
from course_lib.finetuning.forecast import Forecast, ForecastCallback, padded_tokens


def test_each_batch_is_as_long_as_its_longest_text() -> None:
    assert padded_tokens([3, 5, 2, 8, 4], 2, shuffle=False) == 2 * 5 + 2 * 8 + 1 * 4
    assert padded_tokens([3, 5, 2, 8, 4], 5, shuffle=False) == 5 * 8
    assert padded_tokens([3, 5, 2, 8, 4], 1, shuffle=False) == 22
    assert padded_tokens([], 4, shuffle=False) == 0


def test_a_random_order_is_a_mean_over_draws_and_does_not_depend_on_the_order_given() -> None:
    lengths = [4, 4, 4, 4, 40, 40, 40, 40]
    found = padded_tokens(lengths, 2, shuffle=True)
    assert found == padded_tokens(lengths, 2, shuffle=True), "drawn from fixed seeds"
    # Of 8 texts in pairs, a short one meets a long one with probability 4/7: 4 pairs, E = 4 * (4/7*80 + 3/14*80 + ...)
    expected = 4 * (4 / 7 * 80 + 3 / 14 * 80 + 3 / 14 * 8)
    assert padded_tokens(lengths * 50, 2, shuffle=True) == pytest.approx(50 * expected, rel=0.1)
    assert padded_tokens([7] * 9, 4, shuffle=True) == 63


def test_texts_of_like_length_need_less_padding() -> None:
    lengths = [4, 40] * 100
    grouped = padded_tokens(lengths, 4, shuffle=True, by_length=True)
    assert sum(lengths) <= grouped < 1.1 * sum(lengths)
    assert padded_tokens(lengths, 4, shuffle=True) > 1.5 * sum(lengths)


POSITION, AN_UPDATE, FORWARD, SAVE = 0.01, 0.5, 0.002, 3.0
"""Seconds of the machine that the tests play: a position forward and backward, an update, a position forward, a save"""


class Played:
    """A run of Trainer whose clock goes exactly as the four numbers say."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, lengths: list[int], folder: Path | None, **changes: Any
    ) -> None:
        self.now = 100.0
        monkeypatch.setattr(module.time, "perf_counter", lambda: self.now)
        self.lengths, self.told = lengths, list[Forecast]()
        self.args = SimpleNamespace(
            per_device_train_batch_size=2,
            per_device_eval_batch_size=4,
            gradient_accumulation_steps=1,
            train_sampling_strategy="random",
            eval_strategy="epoch",
            save_strategy="epoch" if folder else "no",
            device=torch.device("cpu"),
        )
        vars(self.args).update({k: v for k, v in changes.items() if k in vars(self.args)})
        steps = changes.get("steps", 40)
        self.state = SimpleNamespace(
            global_step=changes.get("done", 0), max_steps=steps, eval_steps=changes.get("eval_steps"), save_steps=500
        )
        self.trainer = SimpleNamespace(tokens=0, busy=0.0, last_inputs=None, args=self.args)
        monkeypatch.setattr(ForecastCallback, "_forward_time", lambda *_: FORWARD)
        monkeypatch.setattr(ForecastCallback, "_save_time", lambda callback, *_: SAVE if callback.folder else 0.0)
        monkeypatch.setattr(ForecastCallback, "_memory", lambda *_: 7)
        self.callback = ForecastCallback(
            self.trainer,
            self.told.append,
            lengths,
            changes.get("eval_lengths", [10] * 8),
            folder,  # type: ignore[arg-type]
        )

    def update(self, first: bool) -> None:
        for _ in range(self.args.gradient_accumulation_steps):
            tokens = 2 * self.lengths[0]
            took = tokens * POSITION * (50 if first else 1)  # the first update allocates, and is no measure
            self.now += took
            self.trainer.tokens += tokens
            self.trainer.busy += took
        self.now += AN_UPDATE
        self.state.global_step += 1
        self.callback.on_step_end(self.args, self.state, None, model=None)
        per_epoch = len(self.lengths) // 2 // self.args.gradient_accumulation_steps
        if self.state.global_step % per_epoch == 0 and self.args.eval_strategy == "epoch":
            self.now += 0.25  # something else; then what an epoch ends with
            self.callback.on_epoch_end(self.args, self.state, None)
            self.now += 80 * FORWARD
            self.callback.on_evaluate(self.args, self.state, None)
            if self.callback.folder:
                self.now += SAVE
                self.callback.on_save(self.args, self.state, None)

    def run(self) -> float:
        """Play the run up to the forecast; returns when it was told, from the start on."""
        begun = self.now
        self.callback.on_train_begin(self.args, self.state, None)
        for number in range(100):
            if self.told or self.state.global_step >= self.state.max_steps:
                break
            self.update(first=number == 0)
        return self.now - begun


@pytest.mark.parametrize("accumulation", [1, 2])
def test_the_parts_add_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, accumulation: int) -> None:
    # 20 texts of 6 tokens: 10 micro-batches of 12 positions; 40 updates are 4 epochs of 10, or 8 of 5, of which one is
    # over when the forecast is made: its evaluation and checkpoint count as past, and slow no update that is to come.
    played = Played(monkeypatch, [6] * 20, tmp_path, gradient_accumulation_steps=accumulation)
    begun = played.run()
    assert played.told == [played.callback.forecast]
    (told,) = played.told
    epochs, else_ = (4, 0.0) if accumulation == 1 else (7, 0.25 / 5)
    rest = 34 * (12 * accumulation * POSITION + AN_UPDATE + else_) + epochs * (80 * FORWARD + SAVE)
    assert told.after == 6
    assert told.seconds == pytest.approx(begun + rest)
    assert (told.steps, told.memory_bytes) == (40, 7)


def test_nothing_is_counted_that_will_not_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch, [6] * 20, None, eval_lengths=[], eval_strategy="no")
    begun = played.run()
    assert played.told[0].seconds == pytest.approx(begun + 34 * (12 * POSITION + AN_UPDATE))


def test_evaluations_every_few_updates_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch, [6] * 20, None, eval_strategy="steps", eval_steps=15)
    begun = played.run()
    expected = 34 * (12 * POSITION + AN_UPDATE) + 3 * 80 * FORWARD  # after 15, 30 and, at the end, 40
    assert played.told[0].seconds == pytest.approx(begun + expected)


def test_a_resumed_run_forecasts_what_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    played = Played(monkeypatch, [6] * 20, tmp_path, done=22)
    begun = played.run()
    (told,) = played.told
    assert told.after == 28
    assert told.seconds == pytest.approx(begun + 12 * (12 * POSITION + AN_UPDATE) + 2 * (80 * FORWARD + SAVE))


def test_an_accelerator_is_timed_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch, [6] * 20, None, eval_strategy="no")

    def update() -> None:
        played.trainer.tokens += 12
        played.now += 12 * POSITION + AN_UPDATE
        played.state.global_step += 1
        played.callback.on_step_end(played.args, played.state, None, model=None)

    begun = played.now
    played.callback.on_train_begin(played.args, played.state, None)
    while not played.told:
        update()
    assert played.told[0].seconds == pytest.approx(played.now - begun + 34 * (12 * POSITION + AN_UPDATE))


@pytest.mark.parametrize(("steps", "after"), [(1, None), (2, 2), (3, 2), (7, 6), (40, 6), (250, 10), (5000, 25)])
def test_a_short_run_is_watched_shortly(monkeypatch: pytest.MonkeyPatch, steps: int, after: int | None) -> None:
    played = Played(monkeypatch, [6] * 20, None, steps=steps)
    played.run()
    assert [forecast.after for forecast in played.told] == ([] if after is None else [after])


def test_memory_is_that_of_the_longest_batch_there_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "memory_in_use", lambda device: 1000)
    monkeypatch.setattr(module, "peak_memory", lambda device: 1600)
    trainer: Any = SimpleNamespace(last_inputs={"input_ids": torch.zeros(2, 10)}, args=None)
    callback = ForecastCallback(trainer, lambda told: None, [5, 30, 7], [], None)
    args, model = SimpleNamespace(per_device_train_batch_size=2), SimpleNamespace(device="cpu")
    assert callback._memory(args, model) == 1000 + 600 * 60 // 20
    callback = ForecastCallback(trainer, lambda told: None, [5, 5], [], None)
    assert callback._memory(args, model) == 1600, "never less than was held already"


def test_forward_passes_are_timed_without_labels_and_without_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 14.0])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
    seen: list[tuple[bool, bool]] = []

    class Model(torch.nn.Module):
        def forward(self, input_ids: Any) -> None:
            seen.append((self.training, torch.is_grad_enabled()))

    trainer: Any = SimpleNamespace(
        last_inputs={"input_ids": torch.zeros(2, 10), "labels": torch.zeros(2)},
        args=SimpleNamespace(device=torch.device("cpu")),
        compute_loss_context_manager=nullcontext,
    )
    model = Model().train()
    callback = ForecastCallback(trainer, lambda told: None, [1], [], None)
    assert callback._forward_time(model) == pytest.approx(4 / 20)
    assert seen == [(False, False)] * 2, "once to warm up, once on the clock"
    assert model.training


def test_the_trial_save_is_removed_and_tripled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock = iter([10.0, 11.5])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
    callback = ForecastCallback(SimpleNamespace(), lambda told: None, [1], [], tmp_path)  # type: ignore[arg-type]
    assert callback._save_time(SimpleNamespace(save_strategy="steps"), torch.nn.Linear(2, 2)) == pytest.approx(4.5)
    assert list(tmp_path.iterdir()) == []
    assert callback._save_time(SimpleNamespace(save_strategy="no"), torch.nn.Linear(2, 2)) == 0.0
