"""Blocks of running text for a language model: inputs, and the same ids shifted by one as targets (chapter 18).

Shape legend:
    B: blocks in a batch
    T: block_size, the ids a model reads at once
    N: ids in the whole text; N - 1 of them can be predicted, all but the first

For training, each batch draws B random starts, as nanoGPT does: an epoch is then a number of batches and no exact pass.
For evaluation, `shuffle=False` walks through the text once, so that each prediction is counted exactly once.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from course_lib.data.batching import Batch, check_at_least, check_start

IGNORE_INDEX = -100  # the target that torch's cross_entropy leaves out by default


class TextBlocks:
    """Batches of blocks of one text; a batch source for `training.fit`.

    Args:
        ids: the text as N token ids, at least `block_size` + 1.
        block_size: T.
        batch_size: B.
        seed: with epoch and batch number decides the random starts.
        shuffle: True draws starts at random; False gives the blocks 0..T-1, T..2T-1 and so on, each once. Then the last
            block may be short: it is padded on the right, with mask False and target `IGNORE_INDEX` at the padding.
        batches_per_epoch: batches of a random epoch; None gives as many as one walk through the text has.

    Raises:
        ValueError: an argument is out of range, or the text is too short.

    Source: random starts as in nanoGPT's `get_batch`.
    """

    def __init__(
        self,
        ids: Sequence[int] | np.ndarray | torch.Tensor,
        *,
        block_size: int,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        batches_per_epoch: int | None = None,
    ) -> None:
        check_at_least("block_size", block_size, 1)
        check_at_least("batch_size", batch_size, 1)
        check_at_least("seed", seed, 0)
        if batches_per_epoch is not None:
            check_at_least("batches_per_epoch", batches_per_epoch, 1)
            if not shuffle:
                raise ValueError("batches_per_epoch needs shuffle=True: a walk through the text has a fixed length")
        self.ids = _as_ids(ids)  # (N,)
        if len(self.ids) < block_size + 1:
            raise ValueError(
                f"a text needs at least block_size + 1 = {block_size + 1} ids, since targets are shifted by one; "
                f"got {len(self.ids)}: take a longer text or a smaller block_size"
            )
        self.block_size, self.batch_size, self.seed, self.shuffle = block_size, batch_size, seed, shuffle
        self.predictions = len(self.ids) - 1
        self.blocks = -(-self.predictions // block_size)  # rounded up
        self._batches = batches_per_epoch or -(-self.blocks // batch_size)
        self._columns = torch.arange(block_size)  # (T,)

    def __len__(self) -> int:
        return self._batches

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Give the batches of epoch `number`, from batch `start` on; skipped batches cost nothing.

        Raises:
            ValueError: number is negative, or start is not from 0 to the number of batches.
        """
        check_at_least("epoch number", number, 0)
        check_start(start, len(self))
        if self.shuffle:
            return (self._random(number, batch) for batch in range(start, len(self)))
        return (self._walk(batch) for batch in range(start, len(self)))

    def _random(self, number: int, batch: int) -> Batch:
        rng = np.random.default_rng([self.seed, number, batch])
        # The last start that leaves T inputs and a target for each of them is N - 1 - T; the bound is excluded.
        starts = torch.from_numpy(rng.integers(0, len(self.ids) - self.block_size, size=self.batch_size))  # (B,)
        index = starts[:, None] + self._columns  # (B, 1) + (T,) -> (B, T)
        mask = torch.ones_like(index, dtype=torch.bool)  # (B, T)
        return Batch(self.ids[index], mask, self.ids[index + 1])

    def _walk(self, batch: int) -> Batch:
        first = batch * self.batch_size
        rows = torch.arange(first, min(first + self.batch_size, self.blocks))  # (B,), fewer at the end
        index = rows[:, None] * self.block_size + self._columns  # (B, 1) + (T,) -> (B, T)
        mask = index < self.predictions  # (B, T), False after the end of the text
        index = index.clamp(max=self.predictions - 1)
        inputs = self.ids[index].where(mask, 0)  # (B, T)
        targets = self.ids[index + 1].where(mask, IGNORE_INDEX)  # (B, T)
        return Batch(inputs, mask, targets)


def _as_ids(ids: Sequence[int] | np.ndarray | torch.Tensor) -> torch.Tensor:
    # A copy: a batch stays a pure function of its numbers even when the caller changes its own array later.
    row = np.array(ids.cpu().numpy() if isinstance(ids, torch.Tensor) else ids)
    if row.ndim != 1:
        raise ValueError(f"ids must be one row of integers, shape (N,); got shape {row.shape}")
    if row.size and row.dtype.kind not in "iu":
        raise ValueError(f"ids must be integers; got {row.dtype}")
    if row.size and row.min() < 0:
        raise ValueError(f"ids must be at least 0; got {row.min()} at position {row.argmin()}")
    return torch.from_numpy(row.astype(np.int64))
