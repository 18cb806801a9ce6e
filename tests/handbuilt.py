"""A model made by hand: one head of three layers copies the previous token, all else is idle.

The residual stream has a slot for the token itself (dimensions 0 to 15, one-hot) and one for the
token before it (16 to 31), which is empty until head 0 of layer 1 fills it. The head of the model
reads the second slot, and the first one faintly where the second is empty. So "a b [MASK]" is
answered "b", and without that one head "[MASK]".
"""

from pathlib import Path

import tokenizers
import torch
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing

from mbexplore.checkpoints.hub import ModelFiles
from mbexplore.checkpoints.tokenizer import Tokenizer
from mbexplore.explorer import Explorer
from mbexplore.network.config import ModernBertConfig
from mbexplore.network.model import ModernBertForMaskedLM
from mbexplore.network.tap import Tap

SLOT = 16
COPY_LAYER, COPY_HEAD = 1, 0
VOCAB = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijkl"]
THETA = 10.0


def handbuilt_config() -> ModernBertConfig:
    return ModernBertConfig(
        vocab_size=SLOT,
        hidden_size=2 * SLOT,
        intermediate_size=8,
        num_hidden_layers=3,
        num_attention_heads=2,
        layer_kinds=("global", "local", "local"),
        local_attention=8,
        global_rope_theta=THETA,
        local_rope_theta=THETA,
        max_position_embeddings=64,
        tie_word_embeddings=False,
        decoder_bias=False,
        classifier_activation="relu",
        pad_token_id=0,
        cls_token_id=1,
        sep_token_id=2,
    )


@torch.no_grad()
def build_copier() -> ModernBertForMaskedLM:
    """The model whose head (COPY_LAYER, COPY_HEAD) attends to the previous token and copies it."""
    config = handbuilt_config()
    model = ModernBertForMaskedLM(config).eval()
    for name, parameter in model.named_parameters():
        parameter.fill_(1.0 if "norm" in name else 0.0)
    one_hot = torch.eye(SLOT, 2 * SLOT)
    model.encoder.embeddings.tok_embeddings.weight.copy_(one_hot)
    attention = model.encoder.layers[COPY_LAYER].attn
    # The one-hot slot sums to the same for every token, so q and k are the same vector each,
    # turned so that RoPE brings them together at distance 1.
    half = SLOT // 2
    angles = THETA ** (-torch.arange(half) / half)
    query, key, value = attention.Wqkv.weight.view(3, 2, SLOT, 2 * SLOT)[:, COPY_HEAD]
    query[:half, :SLOT] = 4.0 * angles.cos()[:, None]
    query[half:, :SLOT] = -4.0 * angles.sin()[:, None]
    key[:half, :SLOT] = 4.0
    value[:, :SLOT] = torch.eye(SLOT)
    attention.Wo.weight[SLOT:, COPY_HEAD * SLOT : (COPY_HEAD + 1) * SLOT] = torch.eye(SLOT)
    model.head.dense.weight[:SLOT, SLOT:] = 4.0 * torch.eye(SLOT)
    model.head.dense.weight[:SLOT, :SLOT] = torch.eye(SLOT)
    model.decoder.weight.copy_(2 * one_hot)
    return model


def build_tokenizer() -> Tokenizer:
    """A word a token, [CLS] and [SEP] around them."""
    inner = tokenizers.Tokenizer(
        WordLevel({word: i for i, word in enumerate(VOCAB)}, unk_token="[PAD]")
    )
    inner.pre_tokenizer = WhitespaceSplit()
    inner.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return Tokenizer(inner, "[MASK]")


def build_explorer(model: ModernBertForMaskedLM | None = None) -> Explorer:
    """An explorer of the copier, or of another model with its vocabulary."""
    return Explorer(
        build_copier() if model is None else model,
        build_tokenizer(),
        ModelFiles("handbuilt", "handbuilt", Path("handbuilt")),
    )


def build_random(seed: int = 0) -> ModernBertForMaskedLM:
    """A model of the same shape with biases and peaked random weights, where everything matters."""
    from dataclasses import replace

    from tests.parity import spread_weights

    config = replace(
        handbuilt_config(),
        classifier_activation="gelu",
        attention_bias=True,
        norm_bias=True,
        mlp_bias=True,
        local_attention=4,
    )
    model = ModernBertForMaskedLM(config).eval()
    spread_weights(model, seed)
    return model


def hook_count(model: torch.nn.Module) -> int:
    """Hooks on all taps of a model."""
    return sum(len(module.hooks) for module in model.modules() if isinstance(module, Tap))


def answer_logits(model, input_ids, position):
    """Logits (batch, vocab) of an MLM model at one position, whatever hooks are on it."""
    with torch.inference_mode():
        return model.logits(model.encoder(input_ids)[:, position])
