"""The page in a real browser: the tour, hostile texts, two people, keyboard, themes, widths."""

import os
import time
import urllib.error
from pathlib import Path

import pytest

import mbexplore

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from tests.browser import MISSING, chromium, served, visit
from tests.test_ui import call
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


@pytest.mark.parametrize("view", ["attention", "lens", "attribute", "compare"])
def test_text_is_data_in_every_kind_of_part(person, view):
    """Tables, maps, coloured texts and titles: nothing of a text becomes markup."""
    text = "<img src=x onerror=\"document.title='owned'\"> <b>is</b> [MASK]."
    person.open(
        text=text, view=view, **({"other": '"<i>so</i> [MASK]"'} if view == "compare" else {})
    )
    page = person.page
    assert page.locator("#mb-view img, #mb-view b, #mb-view i, .foot img, .line b").count() == 0
    assert page.locator("#mb-view table").count() > 0 or view == "lens"
    assert page.title() == "mbexplore" and person.message == ""


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


def test_long_work_can_be_stopped_and_begun_again(person, monkeypatch):
    from mbexplore_ui.views import knockout

    patient = knockout.knockout_heads

    def slow(*args, on_step, **wishes):
        def wait(done, total):
            time.sleep(0.6)
            on_step(done, total)

        return patient(*args, on_step=wait, **wishes)

    monkeypatch.setattr(knockout, "knockout_heads", slow)
    page = person.page
    page.goto(f"{person.address}/#view=knockout")
    page.wait_for_selector(".progress:has-text(' of 36')")
    page.wait_for_selector(".progress:has-text(' left')")
    assert page.locator("#mb-view figure").count() == 2  # the prediction is there meanwhile
    page.click("button:has-text('Stop')")
    page.wait_for_selector(".message:has-text('Stopped')")
    person.settle()
    assert page.locator("#mb-view figure").count() == 2  # and stays
    assert person.message == "Stopped; Run starts it again."
    assert page.input_value("#mb-text") == PARIS and page.locator(".chip").count() == 9
    assert page.inner_text(".progress") == "" and not page.locator(".mbexplore.busy").count()
    monkeypatch.undo()
    page.click("button.run")
    page.wait_for_selector("#mb-view canvas")
    person.settle()
    assert person.message == ""


def test_shift_click_masks_a_range_and_shows_it_again(person):
    whole = "The capital of France is Paris."
    person.open(text=whole, view="lens")
    page = person.page

    def click(token, masks, **how):
        page.click(f'.chips [data-token="{token}"]', **how)
        page.wait_for_function(
            "count => document.querySelectorAll('.chip.mask').length === count", arg=masks
        )
        person.settle()

    click(4, 1)
    assert page.input_value("#mb-text") == "The capital of [MASK] is Paris."
    click(6, 3, modifiers=["Shift"])
    assert page.input_value("#mb-text") == "The capital of [MASK] [MASK] [MASK]."
    click(4, 0, modifiers=["Shift"])
    assert page.input_value("#mb-text") == whole


def test_hovering_a_thumbnail_looks_and_a_click_holds(person):
    person.open(text=PARIS, view="attention", layer=LOCAL, head=1)
    page = person.page
    page.wait_for_selector(".thumb.held")
    held = page.inner_text(".map figcaption")
    assert held.startswith(f"Layer {LOCAL} head 1")
    before = page.url
    page.hover('.thumb[data-layer="3"][data-head="2"]')
    page.wait_for_selector(".looking .map figcaption:has-text('Layer 3 head 2')")
    assert page.url == before and page.input_value("#mb-layer") == str(LOCAL)
    page.hover("h1")
    page.wait_for_selector(".looking", state="detached")
    assert page.inner_text(".map figcaption") == held
    page.click('.thumb[data-layer="3"][data-head="2"]')
    page.wait_for_selector('.thumb.held[data-layer="3"][data-head="2"]')
    person.settle()
    assert "layer=3&head=2" in page.url
    assert page.inner_text(".map figcaption").startswith("Layer 3 head 2")


def test_arrow_keys_move_the_held_layer_and_head(person):
    person.open(text=PARIS, view="rope", layer=LOCAL, head=1)
    page = person.page
    for name, key, now in (
        ("layer", "ArrowUp", "layer=5&head=1"),
        ("head", "ArrowDown", "layer=5&head=0"),
        ("head", "ArrowDown", "layer=5&head=0"),  # there is none below
    ):
        page.focus(f"#mb-{name}")
        page.keyboard.press(key)
        page.wait_for_function("now => location.hash.includes(now)", arg=now)
        person.settle()
        assert page.evaluate("document.activeElement.id") == f"mb-{name}"
    assert page.inner_text(".line").startswith("Head 5.0")


def test_a_password_keeps_the_page_and_its_endpoints(world):
    browser, _, _ = world
    models = {"tiny": mbexplore.load("tiny", device="cpu")}
    with served(models, auth=("ada", "right")) as (address, _):
        with pytest.raises(urllib.error.HTTPError) as refused:
            call(address, "tokens", "tiny", PARIS)
        assert refused.value.code == 401
        person = visit(browser, address)
        page = person.page
        page.goto(address)
        for password in ("wrong", "right"):
            page.get_by_label("username").fill("ada")
            page.get_by_label("password").fill(password)
            page.get_by_role("button", name="Login").click()
            if password == "wrong":
                page.wait_for_selector("text=Incorrect")
                assert page.locator(".mbexplore").count() == 0
        person.settle()
        assert page.locator(".chip").count() == 9
        page.context.close()
        assert person.foreign == []


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
