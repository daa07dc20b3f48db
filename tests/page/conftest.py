"""A real headless Chromium to look at pages with."""

from __future__ import annotations

import base64
import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright isn't installed")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with sync_api.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


class Opened:
    """A page in the browser, with what it asked for and what it complained of."""

    def __init__(self, browser: Any, path: Path, width: int, height: int, scheme: str, anchor: str) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, offline=True)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(path.resolve().as_uri() + anchor)

    def ready(self, selector: str = "article.study") -> Opened:
        self.page.wait_for_selector(f"{selector}[data-ready=true]")
        return self.settle()

    def settle(self) -> Opened:
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return self

    def pixels(self, plane: str) -> np.ndarray:
        """RGB of a plane's canvas, (rows, columns, 3)."""
        from PIL import Image

        url = self.page.locator(f".pane[data-plane={plane}] canvas").evaluate("(canvas) => canvas.toDataURL('image/png')")
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))

    def index(self, plane: str) -> int:
        return int(self.page.locator(f".pane[data-plane={plane}] .slider").input_value())


@pytest.fixture
def show(browser: Any) -> Iterator[Callable[..., Opened]]:
    """Opens a page; at the end no page may have asked the network or complained."""
    opened: list[Opened] = []

    def open_page(path: Path, width: int = 1280, height: int = 800, scheme: str = "light", anchor: str = "") -> Opened:
        opened.append(Opened(browser, path, width, height, scheme, anchor))
        return opened[-1]

    yield open_page
    for page in opened:
        page.context.close()
        assert [url for url in page.requests if not url.startswith(("file:", "data:"))] == []
        assert page.complaints == []
