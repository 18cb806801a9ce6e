"""What a person's visit once found wrong with the page, and must not come back."""

import json

import pytest
from mbexplore_ui.component import link_names

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from tests.browser import MARKS

pytestmark = MARKS
PARIS = "The capital of France is [MASK]."
ROME = "The capital of Italy is [MASK]."
HOT = "The opposite of hot is [MASK]."
LONG = "The sea fell again and the moon rose. " * 33 + "The [MASK] is large."
FOLDER = "/models/mine"
OPACITY = "selector => getComputedStyle(document.querySelector(selector)).opacity"


@pytest.fixture(scope="module")
def models(tiny):
    """The bundled model, and itself as a folder."""
    return {"tiny": tiny, FOLDER: tiny}


def press(person, field, text):
    """Types over a number or a line, and waits for the view."""
    person.page.fill(f"#mb-{field}", text)
    person.page.press(f"#mb-{field}", "Tab")
    person.settle()


def test_a_text_that_was_typed_is_run_by_whatever_comes_next(person):
    person.open(text=PARIS, view="lens")
    page = person.page

    def typed(text):
        page.fill("#mb-text", text)
        assert page.evaluate(OPACITY, ".chips") == "0"  # they are of the text before

    def is_run(word):
        page.wait_for_selector(f".chip:has-text('{word}')")
        person.settle()
        assert word in page.input_value("#mb-text") and word in page.inner_text(".foot code")
        assert page.evaluate(OPACITY, ".chips") == "1"

    typed(HOT)
    page.click('[data-group="From where"]')
    is_run("hot")
    typed(ROME)
    page.click("button.run")
    is_run("Italy")
    assert page.input_value("#mb-text") == ROME
    typed(PARIS)
    page.click('.thumb[data-layer="4"][data-head="1"]')
    is_run("France")
    assert "layer=4&head=1" in page.url


def test_what_is_selected_in_a_long_text_is_visible(person):
    person.open(text="The boats wait again. " * 14 + "The [MASK] rose.", view="attention",
                layer=6, head=3, token=62, picture='"arcs"')  # fmt: skip
    page = person.page
    page.wait_for_function("document.querySelector('.arcs .tall').scrollTop > 300")
    assert page.inner_text(".arcs .readout").split(" attends to ")[0].endswith(" 62")
    person.open(text=LONG, view="rope-score", layer=4, head=1)
    assert page.locator(".chip").count() > 260
    inside = """selector => {
      const one = document.querySelector(selector).getBoundingClientRect();
      const box = document.querySelector(".chips").getBoundingClientRect();
      return box.top <= one.top && one.bottom <= box.bottom
        && box.left <= one.left && one.right <= box.right;
    }"""
    assert page.evaluate(inside, ".chip.mask")
    press(person, "token", "3")
    assert page.evaluate(inside, ".chip.held") and not page.evaluate(inside, ".chip.mask")


def test_an_emptied_field_selects_nothing_or_what_it_did(person):
    person.open(text=PARIS, view="rope-score", layer=4, head=2, token=5)
    page = person.page
    press(person, "token", "")
    assert "token=" not in page.url and page.inner_text(".holding .none") == "none"
    press(person, "layer", "")
    press(person, "head", "")
    assert "layer=4&head=2" in page.url
    assert [page.input_value(f"#mb-{name}") for name in ("layer", "head")] == ["4", "2"]
    person.tab("neurons")
    press(person, "setting-top_k", "3")
    assert "top_k=3" in page.url
    press(person, "setting-top_k", "")
    assert page.input_value("#mb-setting-top_k") == "12" and person.message == ""


def test_answer_and_second_text_are_those_of_every_view(person):
    person.open(text=PARIS, view="lens", answer='"Rome"')
    page = person.page
    for view in ("ablate", "attribute", "patch"):
        person.tab(view)
        assert page.input_value("#mb-setting-answer") == "Rome", view
        if view == "ablate":
            page.wait_for_selector(".foot code:has-text('--answer Rome')")
    press(person, "setting-other", ROME)
    person.tab("compare")
    assert page.input_value("#mb-setting-other") == ROME
    assert page.locator("#mb-view canvas").count() > 0
    person.tab("lens")
    press(person, "setting-answer", "")
    person.tab("attribute")
    assert page.input_value("#mb-setting-answer") == "" and "answer=" not in page.url


def test_the_way_back_leads_through_heads_and_zooms(person):
    person.open(text=PARIS, view="attention", layer=4, head=2)
    page = person.page

    def title(words):
        page.wait_for_selector(f".map figcaption:has-text('{words}')")
        person.settle()

    page.click('.thumb[data-layer="3"][data-head="1"]')
    title("Layer 3 head 1")
    assert page.evaluate("document.activeElement.dataset.key") == "thumbs"  # arrows go on there
    page.focus("canvas[data-key=map]")
    page.keyboard.press("+")
    page.wait_for_selector("button:has-text('Whole map')")
    person.settle()
    page.go_back()
    page.wait_for_selector("button:has-text('Whole map')", state="detached")
    title("Layer 3 head 1")
    page.go_back()
    title("Layer 4 head 2")
    page.go_forward()
    title("Layer 3 head 1")
    saved = json.loads(person.saved("json"))
    assert saved["layer"] == 3 and saved["heads"] == [1]


def test_the_last_view_stays_dimmed_where_there_is_no_new_one(person):
    person.open(text=PARIS, view="predict")
    page = person.page
    person.mask(6)
    page.wait_for_selector(".message:has-text('has no [MASK]')")
    person.settle()
    assert page.evaluate(OPACITY, "#mb-view") == "0.3" and "Paris" in page.inner_text("#mb-view")
    assert page.evaluate(OPACITY, ".line") == "0.3"  # "Paris 59%" of another text
    assert page.locator(".foot button").count() == 0  # nothing to save
    person.open(text=PARIS, view="attribute")
    assert page.evaluate(OPACITY, "#mb-view") == "1"
    press(person, "setting-steps", "0")
    page.wait_for_selector(".message:has-text('steps is 0')")
    assert page.evaluate(OPACITY, "#mb-view") == "0.3"
    assert page.locator("#mb-view figure").count() > 0
    press(person, "setting-steps", "16")
    assert person.message == "" and page.evaluate(OPACITY, "#mb-view") == "1"
    person.open(text=PARIS, view="attention", layer=3, picture='"band"')
    assert "global and has no band" in person.message
    assert page.locator(".foot button").count() == 0


def test_links_name_models_and_no_folders(person):
    person.open(text=PARIS, view="rope", model="mine")
    page = person.page
    assert page.input_value("#mb-model") == FOLDER and person.message == ""
    assert "model=mine&" in page.url
    person.open(text=PARIS, view="rope", model="elsewhere")
    assert "elsewhere, was not opened at the start" in person.message and "tiny" in person.message
    assert page.input_value("#mb-model") == "tiny"
    person.tab("lens")
    assert "elsewhere" in person.message
    page.click("button.run")
    page.wait_for_selector(".message:empty", state="attached")
    person.settle()
    names = ["tiny", "/a/one", "/b/one", "/b/two", "team/model"]
    assert link_names(names) == ["tiny", "/a/one", "/b/one", "two", "team/model"]


def test_the_frame(person):
    """One <main>, a theme that lasts, and copying where the browser lends no clipboard."""
    page = person.page
    page.add_init_script(
        "Object.defineProperty(Navigator.prototype, 'clipboard', { get: () => undefined });"
    )
    person.open(text=PARIS, view="lens")
    assert page.locator("main").count() == 1
    tops = page.locator(".row > .part > div").evaluate_all(
        "all => all.map((one) => one.getBoundingClientRect().top)"
    )
    assert len(tops) == 3 and len(set(tops)) == 1  # beside each other
    page.click(".foot button:text-is('Copy')")
    page.wait_for_selector(".copied:has-text('copying failed; select the text')")
    page.click(".theme")
    page.reload()
    person.settle()
    assert page.evaluate("document.body.classList.contains('dark')")


def test_legends_say_how_colours_follow_values(person):
    person.open(text=PARIS, view="attention", layer=4, head=2)
    page = person.page
    assert "square-root colour scale" in page.inner_text(".map .scale")
    page.wait_for_selector(".model-view .note:has-text('to its own largest weight')")
    person.open(text=PARIS, view="lens", all_tokens="true")
    light = """row => {
      const canvas = document.querySelector('canvas[data-key^="heat Top prediction"]');
      const context = canvas.getContext("2d"), high = (canvas.height / canvas.clientHeight) * 24;
      const { data } = context.getImageData(3, Math.round(row * high) + 3, 1, 1);
      return data[0] + data[1] + data[2];
    }"""
    assert page.evaluate(light, 0) < 255 < page.evaluate(light, 9)  # rank 1 is what stands out
