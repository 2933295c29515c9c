"""Set-up of every test and of every notebook that pytest runs: claims are strict, and the network is cut."""

import importlib.util
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent
NO_NETWORK = ROOT / "tests" / "no_network"

# Set at import, before any test module imports a library that reads them. Kernels and other children inherit them.
os.environ["COURSE_STRICT_CLAIMS"] = "1"
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(NO_NETWORK), *(part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part)]
)


def _block_network() -> None:
    spec = importlib.util.spec_from_file_location("course_no_network", NO_NETWORK / "sitecustomize.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.block()


_block_network()


def pytest_configure() -> None:
    # Here and not in MPLBACKEND, which kernels would inherit: a notebook draws inline.
    import matplotlib

    matplotlib.use("agg")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--gpu-table", action="store_true", help="end with a table of the tests marked gpu (make gpu-check)"
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not config.getoption("--gpu-table"):
        return
    rows = [
        (outcome, report.duration, report.nodeid)
        for outcome in ("passed", "failed", "error", "skipped")
        for report in terminalreporter.stats.get(outcome, [])
        if outcome != "passed" or report.when == "call"
    ]
    terminalreporter.section("tests that need a GPU")
    terminalreporter.write_line(f"device: {_device_line()}")
    terminalreporter.write_line("| outcome | seconds | test |")
    terminalreporter.write_line("|---|---:|---|")
    for outcome, seconds, nodeid in rows:
        terminalreporter.write_line(f"| {outcome} | {seconds:.2f} | {nodeid} |")


def _device_line() -> str:
    import torch

    if torch.cuda.is_available():
        return f"CUDA, {torch.cuda.get_device_name(0)}, torch {torch.__version__}"
    if torch.backends.mps.is_available():
        return f"MPS, torch {torch.__version__}"
    if torch.xpu.is_available():
        return f"XPU, {torch.xpu.get_device_name(0)}, torch {torch.__version__}"
    return f"none, torch {torch.__version__}"
