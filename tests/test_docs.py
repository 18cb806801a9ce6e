"""The docs: their numbers are compared and proved, their pages and notebooks are whole.

`python -m docs`, which .ci/run calls, runs every page; here is what can be tested in seconds.
"""

import ast
import json
import re
import shlex
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

import mbexplore
from docs import blocks, build, generated, llms, notebooks, numbers, parity, samples
from mbexplore.cli import app
from mbexplore.errors import MbexploreError
from mbexplore.views import REGISTRY
from tests.test_family import RELATIVES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SHOWN = "Paris 59.0% of 9 tokens, -1.34 logits; error 9.1e-6 from transformers 5.24.0."


def name_of(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize(
    "real",
    [
        SHOWN,
        SHOWN.replace("59.0", "59.1"),  # a digit's rounding
        SHOWN.replace("9.1e-6", "2.4e-6"),  # itself a rounding error
        SHOWN.replace("5.24.0", "5.1.0"),
        SHOWN.replace("-1.34", "-1.35"),
    ],
)
def test_an_output_agrees_but_for_rounding(real):
    assert numbers.differences(SHOWN, real) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("59.0%", "59.2%"), ("59.0%", "59.0"), ("9 ", "10 "), ("-1.34", "1.34"),
        ("9.1e-6", "9.1e-5"), ("Paris", "Rome"), (" logits", ""),
    ],
)  # fmt: skip
def test_another_number_or_word_is_a_difference(old, new):
    assert old in SHOWN
    assert numbers.differences(SHOWN, SHOWN.replace(old, new))


def test_prose_is_proved_by_what_the_page_prints():
    page = "Of `7` heads 59% are left, [8](y?9) fall by 1.3.\n\n```text\n3\n```\n"
    assert numbers.unproved(page, [SHOWN, "8 heads"]) == []
    assert numbers.unproved(page.replace("59", "58"), [SHOWN, "8 heads"])
    assert numbers.unproved(page.replace("1.3", "1.4"), [SHOWN, "8 heads"])
    assert numbers.unproved(page.replace("59%", "59.04%"), [SHOWN, "8 heads"])
    assert numbers.unproved(page.replace("1.3.", "float32 on page 12."), [SHOWN, "8 heads"]) == [
        "12 in 'Of   heads 59% are left, [8  fall by float32 on page 12.'"
    ]
    assert numbers.unproved("It has 12 pages.", [], ["12"]) == []


@pytest.mark.parametrize("wrong", ["21 draws", "81%"])
def test_a_page_names_constants_of_the_code_that_prove_its_numbers(wrong):
    page = ("<!-- facts: mbexplore.analysis.why.trust:DRAWS mbexplore.analysis.why.trust:ENOUGH 7 "
            "-->\nOf 20 draws 80% are enough, on 7 days.\n")  # fmt: skip
    assert build.unproved(page, []) == []
    assert len(build.unproved(page.replace(wrong.replace("1", "0"), wrong), [])) == 1
    assert build.unproved(f"<!-- measured -->\n{wrong}", []) == []


def test_a_page_is_filled_and_a_stale_output_ends_the_build():
    page = "# A\n\n```console\n$ mbexplore cite lens | head -2\n```\n"
    filled = blocks.fill(page, "a")
    assert "@software{mbexplore,\n  title" in filled.markdown
    stale = page.replace("-2\n", "-2\n@software{mbexplore, about\n")
    with pytest.raises(blocks.PageError, match="about"):
        blocks.fill(stale, "a")
    with pytest.raises(blocks.PageError, match="moon"):
        blocks.fill(page.replace("lens", "moon"), "a")


def test_python_is_run_in_one_namespace_and_its_picture_shown(tiny):
    page = "```python\nx = 3\nprint(x)\n```\n\n```python\nx + 1\n```\n"
    filled = blocks.fill(page, "a")
    assert "```text\n3\n```" in filled.markdown and "```text\n4\n```" in filled.markdown
    drawn = blocks.fill('```python\nimport mbexplore\n\nmbexplore.load("tiny").rope()\n```\n', "a")
    [(name, picture)] = drawn.files.items()
    assert picture.startswith(b"\x89PNG") and f"](files/{name})" in drawn.markdown


def shell_lines(text):
    """Commands of ours that a page shows, run by the build or not."""
    for fence in blocks.FENCE.finditer(text):
        if fence["kind"] in ("sh", "console"):
            prompt = "$ " if fence["kind"] == "console" else ""
            for line in fence["body"].splitlines():
                words = shlex.split(line.removeprefix(prompt)) if line.startswith(prompt) else []
                if "mbexplore" in words[:1]:
                    yield words[1 : words.index("|") if "|" in words else None]


@pytest.mark.parametrize("path", [*PAGES, ROOT / "README.md"], ids=name_of)
def test_every_command_that_is_shown_parses(path):
    for words in shell_lines(path.read_text(encoding="utf-8")):
        if words[0] == "moves":  # the page defines it
            continue
        context = typer.main.get_command(app).make_context("mbexplore", [*words])
        name, command, rest = context.command.resolve_command(context, context._protected_args)
        try:
            command.make_context(name, [*rest, *context.args], parent=context)
        except MbexploreError as error:
            pytest.fail(f"{words}: {error}")


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_between_pages_lead_somewhere(path):
    for target in re.findall(r"\]\((?!http)([^)#\s]+)", path.read_text(encoding="utf-8")):
        place = (path.parent / target).resolve()
        generated = place.parent.name == "views" and place.stem in REGISTRY
        notebook = ROOT / "notebooks" / f"{place.stem}.ipynb"
        assert place.exists() or generated or notebook.exists(), target


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_a_page_begins_with_a_sentence_for_llms_txt(path):
    said = llms.first_sentence(path)
    assert re.fullmatch(r"[^|#<]+[.?:]", said), said


def test_every_page_is_in_the_navigation():
    text = (DOCS / "zensical.toml").read_text(encoding="utf-8")
    listed = set(re.findall(r'"([\w/-]+)\.md"', text))
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in PAGES}
    assert listed == pages | {f"tutorials/{path.stem}" for path in NOTEBOOKS}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_a_notebook_has_no_outputs_and_is_python(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["cells"][0]["source"][0].startswith("# ")
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
            ast.parse(re.sub(r"\A%%.*", "", "".join(cell["source"])))


@pytest.mark.parametrize("name", list(REGISTRY))
def test_every_view_says_what_it_is_evidence_of(name):
    view = REGISTRY[name]
    assert view.evidence in generated.EVIDENCE
    assert view.tested and view.tested[0].islower()


def test_a_page_of_a_view_has_all_of_it():
    with blocks.working_folder():
        filled = generated.view_page("lens")
    view, text = REGISTRY["lens"], filled.markdown
    assert view.question in text and view.limits in text
    assert all(one.option.help in text for one in view.parameters if "|" not in one.option.help)
    assert all(paper.url in text for paper in view.papers)
    assert "| `rows[].predictions[].probability` | number |" in text
    assert set(filled.files) == {"lens.png", "lens.html"}


@pytest.mark.parametrize("row", [6, -1], ids=["Japan", "she"])  # the build looks at all of them
def test_the_samples_of_why_are_what_the_model_gives(tiny, row):
    page = (DOCS / "explanation" / "why.md").read_text(encoding="utf-8")
    shown = [line for line in page.splitlines() if line.startswith("|")][2:]
    assert len(shown) == len(samples.PROMPTS)
    again = samples.line(samples.PROMPTS[row], tiny)
    assert numbers.differences(shown[row], again) == []


def test_the_parity_matrix_is_whole_and_measured():
    """Oldest and newest version, every configuration and dtype; and one of them run again."""
    runs = parity.recorded()
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    oldest = re.search(r'"transformers>=([\d.]+)', project)[1]
    assert runs[0]["transformers"].startswith(f"{oldest}.")
    for run in runs:
        assert set(run["errors"]) == {parity.REAL, *RELATIVES}
        for name, errors in run["errors"].items():
            assert set(errors) == set(parity.DTYPES)
            assert errors["float32"] < (1e-4 if name == parity.REAL else 1e-5)
    again, kept = parity.errors("ettin-17m"), runs[-1]["errors"]["ettin-17m"]
    for dtype, error in again.items():
        assert kept[dtype] / numbers.NOISE < error < kept[dtype] * numbers.NOISE
    rows = parity.table().splitlines()
    assert sum("| never run |" in row for row in rows) == len(RELATIVES) * len(parity.DTYPES)


def test_an_output_that_is_too_large_ends_the_build():
    cell = {"output_type": "stream", "name": "stdout", "text": "x" * 400_000}
    with pytest.raises(ValueError, match="400,000 bytes"):
        notebooks.shown_output(SimpleNamespace(**cell), "a", blocks.Filled())


@pytest.mark.filterwarnings("default")  # what gradio leaves open is its own
def test_the_page_opens_in_a_cell(tiny, monkeypatch):
    display = pytest.importorskip("IPython.display")
    shown = []
    monkeypatch.setattr(display, "display", shown.append)
    page = mbexplore.ui(tiny, inline=True)
    try:
        assert f'src="{page.local_url}"' in shown[0].data
        with urllib.request.urlopen(page.local_url) as reply:
            assert "X-Frame-Options" not in reply.headers
            assert b"mbexplore" in reply.read()
    finally:
        page.close(verbose=False)
