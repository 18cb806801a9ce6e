"""The page's guide, ladder of layers, playhead, switched-off parts and tour, in a real browser."""

import re
import time

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from mbexplore.analysis.focus import find_head
from tests.browser import MARKS, visit

pytestmark = MARKS
PARIS = "The capital of France is [MASK]."
HOT = "The opposite of hot is [MASK]."
LAYERS = 9


@pytest.fixture(scope="module")
def needed(tiny):
    """The head that each answer needs most."""
    return {text: find_head(tiny, tiny.encode(text)) for text in (PARIS, HOT)}


def asked_of(person):
    """What the page asks the server for from now on, but for how far the work is."""
    asked = []

    def look(request):
        if "component_server" in request.url:
            asked.append(request.post_data_json["data"][0])

    person.page.on("request", look)
    return asked


def layer_now(page):
    return int(page.get_attribute(".rung[aria-checked=true]", "aria-label").split()[1].strip(","))


def test_a_guide_is_folded_and_can_be_tried(person):
    person.open(text=HOT, view="lens")
    page = person.page
    assert not page.is_visible(".guide dl")
    page.click(".guide summary")
    assert page.locator(".guide dt").all_inner_texts() == [
        "You see", "How to read it", "Try this", "Papers",
    ]  # fmt: skip
    assert page.locator(".guide a[href*='arxiv.org']").count() == 1
    page.click(".guide .try")
    page.wait_for_selector('canvas[data-key^="heat Top prediction"]')
    person.settle()
    assert page.input_value("#mb-text") == HOT and "all_tokens=true" in page.url
    person.tab("attribute")
    page.click(".guide summary")
    page.click(".guide .try")  # this one needs a text of its own
    page.wait_for_selector(".line:has-text('less Rome')")
    person.settle()
    assert page.input_value("#mb-text") == PARIS
    page.go_back()
    page.wait_for_selector(".chip:has-text('opposite')")
    person.settle()
    person.tab("rope")
    page.click(".guide summary")
    page.click(".guide .try")  # another view
    page.wait_for_selector('[data-view="rope-score"][aria-selected="true"]')
    person.settle()
    assert "layer=3&head=1" in page.url and person.message == ""


def test_a_view_opens_on_the_head_that_the_answer_needs(person, needed):
    page, best = person.page, needed[PARIS]
    person.open(text=PARIS, view="attention")
    assert layer_now(page) == best.layer and "layer=" not in page.url
    assert page.input_value("#mb-head") == str(best.head)
    chosen = page.inner_text(".chosen")
    name = f"{best.layer}.{best.head}"
    assert chosen.startswith(f"Without head {name} at [MASK] 6 the logit of Paris changes most: by")
    assert f"{abs(best.change):.2g}" in chosen
    assert page.inner_text(".map figcaption").startswith(f"Layer {best.layer} head {best.head}")
    page.fill("#mb-text", HOT)
    page.press("#mb-text", "Enter")
    page.wait_for_selector(f".chosen:has-text('head {needed[HOT].layer}.{needed[HOT].head} ')")
    person.settle()
    assert layer_now(page) == needed[HOT].layer
    assert page.inner_text(".foot code").endswith(
        f"--layer {needed[HOT].layer} --head {needed[HOT].head}"
    )
    # What somebody chose stays, and the way to what matters is one click.
    page.click('.rung:text-is("4")')
    page.wait_for_selector(".holding .kind:text-is('local')")
    person.settle()
    page.fill("#mb-text", PARIS)
    page.press("#mb-text", "Enter")
    page.wait_for_selector(".chip:has-text('France')")
    person.settle()
    assert "layer=4&" in page.url
    person.open(text=PARIS, view="attention", layer=2, head=0)
    assert layer_now(page) == 2 and not page.is_visible(".chosen")


def test_the_ladder_selects_for_every_view(person):
    person.open(text=PARIS, view="neurons", layer=4, head=1)
    page = person.page
    assert page.inner_text(".ladder .kinds").split() == ["global", "local"]
    kinds = page.locator(".rung").evaluate_all("all => all.map(r => r.classList[1])")
    assert kinds == ["global" if i % 3 == 0 else "local" for i in range(LAYERS)]
    page.focus('.rung[aria-checked="true"]')
    page.keyboard.press("ArrowRight")
    page.wait_for_selector('.rung[aria-checked="true"]:text-is("5"):focus')
    person.settle()
    assert "layer=5&head=1" in page.url and "layer 5" in page.inner_text("#mb-view").lower()
    page.keyboard.press("Home")
    page.wait_for_selector('.rung[aria-checked="true"]:text-is("0"):focus')
    person.settle()
    # A view without a layer of its own isn't asked for again: its curves follow.
    person.tab("lens")
    asked = asked_of(person)
    page.click('.rung:text-is("5")')
    chart = page.locator('[data-key^="lines Rank"]')
    told = chart.locator("xpath=following-sibling::p")
    assert told.inner_text().startswith("layer 5 \N{MIDDLE DOT} Paris ")
    assert asked == [] and "layer=5" in page.url
    person.tab("cosine")
    assert person.page.inner_text(".line").startswith("After layer 5 ")


def test_play_goes_from_layer_to_layer(world):
    person = visit(*world, motion="no-preference")
    person.open(text=PARIS, view="lens", layer=5, head=0)
    page = person.page
    assert page.locator(".chip[data-said]").count() == 0
    page.focus('.rung[aria-checked="true"]')
    page.keyboard.press("Space")
    page.wait_for_selector(".chip[data-said]")
    page.wait_for_selector('.rung[aria-checked="true"]:text-is("7")')
    page.keyboard.press("Space")
    page.wait_for_selector(".play:has-text('Play')")
    stopped = layer_now(page)
    page.wait_for_timeout(1500)
    assert layer_now(page) == stopped
    page.click(".play")
    page.wait_for_selector(f'.rung[aria-checked="true"]:text-is("{LAYERS - 1}")')
    page.wait_for_selector(".play:has-text('Play')")  # it ends there
    assert page.get_attribute(".chip.mask", "data-said") == "Paris"
    assert page.inner_text('[data-key^="lines Rank"] + p').startswith("layer 8")
    page.click("label:has(#mb-lens-words)")
    assert page.locator(".chip[data-said]").count() == 0
    page.context.close()
    assert person.errors == []


def test_nothing_moves_by_itself_for_who_asked_for_stillness(person):
    person.open(text=PARIS, view="attention", layer=2, head=0, picture='"arcs"')
    page = person.page
    assert page.inner_text(".play") == "Next layer"
    page.click(".play")
    page.wait_for_selector(".arcs figcaption:has-text('Layer 3')")
    person.settle()
    page.wait_for_timeout(1000)
    assert layer_now(page) == 3 and page.locator(".chip[data-said]").count() == 0


def test_parts_are_switched_off_by_clicks(person, monkeypatch):
    """The maps, the answer above them, its chip in the strip and the lens all move; by one pass."""
    from mbexplore.analysis import without

    passes, real = [], without.run_without
    monkeypatch.setattr(without, "run_without", lambda *a, **k: passes.append(1) or real(*a, **k))
    person.open(text=PARIS, view="model-view", layer=6, head=0)
    page = person.page
    page.wait_for_selector(".answered:has-text('Paris 59.0%')")
    page.click(".mode")
    asked = asked_of(person)

    def click(selector, line):
        started = time.perf_counter()
        page.click(selector)
        page.wait_for_function(
            "line => document.querySelector('.line').textContent.startsWith(line)", arg=line
        )
        person.settle()
        assert {name for name in asked if name != "progress"} == {"answers", "model-view"}
        asked.clear()
        return time.perf_counter() - started

    took = click('.thumb[data-layer="6"][data-head="3"]', "Without head 6.3 Paris goes from 59.0%")
    print(f"from click to answer: {took:.2f} s")
    assert took < 5 and page.locator(".thumb.off").count() == 1 and passes == [1]
    left = re.search(r"to (\S+%) and stays", page.inner_text(".line"))[1]
    page.wait_for_selector(f".answered:has-text('Paris {left}')")
    assert page.inner_text(".chip.mask") == f"Paris {left}"  # in the strip that stays
    assert page.inner_text(".fall").startswith("without head 6.3; Paris 59.0% with every part")
    assert page.locator("#mb-view figure.table").count() >= 2  # answers with and without
    click('.thumb[data-layer="8"][data-head="2"]', "Without 2 parts Paris goes")
    click('[data-key="layer 5"]', "Without 4 parts")
    assert page.locator(".thumb.off").count() == 6 and page.locator(".layer-name.off").count() == 1
    click('[data-key="block 4"]', "Without 5 parts")
    command = page.inner_text(".foot code")
    assert "--part 6.3 --part 8.2 --part 5.attention --part 5.mlp --block 4" in command
    line, link = page.inner_text(".line"), page.url
    page.goto("about:blank")
    page.goto(link)
    person.settle()
    assert page.inner_text(".line") == line and page.locator(".token.off").count() == 1
    asked.clear()
    click('.gone:has-text("8.2")', "Without 4 parts")
    click('[data-key="all on"]', "36 maps")
    assert passes == [1] * 6  # each set once for everything; the link opened a fresh page
    page.wait_for_selector(".answered:has-text('Paris 59.0%')")
    assert page.inner_text(".fall") == ""
    page.focus(".thumbs")
    page.keyboard.press("x")
    page.wait_for_function(
        "document.querySelector('.line').textContent.startsWith('Without head 6.0')"
    )
    person.settle()
    person.tab("ablate")  # the same set, in the same words
    assert page.inner_text(".line").startswith("Without head 6.0 ")
    person.tab("lens")
    assert page.inner_text(".line").startswith("Without head 6.0 Paris goes from 59.0%")
    assert page.input_value("#mb-setting-parts") == "6.0"
    assert page.locator(".fall:has-text('without head 6.0')").count() == 1
    person.tab("attention")  # the maps beside it are of the whole model, and so is the answer
    page.wait_for_selector(".thumb.held")
    page.wait_for_selector(".answered:has-text('Paris 59.0%')")
    assert page.locator(".thumb.off").count() == 0
    person.tab("lens")
    page.click('[data-key="all parts"]')
    page.wait_for_selector(".line:has-text('Paris is at rank 1')")
    person.settle()
    assert page.inner_text(".answered") == "Paris 59.0%"


def test_switching_off_can_be_stopped(person, monkeypatch):
    from mbexplore.analysis import without

    patient = without.run_without

    def slow(*args, progress, **settings):
        def wait(done, total):
            time.sleep(0.4)
            progress(done, total)

        return patient(*args, progress=wait, **settings)

    person.open(text=PARIS, view="model-view", layer=6, head=3)
    monkeypatch.setattr(without, "run_without", slow)
    page = person.page
    page.focus(".thumbs")
    page.keyboard.press("x")
    page.wait_for_selector(".progress:has-text(' of 9')")
    page.dispatch_event(".progress button", "click")  # it may be moving
    page.wait_for_selector(".message:has-text('Stopped')")
    page.wait_for_selector(".mbexplore.busy", state="detached")


def test_reach_is_drawn_and_follows_the_token(person):
    person.open(text=PARIS, view="reach")
    page = person.page
    assert page.locator('canvas[data-key^="heat"]').count() == 2
    assert "[MASK] (6)" in page.inner_text(".line")
    person.open(text="The sea fell again. " * 60 + "It is [MASK].", view="reach", token=40)
    assert page.inner_text(".line").startswith("In a local layer ") and "(40)" in page.inner_text(
        ".line"
    )
    assert "before layer 6 (global)" in page.inner_text(".line")


def test_colours_of_layers_have_a_legend(person):
    person.open(text=PARIS, view="patch", other='"The capital of Italy is [MASK]."')
    for view in ("patch", "heads", "why", "lens", "ablate", "model-view"):
        person.tab(view)
        legends = person.page.locator("#mb-view .kinds")
        assert legends.count() > 0 and legends.first.inner_text().split() == ["global", "local"]


def test_the_tour_has_six_steps_and_is_remembered(person):
    person.open(text=PARIS, view="lens", layer=3)
    page = person.page
    assert page.inner_text(".tours") == "New here? Take the tour" and not page.is_visible(".tour")
    page.click(".tours")
    seen = []
    for step in range(1, 7):
        head = page.inner_text(".tour strong")
        assert head.startswith(f"{step} of 6") and page.locator(".toured").count() == 1
        box = page.locator(".tour").bounding_box()
        assert box["x"] >= 0 and box["y"] >= 0 and box["y"] + box["height"] <= 900
        seen.append(head)
        page.keyboard.press("Enter" if step % 2 else "ArrowRight")
    assert len(set(seen)) == 6 and not page.is_visible(".tour")
    assert page.evaluate("document.activeElement.classList.contains('tours')")
    page.reload()
    person.settle()
    assert page.inner_text(".tours") == "Tour"
    page.click(".tours")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert page.inner_text(".tour strong").startswith("1 of 6")
    page.keyboard.press("Escape")
    assert not page.is_visible(".tour") and page.locator(".toured").count() == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_of_it_fits_a_telephone(world, theme):
    from tests.test_ui_browser import CONTRAST

    person = visit(*world, width=390, theme=theme)
    person.open(text=PARIS, view="model-view", layer=6, head=3, parts='"6.3"', blocked='"4"')
    page = person.page
    page.click(".guide summary")
    page.click("label:has(#mb-lens-words)")
    page.wait_for_selector(".chip[data-said]")
    page.click(".tours")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate(CONTRAST) >= 4.5
    page.context.close()
    assert person.errors == []
