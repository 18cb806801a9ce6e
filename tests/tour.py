"""The tour of the page: what a person does, with a picture of every view.

`python -m tests.tour FOLDER` saves them all; the README's are made by
`python -m tests.tour assets/images landing ablate explore`, and the first picture of maps by
`mbexplore attention --layer 4 -o assets/images/attention.png`. The browser tests take the same
tour.
"""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Collection
from functools import partial
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser

import mbexplore
from mbexplore.explore.app import ExploreApp
from mbexplore.explore.history import History
from mbexplore.explore.look import Look
from mbexplore.explore.panes import open_model
from tests.browser import Visit, chromium, served, visit

PARIS = "The capital of France is [MASK]."
TWIN = "The capital of Italy is [MASK]."
PAIR = "The tide rises. | The tide rise."
LABELLED = "\n".join(f"The {sea} {rises}. | {kind}" for kind, things in
                     (("water", ("sea", "tide", "river")), ("sky", ("moon", "sun", "star")))
                     for sea in things for rises in ("rises", "falls"))  # fmt: skip
FRANCE = 4
MASK = 6
LOCAL, GLOBAL = 4, 3


class Tour:
    """Steps in the order a person takes them; each leaves the page where the next begins."""

    def __init__(
        self, person: Visit, folder: Path | None = None, names: Collection[str] = ()
    ) -> None:
        self.person, self.page, self.folder, self.names = person, person.page, folder, names

    def shoot(self, name: str, whole: bool = True) -> None:
        """Saves the page as a picture, where pictures are wanted: all, or those named."""
        if self.folder is not None and (not self.names or name in self.names):
            self.page.wait_for_timeout(150)  # a canvas is painted in the frame after its layout
            self.page.screenshot(path=self.folder / f"ui-{name}.png", full_page=whole)

    def run(self) -> None:
        """All of it."""
        self.land()
        self.mask_by_click()
        self.hold_heads()
        self.hover_a_token()
        self.straighten()
        self.zoom()
        self.other_views()
        self.save()
        self.reload()

    def land(self) -> None:
        """The page as it opens: the answer, why, and the route."""
        self.page.goto(self.person.address)
        self.person.settle()
        assert self.page.inner_text(".answered").startswith("Paris")
        self.page.wait_for_selector(".parity .badge.good")
        assert "Madrid" in self.page.inner_text(".story")
        assert self.page.locator(".route g.edge").count() > 2
        assert self.page.inner_text(".foot code").startswith("mbexplore why ")
        self.shoot("landing", whole=False)

    def mask_by_click(self) -> None:
        """A click on a word hides it, another one shows it again; ours and theirs stand beside."""
        self.person.open(text="The capital of France is Paris.")
        assert "no [MASK]" in self.person.message
        self.page.click(f'.chips [data-token="{MASK}"]')
        self.person.settle()
        self.page.click(".chip.held .corner")
        self.page.wait_for_selector(".chip.mask")
        self.person.settle()
        assert self.page.input_value("#mb-text") == PARIS
        shown = self.page.inner_text("#mb-view")
        assert all(name in shown for name in ("mbexplore", "Hugging Face", "Paris"))
        assert "Largest logit difference" in shown
        self.person.mask(MASK)
        self.page.wait_for_selector(".chip.mask", state="detached")
        assert self.page.input_value("#mb-text") == "The capital of France is Paris."
        self.page.click(".next button:has-text('Mask')")
        self.page.wait_for_selector(".chip.mask")
        self.person.settle()
        self.shoot("predict")

    def hold_heads(self) -> None:
        """A click on a small map holds that head; arrows move it."""
        self.person.tab("attention")
        for layer, kind in ((GLOBAL, "global"), (LOCAL, "local")):
            self.page.click(f'.thumb[data-layer="{layer}"][data-head="1"]')
            self.page.wait_for_selector(f'.thumb.held[data-layer="{layer}"]')
            self.person.settle()
            assert self.page.inner_text(".holding .kind") == kind
            assert f"layer={layer}&head=1" in self.page.url
            self.shoot(f"attention-{kind}")
        self.page.focus(".thumbs")
        self.page.keyboard.press("ArrowRight")
        self.page.wait_for_selector(f'.thumb.held[data-layer="{LOCAL}"][data-head="2"]')
        self.person.settle()
        assert self.page.evaluate("document.activeElement.dataset.key") == "thumbs"

    def hover_a_token(self) -> None:
        """In the arcs, a token under the pointer shows its own links and their numbers."""
        self.page.click("#mb-setting-picture-arcs + span")
        canvas = self.page.wait_for_selector(".arcs canvas")
        self.person.settle()
        canvas.hover(position={"x": 20, "y": 17 * FRANCE + 28})
        told = self.page.inner_text(".arcs .readout")
        assert told.startswith("France 4 attends to") and "0." in told
        self.shoot("attention-arcs")

    def straighten(self) -> None:
        """A local layer as a band."""
        self.page.click("#mb-setting-picture-band + span")
        self.page.wait_for_selector("#mb-view th:has-text('most at offset')")
        self.person.settle()
        self.shoot("attention-band")

    def zoom(self) -> None:
        """Dragging over the map shows that part of it alone."""
        self.page.click("#mb-setting-picture-map + span")
        canvas = self.page.wait_for_selector(".map canvas.zooms")
        self.person.settle()
        canvas.evaluate("canvas => canvas.scrollIntoView({block: 'start'})")
        box = canvas.bounding_box()
        self.page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.4)
        self.page.mouse.down()
        self.page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.9)
        self.page.mouse.up()
        self.page.wait_for_selector("button:has-text('Whole map')")
        self.person.settle()
        assert "queries=" in self.page.url and "keys=" in self.page.url
        self.page.click("button:has-text('Whole map')")
        self.page.wait_for_selector("button:has-text('Whole map')", state="detached")
        self.person.settle()

    def other_views(self) -> None:
        """Every other tab draws something and says what command makes it."""
        names = self.page.locator(".tabs [data-view]").evaluate_all(
            "all => all.map(b => b.dataset.view)"
        )
        for name in names:
            if name in ("why", "predict", "attention"):  # seen already
                continue
            self.person.tab(name)
            more = {"patch": {"other": TWIN}, "compare": {"other": TWIN},
                    "steer": {"toward": TWIN, "away": PARIS}, "pairs": {"pairs": PAIR},
                    "corpus-search": {"metrics": "previous>0.2"},
                    "probe": {"examples": LABELLED}}.get(name, {})  # fmt: skip
            for setting, text in more.items():
                self.page.fill(f"#mb-setting-{setting}", text)
                self.page.keyboard.press("Tab")
                self.person.settle()
            if more:
                self.page.wait_for_selector("#mb-view canvas, #mb-view figure")
            assert self.person.message == "", (name, self.person.message)
            assert self.page.locator("#mb-view figure").count() > 0, name
            commands = self.page.locator(".foot code").all_inner_texts()
            assert all(command.startswith("mbexplore ") for command in commands), name
            self.shoot(name)

    def save(self) -> None:
        """A picture and the arrays, as files."""
        self.person.tab("attention")
        plain = self.person.saved("png")
        self.page.click(".picture summary")
        self.page.fill("#mb-setting-picture-width", "4in")
        self.page.click("#mb-setting-picture-style-slides + span")  # 200 dots an inch
        slide = self.person.saved("png")
        assert [one[:4] for one in (plain, slide)] == [b"\x89PNG"] * 2
        assert int.from_bytes(slide[16:20], "big") == 800 != int.from_bytes(plain[16:20], "big")
        arrays = np.load(io.BytesIO(self.person.saved("npz")))
        assert len(arrays["tokens"]) == 9

    def reload(self) -> None:
        """The address brings the same state again."""
        before = [self.page.input_value(f"#mb-{name}") for name in ("text", "layer", "head")]
        self.page.reload()
        self.person.settle()
        self.page.wait_for_selector(".thumb.held")
        after = [self.page.input_value(f"#mb-{name}") for name in ("text", "layer", "head")]
        assert before == after == [PARIS, str(LOCAL), "2"]


def main(folder: str, *names: str) -> None:
    """Takes the tour in both themes and on a narrow page, and saves the pictures."""
    into = Path(folder)
    into.mkdir(parents=True, exist_ok=True)
    screen = asyncio.run(drawn_screen())  # Playwright has a loop of its own, from here on
    models = {"tiny": mbexplore.load("tiny", device="cpu")}
    with served(models) as (address, _), chromium() as browser:
        Tour(visit(browser, address), into, names).run()
        for name, width, theme in (("dark", 1280, "dark"), ("narrow", 390, "light")):
            person = visit(browser, address, width=width, theme=theme)
            person.open(text=PARIS, view="attention", layer=LOCAL, head=2)
            person.page.wait_for_selector(".thumb.held")
            Tour(person, into, names).shoot(name)
        if not names or "explore" in names:
            (into / "explore.png").write_bytes(terminal_picture(browser, screen))


def terminal_picture(browser: Browser, screen: str) -> bytes:
    """The screen of the terminal explorer, drawn as SVG, as a picture."""
    page = browser.new_page(device_scale_factor=1.5)
    page.route("**/*", lambda route: route.abort())  # the drawing names fonts elsewhere
    page.set_content(f"<body style='margin:0'>{screen}</body>")
    return page.locator("svg").screenshot()


async def drawn_screen() -> str:
    """The terminal explorer as it opens, with the story of the answer, as SVG."""
    app = ExploreApp(partial(open_model, "tiny"), PARIS, History(None), Look())
    async with app.run_test(size=(110, 36)) as pilot:
        await pilot.pause(0.1)
        while app.workers:
            await pilot.pause(0.1)
        return app.export_screenshot()


if __name__ == "__main__":
    main(*sys.argv[1:])
