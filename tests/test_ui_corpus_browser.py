"""The page's dashboard of a head: it opens from anywhere, and a click on a point opens another."""

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from tests.browser import MARKS

pytestmark = MARKS
PARIS = "The capital of France is [MASK]."
SCATTER = '[data-key^="scatter All"]'


def point(person, name):
    """Where the point of a head is on the screen, found as a reader finds it: by what is said."""
    box = person.page.locator(SCATTER).bounding_box()
    for circle in person.page.locator(f"{SCATTER} circle.dot").all():
        at = circle.bounding_box()
        x, y = at["x"] + at["width"] / 2, at["y"] + at["height"] / 2
        person.page.mouse.move(x, y)
        if person.page.inner_text(".scatter .readout").startswith(f"{name} "):
            return x - box["x"], y - box["y"]
    raise AssertionError(f"no point says {name}")


def test_a_click_on_a_point_opens_that_head(person):
    person.open(text=PARIS, view="corpus", layer=5, head=2)
    page = person.page
    assert page.inner_text(".line").startswith("Head 5.2 (local): on ")
    assert "2,000 texts" in page.inner_text("#mb-view")
    assert page.locator(f"{SCATTER} circle.dot").count() == 36
    assert page.locator(f"{SCATTER} circle.ring").count() == 36
    x, y = point(person, "1.3")
    page.locator(SCATTER).click(position={"x": x, "y": y})
    page.wait_for_function("document.querySelector('.line').textContent.startsWith('Head 1.3 ')")
    person.settle()
    assert "layer=1&head=3" in page.url
    assert page.text_content(f"{SCATTER} .named") == "1.3"
    page.go_back()
    page.wait_for_function("document.querySelector('.line').textContent.startsWith('Head 5.2 ')")


def test_any_two_metrics_and_the_keyboard(person):
    person.open(text=PARIS, view="corpus", layer=5, head=2)
    page = person.page
    page.select_option('[data-key^="y of All"]', "duplicate")
    page.wait_for_function("location.hash.includes('metric=%22duplicate%22')")
    person.settle()
    page.select_option('[data-key^="x of All"]', "self")
    page.wait_for_function("location.hash.includes('against=%22self%22')")
    person.settle()
    assert page.locator(f"{SCATTER} .axis").all_text_contents() == ["self", "duplicate"]
    page.locator(SCATTER).focus()
    page.keyboard.press("ArrowRight")
    name = page.inner_text(".scatter .readout").split(" ")[0]
    assert name != "5.2"
    page.keyboard.press("Enter")
    page.wait_for_function(
        "name => document.querySelector('.line').textContent.startsWith(`Head ${name} `)", arg=name
    )
    person.settle()
    assert "metric=%22duplicate%22" in page.url


def test_the_selected_head_is_one_click_away(person):
    person.open(text=PARIS, view="attention", layer=3, head=1)
    person.page.click("button:has-text('3.1 in the corpus')")
    person.page.wait_for_function(
        "document.querySelector('.line').textContent.startsWith('Head 3.1 (global)')"
    )
    person.settle()
    assert "view=corpus" in person.page.url


def test_a_neuron_and_back_to_its_neighbours_head(person):
    person.open(text=PARIS, view="corpus", layer=4, head=1, neuron=117)
    page = person.page
    assert page.inner_text(".line").startswith("Neuron 4.117: ")
    assert page.locator("#mb-head").count() == 0  # it would change nothing
    assert page.locator(f"{SCATTER} circle.dot").count() == 384
    person.tab("corpus-search")
    assert "add a token" in page.inner_text("#mb-view")
    page.fill("#mb-setting-pattern", "query is number, distance < 0")
    page.keyboard.press("Enter")
    page.wait_for_selector("#mb-view table")
    person.settle()
    first = page.locator("#mb-view td button.link").first
    name = first.inner_text()
    first.click()
    page.wait_for_function(
        "name => document.querySelector('.line').textContent.startsWith(`Head ${name} `)", arg=name
    )


def test_a_saved_dashboard_lets_one_choose_too(person, tmp_path):
    person.open(text=PARIS, view="corpus", layer=5, head=2)
    (tmp_path / "head.html").write_bytes(person.saved("html"))
    page = person.page.context.new_page()
    page.goto((tmp_path / "head.html").as_uri())
    page.select_option('[data-key^="x of All"]', "distance")
    assert "distance" in page.locator(f"{SCATTER} .axis").all_text_contents()


def test_heads_that_only_cells_name_are_one_click_away(person):
    person.open(text=PARIS, view="why")
    page = person.page
    offered = page.locator(".foot button:has-text('in the corpus')")
    names = [one.inner_text().split()[0] for one in offered.all()]
    assert len(names) > 1 and len(set(names)) == len(names)
    assert all(page.locator(f"#mb-view button:text-is('{name}')").count() for name in names)
    offered.last.click()
    page.wait_for_function(
        f"document.querySelector('.line').textContent.startsWith('Head {names[-1]} (')"
    )
