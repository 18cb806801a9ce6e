"""The page of arcs: what it holds, and what a browser shows when a token is pointed at."""

import json
import re

import pytest
from mbexplore.views.attention_page import arcs_data, arcs_page

from mbexplore.analysis.axis import build_axis
from mbexplore.analysis.links import arcs
from mbexplore.display.palette import head_colour
from tests.test_attention_page import open_page
from tests.test_axis import GLOBAL, build_encoding, build_recording


@pytest.fixture(scope="module")
def recording():
    return build_recording(build_encoding([2, 1, 3, 1, 1, 2, 4]))


def test_data_hold_every_link(recording):
    axis = build_axis(recording.encoding, words=True)
    found = arcs(recording, GLOBAL, axis=axis)
    data = arcs_data(found)
    assert (data["labels"], data["query"]) == (list(axis.labels), None)
    assert [head["hue"] for head in data["heads"]] == [head_colour(0), head_colour(1)]
    for (*place, weight), link in zip(data["links"], found.links, strict=True):
        assert place == [link.head, link.query, link.key]
        assert weight == pytest.approx(link.weight, rel=1e-3)
    mean = arcs_data(arcs(recording, GLOBAL, mean=True))
    assert [head["number"] for head in mean["heads"]] == [-1]
    assert {link[0] for link in mean["links"]} == {-1}


def test_a_page_is_whole_and_safe(recording):
    page = arcs_page(arcs(recording, GLOBAL), "</script><b>", ["attention", "a </pre> b"])
    assert not re.search(
        r"""(src|href)\s*=|https?://(?!www\.w3\.org/2000/svg)|@import|url\(""", page
    )
    assert "</script><b>" not in page and "</pre> b" not in page
    data = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1]
    assert [head["name"] for head in json.loads(data)["heads"]] == ["head 0", "head 1"]


def told(tab):
    """The links that the page tells of: (what, token, head, weight) each."""
    found = []
    for table in tab.locator(".arcs-side table").all():
        what, *rows = [row.split("\t") for row in table.inner_text().splitlines()]
        found += [(what[0].split()[-1], token, int(head), float(w)) for token, head, w in rows]
    return found


def point(tab, place, count):
    box = tab.locator(".arcs-picture").bounding_box()
    step = (box["height"] - 8) / count
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + 4 + (place + 0.5) * step)


def expected(found, place, heads):
    names = [f"{label.strip()} {start}" for label, (start, _) in
             zip(found.axis.labels, found.axis.spans, strict=True)]  # fmt: skip
    for link in found.links:
        if link.query == place and link.head in heads:
            yield "key", names[link.key], link.head, pytest.approx(link.weight, rel=0.06)
    for link in found.links:
        if link.key == place != link.query and link.head in heads:
            yield "query", names[link.query], link.head, pytest.approx(link.weight, rel=0.06)


def test_pointing_at_a_token_shows_its_links_alone(browser, recording, tmp_path):
    axis = build_axis(recording.encoding, words=True)
    found = arcs(recording, GLOBAL, axis=axis, mass=0.5)
    tab = open_page(browser, tmp_path, arcs_page(found, "small", ["attention"]))
    paths = tab.locator(".arcs-picture path:visible")
    assert paths.count() == len(found.links) and told(tab) == []
    for place in (0, 4, 8):
        point(tab, place, len(axis))
        assert tab.locator(".arcs-here").count() == 1
        wanted = list(expected(found, place, {0, 1}))
        assert paths.count() == len(wanted)
        assert told(tab) == [each for what in ("key", "query") for each in
                             [one for one in wanted if one[0] == what][:14]]  # fmt: skip
    tab.mouse.move(1, 1)
    assert paths.count() == len(found.links)
    tab.locator(".arcs-heads button").first.click()  # without head 0
    tab.locator(".arcs-picture").press("ArrowDown")
    tab.locator(".arcs-picture").press("ArrowDown")
    assert told(tab) == list(expected(found, 1, {1}))
    tab.close()


def test_the_token_asked_about_is_held(browser, recording, tmp_path):
    found = arcs(recording, GLOBAL, query=3, mass=0.5)
    tab = open_page(browser, tmp_path, arcs_page(found, "small", ["attention"]))
    assert told(tab) == list(expected(found, 3, {0, 1}))[:14]
    point(tab, 0, len(found.axis))
    tab.mouse.move(1, 1)
    assert told(tab) == list(expected(found, 3, {0, 1}))[:14]
    tab.close()


def test_a_tap_holds_a_token_and_another_lets_it_go(browser, recording, tmp_path):
    found = arcs(recording, GLOBAL, mass=0.5)
    tab = open_page(browser, tmp_path, arcs_page(found, "small", ["attention"]))
    box = tab.locator(".arcs-picture").bounding_box()
    step = (box["height"] - 8) / len(found.axis)
    spot = {"clientX": box["x"] + 9, "clientY": box["y"] + 4 + 3.5 * step}
    for wanted in (list(expected(found, 3, {0, 1})), []):
        tab.locator(".arcs-picture").dispatch_event("click", spot)  # no pointer moves before it
        assert told(tab) == [each for what in ("key", "query") for each in
                             [one for one in wanted if one[0] == what][:14]]  # fmt: skip
    tab.close()


def opacities(tab):
    paths = tab.locator(".arcs-picture path:visible").all()
    return [float(path.get_attribute("opacity")) for path in paths]


def test_the_faint_arcs_of_a_thicket_fade(browser, recording, tmp_path):
    few = arcs(recording, GLOBAL, 0, mass=0.01)
    found = opacities(open_page(browser, tmp_path, arcs_page(few, "small", ["attention"])))
    assert len(found) == few.total and min(found) >= 0.15
    thicket = arcs(recording, GLOBAL, mass=1.0)
    found = opacities(open_page(browser, tmp_path, arcs_page(thicket, "small", ["attention"])))
    assert found == sorted(found) and found[-1] == 1.0  # the strongest on top, as dark as ever
    assert len(found) == thicket.total and found[0] < 0.05
