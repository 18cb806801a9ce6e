"""The page as a newcomer meets it: the answer, why, the route; and what axe says of it."""

import re
from urllib.parse import urlencode

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from tests.browser import MARKS, visit

pytestmark = MARKS
PARIS = "The capital of France is [MASK]."
JAPAN = "The capital of Japan is [MASK]."
LONG = "The sea fell again and the moon rose. " * 12 + "The [MASK] is large."


@pytest.fixture
def width():
    """Of a laptop."""
    return 1440


def begin(person, **state):
    """The page as it opens by itself."""
    person.page.goto(f"{person.address}/#{urlencode(state)}" if state else person.address)
    person.settle()


def test_a_newcomer_finds_out_why(world, person):
    """Type, run, read why, follow the route, break a head, open the counterfactual, share it."""
    browser, address = world
    page = person.page
    begin(person)
    assert page.get_attribute('[data-view="why"]', "aria-selected") == "true"
    assert page.inner_text(".answered") == "Paris 59.0%"
    assert page.inner_text(".chip.mask") == "Paris 59.0%"
    page.wait_for_selector(".parity .badge.good:has-text('matches transformers')")
    # Type and run; the tokens are the text again, and the answer stands in the mask's chip.
    page.fill("#mb-text", JAPAN)
    page.press("#mb-text", "Enter")
    page.wait_for_selector(".chip.mask:has-text('Tokyo')")
    person.settle()
    story = page.inner_text(".story")
    assert "Tokyo" in story and "Japan (4)" in story and "Paris" not in story
    # The route: a curve opens the head, the way back leads to the story.
    edge = page.locator(".route g.edge[role=button]").last
    name = re.match(r"Head (\d+)\.(\d+) ", edge.get_attribute("aria-label"))
    edge.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector('[data-view="attention"][aria-selected="true"]')
    person.settle()
    assert f"layer={name[1]}&head={name[2]}&token=6" in page.url
    page.wait_for_selector(f".map figcaption:has-text('Layer {name[1]} head {name[2]}')")
    # Break it.
    person.tab("ablate")
    assert "Tokyo" in page.inner_text(".line")
    page.focus('canvas[data-key^="heat Change"]')
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector("figcaption:has-text('Without head')")
    person.settle()
    person.tab("why")
    # The counterfactual is a text of its own.
    sentence = page.locator(".story li", has_text=" for Japan the answer is ")
    word, answer = re.match(
        r"With (\w+) for Japan the answer is (\w+)", sentence.inner_text()
    ).groups()
    sentence.locator("a").click()
    page.wait_for_selector(f".chip.mask:has-text('{answer}')")
    person.settle()
    assert page.input_value("#mb-text") == JAPAN.replace("Japan", word)
    assert page.inner_text(".answered").startswith(answer)
    # The link brings it back for somebody else.
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("button:has-text('Copy link')")
    page.wait_for_selector(".copied:has-text('copied')")
    link = page.evaluate("navigator.clipboard.readText()")
    other = visit(browser, address)
    other.page.goto(link)
    other.settle()
    assert other.page.inner_text(".answered") == page.inner_text(".answered")
    assert other.page.get_attribute('[data-view="predict"]', "aria-selected") == "true"
    other.page.context.close()


def test_every_phrase_opens_the_view_that_shows_its_number(person):
    """The percentages of the phrases that lead elsewhere stand on the page that they open."""
    page = person.page
    begin(person, text=PARIS, view="why")
    count = page.locator(".story .phrase").count()
    seen = set()
    for i in range(count):
        phrase = page.locator(".story .phrase").nth(i)
        text, title = phrase.inner_text(), phrase.get_attribute("title")
        phrase.click()
        if page.locator(f'figure[data-title="{title}"]').count():  # a figure of this view
            assert page.evaluate("document.activeElement.dataset.title") == title
            continue
        page.wait_for_selector(".story", state="detached")
        person.settle()
        chosen = page.inner_text('.tabs [aria-selected="true"]')
        assert chosen == title
        seen.add(chosen)
        shown = page.inner_text(".view")
        for number in re.findall(r"\d+\.\d%", text):
            assert number in shown or "completeness" in text, (text, chosen)
        begin(person, text=PARIS, view="why")
    assert {"Predictions", "Scores", "Attribution", "Patching", "Attention", "Lens"} <= seen


def test_a_rival_colours_the_text_and_asks_why_not(person):
    page = person.page
    begin(person, text=PARIS, view="rope")
    ground = "getComputedStyle(document.querySelector('.chips [data-token=\"4\"]')).backgroundColor"
    before = page.evaluate(ground)
    page.click(".rival:has-text('Madrid')")
    page.wait_for_selector(".legend-row:has-text('Paris rather than Madrid')")
    assert page.evaluate(ground) != before
    assert page.get_attribute(".rival:has-text('Madrid')", "aria-pressed") == "true"
    page.click("button:has-text('Why not Madrid?')")
    page.wait_for_selector(".story")
    person.settle()
    assert page.input_value("#mb-setting-rival") == "Madrid"
    assert "Madrid" in page.inner_text(".line")
    page.click(".rival:has-text('Madrid')")  # again: no rival
    assert page.get_attribute(".rival:has-text('Madrid')", "aria-pressed") == "false"


FIRST = """(() => {
  const first = document.querySelector("#mb-view").querySelector("figure, p, button, h3");
  return first?.matches("figure") ? first.getBoundingClientRect().top + scrollY : 0;
})()"""
"""Where a tab that opens with a figure has it; 0 for a tab that opens with words."""


CUT = """[...document.querySelectorAll(".about, .chosen, .line")].filter((one) =>
  one.scrollWidth > one.clientWidth + 1 || one.scrollHeight > one.clientHeight + 2)
  .map((one) => one.textContent)"""
"""Sentences above a view that end before their last word."""


def test_the_first_figure_of_every_tab_is_high_and_nothing_above_it_cut(person):
    begin(person, text=PARIS, view="why")
    tops, cut = {}, {}
    for name in person.page.locator(".tabs [data-view]").evaluate_all(
        "all => all.map(b => b.dataset.view)"
    ):
        person.tab(name)
        person.page.wait_for_function("!document.querySelector('.model-view:empty')")
        if name == "mix":
            assert person.page.locator(".scale:has-text('logarithmic colour scale')").count() == 4
        tops[name], cut[name] = person.page.evaluate(FIRST), person.page.evaluate(CUT)
    assert len([top for top in tops.values() if top]) >= 15
    assert {name: top for name, top in tops.items() if top >= 240} == {}
    assert {name: texts for name, texts in cut.items() if texts} == {}


def test_the_text_is_a_strip(person):
    page = person.page
    begin(person, text=PARIS, view="why")
    person.tab("rope")  # needs no time for a long text
    for text in (PARIS, LONG):
        page.fill("#mb-text", text)
        page.press("#mb-text", "Enter")
        page.wait_for_selector(".editor:not(.editing) .chip.mask small")
        strip = page.locator(".editor").bounding_box()
        assert strip["height"] <= 50, text
    person.settle()
    page.evaluate("scrollTo(0, 600)")
    assert page.locator(".editor").bounding_box()["y"] == 0  # it stays in sight
    page.click("button:has-text('All lines')")
    assert page.locator(".editor").bounding_box()["height"] > 100


def test_a_long_coloured_text_opens_at_its_mask(person):
    begin(person, text="The sea fell again. " * 80 + PARIS, view="attribute", steps="1")
    shown = person.page.locator(".strip .tokens").bounding_box()
    mark = person.page.locator(".strip .token.mark").bounding_box()
    assert shown["y"] <= mark["y"] and mark["y"] + mark["height"] <= shown["y"] + shown["height"]
    assert person.page.evaluate("document.querySelector('.strip .tokens').scrollTop") > 100


def test_the_chips_hold_mask_and_edit(person):
    page = person.page
    begin(person, text=PARIS, view="predict")
    page.click('.chips [data-token="4"]')
    page.wait_for_selector('.chip.held[data-token="4"]')
    person.settle()
    assert "token=4" in page.url and page.input_value("#mb-text") == PARIS
    page.keyboard.press("m")
    page.wait_for_selector('.chip.mask[data-token="4"]')
    person.settle()
    assert page.input_value("#mb-text") == "The capital of [MASK] is [MASK]."
    chip = "document.activeElement.dataset.token"
    assert page.evaluate(chip) == "4"  # at once, and when what comes later is there
    page.wait_for_selector(".answer .badge")
    assert page.evaluate(chip) == "4"
    page.keyboard.press("e")
    assert page.evaluate("document.activeElement.id") == "mb-text"
    page.keyboard.type("x")
    page.keyboard.press("Escape")  # as it was
    assert page.input_value("#mb-text") == "The capital of [MASK] is [MASK]."


@pytest.mark.parametrize("view", ["patch", "compare", "steer"])
def test_an_empty_view_offers_the_next_thing(person, view):
    page = person.page
    begin(person, text=PARIS, view=view)
    page.click("#mb-view button.offer")
    page.wait_for_selector("#mb-view figure")
    person.settle()
    assert person.message == "" and "Spain" in page.inner_text(".foot code")


ACTIVE = "document.activeElement === document.body ? 'nothing' : document.activeElement.outerHTML"


@pytest.mark.parametrize(("view", "more", "selector", "keys"), [
    ("predict", {}, "#mb-text", ["x", "Enter"]),  # chips instead of what was typed
    ("predict", {}, ".rival", ["Enter", "Enter"]),
    ("predict", {}, ".corner", ["Enter"]),
    ("predict", {"text": "The sea."}, ".next .offer", ["Enter"]),  # gone with what it offered
    ("predict", {}, "#mb-setting-top_k", ["3", "Enter"]),
    ("predict", {}, "#mb-view td button", ["Enter"]),
    ("attention", {"token": 4}, ".holding > button", ["Enter"]),  # nothing more to let go
    ("attention", {}, "#mb-setting-picture-map", ["ArrowRight"]),
    ("attention", {}, "#mb-view .held-head td button", ["Enter"]),
    ("attention", {}, ".rung[aria-checked=true]", ["ArrowRight", "End"]),
    ("model-view", {"parts": '"6.3, 6.1"'}, ".gone", ["Enter", "Enter", "Enter"]),  # all gone
    ("model-view", {"parts": '"6.3"'}, ".fall button", ["Enter"]),
    ("model-view", {}, "#mb-view td button", ["Enter"]),
    ("ablate", {}, ".foot > button", ["Enter"]),  # another view
    ("why", {}, ".story .phrase", ["Enter"]),
    ("patch", {}, "#mb-view .offer", ["Enter"]),
])  # fmt: skip
def test_the_keyboard_keeps_its_place(person, view, more, selector, keys):
    page = person.page
    begin(person, **({"text": PARIS, "view": view, "layer": 6, "head": 3} | more))
    if selector == ".corner":  # of the chip that is selected
        page.focus('.chips [data-token="4"]')
        page.keyboard.press("Enter")
        person.settle()
    else:
        page.locator(selector).first.focus()
    for key in keys:
        page.keyboard.press(key)
        assert page.evaluate(ACTIVE) != "nothing", key
        page.wait_for_timeout(100)
        person.settle()
        assert page.evaluate(ACTIVE) != "nothing", key


def test_what_a_narrow_page_hides_passes_the_focus_on(person):
    begin(person, text=PARIS, view="steer")
    person.page.focus("button.run")
    person.page.set_viewport_size({"width": 390, "height": 844})
    person.page.keyboard.press("Enter")
    person.settle()
    person.page.wait_for_function(f"({ACTIVE}) !== 'nothing'")
    # And its bar of tabs has the open one in sight.
    tab = person.page.locator('.tabs [aria-selected="true"]').bounding_box()
    assert tab["x"] >= 0 and tab["x"] + tab["width"] <= 390


COVERED = """[...document.querySelectorAll(".route g.edge text")].filter((one, i, all) => {
  const box = one.getBoundingClientRect(), svg = one.ownerSVGElement.getBoundingClientRect();
  const inside = (x, y) => x > box.left && x < box.right && y > box.top + 3 && y < box.bottom - 3;
  const curves = [...document.querySelectorAll(".route path.edge")];
  const points = curves.flatMap((path) => [...Array(21).keys()].map((i) =>
    path.getPointAtLength((path.getTotalLength() * i) / 20)));
  return points.some(({ x, y }) => inside(svg.left + x, svg.top + y))
    || box.left < svg.left || box.right > svg.right
    || all.slice(0, i).map((other) => other.getBoundingClientRect()).some((other) =>
      other.left < box.right && box.left < other.right && Math.abs(other.top - box.top) < 12);
}).map((one) => one.textContent)"""
"""Names of heads that stand on a curve or on one another, or leave the picture."""


@pytest.mark.parametrize("wide", [320, 390, 1440])
def test_names_of_heads_cover_no_curve(person, wide):
    begin(person, text=PARIS, view="why")
    person.page.set_viewport_size({"width": wide, "height": 900})
    person.page.wait_for_function(
        f"document.querySelector('.route svg').clientWidth < {min(wide, 800)}"
    )
    assert person.page.locator(".route g.edge text").count() >= 3
    assert person.page.evaluate(COVERED) == []


LEFT = {"region"}
"""Rules that are Gradio's: its own frame has an element outside of the landmarks."""


@pytest.mark.parametrize(("view", "width", "theme"), [
    ("why", 1440, "light"), ("why", 390, "dark"), ("attention", 1440, "light"),
    ("lens", 1440, "dark"), ("ablate", 390, "light"), ("patch", 1440, "light"),
])  # fmt: skip
def test_axe_finds_nothing(world, view, width, theme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    person = visit(*world, width=width, theme=theme)
    begin(person, text=PARIS, view=view)
    found = axe.run(person.page, context=".mbexplore").response["violations"]
    wrong = {
        one["id"]: [node["html"][:160] for node in one["nodes"]][:4]
        for one in found if one["id"] not in LEFT
    }  # fmt: skip
    assert wrong == {}
    small = person.page.evaluate(SMALL)
    assert small == []
    assert person.page.evaluate(TOUCHING) == []
    person.page.context.close()


TOUCHING = """[...document.querySelectorAll(".route .column-name")]
  .map((one) => [one.textContent, one.getBoundingClientRect()])
  .filter(([, box], i, all) => i && all[i - 1][1].top === box.top
    && all[i - 1][1].right > box.left - 2)
  .map(([name]) => name)"""
"""Names of tokens under the route that touch the one before."""
SMALL = """[...document.querySelectorAll(
  ".mbexplore button, .mbexplore select, .mbexplore input:not([type=checkbox]):not([type=radio])")]
  .filter((one) => one.getClientRects().length)
  .map((one) => [one.className || one.id || one.textContent, one.getBoundingClientRect()])
  .filter(([, box]) => box.height < 23.5 || box.width < 23.5).map(([name]) => name)"""
"""Controls under 24 px."""
