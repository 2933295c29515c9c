"""Do a chapter's claims hold by luck? Run it once for each of five seeds, and print a table of what did not hold.

    python benchmarks/claims_over_seeds.py            all that take part: 02 to 04, 10, 11 and 15 to 17
    python benchmarks/claims_over_seeds.py 03 10      these

A chapter that takes part sets `SEED = 0` on a line of its own in its first code cell, and everything random in it
follows from SEED. Here a copy gets 0, 1, 2, ... instead. Recorded runs that a chapter reads stay what they are: they
hold several seeds themselves. The exit code is 1 when a claim failed or a cell raised an error anywhere.
"""

import argparse
import os
import re
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
CHAPTERS = ("02", "03", "04", "10", "11", "15", "16", "17")  # those that set SEED
SEED_LINE = re.compile(r"^SEED = 0$", re.MULTILINE)
HELD, FAILED = "✓ ", "✗ not in this run: "  # as course_lib.claims shows a claim


class Outcome(NamedTuple):
    """What one run of a chapter came to."""

    claims: int
    failed: list[str]
    seconds: float


def run(path: Path, seed: int) -> Outcome:
    """Run a copy of a chapter with another seed; an error in a cell counts as failed."""
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if not code or len(SEED_LINE.findall(code[0].source)) != 1:
        raise SystemExit(f"{path.name}: expected one line `SEED = 0` in its first code cell")
    code[0].source = SEED_LINE.sub(f"SEED = {seed}", code[0].source)
    start = time.perf_counter()
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=900, allow_errors=True, resources=resources).execute()
    seconds = time.perf_counter() - start
    shown = [text for cell in code for output in cell.get("outputs", []) for text in _texts(output)]
    failed = [text.removeprefix(FAILED) for text in shown if text.startswith(FAILED)]
    errors = [
        f"{output.ename}: {output.evalue}" for cell in code for output in cell.outputs if output.output_type == "error"
    ]
    return Outcome(sum(text.startswith((HELD, FAILED)) for text in shown), failed + errors, seconds)


def _texts(output: Any) -> list[str]:
    return [output.data.get("text/plain", "")] if "data" in output else []


def main() -> None:
    """Run the chapters named, print a Markdown table and each claim that failed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("chapters", nargs="*", default=CHAPTERS, help="how their files begin: 02 03")
    parser.add_argument("--seeds", type=int, default=5, help="how many, from 0 on")
    chosen = parser.parse_args()
    os.environ["COURSE_STRICT_CLAIMS"] = "0"  # a claim that fails is told, and the rest of the chapter is looked at too
    print("| chapter | claims | " + " | ".join(f"seed {seed}" for seed in range(chosen.seeds)) + " | slowest |")
    print("|---" * (chosen.seeds + 3) + "|")
    failures = []
    for chapter in chosen.chapters:
        (path,) = NOTEBOOKS.glob(f"{chapter}*.ipynb")
        runs = [run(path, seed) for seed in range(chosen.seeds)]
        cells = " | ".join("all hold" if not one.failed else f"{len(one.failed)} fail" for one in runs)
        counts = sorted({one.claims for one in runs})
        print(
            f"| {path.stem} | {'/'.join(map(str, counts))} | {cells} | {max(one.seconds for one in runs):.0f} s |",
            flush=True,
        )
        failures += [f"{path.stem}, seed {seed}: {text}" for seed, one in enumerate(runs) for text in one.failed]
    print("\n".join(["", *failures]))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
