"""Every key of config.json that transformers reads, against transformers itself.

A key is honoured, so that the numbers are the same, or refused by name; where transformers refuses
a value, ours may be anything. A key that a newer transformers reads fails the first test.
"""

import dataclasses
import json

import pytest
import torch
import transformers
from transformers import ModernBertConfig as TheirConfig
from transformers.activations import ACT2CLS
from transformers.initialization import no_init_weights

from mbexplore.errors import ModelError
from mbexplore.network.activations import ACTIVATIONS
from mbexplore.network.config import ModernBertConfig
from mbexplore.network.heads import CLASSIFIERS
from mbexplore.network.model import ModernBertForMaskedLM
from tests.parity import spread_weights

CONFIG = {
    "model_type": "modernbert",
    "vocab_size": 41,
    "hidden_size": 16,
    "intermediate_size": 12,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "local_attention": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "cls_token_id": 1,
    "sep_token_id": 2,
    "hidden_activation": "gelu",
    "classifier_pooling": "mean",
    "id2label": {"0": "a", "1": "b", "2": "c"},
    "label2id": {"a": 0, "b": 1, "c": 2},
}
LOCAL, GLOBAL = "sliding_attention", "full_attention"
FULL = {"rope_type": "default", "rope_theta": 500.0}
SHORT = {"rope_type": "default", "rope_theta": 70.0}


def scaled(kind, **more):
    return {GLOBAL: FULL | {"rope_type": kind, "factor": 4.0} | more, LOCAL: SHORT}


# Values of each key that transformers reads of a config, one of them usual.
VALUES = {
    "architectures": [None, ["ModernBertForMaskedLM"], []],
    "attention_bias": [True, False],
    "attention_dropout": [0.0, 0.5, 1],
    "attn_implementation": ["eager", None],
    "bos_token_id": [None, 5, -1],
    "chunk_size_feed_forward": [0, 3],
    "classifier_activation": ["tanh", "nothing"],
    "classifier_bias": [True, False],
    "classifier_dropout": [0.0, 0.5],
    "classifier_pooling": ["cls", "mean", "max"],
    "cls_token_id": [None, 5, 40, -1],
    "decoder": [None, {"hidden_size": 8}],
    "decoder_bias": [True, False],
    "deterministic_flash_attn": [True, False],
    "dtype": ["float32", None],
    "embedding_dropout": [0.0, 0.5],
    "eos_token_id": [None, 5, [2, 3]],
    "experts_implementation": [None, "eager"],
    "generator": [None, {"hidden_size": 8}],
    "global_attn_every_n_layers": [1, 2, 3, 0],
    "global_rope_theta": [160_000.0, 50.0, 9],
    "gradient_checkpointing": [True, False],
    "head_dim": [None, 8, 4, 16],
    "hidden_activation": ["silu", "gelu_new"],
    "hidden_size": [8, 32, 24],
    "id2label": [None, {"0": "x"}, {"0": "x", "1": "y"}],
    "initializer_cutoff_factor": [2.0, 3.0],
    "initializer_range": [0.02, 0.5],
    "intermediate_size": [7, 40],
    "is_causal": [None, False, True],
    "is_decoder": [False, True],
    "is_encoder_decoder": [False, True],
    "label2id": [None, {"x": 0}],
    "layer_norm_eps": [0.5],
    "layer_types": [
        None,
        [LOCAL] * 4,
        [GLOBAL] * 4,
        ["attention", LOCAL, LOCAL, GLOBAL],
        ["conv"] * 4,
    ],
    "local_attention": [1, 2, 5, 8, 300, 0, -2],
    "local_rope_theta": [10_000.0, 33.0],
    "max_position_embeddings": [8, 64, 8192],
    "mlp_bias": [True, False],
    "mlp_dropout": [0.0, 0.5],
    "mlp_layer_types": [None, ["dense"] * 4],
    "model_type": ["modernbert"],
    "mtp_layer_types": [None, [GLOBAL]],
    "name_or_path": ["somewhere"],
    "norm_bias": [True, False],
    "norm_eps": [1e-5, 0.1],
    "num_attention_heads": [1, 2, 4],
    "num_hidden_layers": [1, 5],
    "num_labels": [None, 2, 3, 5],
    "output_attentions": [False],
    "output_hidden_states": [False, True],
    "pad_token_id": [0, 7, None],
    "partial_rotary_factor": [1.0, 0.5],
    "per_layer_config": [None, {"1": {"intermediate_size": 4}}],
    "position_embedding_type": ["absolute"],
    "problem_type": [None, "regression", "multi_label_classification"],
    "quantization_config": [None, {"quant_method": "bitsandbytes", "load_in_8bit": True}],
    "reference_compile": [None, False],
    "repad_logits_with_grad": [False, True],
    "return_dict": [True],
    "rope_parameters": [
        None,
        {GLOBAL: FULL, LOCAL: SHORT},
        {GLOBAL: FULL},
        {GLOBAL: {"rope_theta": 90.0}, LOCAL: {"rope_type": "default"}},
        {GLOBAL: {"type": "yarn", "factor": 4.0, "rope_theta": 500.0}, LOCAL: SHORT},
        {GLOBAL: {"type": "linear", "factor": 4.0}, LOCAL: SHORT},
        {GLOBAL: FULL | {"partial_rotary_factor": 0.5}, LOCAL: SHORT},
        scaled("linear"),
        scaled("dynamic"),
        scaled("proportional"),
        scaled("yarn", original_max_position_embeddings=16),
        scaled(
            "llama3", original_max_position_embeddings=16, low_freq_factor=1.0, high_freq_factor=4.0
        ),
        scaled(
            "longrope",
            original_max_position_embeddings=16,
            short_factor=[1.0] * 4,
            long_factor=[2.0] * 4,
        ),
    ],
    "rope_scaling": [
        None,
        {"rope_type": "linear", "factor": 4.0},
        {"type": "yarn", "factor": 4.0},
        {"rope_type": "default", "rope_theta": 99.0},
    ],
    "rope_theta": [10_000.0, 3.0],
    "sep_token_id": [None, 5],
    "sliding_window": [1, 3, 64, 0],
    "sparse_pred_ignore_index": [-100, 0],
    "sparse_prediction": [True, False],
    "text_config": [None, {"hidden_size": 8}],
    "tie_last_hidden_states": [None, True],
    "tie_word_embeddings": [True, False],
    "tokenizer_class": ["BertTokenizer"],
    "transformers_version": ["4.48.0", None],
    "use_cache": [True, False],
    "vision_aspect_ratio": [None, "square"],
    "vision_feature_layer": [None, 1],
    "vision_feature_select_strategy": [None, "full"],
    "vocab_size": [30, 100],
}
OF_THE_CLASS = {"base_model_ep_plan", "base_model_fsdp_plan", "base_model_pp_plan"}
OF_THE_CLASS |= {"base_model_tp_plan", "default_rope_type", "default_theta", "is_heterogeneous"}
OF_THE_CLASS |= {"ignore_keys_at_rope_validation", "sub_configs", "sub_configs_defaults"}
OF_THE_CLASS |= {"attribute_map", "has_no_defaults_at_init", "keys_to_ignore_at_inference"}
"""Of every config of transformers, and none that a config.json can say."""


pytestmark = pytest.mark.usefixtures("one_thread")


def build_theirs(config, name, attention="eager"):
    read = TheirConfig.from_dict(json.loads(json.dumps(config)))
    return getattr(transformers, name)._from_config(read, attn_implementation=attention).eval()


def batch(vocab_size=30):
    torch.manual_seed(1)
    ids = torch.randint(3, vocab_size, (2, 23))
    mask = torch.ones_like(ids)
    mask[0, 17:] = 0
    return ids, mask


def test_every_key_that_transformers_reads_is_swept(monkeypatch):
    """Watched while all its ModernBERTs are built and run."""
    read = set()
    plain = TheirConfig.__getattribute__

    def watch(self, name):
        read.add(name)
        return plain(self, name)

    with monkeypatch.context() as watched:
        watched.setattr(TheirConfig, "__getattribute__", watch)
        for name in ["ModernBertForMaskedLM", *CLASSIFIERS]:
            ids, mask = batch()
            if name.endswith("MultipleChoice"):
                ids, mask = ids[:, None], mask[:, None]
            for attention in ("eager", "sdpa"):
                for pooling in ("cls", "mean"):
                    two = {"id2label": None, "label2id": None, "classifier_pooling": pooling}
                    theirs = build_theirs(CONFIG | two, name, attention)
                    theirs(ids, attention_mask=mask, output_hidden_states=True)
    keys = {name for name in read if not name.startswith("_")}
    keys -= {name for name in keys if callable(getattr(TheirConfig, name, None))}
    keys |= {field.name for field in dataclasses.fields(TheirConfig)}
    assert len(keys) > 60
    assert keys - OF_THE_CLASS <= VALUES.keys()


def compare(config, name):
    """The difference of logits, or who refuses."""
    try:
        ours = (CLASSIFIERS | {"ModernBertForMaskedLM": ModernBertForMaskedLM})[name](
            ModernBertConfig.from_dict(config)
        ).eval()
    except ModelError as error:
        return str(error)
    try:
        with no_init_weights():
            theirs = build_theirs(config, name)
    except Exception:
        return None
    spread_weights(ours, 3)
    theirs.load_state_dict(ours.state_dict())
    ids, mask = batch()
    with torch.no_grad():
        difference = ours(ids, mask) - theirs(ids, mask).logits
    return difference[mask.bool()] if difference.dim() == 3 else difference


OF_HEADS = ("classifier", "id2label", "label2id", "num_labels", "problem_type")


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in VALUES.items() for value in values], ids=str
)
def test_a_key_is_honoured_or_refused_by_name(key, value):
    of_labels = key.startswith(OF_HEADS)
    name = "ModernBertForSequenceClassification" if of_labels else "ModernBertForMaskedLM"
    found = compare(CONFIG | {key: value}, name)
    if isinstance(found, str):
        assert any(part in found for part in (key, "rope_type", "layer type", str(value)))
    elif found is not None:
        assert found.abs().max() < 2e-5


REFUSED = [
    ("is_causal", True),
    ("head_dim", 4),
    ("per_layer_config", {"1": {"intermediate_size": 4}}),
    ("quantization_config", {"quant_method": "x"}),
    ("sliding_window", 0),
    ("local_attention", 0),
    *(
        ("rope_parameters", value)
        for value in VALUES["rope_parameters"][7:]
        if value[GLOBAL]["rope_type"] not in ("linear", "yarn")
    ),
    ("rope_scaling", VALUES["rope_scaling"][2]),
]


@pytest.mark.parametrize(("key", "value"), REFUSED, ids=str)
def test_what_is_not_computed_is_refused(key, value):
    assert isinstance(compare(CONFIG | {key: value}, "ModernBertForMaskedLM"), str)


HONOURED = [
    ("sliding_window", 1, "local_attention", 2),
    ("layer_types", VALUES["layer_types"][3], "layer_types", [GLOBAL, LOCAL, LOCAL, GLOBAL]),
    ("rope_scaling", {"rope_theta": 99.0}, "global_rope_theta", 99.0),
]


@pytest.mark.parametrize(("key", "value", "plain", "said"), HONOURED, ids=str)
def test_what_is_said_in_another_way_is_the_same(key, value, plain, said):
    config = ModernBertConfig.from_dict(CONFIG | {key: value})
    same = ModernBertConfig.from_dict(CONFIG | {plain: said})
    assert config.layer_kinds == same.layer_kinds
    assert config.local_attention == same.local_attention
    assert config.global_rope_theta == same.global_rope_theta


@pytest.mark.parametrize("name", list(ACT2CLS))
def test_activations_are_those_of_transformers(name):
    if name in ("prelu", "xielu"):  # they have weights, which no published checkpoint holds
        assert name not in ACTIVATIONS
        return
    x = torch.linspace(-20, 20, 4001, dtype=torch.float64)
    theirs = transformers.activations.ACT2FN[name](x)
    assert (ACTIVATIONS[name](x) - theirs).abs().max() < 1e-6
