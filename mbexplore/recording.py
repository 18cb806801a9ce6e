"""What one forward pass computed, and the only code that touches hooks.

Attention maps are not stored: the rotated q and k are, and any part of any map is derived from
them when somebody looks, as the model weighs it. A `Recording` never holds the model.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.errors import RangeError
from mbexplore.network.attention import attention_band, attention_weights, key_span
from mbexplore.network.config import ModernBertConfig
from mbexplore.network.model import ModernBertForMaskedLM, PretrainedModel, Tap

LAYER_TAPS: dict[str, str] = {
    "q_rot": "attn.q_rot",
    "k_rot": "attn.k_rot",
    "v": "attn.v",
    "context": "attn.context",
    "attn_out": "attn_out",
    "neurons": "mlp.neurons",
    "mlp_out": "mlp_out",
    "hidden": "out",
}
"""Short name of each tap of a layer, and its module in the layer.

q_rot, k_rot, v, context: (batch, heads, seq, head_dim); neurons, GeGLU's product before Wo: (batch,
seq, intermediate); attn_out, mlp_out (what is added to the residual stream) and hidden (the
stream after the layer): (batch, seq, hidden). Where the last layer computes some rows alone (`rows`
of the model's forward, as `record` asks for where nothing else of that layer is kept), all of its
taps but `BEFORE_ATTENTION` have these rows in the place of seq.
"""

KEEP: dict[str, tuple[str, ...]] = {
    "attention": ("q_rot", "k_rot"),
    "values": ("v",),
    "hidden_states": ("hidden",),
    "neurons": ("neurons",),
    "contexts": ("context",),
    "updates": ("attn_out", "mlp_out"),
}
"""What a recording can be asked to keep, and the taps it takes."""

BEFORE_ATTENTION = {"q_rot", "k_rot", "v"}
"""Taps of a layer that see every token, also where the layer goes on with some of them."""

DEFAULT_KEEP = ("attention", "values", "hidden_states", "neurons")

DENSE_LIMIT = 2 * 2**30
"""Bytes above which a dense map is refused: the question wants rows, a tile or the band."""

Positions = int | slice | Sequence[int] | Tensor | None
Action = Callable[[Tensor], Tensor | None]
_HOOKING = threading.Lock()
"""Held while a tap's hooks are replaced, so that none is lost between two threads."""

Progress = Callable[[int, int], None]
"""Told how much is done, and how much there is."""


def tap_names(config: ModernBertConfig) -> list[str]:
    """Every tap of a model in the order of the forward pass: "embeddings", "layers.0.q_rot", ..."""
    layers = range(config.num_hidden_layers)
    return ["embeddings", *(f"layers.{i}.{tap}" for i in layers for tap in LAYER_TAPS)]


def find_tap(model: PretrainedModel, name: str) -> Tap:
    """The tap of that name.

    Raises:
        RangeError: the model has none.
    """
    if name not in tap_names(model.config):
        raise RangeError(
            f"There is no tap {name!r}; taps are 'embeddings' and 'layers.N.T' with N from 0 to "
            f"{model.config.num_hidden_layers - 1} and T one of {', '.join(LAYER_TAPS)}."
        )
    if name == "embeddings":
        return model.encoder.embeddings.out
    _, layer, tap = name.split(".")
    module = model.encoder.get_submodule(f"layers.{layer}.{LAYER_TAPS[tap]}")
    assert isinstance(module, Tap)
    return module


@contextmanager
def hooked(model: PretrainedModel, actions: Mapping[str, Action]) -> Iterator[None]:
    """Runs an action on the value at each named tap, for as long as the `with` block lasts.

    An action that returns None only looks; what it returns otherwise takes the value's place.
    The hooks are gone after the block, whatever ends it. They heed the passes of this thread
    alone: another that runs the same model meanwhile is neither seen nor changed.

    Raises:
        RangeError: a name is no tap; nothing is hooked then.
    """
    taps = {name: find_tap(model, name) for name in actions}
    with ExitStack() as stack:
        for name, tap in taps.items():
            stack.enter_context(_hooked(tap, _as_hook(actions[name])))
        yield


@contextmanager
def _hooked(tap: Tap, hook: Action) -> Iterator[None]:
    with _HOOKING:
        tap.hooks += (hook,)
    try:
        yield
    finally:
        with _HOOKING:
            tap.hooks = tuple(each for each in tap.hooks if each is not hook)


@contextmanager
def watched(model: PretrainedModel, progress: Progress) -> Iterator[None]:
    """Tells after each layer how many are done, for as long as the `with` block lasts.

    Args:
        model: that runs in the block.
        progress: called with the layers done and all there are; what it raises ends the pass.
    """
    layers = model.config.num_hidden_layers

    def tell(done: int) -> Action:
        return lambda _: progress(done, layers)

    with hooked(model, {f"layers.{i}.hidden": tell(i + 1) for i in range(layers)}):
        yield


def _as_hook(action: Action) -> Action:
    owner = threading.get_ident()

    def hook(value: Tensor) -> Tensor | None:
        return action(value) if threading.get_ident() == owner else None

    return hook


@dataclass(frozen=True, eq=False)
class Recording:
    """What one forward pass over one text computed.

    Attributes:
        encoding: the text and its tokens.
        config: of the model that ran.
        values: the kept values by tap name, without the batch axis; those of one tap share their
            memory.
        logits: of the mask positions, (mask, vocab); None for a model without an MLM head.
    """

    encoding: Encoding
    config: ModernBertConfig
    values: Mapping[str, Tensor]
    logits: Tensor | None

    def __len__(self) -> int:
        return len(self.encoding)

    def __repr__(self) -> str:
        kept = sorted({name.rpartition(".")[2] for name in self.values})
        return f"Recording({len(self)} tokens, {', '.join(kept)})"

    def tap(self, name: str) -> Tensor:
        """The value at a tap, without the batch axis.

        Raises:
            RangeError: it was not kept.
        """
        if name not in self.values:
            short = name.rpartition(".")[2]
            group = next((group for group, taps in KEEP.items() if short in taps), "hidden_states")
            raise RangeError(
                f"This recording did not keep {name!r}; record with keep=({group!r}, ...)."
            )
        return self.values[name]

    def q(self, layer: int) -> Tensor:
        """Rotated queries (heads, seq, head_dim)."""
        return self.tap(f"layers.{self._layer(layer)}.q_rot")

    def k(self, layer: int) -> Tensor:
        """Rotated keys (heads, seq, head_dim)."""
        return self.tap(f"layers.{self._layer(layer)}.k_rot")

    def v(self, layer: int) -> Tensor:
        """Values (heads, seq, head_dim)."""
        return self.tap(f"layers.{self._layer(layer)}.v")

    def neurons(self, layer: int) -> Tensor:
        """GeGLU activations, act(inner) * gate, (seq, intermediate)."""
        return self.tap(f"layers.{self._layer(layer)}.neurons")

    def hidden_states(self, n: int) -> Tensor:
        """The residual stream (seq, hidden): 0 after the embeddings' norm, n after layer n - 1.

        The last is the stream before the final norm (transformers gives it after).
        """
        layers = self.config.num_hidden_layers
        if not 0 <= n <= layers:
            raise RangeError(f"There is no hidden state {n}; choose 0 to {layers}.")
        return self.tap("embeddings" if n == 0 else f"layers.{n - 1}.hidden")

    def attention(
        self, layer: int, head: int | None = None, queries: Positions = None, keys: Positions = None
    ) -> Tensor:
        """Any part of a layer's attention map, derived from q and k.

        Args:
            layer: from 0.
            head: one head, or None for all; the axis stays.
            queries: rows wanted: a position, a slice, positions, or None for all.
            keys: columns wanted, likewise.

        Returns:
            Weights (heads, query, key); each row sums to 1 over all keys.

        Raises:
            RangeError: the layer, head or a position is outside; or the part is too large.
        """
        heads = self._heads(head)
        rows, columns = self._positions(queries), self._positions(keys)
        count = self.config.num_attention_heads if head is None else 1
        wanted = count * len(rows) * len(columns) * 4
        if wanted > DENSE_LIMIT:
            raise RangeError(
                f"This map would take {wanted / 2**30:.1f} GiB; ask for one head, for rows "
                "(queries=), for a tile, or for the band of a local layer."
            )
        return attention_weights(
            self.q(layer)[heads],
            self.k(layer)[heads],
            half_window=self.config.half_window(layer),
            queries=rows,
            keys=columns,
        )

    def attention_rows(
        self, layer: int, head: int | None = None, block: int = 256
    ) -> Iterator[tuple[int, int, Tensor]]:
        """A whole map in blocks of rows, so that no more than a block is ever in memory.

        Args:
            layer: from 0.
            head: one head, or None for all.
            block: rows at a time.

        Yields:
            `(first_query, first_key, weights)`, weights (heads, query, key) over the keys from
            `first_key` on that some query of the block can see.
        """
        half_window, seq, heads = self.config.half_window(layer), len(self), self._heads(head)
        q, k = self.q(layer)[heads], self.k(layer)[heads]
        positions = self._positions(None)
        for start in range(0, seq, block):
            stop = min(start + block, seq)
            low, high = key_span(start, stop - 1, seq, half_window)
            rows, columns = positions[start:stop], positions[low:high]
            yield (
                start,
                low,
                attention_weights(q, k, half_window=half_window, queries=rows, keys=columns),
            )

    def attention_band(self, layer: int, head: int | None = None) -> Tensor:
        """A local layer's map straightened: (heads, seq, 2 * half_window + 1) by offset of the key.

        Raises:
            RangeError: the layer is global, or outside.
        """
        half_window, heads = check_local(self.config, layer), self._heads(head)
        return attention_band(self.q(layer)[heads], self.k(layer)[heads], half_window)

    def _layer(self, layer: int) -> int:
        return check_index("layer", layer, self.config.num_hidden_layers)

    def _heads(self, head: int | None) -> slice:
        if head is None:
            return slice(None)
        check_index("head", head, self.config.num_attention_heads)
        return slice(head, head + 1)

    def _positions(self, wanted: Positions) -> Tensor:
        seq = len(self)
        positions = torch.arange(seq, device=next(iter(self.values.values())).device)
        if wanted is None:
            return positions
        if isinstance(wanted, slice):
            return positions[wanted]
        listed = torch.as_tensor(wanted, dtype=torch.long, device=positions.device).reshape(-1)
        outside = listed[(listed < 0) | (listed >= seq)]
        if len(outside):
            raise RangeError(
                f"There is no token {int(outside[0])}; the text has tokens 0 to {seq - 1}."
            )
        return listed


def check_index(what: str, index: int, count: int) -> int:
    """`index` itself, if it is one of 0 .. count - 1.

    Raises:
        RangeError: it is not; the sentence gives the range.
    """
    if not 0 <= index < count:
        raise RangeError(f"There is no {what} {index}; choose 0 to {count - 1}.")
    return index


def check_local(config: ModernBertConfig, layer: int) -> int:
    """Tokens that a local layer sees on each side.

    Raises:
        RangeError: the layer is global, or outside the model.
    """
    half_window = config.half_window(check_index("layer", layer, config.num_hidden_layers))
    if half_window is None:
        kinds = enumerate(config.layer_kinds)
        local = ", ".join(str(i) for i, kind in kinds if kind == "local") or "it has none"
        raise RangeError(
            f"Layer {layer} is global and has no band; ask for its map, or for a local layer "
            f"({local})."
        )
    return half_window


def kept_taps(config: ModernBertConfig, keep: Collection[str]) -> list[str]:
    """The taps that a request is about, in the order of the forward pass.

    Args:
        config: of the model.
        keep: names from `KEEP`, for every layer; or single taps, such as "layers.3.neurons".

    Raises:
        RangeError: a name is neither.
    """
    known = tap_names(config)
    unknown = sorted(set(keep) - KEEP.keys() - set(known))
    if unknown:
        raise RangeError(
            f"A recording can't keep {unknown[0]!r}; choose from {', '.join(KEEP)}, or one tap of "
            "a layer, such as 'layers.0.neurons'."
        )
    everywhere = {tap for group in keep for tap in KEEP.get(group, ())}
    if "hidden" in everywhere:
        everywhere.add("embeddings")
    return [name for name in known if name in keep or name.rpartition(".")[2] in everywhere]


def of_layers(group: str, *layers: int) -> tuple[str, ...]:
    """What to ask `record` for where a group of `KEEP` is wanted of some layers alone."""
    return tuple(f"layers.{layer}.{tap}" for layer in layers for tap in KEEP[group])


def record(
    model: PretrainedModel, encoding: Encoding, keep: Collection[str] = DEFAULT_KEEP
) -> Recording:
    """Runs the model once over a text and keeps what is asked for, and nothing else.

    Args:
        model: an encoder, with or without a head.
        encoding: the text.
        keep: what, see `kept_taps`.

    Raises:
        RangeError: a name in `keep` is unknown.
    """
    names = kept_taps(model.config, keep)
    values: dict[str, Tensor] = {}
    ids = torch.tensor([encoding.ids], device=model.device)
    masks = torch.tensor(encoding.mask_positions, dtype=torch.long, device=model.device)
    with torch.inference_mode(), hooked(model, _keepers(names, values)):
        last = f"layers.{model.config.num_hidden_layers - 1}."
        if {name.removeprefix(last) for name in names if name.startswith(last)} <= BEFORE_ATTENTION:
            hidden_states = model.encoder(ids, rows=masks)[0]  # it need not go on elsewhere
        else:
            hidden_states = model.encoder(ids)[0, masks]
        logits = None
        if isinstance(model, ModernBertForMaskedLM):
            logits = model.logits(hidden_states)  # (mask, vocab)
    return Recording(encoding, model.config, values, logits)


def _keepers(names: Sequence[str], values: dict[str, Tensor]) -> dict[str, Action]:
    """For each of these taps what copies its value, without the batch axis, to `values`.

    All layers of a tap lie in one piece of memory, apart from where the forward pass works: kept
    values between its own would scatter both.
    """
    taps = [name.rpartition(".")[2] for name in names]
    stores: dict[str, Tensor] = {}

    def keeper(name: str, tap: str, place: int) -> Action:
        def keep_value(value: Tensor) -> None:
            if tap not in stores:
                stores[tap] = value.new_empty(taps.count(tap), *value.shape[1:])
            values[name] = stores[tap][place].copy_(value[0])

        return keep_value

    return {
        name: keeper(name, tap, taps[:i].count(tap))
        for i, (name, tap) in enumerate(zip(names, taps, strict=True))
    }
