"""The page in a real browser: the tour, hostile texts, two people, keyboard, themes, widths."""

import os
from pathlib import Path

import pytest

import mbexplore

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from tests.browser import MISSING, chromium, served, visit
from tests.tour import LOCAL, PARIS, Tour

pytestmark = [
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
    pytest.mark.filterwarnings("default"),  # what servers and browsers leave open is theirs
]
PICTURES = os.environ.get("MBEXPLORE_TOUR")
"""A folder for a picture of every view."""


@pytest.fixture(scope="module")
def world():
    """One server and one browser for all tests of this file."""
    models = {"tiny": mbexplore.load("tiny", device="cpu")}
    assert models["tiny"].reference  # opened here, so that no step waits for transformers
    with served(models) as (address, sessions), chromium() as browser:
        yield browser, address, sessions


@pytest.fixture
def person(world):
    browser, address, _ = world
    visited = visit(browser, address)
    yield visited
    visited.page.context.close()
    assert visited.foreign == [] and visited.errors == []


def test_the_tour(person):
    """Everything a person does on it, and not one request to another address."""
    if PICTURES:
        Path(PICTURES).mkdir(parents=True, exist_ok=True)
    Tour(person, Path(PICTURES) if PICTURES else None).run()


HOSTILE = [
    "<script>document.title='owned'</script> is [MASK].",
    "<img src=x onerror=\"document.title='owned'\"> is [MASK].",
    "# *markdown* [link](javascript:alert(1)) `x` [MASK]",
    "\u202eright to left\u202c \u05e9\u05dc\u05d5\u05dd [MASK]",
    "zero\u200bwidth\ufeff and \N{FAMILY} \N{THUMBS UP SIGN}\N{ZERO WIDTH JOINER} [MASK]",
]


@pytest.mark.parametrize("text", HOSTILE, ids=["script", "img", "markdown", "rtl", "zero-width"])
def test_text_is_data(person, text):
    person.open(text=text)
    page = person.page
    assert page.input_value("#mb-text") == text
    assert page.locator(".chip").count() > 5
    assert page.locator(".chip script, .chip img, #mb-view script, #mb-view img").count() == 0
    assert page.title() == "mbexplore"
    assert person.message == ""
    assert "\u200b" not in page.inner_text(".chips")  # what can't be seen is spelt out


def test_what_cannot_be_used_is_one_sentence(person):
    person.open(text=PARIS)
    page = person.page
    for text, sentence in (
        ("   ", "The text is empty"),
        ("No mask here.", "has no [MASK]"),
        ("word " * 10_000, "keep its beginning"),
    ):
        page.fill("#mb-text", text)
        page.press("#mb-text", "Enter")
        page.wait_for_function(
            "part => document.querySelector('.message').textContent.includes(part)", arg=sentence
        )
        assert "Traceback" not in page.content()
    page.click("button:has-text('Keep the beginning')")
    page.wait_for_selector(".chip")
    assert "2,048 of 2,048" in page.inner_text(".count")


def test_two_people_never_meet(world):
    browser, address, sessions = world
    assert emptied(browser, sessions)  # the people of other tests have gone
    first, second = visit(browser, address), visit(browser, address)
    first.open(text="My secret is [MASK].")
    second.open(text=PARIS)
    assert len(sessions) == 2
    assert "secret" not in second.page.content()
    assert "France" not in first.page.inner_text(".chips")
    for one in (first, second):
        one.page.context.close()
    assert emptied(browser, sessions)  # a closed tab is forgotten


def emptied(browser, sessions, seconds=60):
    """Whether everybody is forgotten before long; the server hears of a closed tab late."""
    page = browser.new_context().new_page()
    for _ in range(10 * seconds):
        if not len(sessions):
            break
        page.wait_for_timeout(100)
    page.context.close()
    return not len(sessions)


def test_the_keyboard_alone(person):
    person.open(text=PARIS)
    page = person.page
    seen = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.add(
            page.evaluate(
                "(() => { const e = document.activeElement, s = getComputedStyle(e);"
                " return (e.id || e.className || e.textContent)"
                " + (s.outlineStyle === 'none' ? '!' : '') })()"
            )
        )
    for wanted in ("mb-model", "mb-text", "run", "chip special"):
        assert any(name.startswith(wanted) for name in seen), (wanted, seen)
    assert not any(name.endswith("!") and name.startswith(("mb-", "run", "chip")) for name in seen)


@pytest.mark.parametrize(("width", "theme"), [(390, "dark"), (1920, "light")])
def test_it_fits(world, width, theme):
    """Nothing sticks out sideways, and text stands out from its ground by 4.5 to 1."""
    browser, address, _ = world
    person = visit(browser, address, width=width, theme=theme)
    person.open(text=PARIS, view="attention", layer=LOCAL)
    page = person.page
    page.wait_for_selector(".thumb.held")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.body.classList.contains('dark')") == (theme == "dark")
    assert page.evaluate(CONTRAST) >= 4.5
    person.page.context.close()
    assert person.errors == []


CONTRAST = """(() => {
  const light = (c) => {
    const [r, g, b] = c.match(/[\\d.]+/g).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    for (let n = node; n; n = n.parentElement) {
      const colour = getComputedStyle(n).backgroundColor;
      if (!/, 0\\)$|transparent/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const worst = [...document.querySelectorAll(".mbexplore *")]
    .filter((n) => [...n.childNodes].some((c) => c.nodeType === 3 && c.data.trim()))
    .filter((n) => n.getClientRects().length && !n.closest(".hidden"))
    .map((n) => {
      const [a, b] = [light(getComputedStyle(n).color), light(ground(n))].sort((x, y) => y - x);
      return (a + 0.05) / (b + 0.05);
    });
  return Math.min(...worst);
})()"""
