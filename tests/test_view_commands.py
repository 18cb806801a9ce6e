"""A view's command line makes the same answer again, and its files hold what the analysis found."""

import csv
import dataclasses
import io
import json
import shlex

import numpy as np
import pytest

from mbexplore.analysis.ablate import (
    Block,
    BlockedDistance,
    BlockedTokens,
    Head,
    ablate,
    ablate_heads,
)
from mbexplore.analysis.attribute import attribute
from mbexplore.analysis.compare import compare
from mbexplore.analysis.context_mixing import METHODS, context_mixing
from mbexplore.analysis.lens import lens, lens_map
from mbexplore.analysis.patch import patch
from mbexplore.checkpoints.model import save_model
from mbexplore.errors import OutputError
from mbexplore.explorer import load
from mbexplore.views.attribute import view_attribution
from mbexplore.views.compare import view_compare
from mbexplore.views.knockout import view_head_effects, view_knockout
from mbexplore.views.lens import view_lens, view_lens_map
from mbexplore.views.mix import view_mix
from mbexplore.views.old import build_command
from mbexplore.views.patch import MAPS, view_patch
from tests.cli_runner import run_cli
from tests.handbuilt import build_random, build_tokenizer

TEXT = "a b c [MASK] d e f"
OTHER = "a b e [MASK] d e f"
PARTS = [
    Head(1, 0),
    Head(2, 1),
    Block(0, "attention"),
    Block(2, "mlp"),
    BlockedTokens((2, 3)),
    BlockedDistance(3),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two models of one shape, as folders that the command line opens."""
    made = [tmp_path_factory.mktemp("models") / name for name in ("one", "other")]
    for seed, folder in enumerate(made):
        save_model(folder, build_random(seed))
        build_tokenizer()._inner.save(str(folder / "tokenizer.json"))
    return made


@pytest.fixture(scope="module")
def one(folders):
    return load(str(folders[0]), device="cpu")


@pytest.fixture(scope="module")
def other(folders):
    return load(str(folders[1]), device="cpu")


def run_again(view):
    """What its command line prints as JSON."""
    program, *arguments = shlex.split(view.command_line)
    assert program == "mbexplore"
    done = run_cli(*arguments, "--json") if "--" not in arguments else run_cli(
        *arguments[: arguments.index("--")], "--json", *arguments[arguments.index("--") :]
    )  # fmt: skip
    assert done.code == 0, done.err
    return json.loads(done.out)


def plain(view):
    """Its payload as JSON has it."""
    return json.loads(view.content("json"))


def table(view):
    """Header and rows of its csv."""
    header, *rows = csv.reader(io.StringIO(view.content("csv").decode()))
    assert all(len(row) == len(header) for row in rows)
    return header, rows


def arrays(view):
    with np.load(io.BytesIO(view.content("npz")), allow_pickle=False) as saved:
        return dict(saved)


def lens_views(one, encoding):
    yield view_lens(one, encoding, lens(one, encoding, top_k=2), None)
    yield view_lens(one, encoding, lens(one, encoding, 2, answer="f"), "f")
    for colour in ("rank", "kl"):
        yield view_lens_map(one, encoding, lens_map(one, encoding), colour)


def knockout_views(one, encoding):
    for fill, answer in (("zero", None), ("mean", "f")):
        found = ablate(one, encoding, PARTS, answer=answer, replacement=fill)
        yield view_knockout(one, encoding, found, PARTS, answer, fill)
        effects = ablate_heads(one, encoding, 2, answer=answer, replacement=fill)
        yield view_head_effects(one, encoding, effects, answer, fill)


def other_views(one, encoding):
    yield view_mix(one, encoding, 1, lambda: context_mixing(one, encoding, 1))
    found = attribute(one, encoding, steps=8)
    yield view_attribution(one, encoding, found, None, None)
    found = attribute(one, encoding, 4, answer="e", contrast="f", baseline="pad", steps=3)
    yield view_attribution(one, encoding, found, "e", "f")


@pytest.mark.parametrize("views", [lens_views, knockout_views, other_views])
def test_the_command_line_makes_the_same_answer(one, views):
    for view in views(one, one.encode(TEXT)):
        assert run_again(view) == plain(view), view.command_line


@pytest.mark.parametrize("views", [lens_views])
def test_a_command_names_the_second_text_too(one, views):
    for view in views(one, one.encode(TEXT, pair="d e")):
        assert run_again(view) == plain(view), view.command_line


def test_two_texts_and_two_models_are_named_in_the_command(one, other):
    for answers in ((None, None), ("c", "e")):
        found = patch(one, TEXT, OTHER, answer=answers[0] or "b", other=answers[1])
        view = view_patch(one, TEXT, OTHER, found, answers[0] or "b", answers[1])
        assert run_again(view) == plain(view)
    for first, second in (
        ((one, TEXT), (one, OTHER)), ((one, TEXT), (other, TEXT)), ((one, TEXT), (other, OTHER)),
        ((one, TEXT), (one, TEXT)), ((one, "a [MASK] b"), (one, "a b [MASK]")),
    ):  # fmt: skip
        view = view_compare(first, second, compare(first, second, layer=2, head=1, top_k=3))
        assert run_again(view) == plain(view), view.command_line


def test_a_cut_text_and_another_dtype_are_named_in_the_command(folders):
    wide = load(str(folders[0]), device="cpu", dtype="float64")
    encoding = wide.encode("[MASK] " + "a b c d " * 20, truncate=True)
    assert encoding.is_cut
    for view in (
        view_mix(wide, encoding, 0, lambda: context_mixing(wide, encoding, 0)),
        *lens_views(wide, encoding),
    ):
        assert {"--truncate", "--dtype"} < set(view.command)
        assert run_again(view) == plain(view)


def test_no_text_and_no_token_is_taken_for_an_option(one):
    encoding = dataclasses.replace(one.encode(TEXT), text="--at 3")
    view = view_mix(one, encoding, 0, lambda: context_mixing(one, encoding, 0))
    assert view.command[-2:] == ["--", "--at 3"]
    command = build_command("lens", one.info, ["-a"], answer="-b", at=-1, token=[3, 4], all=True)
    assert command == [
        "lens", "--answer=-b", "--at=-1", "--token", "3", "--token", "4", "--all", "-m",
        one.info.name, "--", "-a",
    ]  # fmt: skip
    dashes = run_cli("lens", "--json", "--", "-a [MASK] 'b' \"c\"\n$d")
    assert dashes.code == 0 and "-" in json.loads(dashes.out)["tokens"]


def test_files_of_a_lens_hold_its_numbers(one):
    encoding = one.encode(TEXT)
    found = lens(one, encoding, top_k=2)
    header, rows = table(view_lens(one, encoding, found, None))
    assert header[:4] == ["state", "token", "probability", "rank"]
    assert [float(row[2]) for row in rows] == [p.probability for r in found.rows
                                               for p in r.predictions]  # fmt: skip
    whole = lens_map(one, encoding)
    saved = arrays(view_lens_map(one, encoding, whole))
    np.testing.assert_array_equal(saved["rank"], whole.rank)
    assert tuple(saved["tokens"]) == encoding.tokens and saved["top"][2, 3] == whole.top[2][3]
    header, rows = table(view_lens_map(one, encoding, whole))
    assert len(rows) == whole.rank.size
    assert [int(row[header.index("rank")]) for row in rows] == whole.rank.flatten().tolist()


def test_files_of_mixing_hold_its_matrices(one):
    encoding = one.encode(TEXT)
    found = context_mixing(one, encoding, 2)
    view = view_mix(one, encoding, found.layer, lambda: found)
    saved, (header, rows) = arrays(view), table(view)
    for method in METHODS:
        np.testing.assert_array_equal(saved[method], getattr(found, method))
        column = [float(row[header.index(method)]) for row in rows]
        np.testing.assert_array_equal(np.float32(column).reshape(9, 9), getattr(found, method))
    assert rows[9 * 4 + 2][:4] == ["4", "[MASK]", "2", encoding.tokens[2]]


def test_files_of_knockouts_hold_their_effects(one):
    encoding = one.encode(TEXT)
    effects = ablate_heads(one, encoding)
    view = view_head_effects(one, encoding, effects, None)
    np.testing.assert_array_equal(arrays(view)["logit"], effects.logit)
    header, rows = table(view)
    assert rows[3][:3] == ["1", "local", "1"]
    ranks = [int(row[header.index("rank")]) for row in rows]
    assert ranks == effects.rank.flatten().tolist()
    found = ablate(one, encoding, PARTS)
    _, rows = table(view_knockout(one, encoding, found, PARTS, None))
    assert [float(row[1]) for row in rows] == [
        found.clean.logit, *(effect.score.logit for effect in found.effects)
    ]  # fmt: skip
    with pytest.raises(OutputError, match=r"can't be saved as \.npz"):
        view_knockout(one, encoding, found, PARTS, None).content("npz")


def test_files_of_patching_and_attribution_hold_their_shares(one):
    found = patch(one, TEXT, OTHER, answer="b", other="c")
    view = view_patch(one, TEXT, OTHER, found, "b", "c")
    saved, (_, rows) = arrays(view), table(view)
    for name in MAPS:
        np.testing.assert_array_equal(saved[name], getattr(found, name))
        of_map = np.float32([row[4] for row in rows if row[0] == name])
        np.testing.assert_array_equal(of_map, getattr(found, name).flatten())
    encoding = one.encode(TEXT)
    shares = attribute(one, encoding, steps=4)
    _, rows = table(view_attribution(one, encoding, shares, None, None))
    assert [float(row[2]) for row in rows] == list(shares.integrated)
    assert [row[1] for row in rows] == list(encoding.tokens)


def test_files_of_a_comparison_hold_what_both_share(one):
    sides = (one, TEXT), (one, OTHER)
    found = compare(*sides, layer=1)
    view = view_compare(*sides, found)
    np.testing.assert_array_equal(arrays(view)["residual_distance"], found.residual_distance)
    _, rows = table(view)
    assert [row[3] for row in rows] == [p.token for p in found.second.predictions]
    uneven = (one, TEXT), (one, "a [MASK]")
    assert arrays(view_compare(*uneven, compare(*uneven))).keys() == {
        "first_tokens", "second_tokens",
    }  # fmt: skip


def test_every_view_is_a_page_with_its_picture_and_its_command(one):
    text = "a <b> [MASK] c"
    encoding = one.encode(text)
    views = [
        *lens_views(one, encoding), *knockout_views(one, encoding), *other_views(one, encoding),
        view_patch(one, TEXT, OTHER, patch(one, TEXT, OTHER, answer="b", other="c"), "b", "c"),
        view_compare((one, text), (one, OTHER), compare((one, text), (one, OTHER))),
    ]  # fmt: skip
    for view in views:
        page = view.content("html").decode()
        assert "data:image/svg+xml;base64," in page and "<b>" not in page, view.name
        assert "http" not in page.partition(";base64,")[0] and "<h1></h1>" not in page
        for magic, ending in ((b"\x89PNG", "png"), (b"<?xml", "svg"), (b"%PDF", "pdf")):
            assert view.content(ending).startswith(magic), (view.name, ending)
