"""Every command on every kind of head: an answer, or one sentence on what is needed."""

import json
import shutil

import numpy as np
import pytest
import torch

import mbexplore
from mbexplore.analysis.ablate import Block, Head, ablate, ablate_heads
from mbexplore.analysis.attribute import attribute
from mbexplore.analysis.compare import compare
from mbexplore.analysis.lens import lens
from mbexplore.analysis.patch import patch
from mbexplore.analysis.readout import build_readout
from mbexplore.checkpoints.hub import locate
from mbexplore.checkpoints.model import save_model
from mbexplore.hooks import hooked
from mbexplore.network.model import ModernBertModel
from tests.cli_runner import run_cli
from tests.parity import spread_weights
from tests.test_predict_heads import explorers as explorers  # a fixture

TEXT, OTHER = "Where do the men lie?", "Where do the birds lie?"
CONTEXT = "The sea comes in, and the boats lie in the harbour."
ASKS = {
    "labels": {},
    "any label": {},
    "number": {},
    "tokens": {"position": 3},
    "answer": {"pair": CONTEXT},
    "choice": {"pair": CONTEXT},
}
CHOOSES = [kind for kind in ASKS if kind not in ("number", "choice")]
OPTIONS = {
    "tokens": ["--token", "3"],
    "answer": ["--context", CONTEXT],
    "choice": ["--context", CONTEXT],
}
EXPLAIN = {
    "lens": ["lens", TEXT],
    "ablate": ["ablate", TEXT, "--part", "0.1", "--part", "2.mlp"],
    "all heads": ["ablate", TEXT],
    "patch": ["patch", TEXT, OTHER],
    "compare": ["compare", TEXT, OTHER],
    "attribute": ["attribute", TEXT, "--steps", "4"],
    "why": ["why", TEXT],
}
LOOK = {
    "attention": ["attention", TEXT, "--layer", "1"],
    "rope": ["rope"],
    "rope score": ["rope-score", TEXT],
    "residual": ["residual", TEXT],
    "token neurons": ["token-neurons", TEXT],
    "heads": ["heads", TEXT],
    "mix": ["mix", TEXT],
    "embed": ["embed", TEXT, OTHER],
    "info": ["info"],
    "verify": ["verify", TEXT],
}


@pytest.fixture(scope="module")
def bare(explorers, tmp_path_factory):
    """The encoder of one of them alone."""
    folder = tmp_path_factory.mktemp("bare")
    model = ModernBertModel(explorers["labels"].model.config)
    spread_weights(model, 5)
    save_model(folder, model)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((locate("tiny").folder / name).read_bytes())
    return mbexplore.load(str(folder), device="cpu")


def on(explorer, arguments):
    done = run_cli(*arguments, "-m", explorer.files.folder)
    assert "Traceback" not in done.err
    return done


def sentence(done):
    line = done.err.splitlines()[-1]
    assert done.code in (1, 2) and done.out == "" and line.startswith("Error: ")
    return line


def encoded(explorer, kind, text=TEXT):
    return explorer.encode(text, pair=ASKS[kind].get("pair"))


def logits_of(explorer, kind, encoding):
    """What the model's own forward pass says of the choice that is asked about."""
    ids = torch.tensor([encoding.ids])
    with torch.no_grad():
        if kind == "choice":
            return explorer.model(ids[None])[0]
        logits = explorer.model(ids)[0]
    if kind == "tokens":
        return logits[3]
    return logits[[0, *encoding.pair_positions], 0] if kind == "answer" else logits


PAIRED = {
    "attention": [*LOOK["attention"], "--head", "1"],
    "residual": LOOK["residual"],
    "neurons": ["neurons", TEXT, "--layer", "1"],
    "token neurons": LOOK["token neurons"],
    "rope score": LOOK["rope score"],
    "heads": LOOK["heads"],
    "mix": LOOK["mix"],
}


@pytest.mark.parametrize("name", PAIRED)
def test_what_looks_inside_sees_the_second_text_too(explorers, tmp_path, name):
    explorer, page = explorers["answer"], tmp_path / "page.html"
    done = on(explorer, [*PAIRED[name], "--context", CONTEXT, "-o", page, "--json"])
    tokens = list(explorer.encode(TEXT, pair=CONTEXT).tokens)
    assert json.loads(done.out)["tokens"] in (tokens, len(tokens))  # heads counts them
    assert on(explorer, [*command_in(page), "--json"]).out == done.out


@pytest.mark.parametrize("name", ["compare", "patch"])
def test_two_texts_that_are_too_long_are_cut_if_asked(explorers, tmp_path, name):
    folder = shutil.copytree(explorers["labels"].files.folder, tmp_path / "short")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 16}))
    short, page = mbexplore.load(str(folder), device="cpu"), tmp_path / "page.html"
    answers = ["--answer", "bad", "--other-answer", "fair"] if name == "patch" else []
    ask_both = [name, TEXT + CONTEXT, OTHER + CONTEXT, *answers]
    assert "cut it with --truncate" in sentence(on(short, ask_both))
    done = on(short, [*ask_both, "--truncate", "-o", page, "--json"])
    assert done.code == 0 and "to 16 tokens" in done.err
    assert on(short, [*command_in(page), "--json"]).out == done.out


@pytest.mark.parametrize("name", LOOK)
@pytest.mark.parametrize("kind", [*ASKS, "bare"])
def test_what_looks_inside_works_with_any_head(explorers, bare, kind, name):
    done = on(bare if kind == "bare" else explorers[kind], LOOK[name])
    assert done.code == 0 and done.out


@pytest.mark.parametrize("name", EXPLAIN)
@pytest.mark.parametrize("kind", ASKS)
def test_what_explains_an_answer_does_so_or_says_what_else_to_use(explorers, kind, name):
    done = on(explorers[kind], [*EXPLAIN[name], *OPTIONS.get(kind, [])])
    if kind in CHOOSES or name == "attribute":
        assert (done.code == 0 and done.out) or "there is no difference" in sentence(done)
    else:
        assert "one number" in sentence(done) and "mbexplore attribute" in done.err


@pytest.mark.parametrize("name", EXPLAIN)
def test_a_bare_encoder_has_no_answer_to_explain(bare, name):
    assert "is a bare encoder" in sentence(on(bare, EXPLAIN[name]))


@pytest.mark.parametrize("kind", ASKS)
def test_the_question_is_the_models_own_answer(explorers, kind):
    explorer, encoding = explorers[kind], encoded(explorers[kind], kind)
    readout = build_readout(explorer, encoding, ASKS[kind].get("position"), number=True)
    found = readout.logits(torch.tensor([encoding.ids]))[0]
    torch.testing.assert_close(found, logits_of(explorer, kind, encoding), rtol=0, atol=1e-6)
    best = readout.target(found)
    assert best.token_id == int(found.argmax())
    if kind == "answer":
        places = [0, *encoding.pair_positions]
        assert best.position == places[best.token_id]
        names = [readout.name(option) for option in range(len(places))]
        assert len(set(names)) == len(names) and names[0] == "(no answer)"
    else:
        assert best.position == ASKS[kind].get("position")


@pytest.mark.parametrize("kind", CHOOSES)
def test_the_lens_ends_with_the_models_answer(explorers, kind):
    explorer, encoding = explorers[kind], encoded(explorers[kind], kind)
    found = lens(explorer, encoding, ASKS[kind].get("position"), top_k=2)
    expected = logits_of(explorer, kind, encoding)
    shares = expected.sigmoid() if kind == "any label" else expected.softmax(0)
    assert found.rows[-1].probability == pytest.approx(float(shares.max()), abs=1e-5)
    assert (found.rows[-1].rank, found.rows[-1].kl_final_to_layer) == (1, 0)
    assert all(np.isfinite([row.kl_final_to_layer, row.entropy]).all() for row in found.rows)
    if kind == "any label":  # of two labels each a yes or a no
        entropy = -(shares * shares.log() + (1 - shares) * (1 - shares).log()).sum()
        assert found.rows[-1].entropy == pytest.approx(float(entropy), abs=1e-5)


@pytest.mark.parametrize("kind", CHOOSES)
def test_a_knock_out_is_the_model_run_without_the_part(explorers, kind):
    explorer, encoding = explorers[kind], encoded(explorers[kind], kind)
    found = ablate(explorer, encoding, [Block(2, "mlp")], ASKS[kind].get("position"))
    with hooked(explorer.model, {"layers.2.mlp_out": torch.zeros_like}):
        without = logits_of(explorer, kind, encoding)
    option = found.target.token_id
    assert found.effects[0].score.logit == pytest.approx(float(without[option]), abs=1e-5)
    every = ablate_heads(explorer, encoding, ASKS[kind].get("position"))
    alone = ablate(explorer, encoding, [Head(1, 1)], ASKS[kind].get("position"))
    change = alone.effects[0].score.logit - alone.clean.logit
    assert every.logit[1, 1] == pytest.approx(change, abs=1e-5)


@pytest.mark.parametrize("kind", ASKS)
def test_an_attribution_sums_to_the_logit_less_the_baselines(explorers, kind):
    explorer, encoding = explorers[kind], encoded(explorers[kind], kind)
    found = attribute(explorer, encoding, ASKS[kind].get("position"), steps=300)
    expected = logits_of(explorer, kind, encoding)
    assert found.value == pytest.approx(float(expected.max()), abs=1e-5)
    difference = found.value - found.baseline_value
    assert sum(found.integrated) == pytest.approx(difference, abs=0.02 * max(1, abs(difference)))


@pytest.mark.parametrize("kind", ["labels", "any label", "tokens"])
def test_patching_every_place_is_bounded_by_both_texts(explorers, kind):
    explorer = explorers[kind]
    a, b = explorer.model.config.labels[:2]
    encodings = [encoded(explorer, kind, text) for text in (TEXT, OTHER)]
    assert len(encodings[0]) == len(encodings[1])
    found = patch(explorer, *encodings, ASKS[kind].get("position"), answer=a, contrast=b)
    ends = [logits_of(explorer, kind, encoding) for encoding in encodings]
    differences = [float(end[0] - end[1]) for end in ends]
    assert found.clean_difference == pytest.approx(differences[0], abs=1e-5)
    assert found.corrupted_difference == pytest.approx(differences[1], abs=1e-5)
    same = [i for i, (x, y) in enumerate(zip(*(e.ids for e in encodings), strict=True)) if x == y]
    np.testing.assert_allclose(found.residual[0, same], 0, atol=1e-3)


@pytest.mark.parametrize("kind", CHOOSES)
def test_a_text_beside_itself_is_no_different(explorers, kind):
    explorer = explorers[kind]
    side = explorer, encoded(explorer, kind)
    found = compare(side, side, position=ASKS[kind].get("position"))
    assert found.kl == 0 and found.first.predictions == found.second.predictions


def test_choices_among_other_options_have_no_divergence(explorers, tmp_path):
    labels = explorers["labels"]
    folder = shutil.copytree(labels.files.folder, tmp_path / "renamed")
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {key: f"other {name}" for key, name in config["id2label"].items()}
    config["label2id"] = {name: int(key) for key, name in config["id2label"].items()}
    (folder / "config.json").write_text(json.dumps(config))
    renamed = mbexplore.load(str(folder), device="cpu")
    found = compare((labels, TEXT), (renamed, TEXT))
    assert found.kl is None and not found.residual_distance.any()


@pytest.mark.parametrize("name", ["predict", "lens", "ablate", "attribute"])
def test_a_text_to_search_that_is_cut_away_is_one_sentence(explorers, name):
    long, more = "sea " * 3000, ["--context", CONTEXT, "--truncate"]
    assert "Nothing is left of the second text" in sentence(
        on(explorers["answer"], [name, long, *more])
    )


def test_an_answer_can_be_named(explorers):
    labels, where = explorers["labels"], explorers["answer"]
    found = lens(labels, TEXT, answer="fair")
    assert (found.target.token, found.target.position) == ("fair", None)
    encoding = encoded(where, "answer")
    place = encoding.pair_positions[2]
    ends = torch.tensor([encoding.ids])
    with torch.no_grad():
        expected = where.model(ends)[0, place, 1]
    found = ablate(where, encoding, [], place, answer="end")
    assert found.target.position == place
    assert found.clean.logit == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "arguments", "part"),
    [
        ("labels", ["lens", TEXT, "--answer", "best"], "no label 'best'; choose bad, fair, $good"),
        ("labels", ["lens", TEXT, "--token", "2"], "name no token"),
        ("labels", ["lens", TEXT, "--all"], "ask for its one answer"),
        ("tokens", ["lens", TEXT], "name the token asked about, from 0 to"),
        ("answer", ["lens", TEXT], "the text to search as the second"),
        ("answer", ["lens", TEXT, "--context", CONTEXT, "--token", "1"], "Token 1 is outside"),
        ("answer", ["lens", TEXT, "--context", CONTEXT, "--answer", "boats"], "write start or end"),
        ("choice", ["attribute", TEXT], "give the one to look at as the second text"),
    ],
)
def test_what_a_head_can_not_answer_is_one_sentence(explorers, kind, arguments, part):
    assert part in sentence(on(explorers[kind], arguments))


@pytest.mark.parametrize("kind", CHOOSES)
def test_a_views_command_makes_it_again(explorers, kind, tmp_path):
    for name in ("lens", "ablate", "attribute", "compare"):
        page = tmp_path / f"{name}.html"
        extra = [*OPTIONS.get(kind, []), "-o", page]
        done = on(explorers[kind], [*EXPLAIN[name], *extra, "--json"])
        first = json.loads(done.out)
        again = json.loads(on(explorers[kind], [*command_in(page), "--json"]).out)
        assert again == first


def command_in(page):
    """The command line that a page names, without the model."""
    import html
    import re
    import shlex

    [line] = re.findall(r"<code[^>]*>mbexplore (.*?)</code>", page.read_text())
    words = shlex.split(html.unescape(line))
    at = words.index("-m")
    return words[:at] + words[at + 2 :]
