"""The page in a real browser: the tour, hostile texts, two people, keyboard, themes, widths."""

import json
import os
import time
import urllib.error
from pathlib import Path

import pytest
from mbexplore_ui.controls import arguments_of

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from mbexplore.views import REGISTRY
from tests.browser import MARKS, served, tab_of, visit
from tests.test_ui import call
from tests.tour import LOCAL, PARIS, Tour

pytestmark = MARKS
PICTURES = os.environ.get("MBEXPLORE_TOUR")
"""A folder for a picture of every view."""


NASTY_MODEL = "</script><img src=x onerror=\"document.title='owned'\">"
"""A folder may be called so."""


@pytest.fixture(scope="module")
def models(tiny):
    """The bundled model, under a name with markup too."""
    return {"tiny": tiny, NASTY_MODEL: tiny}


def test_the_tour(person):
    """Everything a person does on it, and not one request to another address."""
    if PICTURES:
        Path(PICTURES).mkdir(parents=True, exist_ok=True)
    Looked(person, Path(PICTURES) if PICTURES else None).run()


class Looked(Tour):
    """A tour on which text stands out from its ground in every view, in both themes."""

    def shoot(self, name, whole=True):
        super().shoot(name, whole)
        found = self.page.evaluate(f"""() => [0, 1].map(() => {{
            const button = document.querySelector(".theme"), theme = button.textContent;
            const contrast = {CONTRAST};
            button.click();
            return [theme, contrast];
        }})""")
        assert {theme for theme, _ in found} == {"Dark", "Light"}
        assert min(contrast for _, contrast in found) >= 4.5, (name, found)


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


NASTY = {
    "a\x00b\x1b[31mc\x07 [MASK]": 13,
    "\u2066\u202eabc\u202c\u2069 \u200f\u061c[MASK]": 10,
    "a" + "\u0301" * 200 + " [MASK]": 300,
    "</script></textarea></main><script>document.title='owned'</script> [MASK]": 20,
    "a\tb\n\nc\u2028d\u2029 [MASK]": 12,
    "[MASK] " * 100: 102,
    "w" * 1500 + " [MASK]": 1000,
    "[CLS][SEP][PAD][UNK] {{value}} ${value} [MASK]": 15,
}


def test_nasty_texts_and_names_are_data_too(person):
    """Each one typed over the last: what comes back is that text, as many tokens, and no markup."""
    # A head is named, as to find the one that a long text needs takes longest and shows no text.
    person.open(text=PARIS, model=NASTY_MODEL, view="attention", layer=LOCAL, head=1)
    page = person.page
    assert page.input_value("#mb-model") == NASTY_MODEL and page.title() == "mbexplore"
    for text, least in NASTY.items():
        page.evaluate("text => { document.querySelector('#mb-text').value = text; }", text)
        before = page.url
        page.click("button.run")
        page.wait_for_function("before => location.href !== before", arg=before)
        person.settle()
        assert person.message == "", text[:20]
        assert page.locator(".chip").count() >= least, text[:20]
        assert page.locator(".mbexplore img, .mbexplore script").count() == 0
        assert page.title() == "mbexplore"
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280, text[:20]
    page.evaluate("() => { document.querySelector('#mb-text').value = 'half \\ud800 [MASK]'; }")
    page.click("button.run")
    page.wait_for_selector(".message:has-text('half of a character in it (U+D800)')")


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
    ):
        page.fill("#mb-text", text)
        page.press("#mb-text", "Enter")
        page.wait_for_function(
            "part => document.querySelector('.message').textContent.includes(part)", arg=sentence
        )
        assert "Traceback" not in page.content()
    page.fill("#mb-text", "word " * 10_000 + "[MASK]")
    page.press("#mb-text", "Enter")
    page.wait_for_selector(".count.cut:has-text('The first 2,048 of 10,0')")


def test_long_work_can_be_stopped_and_begun_again(person, monkeypatch):
    from mbexplore.analysis import ablate

    patient = ablate.ablate_heads

    def slow(*args, progress, **settings):
        def wait(done, total):
            time.sleep(0.6)
            progress(done, total)

        return patient(*args, progress=wait, **settings)

    monkeypatch.setattr(ablate, "ablate_heads", slow)
    page = person.page
    page.goto(f"{person.address}/#view=ablate")
    page.wait_for_selector(".progress:has-text(' of 36')")
    page.click("button:has-text('Stop')")
    page.wait_for_selector(".message:has-text('Stopped')")
    person.settle()
    assert person.message == "Stopped; Run starts it again."
    assert page.input_value("#mb-text") == PARIS and page.locator(".chip").count() == 9
    assert page.inner_text(".progress") == "" and not page.locator(".mbexplore.busy").count()
    monkeypatch.undo()
    page.click("button.run")
    page.wait_for_selector("#mb-view canvas")
    person.settle()
    assert person.message == ""


@pytest.fixture
def slow(monkeypatch):
    """A layer of a recording takes a third of a second."""
    from contextlib import contextmanager

    from mbexplore.hooks import watched
    from mbexplore.session import Session

    @contextmanager
    def counting(session):
        def patiently(done, total):
            time.sleep(0.3)
            session.progress(done, total)

        with watched(session.explorer.model, patiently):
            yield

    monkeypatch.setattr(Session, "counting", counting)


def test_a_recording_can_be_stopped_and_a_new_text_ends_it(person, slow):
    page = person.page
    asked = []
    page.on("request", lambda r: "component_server" in r.url and asked.append(r.post_data_json))
    page.goto(f"{person.address}/#view=lens&text=One+[MASK].")
    page.wait_for_selector(".progress button:has-text('Stop'):not([hidden])")
    assert " of 9" in page.inner_text(".progress")
    page.dispatch_event(".progress button", "click")  # it may be moving
    page.wait_for_selector(".message:has-text('Stopped; Run starts it again.')")
    page.wait_for_selector(".mbexplore.busy", state="detached")
    assert page.locator(".chip").count() == 5
    # Two clicks at once, then another text: what was begun ends, and only the last is drawn.
    page.click("button.run")
    page.click('[data-group="From where"]')
    page.wait_for_selector(".progress:has-text(' of 9')")
    page.fill("#mb-text", "Two [MASK] here.")
    page.press("#mb-text", "Enter")
    page.wait_for_selector(".thumb.held")
    person.settle()
    assert person.message == "" and page.locator(".chip").count() == 6
    names = [body["data"][0] for body in asked]
    for name, body in zip(names, asked, strict=True):  # no view is asked with another's values
        if name == "lens":
            assert len(body["data"]) == 4 + len(arguments_of(REGISTRY["lens"]))
    assert "stop" in names


def test_shift_click_masks_a_range_and_shows_it_again(person):
    whole = "The capital of France is Paris."
    person.open(text=whole, view="lens")
    page = person.page

    def click(token, masks, **how):
        page.click(f'.chips [data-token="{token}"]', **how)
        if not how:
            person.settle()
            page.click(".chip.held .corner")
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
    # The same with keys alone; an arrow goes one token on, however often the text ran before.
    person.mask(4)
    page.wait_for_selector('.chip.mask[data-token="4"]:focus')
    person.settle()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.token") == "6"
    page.keyboard.press("Shift+Enter")
    page.wait_for_selector('.chip.mask[data-token="6"]:focus')
    person.settle()
    assert page.input_value("#mb-text") == "The capital of [MASK] [MASK] [MASK]."


def test_the_way_back_leads_through_what_was_seen_and_out(person):
    page = person.page
    page.goto(f"{person.address}/#text=The%20sea%20is%20[MASK].&view=lens")  # as people write them
    person.settle()
    assert "text=The+sea+is+%5BMASK%5D." in page.url
    person.tab("rope")
    page.fill("#mb-text", PARIS)
    page.press("#mb-text", "Enter")
    page.wait_for_selector(".chip:has-text('France')")
    person.settle()
    for way, view, word in (
        (page.go_back, "rope", "sea"),
        (page.go_back, "lens", "sea"),
        (page.go_forward, "rope", "sea"),
        (page.go_back, "lens", "sea"),
    ):
        way()
        page.wait_for_selector(f'[data-view="{view}"][aria-selected="true"]')
        page.wait_for_selector(f".chip:has-text('{word}')")
        person.settle()
    page.go_back()
    page.wait_for_url("about:blank")


def test_a_held_token_can_be_let_go(person):
    person.open(text=PARIS, view="attention", layer=LOCAL, head=2, token=4)
    page = person.page

    def who():
        cells = page.locator(".held-head td:first-child").all_inner_texts()
        return {cell.split()[-1] for cell in cells}

    assert who() == {"4"} and page.input_value("#mb-token") == "4"
    page.click("button:has-text('let go')")
    page.wait_for_selector(".holding .none")
    person.settle()
    assert len(who()) > 1 and page.input_value("#mb-token") == "" and "token=" not in page.url
    assert page.locator("button:has-text('let go')").count() == 0


def test_the_model_view_is_a_tab_and_saved_too(person):
    person.open(text=PARIS, view="model-view")
    saved = json.loads(person.saved("json"))
    assert [layer["layer"] for layer in saved["layers"]] == list(range(9))
    person.page.click('.thumb[data-layer="6"][data-head="3"]')
    person.page.wait_for_selector(".enlarged figcaption:has-text('Layer 6 head 3')")
    person.settle()
    assert "layer=6&head=3" in person.page.url


def test_a_global_layer_has_no_band_and_another_head_is_a_click_away(person):
    person.open(text=PARIS, view="attention", layer=3, picture='"band"')
    page = person.page
    assert "Layer 3 is global and has no band" in person.message
    page.click(f'.thumb[data-layer="{LOCAL}"][data-head="1"]')
    page.wait_for_selector(f".map figcaption:has-text('Layer {LOCAL} head 1')")
    person.settle()
    assert person.message == ""
    assert page.evaluate("document.activeElement.dataset.key") == "thumbs"


def test_a_long_text_is_in_the_link(person):
    text = "The tide rises and falls, and the boats wait. " * 190 + "[MASK]"
    assert len(text) > 8000
    person.open(text=text, view="rope")
    person.page.reload()
    person.settle()
    assert person.page.input_value("#mb-text") == text


def test_a_server_that_is_gone_is_one_sentence(browser, tiny):
    with served({"tiny": tiny}) as (address, _):
        person = visit(browser, address)
        person.open(text=PARIS, view="rope")
    person.may_fail = True
    for control in ('[data-group="When"]', "button.run", ".examples .link >> nth=1"):
        person.page.click(control)
        person.page.wait_for_selector(".message:has-text('The server does not answer; start')")
        person.settle()
    assert person.errors == []
    person.page.context.close()


MOVING = """(() => {
  const seen = [];
  document.querySelector(".mbexplore").classList.add("busy");
  for (const node of document.querySelectorAll("body, body *")) {
    for (const part of [null, "::before", "::after"]) {
      const style = getComputedStyle(node, part);
      const takes = (times) => times.split(",").some((each) => parseFloat(each) > 0);
      const { animationName, animationDuration, transitionDuration, scrollBehavior } = style;
      if (animationName !== "none" && takes(animationDuration)) seen.push(animationName);
      if (node.closest(".mbexplore") && takes(transitionDuration)) seen.push("transition");
      if (scrollBehavior === "smooth") seen.push("scroll");
    }
  }
  return seen;
})()"""
"""What moves on the page as it works, Gradio's own parts too."""


def test_it_moves_only_for_who_has_not_asked_for_stillness(world):
    for motion, moving in (("reduce", []), ("no-preference", ["mb-travel"])):
        person = visit(*world, motion=motion)
        person.open(text=PARIS, view="attention")
        person.page.wait_for_selector(".thumb.held")
        assert person.page.evaluate(MOVING) == moving
        person.page.context.close()


def test_arrow_keys_move_the_held_layer_and_head(person):
    person.open(text=PARIS, view="rope-score", layer=LOCAL, head=1)
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


def test_a_password_keeps_the_page_and_its_endpoints(browser, tiny):
    with served({"tiny": tiny}, auth=("ada", "right")) as (address, _):
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


def test_two_people_never_meet(world, served_page):
    browser, (address, sessions) = world[0], served_page
    assert emptied(browser, sessions)  # the people of other tests have gone
    first, second = visit(browser, address), visit(browser, address)
    first.open(text="My secret is [MASK].")
    second.open(text=PARIS)
    assert len(sessions) == 2
    assert "secret" not in second.page.content()
    assert "France" not in first.page.inner_text(".chips")
    tab = tab_of(second.page.context, address)  # another of the same person's: a session too
    tab.open(text="The moon is [MASK].")
    assert len(sessions) == 3
    second.tab("lens")
    assert second.page.input_value("#mb-text") == PARIS
    assert tab.page.locator(".chip:has-text('moon')").count() == 1
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
    person = visit(*world, width=width, theme=theme)
    person.open(text=PARIS, view="attention", layer=LOCAL)
    page = person.page
    page.wait_for_selector(".thumb.held")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.body.classList.contains('dark')") == (theme == "dark")
    assert page.evaluate(CONTRAST) >= 4.5
    map_now = "document.querySelector('canvas[data-key=map]').toDataURL()"
    before = page.evaluate(map_now)
    page.click(".theme")
    assert page.evaluate(map_now) != before  # maps are painted anew in the other theme's colours
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
      if (!/^rgba.*, 0\\)$|transparent/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const worst = [...document.querySelectorAll(".mbexplore *")]
    .filter((n) => [...n.childNodes].some((c) => c.nodeType === 3 && c.data.trim()))
    .filter((n) => n.getClientRects().length && !n.closest(".hidden"))
    .map((n) => {
      const style = getComputedStyle(n);
      const ink = n.closest("svg") ? style.fill : style.color;
      const [a, b] = [light(ink), light(ground(n))].sort((x, y) => y - x);
      return (a + 0.05) / (b + 0.05);
    });
  return Math.min(...worst);
})()"""
