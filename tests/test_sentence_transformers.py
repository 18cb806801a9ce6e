"""sentence-transformers folders: vectors against transformers and the steps written out by hand."""

import json

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer
from transformers import ModernBertModel as TheirEncoder

from mbexplore.analysis.embed import embed
from mbexplore.checkpoints.hub import locate
from mbexplore.checkpoints.model import save_model
from mbexplore.checkpoints.sentence_transformers import POOLINGS, read_sentence_model
from mbexplore.errors import ModelError, RangeError, TextError
from mbexplore.explorer import load
from mbexplore.network.config import ModernBertConfig
from mbexplore.network.model import ModernBertModel
from tests.cli_runner import run_cli
from tests.parity import SMALL, spread_weights

TEXTS = ["The tide rises.", " The sea comes in, and the boats lie in the harbour.", "He paid. "]
TINY = locate("tiny").folder
KIND = "sentence_transformers.models."
OLD = {name: f"pooling_mode_{name}" for name in POOLINGS}
OLD |= {name: f"pooling_mode_{name}_tokens" for name in ("cls", "max", "mean", "weightedmean")}
OLD["cls"] = "pooling_mode_cls_token"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A checkpoint without modules."""
    folder = tmp_path_factory.mktemp("encoder")
    model = ModernBertModel(ModernBertConfig.from_dict(SMALL))
    spread_weights_of(model)
    save_model(folder, model)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((TINY / name).read_bytes())
    return folder


def spread_weights_of(model):
    spread_weights(model, 8)
    with torch.no_grad():
        model.embeddings.tok_embeddings.weight.mul_(4)


@pytest.fixture
def folder(encoder, tmp_path):
    for path in encoder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def write(folder, steps, **files):
    """modules.json and the configs of its modules."""
    listed = [{"idx": 0, "name": "0", "path": "", "type": f"{KIND}Transformer"}]
    for i, (kind, config) in enumerate(steps, start=1):
        path = f"{i}_{kind}"
        listed.append({"idx": i, "name": str(i), "path": path, "type": KIND + kind})
        (folder / path).mkdir()
        if config is not None:
            (folder / path / "config.json").write_text(json.dumps(config))
    (folder / "modules.json").write_text(json.dumps(listed))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))


def modes(*wanted):
    return {key: name in wanted for name, key in OLD.items()} | {"word_embedding_dimension": 16}


def hidden_states(folder, texts):
    """Of transformers, each text alone, (seq, hidden)."""
    theirs, tokenizer = TheirEncoder.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        for text in texts:
            ids = torch.tensor([tokenizer(text.strip())["input_ids"]])
            yield theirs(ids).last_hidden_state[0]


def by_hand(states, name):
    if name == "cls":
        return states[0]
    if name == "lasttoken":
        return states[-1]
    if name == "max":
        return torch.stack([column.max() for column in states.T])
    if name == "mean":
        return sum(states) / len(states)
    if name == "mean_sqrt_len_tokens":
        return sum(states) / len(states) ** 0.5
    return sum(i * row for i, row in enumerate(states, 1)) / sum(range(1, len(states) + 1))


def assert_vectors(folder, expected, **options):
    found = embed(load(str(folder), device="cpu"), TEXTS, **options)
    torch.testing.assert_close(found.vectors, torch.stack(expected), rtol=0, atol=2e-5)
    return found


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("form", ["old", "new", "asked"])
def test_each_pooling(folder, name, form):
    config = {"old": modes(name), "new": {"pooling_mode": name, "embedding_dimension": 16}}
    if form != "asked":
        write(folder, [("Pooling", config[form])])
    expected = [by_hand(states, name) for states in hidden_states(folder, TEXTS)]
    if form == "asked":  # a folder that says nothing; and then the text is as it is
        texts = [text.strip() for text in TEXTS]
        found = embed(load(str(folder), device="cpu"), texts, name)
        torch.testing.assert_close(found.vectors, torch.stack(expected), rtol=0, atol=2e-5)
    else:
        found = assert_vectors(folder, expected)
    assert found.pooling == name and found.is_own == (form != "asked")


def test_several_poolings_dense_and_normalize(folder):
    dense = {"in_features": 32, "out_features": 5, "bias": True}
    dense["activation_function"] = "torch.nn.modules.activation.Tanh"
    write(folder, [("Pooling", modes("max", "cls")), ("Dense", dense), ("Normalize", None)])
    torch.manual_seed(0)
    weight, bias = torch.randn(5, 32) / 6, torch.randn(5)
    save_file(
        {"linear.weight": weight, "linear.bias": bias}, folder / "2_Dense" / "model.safetensors"
    )
    expected = []
    for states in hidden_states(folder, TEXTS):
        joined = torch.cat((by_hand(states, "cls"), by_hand(states, "max")))
        vector = torch.tanh(weight @ joined + bias)
        expected.append(vector / vector.norm())
    found = assert_vectors(folder, expected)
    assert found.pooling == "cls and max, dense to 5, normalized"
    done = run_cli("embed", *TEXTS, "-m", folder)
    assert done.code == 0 and "3 vectors of 5 numbers, cls and max, dense to 5" in " ".join(
        done.out.split()
    )


PROMPTS = {"prompts": {"query": "search: ", "document": ""}, "default_prompt_name": None}


def test_prompts(folder):
    write(folder, [("Pooling", modes("cls"))], config_sentence_transformers=PROMPTS)
    with_prompt = ["search: " + text for text in TEXTS]
    expected = [states[0] for states in hidden_states(folder, with_prompt)]
    assert assert_vectors(folder, expected, prompt="query").prompt == "query"
    plain = [states[0] for states in hidden_states(folder, TEXTS)]
    assert_vectors(folder, plain)
    explorer = load(str(folder), device="cpu")
    with pytest.raises(RangeError, match="no prompt 'other'; choose one of 'query', 'document'"):
        embed(explorer, TEXTS, prompt="other")
    (folder / "config_sentence_transformers.json").write_text(
        json.dumps(PROMPTS | {"default_prompt_name": "query"})
    )
    assert_vectors(folder, expected)
    done = run_cli("embed", *TEXTS, "-m", folder, "--prompt", "document", "--json")
    answer = json.loads(done.out)
    assert answer["prompt"] == "document" and answer["texts"] == TEXTS
    torch.testing.assert_close(
        torch.tensor(answer["vectors"]), torch.stack(plain), rtol=0, atol=2e-5
    )


@pytest.mark.parametrize("name", ["mean", "weightedmean", "max"])
def test_a_prompt_that_is_not_pooled(folder, name):
    pooling = modes(name) | {"include_prompt": False}
    write(folder, [("Pooling", pooling)], config_sentence_transformers=PROMPTS)
    prompt = AutoTokenizer.from_pretrained(folder)("search: ")["input_ids"]
    start = len(prompt) - 1  # its [SEP] does not count
    expected = []
    for states in hidden_states(folder, ["search: " + text for text in TEXTS]):
        rest = states[start:]
        if name == "weightedmean":
            weights = torch.arange(len(states))[start:] + 1.0
            expected.append((weights[:, None] * rest).sum(0) / weights.sum())
        else:
            expected.append(by_hand(rest, name))
    assert_vectors(folder, expected, prompt="query")


def test_a_limit_of_its_own(folder):
    limit = {"max_seq_length": 6, "do_lower_case": False}
    write(folder, [("Pooling", modes("mean"))], sentence_bert_config=limit)
    explorer = load(str(folder), device="cpu")
    with pytest.raises(TextError, match="the model takes 6"):
        embed(explorer, TEXTS)
    assert [len(one) for one in embed(explorer, TEXTS, truncate=True).encodings] == [6, 6, 5]


DENSE = {"in_features": 16, "out_features": 4, "activation_function": "torch.nn.Tanh"}


@pytest.mark.parametrize(
    ("steps", "files", "named"),
    [
        ([("Pooling", modes())], {}, "the pooling None"),
        ([("Pooling", {"pooling_mode": "attention"})], {}, "'attention'"),
        ([("Pooling", modes("cls") | {"pooling_mode_new": True})], {}, "'pooling_mode_new'"),
        ([("Pooling", None)], {}, r"1_Pooling has no config\.json"),
        ([("LSTM", {})], {}, "module 'LSTM'"),
        ([("Dense", DENSE), ("Pooling", modes("cls"))], {}, "module 'Dense'"),
        ([("Pooling", modes("cls")), ("Dense", DENSE)], {}, r"2_Dense has no model\.safetensors"),
        (
            [("Pooling", modes("cls")), ("Dense", DENSE | {"activation_function": "x.Snake"})],
            {},
            "activation 'Snake'",
        ),
        ([("Normalize", None)], {}, "no Pooling"),
        ([("Pooling", modes("cls")), ("Normalize", None), ("Dense", DENSE)], {}, "after Normalize"),
        ([("Pooling", modes("cls"))], {"modules": [{"type": "x", "path": "../a"}]}, "inside"),
        ([("Pooling", modes("cls"))], {"modules": [{"type": "x", "path": "/etc"}]}, "inside"),
        ([("Pooling", modes("cls"))], {"modules": [{"path": ""}]}, "a type"),
        ([("Pooling", modes("cls"))], {"modules": {"a": 1}}, "a type"),
        ([("Pooling", modes("cls"))], {"modules": [{"type": "m.Router", "path": ""}]}, "'Router'"),
        ([("Pooling", modes("cls"))], {"sentence_bert_config": {"max_seq_length": "x"}}, "'x'"),
        ([("Pooling", modes("cls"))], {"sentence_bert_config": {"do_lower_case": True}}, "lower"),
        (
            [("Pooling", modes("cls"))],
            {"config_sentence_transformers": {"default_prompt_name": "x"}},
            "no prompt 'x'",
        ),
        (
            [("Pooling", modes("cls"))],
            {"config_sentence_transformers": {"prompts": [1]}},
            "prompts",
        ),
    ],
    ids=str,
)
def test_what_is_not_computed_is_refused_by_name(folder, steps, files, named):
    write(folder, steps, **files)
    with pytest.raises(ModelError, match=named) as caught:
        read_sentence_model(folder)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)
    explorer = load(str(folder), device="cpu")
    with pytest.raises(ModelError, match=named):
        embed(explorer, TEXTS)
    assert embed(explorer, TEXTS, "mean").vectors.shape == (3, 16)  # a pooling of one's own


def test_a_dense_layer_that_does_not_fit(folder):
    write(folder, [("Pooling", modes("cls")), ("Dense", DENSE)])
    path = folder / "2_Dense" / "model.safetensors"
    for tensors, named in (
        ({"linear.weight": torch.ones(4, 17)}, "takes 17 numbers"),
        ({"weight": torch.ones(4, 16)}, "can't be read"),
        ({"linear.weight": torch.full((4, 16), torch.nan)}, "not finite"),
    ):
        save_file(tensors, path)
        with pytest.raises(ModelError, match=named):
            embed(load(str(folder), device="cpu"), TEXTS)
