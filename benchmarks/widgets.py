"""Count what a widget costs a page: scripting time of a frame in Chromium, and bytes of code and data.

    python benchmarks/widgets.py                     (needs Chromium; page weights need the book of `make book`)
    CHROMIUM=/path/to/chrome python benchmarks/widgets.py --frames 400

Targets: over 200 frames the median frame takes less than 16 ms of scripting, and a built page carries less than 300,000
bytes of widgets.

Compared: each widget on a page of its own, all in one browser, in turn. The playground plays all five optimizers over
the plane; in the others a slider moves in every frame, so that each frame draws a new picture. Measured is the time
inside the callbacks of requestAnimationFrame; layout and paint are the browser's own and come on top.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from playwright.sync_api import Browser, sync_playwright
from side_by_side import arguments, met, show

from course_lib import widgets
from course_lib.widgets.base import CourseWidget

FRAME = 16.0  # milliseconds
PAGE = 300_000  # bytes
PAGES = Path(__file__).resolve().parents[1] / "_build" / "html" / "notebooks"
SUBJECTS: dict[str, CourseWidget] = {
    "OptimizerPlayground": widgets.OptimizerPlayground(
        surface="plane", optimizers=["SGD", "Momentum", "RMSProp", "Adam", "AdamW"], shown=0
    ),
    "LearningRateExplorer": widgets.LearningRateExplorer(),
    "LossExplorer": widgets.LossExplorer(),
    "ScheduleExplorer": widgets.ScheduleExplorer(),
    "ThresholdExplorer": widgets.ThresholdExplorer(),
}

# Times each frame's callbacks, and moves the widget: by its own Play, or by a slider that goes up and down.
MOVE = """async frames => {
  const spent = new Map();
  const ask = window.requestAnimationFrame.bind(window);
  window.requestAnimationFrame = work => ask(time => {
    const begun = performance.now();
    work(time);
    spent.set(time, (spent.get(time) ?? 0) + performance.now() - begun);
  });
  const next = () => new Promise(ask);
  const named = name => [...document.querySelectorAll('button')].find(button => button.textContent === name);
  if (named('Play')) {
    while (spent.size < frames) {
      if (named('Play')) named('Play').click();
      await next();
    }
  } else {
    const sliders = [...document.querySelectorAll('input[type=range]:enabled')];
    for (let i = 0; spent.size < frames; i++) {
      const slider = sliders[0], places = (slider.max - slider.min) / slider.step, at = i % (2 * places);
      slider.value = Number(slider.min) + slider.step * (at < places ? at : 2 * places - at);
      slider.dispatchEvent(new Event('input', {bubbles: true}));
      await next();
    }
  }
  return [...spent.values()];
}"""


def frames_of(browser: Browser, widget: CourseWidget, frames: int, folder: Path) -> list[float]:
    """Milliseconds of scripting in each frame of a widget that moves."""
    path = folder / f"{type(widget).__name__}.html"
    path.write_text(f"<!doctype html><body>{widget.to_html()}</body>", encoding="utf-8")
    page = browser.new_page(viewport={"width": 800, "height": 900})
    page.goto(path.as_uri())
    spent: list[float] = page.evaluate(MOVE, frames)
    page.close()
    return sorted(spent)


def page_weights() -> Iterator[tuple[str, int]]:
    """Bytes of widgets in each built page that has any."""
    for path in sorted(PAGES.glob("*.html")):
        carried = re.findall(r'<div class="course-widget">.*?</script></div>', path.read_text("utf-8"), re.DOTALL)
        if carried:
            yield path.stem, sum(len(one.encode()) for one in carried)


def main() -> None:
    """Measure, compare with the targets, print."""
    options = arguments(__doc__, frames=200)
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit(
            "expected Chromium on the PATH, or its path in CHROMIUM; found none (Debian: apt install chromium)"
        )
    rows, verdicts = {}, []
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        for name, widget in SUBJECTS.items():
            spent = frames_of(browser, widget, options.frames, Path(folder))
            middle = median(spent)
            rows[name] = {
                "median ms": middle,
                "95 of 100 below": spent[int(0.95 * len(spent))],
                "share of a frame": middle / FRAME,
                "bytes": len(widget.to_html().encode()),
            }
            verdicts.append(f"{name}: {middle / FRAME:.2f} of a frame over {len(spent)} frames: {met(middle < FRAME)}")
        browser.close()
    for name, weight in page_weights():
        verdicts.append(
            f"page {name}: {weight:,} bytes of widgets, {weight / PAGE:.2f} of the budget: {met(weight < PAGE)}"
        )
    show("Widgets in Chromium", rows, verdicts, options.json)


if __name__ == "__main__":
    main()
