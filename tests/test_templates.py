"""Templates: every filling, the means and paired differences against sums made by hand."""

import json
from itertools import product

import numpy as np
import pytest

import mbexplore
from mbexplore.analysis.score import score_targets
from mbexplore.analysis.templates import fill_template, find_slot, score_template
from mbexplore.display.blocks import Heat, walk
from mbexplore.errors import RangeError, UsageError
from tests.cli_runner import run_again, run_cli

TEMPLATE = "{name} worked as a [MASK] in the {place}."
FILLS = {"name": ("John", "Mary"), "place": ("harbour", "town", "school")}
WORDS = ("teacher", "sailor", "fisherman")


@pytest.fixture(scope="module")
def explorer():
    return mbexplore.load("tiny", device="cpu")


@pytest.fixture(scope="module")
def found(explorer):
    return score_template(explorer, TEMPLATE, FILLS, WORDS)


def test_every_filling_is_scored_as_a_text_of_its_own(explorer, found):
    assert found.slots == ("name", "place") and len(found.fillings) == 6
    every = product(FILLS["name"], FILLS["place"])
    for (name, place), filling, scores in zip(every, found.fillings, found.scores, strict=True):
        text = f"{name} worked as a [MASK] in the {place}."
        assert (filling.text, filling.values) == (text, (name, place))
        alone = score_targets(explorer, text, WORDS)
        for one, other in zip(scores.targets, alone.targets, strict=True):
            assert one.log_probability == pytest.approx(other.log_probability, abs=1e-4)


def test_means_are_over_the_fillings_of_a_value(found):
    table = {
        (filling.values, target.text): target.log_probability
        for filling, scores in zip(found.fillings, found.scores, strict=True)
        for target in scores.targets
    }
    assert len(found.means) == (2 + 3) * 3
    for mean in found.means:
        some = [p for (values, word), p in table.items()
                if mean.value in values and word == mean.target]  # fmt: skip
        assert mean.count == len(some) == (3 if mean.slot == "name" else 2)
        assert mean.log_probability == pytest.approx(np.mean(some))
        assert mean.probability == pytest.approx(np.mean(np.exp(some)))


def test_differences_are_paired(found):
    by = {(one.slot, one.first, one.second, one.target): one for one in found.differences}
    log_p = found.log_probabilities.reshape(2, 3, 3)  # (name, place, word)
    john = by["name", "John", "Mary", "sailor"]
    assert john.mean == pytest.approx((log_p[0] - log_p[1])[:, 1].mean()) and john.count == 3
    assert john.low <= john.mean <= john.high
    assert by["place", "harbour", "school", "teacher"].mean == pytest.approx(
        (log_p[:, 0] - log_p[:, 2])[:, 0].mean()
    )
    gap = log_p[..., 0] - log_p[..., 1]
    assert by["", "teacher", "sailor", "teacher less sailor"].mean == pytest.approx(gap.mean())
    of_names = by["name", "John", "Mary", "teacher less sailor"]
    assert of_names.mean == pytest.approx((gap[0] - gap[1]).mean())
    # Words: 3 pairs. Name: 1 pair of values, place: 3, each for 3 words and 3 pairs of them.
    assert len(found.differences) == 3 + (1 + 3) * 6


def test_slots_are_filled_where_they_stand():
    slots, fillings = fill_template("{b}{a}{{}} {b}", {"a": ("1", "2"), "b": ("x",)})
    assert slots == ("b", "a")
    assert [one.text for one in fillings] == ["x1{} x", "x2{} x"]
    slots, fillings = fill_template("{} and {}", {"one": ("a", "b", "a"), "two": ("{c}",)})
    assert slots == ("one", "two")
    assert [one.text for one in fillings] == ["a and {c}", "b and {c}"]


@pytest.mark.parametrize(
    ("template", "fills", "error", "sentence"),
    [
        ("A [MASK].", {"name": ["a"]}, UsageError, "has no slot; put {} or {name}"),
        ("{a} [MASK].", {}, UsageError, "The slot {a} has no filling; give a=WORD"),
        ("{} {} [MASK].", {"a": ["x"]}, UsageError, "The slot {} has no filling"),
        ("{a} [MASK].", {"a": ["x"], "b": ["y"]}, UsageError, "no slot {b} in the template; use"),
        ("{a [MASK].", {"a": ["x"]}, UsageError, "has a single brace"),
        ("{a.b} [MASK].", {"a": ["x"]}, UsageError, "'a.b' is no name of a slot"),
        ("{a!r} [MASK].", {"a": ["x"]}, UsageError, "is no name of a slot"),
        ("{a}{b}{c} [MASK].", dict.fromkeys("abc", tuple(map(str, range(50)))), RangeError,
         "125,000 fillings, and 100,000 are the most"),
    ],
)  # fmt: skip
def test_slots_and_fillings_that_dont_match_are_refused(template, fills, error, sentence):
    with pytest.raises(error) as caught:
        fill_template(template, fills)
    assert sentence in str(caught.value)


def test_a_slot_is_seen():
    assert find_slot("{} is") == "{}" and find_slot("a {name} b {c}") == "{name}"
    assert not find_slot("{{}} is") and not find_slot("a } b { c") and not find_slot("{a b}")


def test_the_command_scores_a_template(explorer, found, tmp_path):
    (tmp_path / "places.txt").write_text("harbour\ntown\nschool\n")
    done = run_cli(
        "score", "--template", TEMPLATE, "--fill", "name=John,Mary",
        "--fill", f"place=@{tmp_path / 'places.txt'}", "--targets", ",".join(WORDS), "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    assert answer["slots"] == ["name", "place"] and len(answer["rows"]) == 6
    assert answer["rows"][4]["fill"] == {"name": "Mary", "place": "town"}
    flat = [one["log_probability"] for row in answer["rows"] for one in row["targets"]]
    assert flat == pytest.approx(found.log_probabilities.ravel().tolist(), abs=1e-4)
    assert answer["hf"]["compared"] == 6 and answer["hf"]["max_abs_difference"] < 1e-3
    assert [one["mean"] for one in answer["differences"]] == pytest.approx(
        [one.mean for one in found.differences], abs=1e-4
    )


def test_a_slot_without_a_name(explorer):
    for fill in ("John,Mary", "name=John,Mary"):
        done = run_cli(
            "score", "{} worked as a [MASK].", "--fill", fill, "--targets", "teacher,sailor",
            "--no-hf", "--json",
        )  # fmt: skip
        assert done.code == 0, done.err
        assert len(json.loads(done.out)["rows"]) == 2


def test_its_result_is_made_again_and_drawn(explorer, found):
    result = explorer.score(
        TEMPLATE, targets=WORDS, fill=("name=John,Mary", "place=harbour,town,school"), hf=False
    )
    again = run_again(result)
    assert [row["fill"] for row in again["rows"]] == [
        dict(zip(found.slots, one.values, strict=True)) for one in found.fillings
    ]
    [heat] = [block for block in walk(result.blocks) if isinstance(block, Heat)]
    assert heat.values == pytest.approx(found.log_probabilities, abs=1e-4)
    assert heat.columns == WORDS and heat.rows[0] == "John · harbour"
    header, *rows = result.content("csv").decode().splitlines()
    assert header.startswith("name,place,filled,target,pieces,probability") and len(rows) == 18


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--fill", "name=John,Mary"], "A template needs words to score"),
        (["--fill", "name=", "--targets", "a"], "fills a slot with nothing"),
        (["--fill", "name=a", "--fill", "name=b", "--targets", "a"], "is filled twice"),
        (["--fill", "name=@none.txt", "--targets", "a"], "none.txt can't be read"),
        (["--fill", "name=a", "--targets", "a", "--mask", "1"], "There is no mask 1 in 'a is a"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, sentence):
    done = run_cli("score", "{name} is a [MASK].", *arguments, "--no-hf")
    assert done.code in (1, 2) and sentence in done.err, done.err


def test_a_text_with_braces_alone_is_a_text(explorer):
    result = explorer.score("{name} is a [MASK].", targets=("man",), hf=False)
    assert result.data.found.encoding.text == "{name} is a [MASK]."
    assert "fill makes a template of it" in result.blocks[-1].text
    refused = run_cli("score", "--template", "{name} is a [MASK].", "--targets", "man")
    assert refused.code == 2 and "The slot {name} of the template has no filling" in refused.err


def test_few_pairs_are_not_called_sure(explorer):
    few = explorer.score(
        "{} worked as a [MASK].", targets=WORDS[:2], fill=("John,Mary",), hf=False
    ).headline
    assert few.startswith("2 fillings: ") and few.endswith("of too few pairs to be sure.")
    many = explorer.score(
        "{} worked as a [MASK].", targets=WORDS[:2], fill=("He,She,John,Mary,Anna,Paul",), hf=False
    )
    [gap] = [one for one in many.data.found.differences if not one.slot]
    assert ("95% interval" in many.headline) == (gap.low * gap.high > 0)
