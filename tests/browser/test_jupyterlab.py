"""A session in JupyterLab, as a person has it: open chapter 09, run all, move the slider, train, see the curve."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from course_lib import recorded

ROOT = Path(__file__).resolve().parents[2]
START = 60  # seconds that the server may take
RUN_ALL = 300  # seconds that the notebook may take on a busy machine
TRAIN = 120


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab of its own, over a copy of the notebooks."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    command += ["--IdentityProvider.token=", "--ServerApp.password=", f"--ServerApp.root_dir={folder / 'notebooks'}"]
    command += ["--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    home = {
        "HOME": str(folder),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_RUNTIME_DIR": str(folder / "run"),
    }
    log = folder / "lab.log"
    with log.open("wb") as output:
        server = subprocess.Popen(command, env={**os.environ, **home}, stdout=output, stderr=subprocess.STDOUT)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(f"{address}/api/status", server, log)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=30)


def wait_for(address, server, log):
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text(errors='replace')[-2000:]}")


def wait_until_all_cells_ran(lab):
    """The kernel is idle between two cells as well, for a moment; after the last one it stays so."""
    deadline, quiet = time.monotonic() + RUN_ALL, 0
    while quiet < 10:
        with urllib.request.urlopen(f"{lab}/api/kernels", timeout=10) as answer:
            (kernel,) = json.load(answer)
        quiet = quiet + 1 if kernel["execution_state"] == "idle" else 0
        assert time.monotonic() < deadline, f"the notebook had not run after {RUN_ALL} s"
        time.sleep(0.3)


def reading(explorer, name):
    return float(explorer.locator(f'[data-value="{name}"]').inner_text().replace("−", "-"))


@pytest.mark.slow
def test_a_model_is_trained_from_the_slider(lab, chromium):
    page = chromium.new_page(viewport={"width": 1300, "height": 1000})
    page.set_default_timeout(30_000)
    page.goto(f"{lab}/lab/tree/09_learning_rate.ipynb?reset")
    idle = page.get_by_text(re.compile(r"\| Idle"))  # in the status bar, after the kernel's name
    idle.wait_for(timeout=START * 1000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    explorer = page.locator(".wit", has=page.get_by_role("slider", name="Learning rate")).first
    explorer.locator("svg").first.wait_for(timeout=RUN_ALL * 1000)
    wait_until_all_cells_ran(lab)
    assert page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error']").count() == 0

    # The slider, by its keys: the reading is the recording's.
    slider = explorer.get_by_role("slider", name="Learning rate")
    slider.scroll_into_view_if_needed()
    place = int(slider.input_value())
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    runs = recorded.load("rate_sweep")["subjects"]["characters"]
    rate = runs["rates"][place + 2]
    explorer.locator('[data-value="rate"]', has_text=re.compile(rf"^{rate:.3g}$")).wait_for()
    assert reading(explorer, "lowest") == pytest.approx(min(runs["held_out"][place + 2]), rel=1e-3)

    # A run in the kernel: its curve grows, its end is told, and it lies among the recorded ones.
    lines = explorer.locator("svg").first.locator("path")
    before = lines.count()
    explorer.get_by_role("button", name="Train now").click()
    explorer.get_by_role("button", name="Cancel").wait_for()
    explorer.locator('[data-value="live"]').wait_for(timeout=TRAIN * 1000)
    assert lines.count() == before + 1
    held_out = reading(explorer, "live")
    low, high = min(runs["held_out"][place + 2]), max(runs["held_out"][place + 2])
    assert low - 0.5 < held_out < high + 0.5  # another Python's manual is another text

    # And canceled, the next one ends early.
    explorer.get_by_role("button", name="Train now").click()
    explorer.get_by_role("button", name="Cancel").click()
    explorer.get_by_text(re.compile(r"canceled after step \d+")).wait_for(timeout=TRAIN * 1000)
    explorer.get_by_role("button", name="Train now").wait_for()
