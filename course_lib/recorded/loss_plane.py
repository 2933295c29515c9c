"""A plane cut through the loss of a real model: what chapter 08's `OptimizerPlayground` offers as one of its maps.

Three settings of a small character model's 16,064 weights span the plane: where training starts, where SGD with
momentum ends and where AdamW ends. Distances on the map are distances between weights (Euclidean norm), so the map's
gradient is the part of the model's gradient that lies in the plane. `python -m course_lib.recorded.loss_plane` trains,
measures the loss at every grid point (about fifteen seconds on one core) and writes `loss_plane.json`.

Two of 16,064 directions are a picture of the loss, not of training: outside the plane there is more way down.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from course_lib import optim, recorded
from course_lib.data import Batch, TextBlocks, load_text, split_text
from course_lib.models import LMConfig, TransformerLM
from course_lib.tokenization import CharTokenizer
from course_lib.training import count_targets, prediction_loss

CONTEXT, WIDTH, STEPS, SEED = 32, 32, 300, 0
RATES = {"Momentum": 0.3, "AdamW": 0.01}
POINTS = 41
"""Grid points along each direction."""
MEASURED_BLOCKS = 32
"""Blocks of 32 characters of training text on which every loss of the map is measured."""
ROOM, ASPECT = 0.85, 1.19
"""Half the map's height in units of its points' height, and width to height: one unit is as long in both directions."""


@dataclass(frozen=True)
class Plane:
    """Orthonormal directions through a starting point.

    Attributes:
        origin: All weights at the start, (N,).
        along: Two directions of length 1 at a right angle, (2, N).
        corners: The two ends in the plane's coordinates, (2, 2); the start is (0, 0).
    """

    origin: Tensor
    along: Tensor
    corners: Tensor


def plane_through(start: Tensor, first: Tensor, second: Tensor) -> Plane:
    """The plane through three points: x runs from the start to `first`, y at a right angle to x towards `second`.

    Args:
        start: All weights, (N,).
        first: Another setting of them, (N,).
        second: A third, not on the line through the two, (N,).

    Raises:
        ValueError: The three lie on one line.

    Source: Garipov et al. (2018), "Loss surfaces, mode connectivity", section 3: u = first - start, v = second - start.
    """
    u, v = first - start, second - start
    x = u / u.norm()
    rest = v - (v @ x) * x
    if not rest.norm() > 1e-6 * v.norm():
        raise ValueError("start, first, second: expected three points that are not on one line; got a line")
    along = torch.stack([x, rest / rest.norm()])  # (2, N)
    return Plane(start, along, torch.stack([u, v]) @ along.T)  # (2, N) @ (N, 2) -> (2, 2)


@torch.no_grad()
def losses_on(plane: Plane, model: nn.Module, batch: Batch, xs: Tensor, ys: Tensor) -> list[list[float]]:
    """Mean loss of a batch at every grid point, in nats, a row for each y.

    Args:
        plane: Where the grid lies.
        model: Lends its architecture; its weights are overwritten.
        batch: What the loss is measured on.
        xs: Coordinates along the plane's first direction.
        ys: Coordinates along its second.
    """
    rows = []
    for y in ys:
        row = []
        for x in xs:
            vector_to_parameters(plane.origin + torch.stack([x, y]) @ plane.along, model.parameters())
            row.append((prediction_loss(model, batch)[0] / count_targets(batch)).item())
        rows.append(row)
    return rows


def main() -> None:
    """Train from one start with both optimizers, measure the plane between the three, and write loss_plane.json."""
    torch.set_num_threads(1)  # repeats to the last digit
    text = load_text()
    tokenizer = CharTokenizer.fit(text)
    ids = torch.tensor(tokenizer.encode(split_text(text, 0.1)[0]))
    start, *ends = [_trained(tokenizer.vocab_size, ids, name) for name in (None, *RATES)]
    plane = plane_through(*(parameters_to_vector(model.parameters()).detach() for model in (start, *ends)))
    batch = next(iter(TextBlocks(ids, block_size=CONTEXT, batch_size=MEASURED_BLOCKS, seed=SEED + 1).epoch(0)))
    x, y = _extents(plane.corners)
    xs, ys = (torch.linspace(low, high, POINTS) for low, high in (x, y))
    losses = losses_on(plane, start, batch, xs, ys)
    recorded.save(
        "loss_plane",
        {
            "model": "a one-layer character model of the Python manual",
            "weights": len(plane.origin),
            "measured": f"mean loss of {count_targets(batch)} characters of training text",
            "unit": "nats per character",
            "steps": STEPS,
            "rates": RATES,
            "x": x,
            "y": y,
            "marks": [
                {"name": name, "at": [round(coordinate, 2) + 0.0 for coordinate in at]}
                for name, at in zip(RATES, plane.corners.tolist(), strict=True)
            ],
            "losses": [[float(f"{loss:.4g}") for loss in row] for row in losses],
        },
    )


def _trained(vocab_size: int, ids: Tensor, name: str | None) -> nn.Module:
    """The model after STEPS updates with the optimizer of this name; None leaves it as it starts."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        sizes = {"max_length": CONTEXT, "d_model": WIDTH, "d_ff": 4 * WIDTH, "n_heads": 4, "n_layers": 1}
        model = TransformerLM(LMConfig(vocab_size=vocab_size, style="modern", **sizes))
        if name is None:
            return model
        optimizer = getattr(optim, name)(model.parameters(), lr=RATES[name])
        batches = TextBlocks(ids, block_size=CONTEXT, batch_size=16, seed=SEED).epoch(0)
        for _, batch in zip(range(STEPS), batches, strict=False):
            optimizer.zero_grad()
            (prediction_loss(model, batch)[0] / count_targets(batch)).backward()
            optimizer.step()
    return model


def _extents(corners: Tensor) -> tuple[tuple[int, int], tuple[int, int]]:
    """Whole numbers from which and to which the map runs in x and in y, with room around its three points."""
    points = torch.cat([torch.zeros(1, 2), corners])
    low, high = points.amin(dim=0), points.amax(dim=0)
    half = ROOM * (high - low)[1].item()
    (x, y) = ((low + high) / 2).tolist()
    return (round(x - ASPECT * half), round(x + ASPECT * half)), (round(y - half), round(y + half))


if __name__ == "__main__":
    main()
