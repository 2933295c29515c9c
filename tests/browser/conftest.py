"""A browser without a network, and the book it opens. `make test-browser` builds the book first."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html" / "notebooks"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "--no-sandbox",  # root, as in a container, has no sandbox
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # the network is cut, as in all tests
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.fail(
            f"expected one of {', '.join(NAMES)} on the PATH, or its path in CHROMIUM; found none. "
            "On Debian: apt install chromium"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(OPTIONS))
        yield browser
        browser.close()


class Visit:
    """A page of the built book, opened from the disk, and everything that went wrong while it was open."""

    def __init__(self, context: BrowserContext, chapter: str) -> None:
        path = HTML / f"{chapter}.html"
        if not path.is_file():
            pytest.fail(f"expected the built page {path}; run `make book` first")
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page: Page = context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def close(self) -> None:
        """No script failed, and nothing was asked of the network."""
        assert self.errors == []
        outside = [url for url in self.requests if not url.startswith(("file:", "data:", "blob:"))]
        assert outside == []


@pytest.fixture
def visit(chromium):
    """Open a chapter: visit("07_loss", width=360, dark=True, scripts=False, touch=True)."""
    contexts, visits = [], []

    def opened(
        chapter: str, *, width: int = 1200, dark: bool = False, scripts: bool = True, touch: bool = False
    ) -> Page:
        context = chromium.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            java_script_enabled=scripts,
            has_touch=touch,
        )
        context.set_default_timeout(20_000)
        contexts.append(context)
        visits.append(Visit(context, chapter))
        return visits[-1].page

    yield opened
    for one in visits:
        one.close()
    for context in contexts:
        context.close()
