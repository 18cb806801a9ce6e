"""The page's maps and curves under a mouse, a keyboard, and on a narrow page in the dark."""

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from tests.browser import MARKS, visit
from tests.test_ui_browser import CONTRAST

pytestmark = MARKS
PARIS = "The capital of France is [MASK]."
TWIN = '"The capital of Italy is [MASK]."'
VIEWS = (
    "rope",
    "rope-score",
    "residual",
    "neurons",
    "heads",
    "lens",
    "ablate",
    "patch",
    "attribute",
    "compare",
)


def cells(person, title):
    """The canvas of a map, found by the first words of its title."""
    return person.page.locator(f'canvas[data-key^="heat {title}"]')


def click_cell(person, title, row, column, columns, height=24):
    """A click in the middle of a cell."""
    canvas = cells(person, title)
    width = (canvas.bounding_box()["width"] - 2) / columns
    canvas.click(position={"x": (column + 0.5) * width, "y": (row + 0.5) * height})


def test_a_click_on_the_ablation_map_ablates_the_head_and_arrows_move_it(person):
    person.open(text=PARIS, view="ablate")
    click_cell(person, "Change of the logit", 1, 2, columns=4)  # layer 7: layers run upwards
    person.page.wait_for_selector("figcaption:has-text('Without head 7.2')")
    person.settle()
    assert "layer=7&head=2" in person.page.url
    told = person.page.inner_text(".heat .readout")
    assert told.startswith("layer 7 \N{MIDDLE DOT} head 2 \N{MIDDLE DOT} ")
    cells(person, "Change of the logit").focus()
    person.page.keyboard.press("ArrowDown")
    person.page.keyboard.press("Enter")
    person.page.wait_for_selector("figcaption:has-text('Without head 6.2')")
    person.settle()
    assert person.page.evaluate("document.activeElement.dataset.key").startswith("heat Change")


def test_a_click_on_the_lens_holds_the_token_for_every_view(person):
    person.open(text=PARIS, view="lens", all_tokens="true")
    click_cell(person, "Top prediction after", 3, 4, columns=9)  # layer 5: layers run upwards
    person.page.wait_for_function("location.hash.includes('token=4')")
    person.settle()
    assert "layer=5" in person.page.url and "token=4" in person.page.url
    person.tab("rope-score")
    assert "the score of France (4) and" in person.page.inner_text(".line")
    person.page.click("#mb-view button.link:has-text('capital')")
    person.page.wait_for_function(
        "document.querySelector('.line').textContent.includes('and capital (2)')"
    )
    assert "key=2" in person.page.url


def test_a_cursor_stays_where_it_was_when_what_it_holds_is_drawn(person):
    person.open(text=PARIS, view="attention", layer=4, head=2)
    canvas = person.page.wait_for_selector("canvas[data-key=map]")
    canvas.focus()
    for key in (*["ArrowUp"] * 4, "ArrowRight", "Enter"):  # from the mask's row, which is marked
        person.page.keyboard.press(key)
    person.page.wait_for_function("location.hash.includes('token=2')")
    person.settle()
    told = person.page.inner_text(".map .readout")
    assert told.startswith("capital 2 \N{RIGHTWARDS ARROW} The 1 ")
    person.page.keyboard.press("ArrowDown")
    assert person.page.inner_text(".map .readout").startswith("of 3 \N{RIGHTWARDS ARROW} The 1 ")


def test_a_curve_tells_its_values(person):
    person.open(text=PARIS, view="lens")
    chart = person.page.locator('[data-key^="lines Rank"]')
    chart.focus()
    for _ in range(3):
        person.page.keyboard.press("ArrowRight")
    told = chart.locator("xpath=following-sibling::p").inner_text()
    assert told.startswith("layer 1 \N{MIDDLE DOT} ")


def test_a_click_from_one_control_into_the_next_loses_nothing(person):
    """The first one's new value redraws the view while the second one is being clicked."""
    person.open(text=PARIS, view="patch")
    page = person.page
    page.click("#mb-setting-other")
    page.keyboard.type(TWIN.strip('"'))
    page.click("#mb-setting-answer")
    page.keyboard.type("Par")
    page.wait_for_selector("#mb-view canvas")  # of what the first one asked for
    page.keyboard.type("is")
    page.keyboard.press("Tab")
    page.wait_for_function("location.hash.includes('answer=%22Paris%22')")
    person.settle()
    assert page.evaluate("document.activeElement.id") == "mb-setting-other_answer"
    assert page.input_value("#mb-setting-other") == TWIN.strip('"') and person.message == ""


def test_controls_stand_only_where_they_do_something(person):
    page = person.page

    def seen(name):
        return page.locator(f"#mb-{name}").count() == 1

    person.open(text=PARIS, view="attention", layer=4)
    assert seen("head") and seen("setting-picture-arcs") and not seen("setting-mass")
    page.click("#mb-setting-picture-arcs + span")
    page.wait_for_selector("#mb-setting-mass")
    page.click("#mb-setting-picture-map + span")
    page.wait_for_selector("#mb-setting-mass", state="detached")
    assert seen("head") and not seen("setting-mass")
    page.click("#mb-setting-picture-arcs + span")
    page.wait_for_selector("#mb-setting-mass")
    person.settle()


def test_a_long_text_scrolls_in_its_map_and_not_in_the_page(world):
    person = visit(*world, width=390)
    person.open(
        text="The [MASK] rose. " + "The sea fell again and the moon rose. " * 8,
        view="lens",
        all_tokens="true",
    )
    assert person.page.evaluate("document.documentElement.scrollWidth") <= 390
    scroller = "document.querySelector('.scroller')"
    assert person.page.evaluate(f"{scroller}.scrollWidth > {scroller}.clientWidth")
    # Where nothing is marked, what stands out most is in sight, though it stands far to the right.
    person.open(
        text="The sea fell again and the moon rose. " * 11 + "The [MASK] is large.", view="compare",
        other='"' + "The sea fell again and the moon rose. " * 11 + 'The [MASK] is small."',
    )  # fmt: skip
    assert person.page.evaluate(f"{scroller}.scrollLeft") > 50
    person.page.focus("#mb-text")
    assert person.page.evaluate("document.querySelector('#mb-text').clientHeight") > 100
    person.page.context.close()
    assert person.errors == []


def test_the_window_on_a_long_text_moves_and_follows_the_held_token(person, monkeypatch):
    monkeypatch.setattr("mbexplore.display.browser.WIDE", 10)
    person.open(
        text="The [MASK] rose. " + "The sea fell again. " * 8, view="lens", all_tokens="true"
    )
    page = person.page
    assert page.inner_text(".overview .readout").startswith("Drawn below: tokens 0 to 9 of 4")
    page.focus(".overview input")
    page.keyboard.press("End")
    page.wait_for_function("location.hash.includes('first=')")
    person.settle()
    assert "to a pixel" not in page.inner_text(".overview .readout")
    assert "tokens 0 to" not in page.inner_text(".overview .readout")
    assert page.evaluate("document.activeElement.type") == "range"
    page.fill("#mb-token", "1")  # outside of the window: it goes back there
    page.press("#mb-token", "Enter")
    page.wait_for_selector(".overview .readout:has-text('Tokens 0 to 9')")
    person.settle()
    assert "first=" not in page.url
    box = page.locator(".overview canvas").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 8)
    page.wait_for_function("location.hash.includes('first=')")
    person.settle()
    page.fill("#mb-text", "The [MASK] sank. " + "The sea rose again. " * 8)
    page.press("#mb-text", "Enter")  # another text: from its own beginning
    page.wait_for_function("!location.hash.includes('first=')")
    person.settle()
    assert "tokens 0 to 9" in page.inner_text(".overview .readout")


def test_every_view_fits_a_telephone_in_the_dark(world):
    person = visit(*world, width=390, theme="dark")
    person.open(text=PARIS, view="patch", other=TWIN)  # a second text is that of every view
    for view in ("patch", *VIEWS):
        person.tab(view)
        assert person.message == "", view
        assert person.page.locator("#mb-view figure").count() > 0, view
        assert person.page.evaluate("document.documentElement.scrollWidth") <= 390, view
        assert person.page.evaluate(CONTRAST) >= 4.5, view
    person.page.context.close()
    assert person.errors == []


def test_a_pair_leads_to_its_tokens_and_these_to_patching(person):
    person.open(text=PARIS, view="pairs", pairs='"The tide rises. | The tide rise."')
    assert "of 1 pair," in person.page.inner_text(".line")
    person.page.click(".body table button.link")
    person.page.wait_for_function(
        "document.querySelector('.line').textContent.startsWith('Pair 0')"
    )
    person.settle()
    person.page.click(".story a:has-text('differs most')")
    person.page.wait_for_function("location.hash.includes('view=patch')")
    person.settle()
    assert "[MASK]" in person.page.input_value("#mb-text")
    assert "holds" in person.page.inner_text(".line")
    person.page.go_back()
    person.settle()
    assert person.page.inner_text(".line").startswith("Pair 0")
