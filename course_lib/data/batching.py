"""Batches: sequences of different lengths made into one rectangle, in an order that can be repeated (chapters 3 and 6).

Shape legend:
    B: sequences in a batch
    T: positions of the longest sequence in the batch, or of a block

A batch source hands out the batches of an epoch by number. The order is a pure function of (seed, epoch, batch): the
source keeps no state, so a run that stopped after batch 17 of epoch 2 goes on with `epoch(2, start=17)` and sees what
it would have seen. All draws come from NumPy's PCG64, seeded with the list [seed, epoch] for reviews and
[seed, epoch, batch] for text blocks; no global generator is touched.
"""

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch

Side = Literal["right", "left"]

LENGTH_JITTER = 0.1  # share of its length by which a review may stray from its place in the sorted row


@dataclass(frozen=True, eq=False)
class Batch:
    """One rectangle of ids with its answers.

    Attributes:
        inputs: token ids, (B, T), int64.
        mask: True where a position holds a real token, False at padding, (B, T), bool.
        targets: class labels (B,), or next-token ids (B, T), int64.
    """

    inputs: torch.Tensor
    mask: torch.Tensor
    targets: torch.Tensor

    def __post_init__(self) -> None:
        shape = tuple(self.inputs.shape)
        if tuple(self.mask.shape) != shape or tuple(self.targets.shape) not in (shape, shape[:1]):
            raise ValueError(
                f"mask must have the shape of inputs {shape}, and targets that shape or {shape[:1]}; "
                f"got mask {tuple(self.mask.shape)}, targets {tuple(self.targets.shape)}"
            )

    def __len__(self) -> int:
        return self.inputs.shape[0]

    def to(self, device: torch.device | str) -> "Batch":
        """Copy the three tensors to a device."""
        return Batch(self.inputs.to(device), self.mask.to(device), self.targets.to(device))


class BatchSource(Protocol):
    """What `training.fit` consumes."""

    def __len__(self) -> int:
        """Batches in an epoch."""
        ...

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Batches of epoch `number` (the first is 0) from batch `start` on, always the same for the same arguments."""
        ...


def pad(
    sequences: Sequence[Sequence[int]],
    *,
    side: Side = "right",
    pad_id: int = 0,
    length: int | None = None,
    max_length: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fill sequences up to one length.

    Args:
        sequences: B lists of token ids, none empty.
        side: where the padding goes, "right" or "left".
        pad_id: the id that fills.
        length: T; None takes the longest sequence.
        max_length: longer sequences keep their first `max_length` ids; None cuts nothing.

    Returns:
        ids (B, T) int64 and mask (B, T) bool, True at real tokens.

    Raises:
        ValueError: there is no sequence, one is empty, one is longer than `length`, or an argument is out of range.
    """
    if side not in ("right", "left"):
        raise ValueError(f'side must be "right" or "left"; got {side!r}')
    if max_length is not None and max_length < 1:
        raise ValueError(f"max_length must be at least 1, or None; got {max_length}")
    lengths = _lengths(sequences, max_length)
    width = max(lengths) if length is None else length
    if max(lengths) > width:
        raise ValueError(f"length={width} is shorter than a sequence of {max(lengths)}: raise it or set max_length")
    ids = np.full((len(sequences), width), pad_id, dtype=np.int64)  # (B, T)
    mask = np.zeros((len(sequences), width), dtype=np.bool_)  # (B, T)
    for row, (sequence, n) in enumerate(zip(sequences, lengths, strict=True)):
        columns = slice(0, n) if side == "right" else slice(width - n, width)
        ids[row, columns] = sequence[:n]
        mask[row, columns] = True
    return torch.from_numpy(ids), torch.from_numpy(mask)


class ReviewBatches:
    """Padded batches of labeled sequences; every epoch holds every sequence once.

    With `bucket`, sequences of about equal length share a batch, which saves most of the padding. The order stays
    random: lengths are jittered by up to 10% before they are sorted, ties come in random order, and so do the batches.

    Args:
        sequences: N lists of token ids, none empty.
        labels: N class numbers.
        batch_size: B; the last batch of an epoch may be smaller.
        shuffle: False gives the same batches each epoch, in the order of the data or, with `bucket`, of length.
        seed: with the epoch's number decides its order.
        bucket: group by length.
        pad_side: "right" or "left".
        pad_to: T of every batch; None pads to the longest of each batch.
        max_length: longer sequences keep their first `max_length` ids; None cuts nothing.
        drop_last: leave out the smaller batch. Which sequences are left out is drawn anew each epoch when shuffling.

    Raises:
        ValueError: an argument is out of range, lengths of `sequences` and `labels` differ, a sequence is empty.
    """

    def __init__(
        self,
        sequences: Sequence[Sequence[int]],
        labels: Sequence[int],
        *,
        batch_size: int,
        shuffle: bool = True,
        seed: int = 0,
        bucket: bool = True,
        pad_side: Side = "right",
        pad_to: int | None = None,
        max_length: int | None = 256,
        drop_last: bool = False,
    ) -> None:
        check_at_least("batch_size", batch_size, 1)
        check_at_least("seed", seed, 0)
        if max_length is not None:
            check_at_least("max_length", max_length, 1)
        if pad_side not in ("right", "left"):
            raise ValueError(f'pad_side must be "right" or "left"; got {pad_side!r}')
        if len(sequences) != len(labels):
            raise ValueError(f"sequences and labels must be equally many; got {len(sequences)} and {len(labels)}")
        self.lengths = np.array(_lengths(sequences, max_length))  # (N,) tokens, after the cut
        if pad_to is not None and pad_to < self.lengths.max():
            raise ValueError(
                f"pad_to={pad_to} is shorter than the longest sequence ({self.lengths.max()} tokens with "
                f"max_length={max_length}): raise pad_to or lower max_length"
            )
        if drop_last and len(sequences) < batch_size:
            raise ValueError(f"drop_last leaves no batch: {len(sequences)} sequences, batch_size {batch_size}")
        self.sequences = [np.asarray(s[:n], dtype=np.int64) for s, n in zip(sequences, self.lengths, strict=True)]
        self.labels = torch.tensor([_label(i, label) for i, label in enumerate(labels)], dtype=torch.int64)  # (N,)
        self.batch_size, self.shuffle, self.seed, self.bucket = batch_size, shuffle, seed, bucket
        self.pad_side, self.pad_to, self.drop_last = pad_side, pad_to, drop_last

    def __len__(self) -> int:
        full, rest = divmod(len(self.sequences), self.batch_size)
        return full if self.drop_last else full + (rest > 0)

    def plan(self, number: int) -> list[list[int]]:
        """List the indices of each batch of epoch `number`; only the last batch may be smaller.

        Raises:
            ValueError: number is negative.
        """
        check_at_least("epoch number", number, 0)
        rng = np.random.default_rng([self.seed, number])
        n = len(self.sequences)
        order = rng.permutation(n) if self.shuffle else np.arange(n)
        if self.drop_last:
            # Before sorting: dropping afterwards would leave out the longest sequences in every epoch.
            order = order[: n - n % self.batch_size]
        batches, rest = divmod(len(order), self.batch_size)
        sizes = [self.batch_size] * batches
        small = batches  # where the smaller batch is cut from the row
        if self.bucket:
            keys = self.lengths[order].astype(np.float64)
            if self.shuffle:
                keys *= rng.uniform(1 - LENGTH_JITTER, 1 + LENGTH_JITTER, size=len(keys))
                small = int(rng.integers(batches + 1))  # anywhere, so that it is not always the longest sequences
            order = order[np.argsort(keys, kind="stable")]
        if rest:
            sizes.insert(small, rest)
        cut = [piece.tolist() for piece in np.split(order, np.cumsum(sizes)[:-1])]
        last = [cut.pop(small)] if rest else []
        if self.bucket and self.shuffle:
            cut = [cut[i] for i in rng.permutation(len(cut))]
        return cut + last

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Give the batches of epoch `number`, from batch `start` on; skipped batches cost nothing.

        Raises:
            ValueError: number is negative, or start is not from 0 to the number of batches.
        """
        check_start(start, len(self))
        return (self._collate(indices) for indices in self.plan(number)[start:])

    def padding_share(self, number: int) -> float:
        """Share of the positions of epoch `number` that hold padding, from 0 to 1: work that teaches nothing."""
        rows = [self.lengths[indices] for indices in self.plan(number)]
        positions = sum(len(row) * (self.pad_to or int(row.max())) for row in rows)
        return 1 - sum(int(row.sum()) for row in rows) / positions

    def _collate(self, indices: list[int]) -> Batch:
        sequences = [self.sequences[i] for i in indices]
        ids, mask = pad(sequences, side=self.pad_side, length=self.pad_to)  # type: ignore[arg-type]  # arrays of ints
        return Batch(ids, mask, self.labels[indices])  # (B, T), (B, T), (B,)


def check_at_least(name: str, value: int, least: int) -> None:
    """Raise ValueError when an integer argument is below its least value."""
    if value < least:
        raise ValueError(f"{name} must be at least {least}; got {value}")


def check_start(start: int, batches: int) -> None:
    """Raise ValueError when an epoch of some batches cannot be entered at `start`."""
    if not 0 <= start <= batches:
        raise ValueError(f"start must be from 0 to {batches}, the batches of an epoch; got {start}")


def _lengths(sequences: Sequence[Sequence[int]], max_length: int | None) -> list[int]:
    if len(sequences) == 0:
        raise ValueError("expected at least one sequence; got none")
    lengths = [len(sequence) for sequence in sequences]
    if 0 in lengths:
        raise ValueError(f"sequence {lengths.index(0)} is empty: remove it, a model has nothing to read there")
    return lengths if max_length is None else [min(length, max_length) for length in lengths]


def _label(index: int, label: object) -> int:
    try:
        value = -1 if isinstance(label, bool) else operator.index(label)  # type: ignore[arg-type]  # TypeError is the test
    except TypeError:
        value = -1
    if value < 0:
        raise ValueError(f"labels must be integers >= 0; labels[{index}] is {label!r}")
    return value
