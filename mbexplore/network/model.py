"""ModernBERT from scratch, inside-out: embeddings, attention, MLP, layer, encoder, MLM head.

Warner et al. 2024, "Smarter, Better, Faster, Longer" (arXiv:2412.13663). Modules and parameters
have the checkpoint's names. A `Tap` names a value worth seeing and does nothing else: hooks on it
observe or edit the value (see `recording`). Knows nothing of text.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from typing_extensions import Self

from mbexplore.checkpoints.weights import Checkpoint, Unfilled, write_checkpoint
from mbexplore.network.activations import build_activation
from mbexplore.network.attention import attend, block_mask, in_blocks, packed_lengths
from mbexplore.network.config import LayerKind, ModernBertConfig
from mbexplore.network.linear import Linear
from mbexplore.network.rope import apply_rope, rope_into, rope_tables

ROWS = 1024
"""Tokens of a long text that go through a projection together, where no gradient is asked for:
what is made of them stays in a processor's cache and its memory is used again."""


class Tap(nn.Module):
    """A named place in the forward pass: returns its input, or what a hook on it makes of that.

    Its hooks are a tuple that is replaced whole: PyTorch's own forward hooks are a dictionary that
    changes in place, and a pass of another thread that is just reading it then fails.
    """

    hooks: tuple[Callable[[Tensor], Tensor | None], ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        for hook in self.hooks:
            edited = hook(x)
            x = x if edited is None else edited
        return x


@dataclass(frozen=True, eq=False)
class AttentionPlan:
    """What all layers of one kind share in one forward pass: rotation tables and visibility."""

    cos: Tensor  # (seq, head_dim / 2)
    sin: Tensor  # (seq, head_dim / 2)
    half_window: int | None
    segments: Tensor | None  # (batch, seq)
    mask: Tensor | None = None  # of a local layer's blocks
    texts: list[int] | None = None  # lengths of the texts packed in the one row


def build_norm(config: ModernBertConfig) -> nn.LayerNorm:
    """The LayerNorm used everywhere: subtracts the mean, without bias unless `norm_bias`."""
    return nn.LayerNorm(config.hidden_size, eps=config.norm_eps, bias=config.norm_bias)


class Embeddings(nn.Module):
    """Token embeddings and their norm; positions enter through RoPE in the layers."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(
            config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id
        )
        self.norm = build_norm(config)
        self.drop = nn.Dropout(config.embedding_dropout)
        self.out = Tap()  # hidden state 0

    def forward(self, input_ids: Tensor) -> Tensor:
        embedded = self.tok_embeddings(input_ids)  # (batch, seq, hidden)
        return self.out(self.drop(self.norm(embedded)))


class Attention(nn.Module):
    """Multi-head self-attention with RoPE, over all tokens or over a window."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.dropout = config.attention_dropout
        hidden, bias = config.hidden_size, config.attention_bias
        self.Wqkv = Linear(hidden, 3 * hidden, bias=bias)  # (3, heads, head_dim), q k v
        self.Wo = Linear(hidden, hidden, bias=bias)
        self.out_drop = nn.Dropout(config.attention_dropout)
        self.q_rot, self.k_rot, self.v = Tap(), Tap(), Tap()
        self.context = Tap()  # each head's mix of values, before Wo joins the heads

    def forward(self, x: Tensor, plan: AttentionPlan, rows: Tensor | None = None) -> Tensor:
        q, k, v = self._rotated(x, plan)
        q, k, v = self.q_rot(q), self.k_rot(k), self.v(v)
        context = self._attend(q if rows is None else q[:, :, rows], k, v, plan, rows)
        joined = self.context(context).transpose(1, 2).flatten(2)  # (batch, query, hidden)
        return self.out_drop(self.Wo(joined))

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan, rows: Tensor | None
    ) -> Tensor:
        if plan.texts is not None and rows is None:  # each text by itself: no mask, no waste
            texts = zip(*(torch.split(x, plan.texts, dim=2) for x in (q, k, v)), strict=True)
            return torch.cat([attend(*text) for text in texts], dim=2)
        return attend(
            q,
            k,
            v,
            half_window=plan.half_window,
            segments=plan.segments,
            rows=rows,
            mask=plan.mask,
            dropout=self.dropout if self.training else 0.0,
        )

    def _rotated(self, x: Tensor, plan: AttentionPlan) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries, rotated keys, and values, each (batch, heads, seq, head_dim)."""
        if torch.is_grad_enabled():
            q, k, v = self._project(x)
            return apply_rope(q, plan.cos, plan.sin), apply_rope(k, plan.cos, plan.sin), v
        batch, seq, hidden = x.shape
        shape = (batch, self.num_heads, seq, hidden // self.num_heads)
        q, k, v = (x.new_empty(shape) for _ in range(3))
        for start in range(0, seq, ROWS):
            rows = slice(start, start + ROWS)
            some_q, some_k, some_v = self._project(x[:, rows])
            rope_into(q[:, :, rows], some_q, plan.cos[rows], plan.sin[rows])
            rope_into(k[:, :, rows], some_k, plan.cos[rows], plan.sin[rows])
            v[:, :, rows] = some_v
        return q, k, v

    def _project(self, x: Tensor) -> Tensor:
        """Queries, keys and values, (3, batch, heads, seq, head_dim)."""
        return self.Wqkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)


class MLP(nn.Module):
    """GeGLU (Shazeer 2020, arXiv:2002.05202): the first half of Wi is activated, times the gate."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        hidden, inner, bias = config.hidden_size, config.intermediate_size, config.mlp_bias
        self.Wi = Linear(hidden, 2 * inner, bias=bias)
        self.Wo = Linear(inner, hidden, bias=bias)
        self.act = build_activation(config.hidden_activation)
        self.drop = nn.Dropout(config.mlp_dropout)
        self.neurons = Tap()

    def forward(self, x: Tensor) -> Tensor:
        return self.Wo(self.drop(self.neurons(self._gated(x))))

    def _gated(self, x: Tensor) -> Tensor:
        """GeGLU's product, (batch, seq, intermediate)."""
        if x.shape[1] > ROWS and not torch.is_grad_enabled():
            product = x.new_empty(*x.shape[:2], self.Wo.in_features)
            for some, into in zip(
                *(torch.split(y, ROWS, dim=1) for y in (x, product)), strict=True
            ):
                into.copy_(self._gated(some))
            return product
        inner, gate = self.Wi(x).chunk(2, dim=-1)  # each (batch, seq, intermediate)
        return self.act(inner) * gate


class EncoderLayer(nn.Module):
    """Pre-norm attention, then pre-norm MLP, each added to the residual stream."""

    def __init__(self, config: ModernBertConfig, layer: int) -> None:
        super().__init__()
        # Layer 0 follows the embeddings' norm directly, and has none of its own.
        self.attn_norm = nn.Identity() if layer == 0 else build_norm(config)
        self.attn = Attention(config)
        self.mlp_norm = build_norm(config)
        self.mlp = MLP(config)
        self.attn_out, self.mlp_out, self.out = Tap(), Tap(), Tap()

    def forward(self, x: Tensor, plan: AttentionPlan, rows: Tensor | None = None) -> Tensor:
        kept = x if rows is None else x[:, rows]
        x = kept + self.attn_out(self.attn(self.attn_norm(x), plan, rows))
        return self.out(x + self.mlp_out(self.mlp(self.mlp_norm(x))))


class PretrainedModel(nn.Module):
    """What the encoder and the models with a head share: initialisation and loading."""

    base_prefix = "model."

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        self.config = config

    @classmethod
    def from_pretrained(
        cls,
        folder: Path | str,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str = "cpu",
    ) -> Self:
        """Opens the checkpoint in `folder` (config.json and safetensors), in evaluation mode.

        The weights stay in the mapped file where dtype and device allow; nothing is copied.

        Args:
            folder: holds config.json and model.safetensors (or a sharded index).
            dtype: of the parameters; None for the file's own.
            device: where they go.

        Raises:
            ModelError: a file, a key or a shape is not what the config asks for.
        """
        config = ModernBertConfig.from_folder(Path(folder))
        with Unfilled():
            model = cls(config)
        with Checkpoint(Path(folder)) as checkpoint:
            model.load_checkpoint(checkpoint)
        return model.to(device=device, dtype=dtype).eval()

    def load_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Takes every parameter from the open checkpoint, after all keys and shapes are checked."""
        wanted = {name: tuple(value.shape) for name, value in self.state_dict().items()}
        if self.tied:
            del wanted["decoder.weight"]
        self.load_state_dict(
            checkpoint.read(wanted, self.base_prefix, tied=self.tied), strict=False, assign=True
        )
        self.tie_weights()

    def save_pretrained(self, folder: Path | str) -> None:
        """Writes config.json and model.safetensors, for us and for transformers 4 and 5 to open.

        The tokenizer's files are not written. Parameters keep their dtype.

        Raises:
            OutputError: the folder can't be written.
        """
        tensors = self.state_dict()
        if self.tied:
            del tensors["decoder.weight"]
        named = {"architectures": [type(self).__name__], "dtype": str(self.dtype).split(".")[1]}
        write_checkpoint(Path(folder), tensors, self.config.to_dict() | named)

    @property
    def tied(self) -> bool:
        """Whether the decoder shares the token embeddings."""
        return False

    def tie_weights(self) -> None:
        """Makes the decoder share the token embeddings, where the config says so."""

    @property
    def encoder(self) -> ModernBertModel:
        """The bare encoder: this model itself, or the one under its head."""
        model = self if isinstance(self, ModernBertModel) else self.model
        assert isinstance(model, ModernBertModel)
        return model

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.encoder.final_norm.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the parameters."""
        return self.encoder.final_norm.weight.dtype

    @torch.no_grad()
    def init_weights(self) -> None:
        """ModernBERT's own initialisation: truncated normals, smaller on what adds to the residual.

        Follows transformers' `ModernBertPreTrainedModel._init_weights`.
        """
        config = self.config
        out_std = config.initializer_range / math.sqrt(2.0 * config.num_hidden_layers)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif "norm" in name:
                parameter.fill_(1.0)
            else:
                is_out = name.endswith(("Wo.weight", "dense.weight", "decoder.weight"))
                std = out_std if is_out else config.initializer_range
                if name == "classifier.weight":
                    std = config.hidden_size**-0.5
                # A truncated normal by its inverse distribution function.
                bound = math.erf(config.initializer_cutoff_factor / math.sqrt(2.0))
                parameter.uniform_(-bound, bound).erfinv_().mul_(std * math.sqrt(2.0))


class ModernBertModel(PretrainedModel):
    """The encoder: token ids to the hidden state of every token, after the final norm."""

    base_prefix = ""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(config)
        self.layers = nn.ModuleList(
            EncoderLayer(config, i) for i in range(config.num_hidden_layers)
        )
        self.final_norm = build_norm(config)
        self.init_weights()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, rows: Tensor | None = None
    ) -> Tensor:
        """Runs the encoder.

        Args:
            input_ids: (batch, seq).
            attention_mask: (batch, seq) integers; tokens see only tokens with the same number, so
                0 and 1 are padding and text, and 1 1 2 2 2 packs two texts in one row. The rows of
                padding hold no meaning.
            rows: positions (query,) whose hidden states are wanted; the last layer computes these
                alone. None for all.

        Returns:
            Hidden states (batch, seq or query, hidden).
        """
        plans = self._plans(input_ids, attention_mask)
        x = self.embeddings(input_ids)  # (batch, seq, hidden)
        last = len(self.layers) - 1
        for i, (layer, kind) in enumerate(zip(self.layers, self.config.layer_kinds, strict=True)):
            x = layer(x, plans[kind], rows if i == last else None)
        return self.final_norm(x)

    def _plans(
        self, input_ids: Tensor, attention_mask: Tensor | None
    ) -> dict[LayerKind, AttentionPlan]:
        if attention_mask is not None and bool((attention_mask == attention_mask[:, :1]).all()):
            attention_mask = None  # one text to a row, no padding: nothing to hide
        config, seq, weight = self.config, input_ids.shape[1], self.final_norm.weight
        texts = None if torch.is_grad_enabled() else packed_lengths(attention_mask)
        plans: dict[LayerKind, AttentionPlan] = {}
        for layer, kind in enumerate(config.layer_kinds):
            if kind in plans:
                continue
            cos, sin = rope_tables(
                config.theta(layer), config.head_dim, seq, weight.dtype, weight.device
            )
            if texts is not None:  # every text counts from its own start, as if alone
                places = torch.cat([torch.arange(n, device=weight.device) for n in texts])
                cos, sin = cos[places], sin[places]
            half_window = config.half_window(layer)
            mask = None
            if in_blocks(seq, half_window):
                assert half_window is not None
                mask = block_mask(seq, half_window, attention_mask, weight.dtype, weight.device)
            alone = texts if half_window is None else None
            plans[kind] = AttentionPlan(cos, sin, half_window, attention_mask, mask, alone)
        return plans


class PredictionHead(nn.Module):
    """The transform before the decoder: dense, activation, norm."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size, bias=config.classifier_bias)
        self.act = build_activation(config.classifier_activation)
        self.norm = build_norm(config)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.act(self.dense(x)))


class ModernBertForMaskedLM(PretrainedModel):
    """The encoder with the masked-language-modelling head."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__(config)
        self.model = ModernBertModel(config)
        self.head = PredictionHead(config)
        self.decoder = Linear(config.hidden_size, config.vocab_size, bias=config.decoder_bias)
        self.tie_weights()
        self.init_weights()

    @property
    def tied(self) -> bool:
        """Whether the decoder shares the token embeddings."""
        return self.config.tie_word_embeddings

    def tie_weights(self) -> None:
        """Makes the decoder share the token embeddings, where the config says so."""
        if self.tied:
            self.decoder.weight = self.model.embeddings.tok_embeddings.weight

    def logits(self, hidden_states: Tensor) -> Tensor:
        """The head and decoder on any hidden states (..., hidden), as logits (..., vocab)."""
        return self.decoder(self.head(hidden_states))

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, rows: Tensor | None = None
    ) -> Tensor:
        """Logits (batch, seq or query, vocab); see `ModernBertModel.forward`."""
        return self.logits(self.model(input_ids, attention_mask, rows))
