"""ModernBERT from scratch, inside-out: embeddings, attention, MLP, layer, encoder, MLM head.

Warner et al. 2024, "Smarter, Better, Faster, Longer" (arXiv:2412.13663). Modules and parameters
have the checkpoint's names. A `Tap` names a value worth seeing and does nothing else: hooks on it
observe or edit the value (see `tap`). Knows nothing of text or files.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mbexplore.network.activations import build_activation
from mbexplore.network.attention import attend, attention_scores, mix_values
from mbexplore.network.config import ModernBertConfig
from mbexplore.network.init import init_weights
from mbexplore.network.linear import GatedLinear, Linear
from mbexplore.network.plan import AttentionPlan, build_plans
from mbexplore.network.rope import apply_rope
from mbexplore.network.tap import Tap
from mbexplore.network.visibility import Visibility, find_segments


def build_norm(config: ModernBertConfig) -> nn.LayerNorm:
    """The LayerNorm used everywhere: subtracts the mean, without bias unless `norm_bias`."""
    return nn.LayerNorm(config.hidden_size, eps=config.norm_eps, bias=config.norm_bias)


class Embeddings(nn.Module):
    """Token embeddings and their norm; positions enter through RoPE in the layers."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        vocab, hidden = config.vocab_size, config.hidden_size
        self.tok_embeddings = nn.Embedding(vocab, hidden, padding_idx=config.pad_token_id)
        self.norm = build_norm(config)
        self.drop = nn.Dropout(config.embedding_dropout)
        self.embed = Tap("embed")

    def forward(self, input_ids: Tensor) -> Tensor:
        embedded = self.tok_embeddings(input_ids)  # (batch, seq, hidden)
        return self.embed(self.drop(self.norm(embedded)))


class Attention(nn.Module):
    """Multi-head self-attention with RoPE, over all tokens or over a window."""

    def __init__(self, config: ModernBertConfig, layer: int) -> None:
        super().__init__()
        self.num_heads, self.dropout = config.num_attention_heads, config.attention_dropout
        hidden, bias = config.hidden_size, config.attention_bias
        self.Wqkv = Linear(hidden, 3 * hidden, bias=bias)  # (3, heads, head_dim), q k v
        self.q, self.k, self.v = (Tap(f"layers.{layer}.{name}") for name in "qkv")
        self.rot_q, self.rot_k = Tap(f"layers.{layer}.rot_q"), Tap(f"layers.{layer}.rot_k")
        self.scores, self.pattern = Tap(f"layers.{layer}.scores"), Tap(f"layers.{layer}.pattern")
        self.z = Tap(f"layers.{layer}.z")  # each head's output, before Wo joins the heads
        self.Wo = Linear(hidden, hidden, bias=bias)
        self.out_drop = nn.Dropout(config.attention_dropout)

    def forward(self, x: Tensor, plan: AttentionPlan, query_positions: Tensor | None) -> Tensor:
        qkv = self.Wqkv(x).unflatten(-1, (3, self.num_heads, -1))  # (batch, seq, 3, heads, _)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()  # each (batch, heads, seq, head_dim)
        q, k, v = self.q(q), self.k(k), self.v(v)
        q = self.rot_q(apply_rope(q, plan.cos, plan.sin))
        k = self.rot_k(apply_rope(k, plan.cos, plan.sin))
        z = self.z(self._mix(q, k, v, plan.visibility, query_positions))
        joined = z.transpose(1, 2).flatten(2)  # (batch, query, hidden)
        return self.out_drop(self.Wo(joined))

    def _mix(
        self, q: Tensor, k: Tensor, v: Tensor, visibility: Visibility, positions: Tensor | None
    ) -> Tensor:
        """Each head's mix of values, (batch, heads, query, head_dim)."""
        dropout = self.dropout if self.training else 0.0
        if not (self.scores.is_hooked or self.pattern.is_hooked):
            return attend(q, k, v, visibility, positions, dropout)
        scores = self.scores(attention_scores(q, k, visibility))  # (batch, heads, seq, key)
        wide = torch.promote_types(q.dtype, torch.float32)
        pattern = self.pattern(scores.softmax(dim=-1, dtype=wide).to(q.dtype))
        z = mix_values(F.dropout(pattern, dropout), v, visibility.half_window)
        return z if positions is None else z[:, :, positions]


class MLP(nn.Module):
    """GeGLU (Shazeer 2020, arXiv:2002.05202): the first half of Wi is activated, times the gate."""

    def __init__(self, config: ModernBertConfig, layer: int) -> None:
        super().__init__()
        hidden, inner, bias = config.hidden_size, config.intermediate_size, config.mlp_bias
        self.Wi = GatedLinear(hidden, inner, build_activation(config.hidden_activation), bias=bias)
        self.mlp_post = Tap(f"layers.{layer}.mlp_post")  # the neurons
        self.drop = nn.Dropout(config.mlp_dropout)
        self.Wo = Linear(inner, hidden, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.Wo(self.drop(self.mlp_post(self.Wi(x))))  # inside: (batch, seq, intermediate)


class EncoderLayer(nn.Module):
    """Pre-norm attention, then pre-norm MLP, each added to the residual stream."""

    def __init__(self, config: ModernBertConfig, layer: int) -> None:
        super().__init__()
        self.resid_pre = Tap(f"layers.{layer}.resid_pre")
        # Layer 0 follows the embeddings' norm directly, and has none of its own.
        self.attn_norm = nn.Identity() if layer == 0 else build_norm(config)
        self.attn = Attention(config, layer)
        self.attn_out = Tap(f"layers.{layer}.attn_out")
        self.resid_mid = Tap(f"layers.{layer}.resid_mid")
        self.mlp_norm = build_norm(config)
        self.mlp = MLP(config, layer)
        self.mlp_out = Tap(f"layers.{layer}.mlp_out")
        self.resid_post = Tap(f"layers.{layer}.resid_post")

    def forward(self, x: Tensor, plan: AttentionPlan, queries: Tensor | None = None) -> Tensor:
        x = self.resid_pre(x)
        kept = x if queries is None else x[:, queries]  # (batch, query, hidden)
        x = self.resid_mid(kept + self.attn_out(self.attn(self.attn_norm(x), plan, queries)))
        return self.resid_post(x + self.mlp_out(self.mlp(self.mlp_norm(x))))


class PretrainedModel(nn.Module):
    """What the encoder and the models with a head share."""

    model: ModernBertModel

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        self.config = config

    @property
    def encoder(self) -> ModernBertModel:
        """The bare encoder: the one under the head, or this model itself."""
        return self.model

    @property
    def taps(self) -> dict[str, Tap]:
        """Every tap by its name, in the order of the forward pass."""
        return {module.name: module for module in self.modules() if isinstance(module, Tap)}

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.encoder.final_norm.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the linear layers; norms and embeddings may be wider."""
        return self.encoder.get_parameter("layers.0.attn.Wqkv.weight").dtype


class ModernBertModel(PretrainedModel):
    """The encoder: token ids to the hidden state of every token, after the final norm."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(config)
        numbers = range(config.num_hidden_layers)
        self.layers = nn.ModuleList(EncoderLayer(config, layer) for layer in numbers)
        self.final_norm = build_norm(config)
        init_weights(self, config)

    @property
    def encoder(self) -> ModernBertModel:
        """This model itself."""
        return self

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        segment_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        query_positions: Tensor | None = None,
    ) -> Tensor:
        """Runs the encoder.

        Args:
            input_ids: (batch, seq).
            attention_mask: (batch, seq), 0 for padding, whose hidden states hold no meaning.
            segment_ids: (batch, seq) integers; tokens see only tokens with the same number, so
                1 1 2 2 2 packs two texts in one row.
            position_ids: (batch or 1, seq) positions that RoPE turns by; None for 0 1 2 ...
            query_positions: (query,) places whose hidden states are wanted; the last layer computes
                these alone. None for all.

        Returns:
            Hidden states (batch, seq or query, hidden).
        """
        segments = find_segments(attention_mask, segment_ids)
        x = self.embeddings(input_ids)  # (batch, seq, hidden)
        plans = build_plans(x.to(self.dtype), self.config, segments, position_ids)
        for i, (layer, plan) in enumerate(zip(self.layers, plans, strict=True)):
            is_last = i == len(plans) - 1
            x = layer(x, plan, query_positions if is_last else None)
        return self.final_norm(x)  # (batch, seq or query, hidden)


class PredictionHead(nn.Module):
    """The transform before the decoder: dense, activation, norm."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size, bias=config.classifier_bias)
        self.act = build_activation(config.classifier_activation)
        self.norm = build_norm(config)
        init_weights(self, config)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.act(self.dense(x)))  # (..., hidden)


class ModernBertForMaskedLM(PretrainedModel):
    """The encoder with the masked-language-modelling head."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__(config)
        self.model = ModernBertModel(config)
        self.head = PredictionHead(config)
        self.decoder = Linear(config.hidden_size, config.vocab_size, bias=config.decoder_bias)
        init_weights(self.decoder, config, "decoder")
        self.tie_weights()

    def tie_weights(self) -> None:
        """Makes the decoder share the token embeddings, where the config says so."""
        if self.config.tie_word_embeddings:
            self.decoder.weight = self.model.embeddings.tok_embeddings.weight

    def logits(self, hidden_states: Tensor) -> Tensor:
        """Logits (..., vocab) of any hidden states (..., hidden) after the final norm."""
        return self.decoder(self.head(hidden_states))

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **options: Tensor | None
    ) -> Tensor:
        """Logits (batch, seq or query, vocab); see `ModernBertModel.forward`."""
        return self.logits(self.model(input_ids, attention_mask, **options))
