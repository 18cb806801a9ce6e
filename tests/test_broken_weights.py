"""Numbers that are not finite: refused by every view, or switched off on purpose."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from mbexplore.checkpoints.hub import locate
from mbexplore.checkpoints.model import save_model
from mbexplore.explorer import Explorer, load
from mbexplore.network.config import ModernBertConfig
from mbexplore.network.heads import ModernBertForSequenceClassification
from mbexplore.network.model import ModernBertForMaskedLM
from tests.cli_runner import run_cli
from tests.parity import SMALL, spread_weights

TEXT = "A [MASK] of the sea."
TINY = locate("tiny").folder
CONFIG = {
    **SMALL,
    "cls_token_id": 0,  # wrong on purpose: the tokenizer's ids count
    "sep_token_id": None,
}


def save(folder, model):
    spread_weights(model, 4)
    save_model(folder, model)
    (folder / "tokenizer.json").write_bytes((TINY / "tokenizer.json").read_bytes())
    return folder


@pytest.fixture(scope="module")
def masked_lm(tmp_path_factory):
    config = ModernBertConfig.from_dict(CONFIG)
    return save(tmp_path_factory.mktemp("masked"), ModernBertForMaskedLM(config))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    config = ModernBertConfig.from_dict(CONFIG | {"num_labels": 3})
    return save(tmp_path_factory.mktemp("classifier"), ModernBertForSequenceClassification(config))


def broken(source, folder, name, place, value):
    """A copy of a checkpoint with one number changed."""
    for path in source.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    tensors = load_file(folder / "model.safetensors")
    tensors[name][place] = value
    save_file(tensors, folder / "model.safetensors")
    return str(folder)


COMMANDS = [
    ["predict", TEXT, "--no-hf"],
    ["lens", TEXT],
    ["lens", TEXT, "--all"],
    ["compare", TEXT, "A [MASK] of the sky."],
    ["residual", TEXT],
    ["token-neurons", TEXT, "--token", "2"],
    ["ablate", TEXT, "--part", "0.0"],
    ["patch", TEXT, "A [MASK] of the sky.", "--answer", "the", "--other-answer", "and"],
    ["attribute", TEXT, "--steps", "4"],
]
EMBEDDINGS = "model.embeddings.tok_embeddings.weight"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("decoder.bias", 77, torch.nan),
        ("decoder.bias", 77, torch.inf),
        (EMBEDDINGS, (9_000, 3), torch.nan),  # of a token that the text doesn't have
        ("head.dense.weight", (1, 1), torch.nan),
        ("model.layers.1.mlp.Wi.weight", (1, 1), torch.nan),
    ],
)
def test_a_damaged_tensor_is_named_by_every_view(masked_lm, tmp_path, command, name, place, value):
    folder = broken(masked_lm, tmp_path, name, place, value)
    done = run_cli(*command, "-m", folder)
    kind = "NaN" if value != value else "infinity"
    assert (done.code, done.out) == (1, "")
    assert f"The model's tensor {name} has {kind} in it" in done.err.splitlines()[-1]


def test_a_damaged_classifier_is_named(classifier, tmp_path):
    folder = broken(classifier, tmp_path, "classifier.bias", 1, torch.nan)
    for command in (["predict", TEXT, "--no-hf"], ["lens", TEXT], ["attribute", TEXT]):
        done = run_cli(*command, "-m", folder)
        assert done.code == 1 and "tensor classifier.bias has NaN" in done.err


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_token_that_is_switched_off_harms_nothing(masked_lm, tmp_path, command):
    """Minus infinity in the decoder's bias: what is left are the numbers without that token."""
    folder = broken(masked_lm, tmp_path, "decoder.bias", 77, -torch.inf)
    done = run_cli(*command, "-m", folder)
    assert done.code == 0, done.err
    assert "nan" not in done.out.lower().split()
    if "--no-hf" not in command:
        plain = run_cli(*command, "-m", folder, "--json")
        assert plain.code == 0 and json.loads(plain.out, parse_constant=pytest.fail)


def test_probabilities_and_divergences_without_a_token(masked_lm, tmp_path):
    from mbexplore.analysis.lens import lens

    explorer = load(broken(masked_lm, tmp_path, "decoder.bias", 77, -torch.inf), device="cpu")
    plain = load(str(masked_lm), device="cpu")
    [logits] = plain.fill_masks(TEXT).logits
    rest = torch.cat((logits[:77], logits[78:]))
    answer = explorer.fill_masks(TEXT, top_k=3)
    best = rest.softmax(dim=-1).topk(3)
    found = [one.probability for one in answer.masks[0].predictions]
    assert found == pytest.approx(best.values.tolist(), rel=1e-5)
    comparison = explorer.compare_with_transformers(answer)
    assert comparison.max_abs_logit_difference < 1e-4 and comparison.same_top_k
    row = lens(explorer, TEXT).rows[1]
    final, early = (one.log_softmax(dim=-1) for one in (rest, _state(plain, 1)))
    assert row.kl_final_to_layer == pytest.approx(
        float((final.exp() * (final - early)).sum()), rel=1e-4
    )
    assert row.entropy == pytest.approx(float(-(early.exp() * early).sum()), rel=1e-4)


def _state(explorer, state):
    """Logits of a state of the residual stream at the mask, less token 77."""
    from mbexplore.analysis.lens import state_logits

    recording = explorer.record(TEXT, keep=("hidden_states",))
    [place] = recording.encoding.mask_positions
    [logits] = state_logits(explorer, recording, state, [place])
    return torch.cat((logits[:77], logits[78:]))


def test_special_ids_of_the_tokenizer_count_in_analyses(masked_lm):
    """config.json of this checkpoint has other ones."""
    from mbexplore.analysis.attribute import attribute

    explorer = load(str(masked_lm), device="cpu")
    encoding = explorer.encode(TEXT)
    tokenizer = explorer.tokenizer
    assert (encoding.cls_id, encoding.sep_id) == (
        tokenizer.id_of("[CLS]"),
        tokenizer.id_of("[SEP]"),
    )
    for baseline in ("mask", "pad"):
        found = attribute(explorer, TEXT, baseline=baseline, steps=8)
        scores = [float(one) for one in found.integrated]
        assert scores[0] == scores[-1] == 0 and any(scores[1:-1])


BLANK = {  # a tensor that everything passes, and what it is filled with
    EMBEDDINGS: 0.25,
    "model.embeddings.norm.weight": 0.0,
    "model.final_norm.weight": 0.0,
    "head.dense.weight": 0.0,
    "head.norm.weight": 0.0,
}


BEFORE_THE_END = ("residual", "token-neurons")
"""Commands that look at nothing after the layers."""


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (command, name)
        for command in COMMANDS
        for name in BLANK
        if "embeddings" in name or command[0] not in BEFORE_THE_END
    ],
    ids=str,
)
def test_a_blank_tensor_is_named_and_no_even_answer_is_shown(masked_lm, tmp_path, command, name):
    done = run_cli(*command, "-m", broken(masked_lm, tmp_path, name, ..., BLANK[name]))
    kind = "the same" if BLANK[name] else "zero"
    assert (done.code, done.out) == (1, "")
    assert f"The model's tensor {name} is {kind} in all its rows" in done.err.splitlines()[-1]


@pytest.mark.parametrize("name", ["classifier.weight", "head.dense.weight", EMBEDDINGS])
def test_a_classifier_that_says_the_same_of_every_text_is_refused(classifier, tmp_path, name):
    folder = broken(classifier, tmp_path, name, ..., 0.0)
    for command in (["predict", TEXT, "--no-hf"], ["lens", TEXT], ["attribute", TEXT]):
        done = run_cli(*command, "-m", folder)
        assert (done.code, done.out) == (1, "")
        assert f"The model's tensor {name} is zero in all its rows" in done.err


@pytest.mark.parametrize("name", [EMBEDDINGS, "model.final_norm.weight"])
def test_vectors_that_are_all_the_same_are_refused(masked_lm, tmp_path, name):
    folder = broken(masked_lm, tmp_path, name, ..., 0.0)
    done = run_cli("embed", "One text.", "Another.", "-m", folder)
    assert (done.code, done.out) == (1, "")
    assert f"The model's tensor {name} is zero in all its rows" in done.err


@pytest.mark.parametrize(
    ("name", "place"),
    [(EMBEDDINGS, 0), (EMBEDDINGS, slice(0, 2)), ("model.layers.1.mlp.Wi.weight", ...)],
)
def test_a_blank_part_that_can_be_passed_by_is_no_fault(masked_lm, tmp_path, name, place):
    folder = broken(masked_lm, tmp_path, name, place, 0.0)
    for command in COMMANDS:
        assert run_cli(*command, "-m", folder).code == 0


def test_even_logits_of_a_sound_model_are_refused_as_an_answer_and_shown_as_an_effect(masked_lm):
    """An edit may take away all that tells answers apart."""
    from mbexplore.analysis.ablate import BlockedTokens, ablate
    from mbexplore.analysis.lens import lens
    from mbexplore.errors import ModelError

    explorer = load(str(masked_lm), device="cpu")
    model = explorer.model
    with torch.no_grad():
        model.decoder.bias.zero_()
        model.head.norm.weight[:] = 1.0
    last = f"layers.{model.config.num_hidden_layers - 1}.resid_post"
    with explorer.edit({last: torch.zeros_like}):
        for ask in (Explorer.fill_masks, lens):
            with pytest.raises(ModelError, match=r"All 10,240 options have one logit, 0: none"):
                ask(explorer, TEXT)
    assert explorer.fill_masks(TEXT).masks
    assert ablate(explorer, TEXT, [BlockedTokens((1,))]).effects


def test_one_number_alone_is_blank_where_its_weights_are_zero():
    from mbexplore.checks import check_blank
    from mbexplore.errors import ModelError

    config = ModernBertConfig.from_dict(CONFIG | {"num_labels": 1})
    model = ModernBertForSequenceClassification(config)
    check_blank(model)
    with torch.no_grad():
        model.classifier.weight.zero_()
    with pytest.raises(ModelError, match=r"tensor classifier\.weight is zero"):
        check_blank(model)
    two = ModernBertForSequenceClassification(ModernBertConfig.from_dict(CONFIG))
    check_blank(two)
    with torch.no_grad():
        two.classifier.weight[:] = torch.arange(16)  # the same for both labels
    with pytest.raises(ModelError, match=r"tensor classifier\.weight is the same"):
        check_blank(two)


def test_two_labels_may_come_out_level():
    from mbexplore.checks import check_told_apart

    check_told_apart(torch.zeros(1, 2))
    check_told_apart(torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
