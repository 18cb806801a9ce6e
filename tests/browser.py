"""The page in a real browser: Debian's Chromium, driven by Playwright, on a server of our own."""

from __future__ import annotations

import gc
import shutil
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

if TYPE_CHECKING:
    from mbexplore_ui.sessions import Sessions

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
MISSING = None if Path(CHROMIUM).exists() else "there is no Chromium; apt-get install chromium"
MARKS = [
    pytest.mark.filterwarnings("default"),  # what servers and browsers leave open is theirs
]
"""Of a file of tests that drive the page."""
PATIENCE = 60_000
"""Milliseconds that a slow machine may take for one step."""
DRAWN = ".mbexplore[data-drawn]"


@contextmanager
def served(
    models, auth: tuple[str, str] | None = None, tools: bool = False
) -> Iterator[tuple[str, Sessions]]:
    """The page over open models, with `tools` for agents too: its address, and what it holds."""
    from mbexplore_ui.app import build_app
    from mbexplore_ui.serve import launched
    from mbexplore_ui.sessions import Sessions
    from mbexplore_ui.tools import Tools

    sessions = Sessions(models)
    host = "127.0.0.1"
    with socket.socket() as probe:  # one that no other worker looks at
        probe.bind((host, 0))
        port = probe.getsockname()[1]
    beside = Tools(sessions, auth) if tools else None
    with launched(build_app(sessions), host, port, auth=auth, tools=beside) as (address, _):
        yield address, sessions
    with warnings.catch_warnings():  # Gradio leaves loops and sockets to the collector
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Visit:
    """A person's page, and what went wrong or abroad in it.

    Attributes:
        may_fail: whether the console may complain, as of a server that is gone.
    """

    page: Page
    address: str
    may_fail: bool = False
    foreign: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def open(self, **state) -> None:
        """Opens the page with a state in its address, and waits until it is drawn."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.address}/#{urlencode({'view': 'predict'} | state)}")
        self.settle()

    def settle(self) -> None:
        """Waits until the view is drawn, or a sentence says why it is not."""
        self.page.wait_for_selector(DRAWN)

    def tab(self, name: str) -> None:
        """Opens a view, by its group where that is closed, and waits for it."""
        tab = self.page.locator(f'[data-view="{name}"]')
        if not tab.is_visible():
            self.page.locator(".tabs .group").filter(has=tab).locator(".question").click()
        tab.click()
        self.settle()

    def mask(self, token: int) -> None:
        """Masks a token with a key, or shows it again."""
        self.page.focus(f'.chips [data-token="{token}"]')
        self.page.keyboard.press("m")

    def saved(self, ending: str) -> bytes:
        """What a click on a Save button downloads."""
        with self.page.expect_download() as waiting:
            self.page.click(f'[data-key="Save {ending}"]')
        return Path(waiting.value.path()).read_bytes()

    @property
    def message(self) -> str:
        """The sentence that the page says."""
        return self.page.inner_text(".message")


def visit(
    browser: Browser,
    address: str,
    *,
    width: int = 1280,
    theme: str = "light",
    motion: str = "reduce",
) -> Visit:
    """A new person: a context of its own, in which nothing of another's is known."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=theme, reduced_motion=motion
    )
    context.set_default_timeout(PATIENCE)
    return tab_of(context, address)


def tab_of(context: BrowserContext, address: str) -> Visit:
    """One more tab of a person."""
    visited = Visit(context.new_page(), address)
    own = urlsplit(address).netloc

    def look(request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != own:
            visited.foreign.append(request.url)

    visited.page.on("request", look)

    def complain(what: str) -> None:
        if not visited.may_fail:
            visited.errors.append(what)

    visited.page.on("pageerror", lambda error: visited.errors.append(str(error)))
    visited.page.on("console", lambda one: one.type == "error" and complain(one.text))
    visited.page.on("response", lambda one: one.status >= 400 and complain(one.url))
    return visited
