"""What one forward pass computed.

Attention maps are not stored: the rotated q and k are, and any part of any map is derived from
them when somebody looks, as the model weighs it. A `Recording` never holds the model.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from typing_extensions import Self

from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.errors import ModelError, OutputError, RangeError
from mbexplore.files import write_beside
from mbexplore.network.attention import attention_band, attention_weights
from mbexplore.network.config import ModernBertConfig
from mbexplore.network.visibility import key_span

KEEP: dict[str, tuple[str, ...]] = {
    "attention": ("rot_q", "rot_k"),
    "values": ("v",),
    "hidden_states": ("resid_post",),
    "neurons": ("mlp_post",),
    "z": ("z",),
    "updates": ("attn_out", "mlp_out"),
}
"""Groups of taps that a recording can be asked to keep."""

DENSE_LIMIT = 2 * 2**30
"""Bytes above which a dense map is refused: the question is for rows, a tile or the band."""

Positions = int | slice | Sequence[int] | Sequence[bool] | Tensor | None


@dataclass(frozen=True, eq=False)
class Recording:
    """What one forward pass over one text computed.

    Values carry no gradient, and autograd takes them: a probe can be trained on them, and they can
    be edited in place. Negative layers, heads and positions count from the end.

    The shapes of the values, by the last part of their name: `embed`, `resid_pre`, `resid_mid`,
    `resid_post` (the residual stream), `attn_out` and `mlp_out` (what is added to it): (seq,
    hidden); `q`, `k`, `rot_q`, `rot_k`, `v`, and `z` (each head's output before Wo): (heads, seq,
    head_dim); `mlp_post` (the neurons, GeGLU's product before Wo): (seq, intermediate); `scores`
    (before the softmax) and `pattern` (after it): (heads, query, key), in a local layer (heads,
    query, 2 * half_window + 1), whose column `c` is the key at `query - half_window + c`.

    Attributes:
        encoding: the text and its tokens.
        config: of the model that ran.
        values: the kept values by tap name, without the batch axis; those of one tap share their
            memory.
        logits: of the mask positions, (mask, vocab); None for a model without an MLM head, and
            where the pass ended before the last layer.
    """

    encoding: Encoding
    config: ModernBertConfig
    values: Mapping[str, Tensor]
    logits: Tensor | None

    def __len__(self) -> int:
        return len(self.encoding)

    def __repr__(self) -> str:
        kept = dict.fromkeys(name.rpartition(".")[2] for name in self.values)
        what = ", ".join(kept) or "nothing"
        return f"Recording({len(self)} tokens; {what} kept, {self.nbytes / 2**20:.1f} MiB)"

    def __reduce__(self) -> tuple[Any, ...]:
        values = {name: value.clone() for name, value in self.values.items()}  # else all of a tap
        return type(self), (self.encoding, self.config, values, self.logits)

    @property
    def tokens(self) -> tuple[str, ...]:
        """Each token as people read it."""
        return self.encoding.tokens

    @property
    def nbytes(self) -> int:
        """Bytes that the values and the logits take."""
        held = [*self.values.values(), *([] if self.logits is None else [self.logits])]
        return sum(value.nbytes for value in held)

    def tap(self, name: str) -> Tensor:
        """The value at a tap, without the batch axis.

        Raises:
            RangeError: it was not kept.
        """
        if name not in self.values:
            short = name.rpartition(".")[2]
            group = next((group for group, taps in KEEP.items() if short in taps), name)
            group = "hidden_states" if name == "embed" else group
            raise RangeError(
                f"This recording did not keep {name!r}; record with keep=({group!r}, ...)."
            )
        return self.values[name]

    def q(self, layer: int) -> Tensor:
        """Rotated queries (heads, seq, head_dim)."""
        return self.tap(f"layers.{self._layer(layer)}.rot_q")

    def k(self, layer: int) -> Tensor:
        """Rotated keys (heads, seq, head_dim)."""
        return self.tap(f"layers.{self._layer(layer)}.rot_k")

    def v(self, layer: int) -> Tensor:
        """Values (heads, seq, head_dim)."""
        return self.tap(f"layers.{self._layer(layer)}.v")

    def neurons(self, layer: int) -> Tensor:
        """GeGLU activations, act(inner) * gate, (seq, intermediate)."""
        return self.tap(f"layers.{self._layer(layer)}.mlp_post")

    def hidden_states(self, n: int) -> Tensor:
        """The residual stream (seq, hidden): 0 after the embeddings' norm, n after layer n - 1.

        The last is the stream before the final norm (transformers gives it after).
        """
        n = find_index("hidden state", n, self.config.num_hidden_layers + 1)
        return self.tap("embed" if n == 0 else f"layers.{n - 1}.resid_post")

    def attention(
        self, layer: int, head: int | None = None, queries: Positions = None, keys: Positions = None
    ) -> Tensor:
        """Any part of a layer's attention map, derived from q and k.

        Args:
            layer: which.
            head: one head, or None for all; the axis stays.
            queries: rows wanted: a position, a slice, positions, one boolean a token, or None for
                all.
            keys: columns wanted, likewise.

        Returns:
            Weights (heads, query, key), float32 or wider; each row sums to 1 over all keys.

        Raises:
            RangeError: the layer, head or a position is outside; or the part is too large.
        """
        q, k, heads = self.q(layer), self.k(layer), self._heads(head)
        rows, columns = (find_positions(part, len(self), q.device) for part in (queries, keys))
        wanted = len(q[heads]) * len(rows) * len(columns) * max(4, q.element_size())
        if wanted > DENSE_LIMIT:
            raise RangeError(
                f"This map would take {wanted / 2**30:.1f} GiB; ask for one head, for rows "
                "(queries=), for a tile, or for the band of a local layer."
            )
        half_window = self.config.half_window(self._layer(layer))
        return attention_weights(
            q[heads], k[heads], half_window=half_window, queries=rows, keys=columns
        )

    def attention_rows(
        self, layer: int, head: int | None = None, block: int = 256
    ) -> Iterator[tuple[int, int, Tensor]]:
        """A whole map in blocks of rows, so that no more than a block is ever in memory.

        Args:
            layer: which.
            head: one head, or None for all.
            block: rows at a time.

        Yields:
            `(first_query, first_key, weights)`, weights (heads, query, key) over the keys from
            `first_key` on that some query of the block can see.
        """
        layer, seq, heads = self._layer(layer), len(self), self._heads(head)
        half_window, q, k = self.config.half_window(layer), self.q(layer)[heads], self.k(layer)
        positions = torch.arange(seq, device=q.device)
        for start in range(0, seq, block):
            stop = min(start + block, seq)
            low, high = key_span(start, stop - 1, seq, half_window)
            rows, columns = positions[start:stop], positions[low:high]
            weights = attention_weights(
                q, k[heads], half_window=half_window, queries=rows, keys=columns
            )
            yield start, low, weights

    def attention_band(self, layer: int, head: int | None = None) -> Tensor:
        """A local layer's map straightened: (heads, seq, 2 * half_window + 1) by offset of the key.

        Raises:
            RangeError: the layer is global, or outside; or the band is too large.
        """
        half_window, heads = check_local(self.config, self._layer(layer)), self._heads(head)
        q, k = self.q(layer)[heads], self.k(layer)[heads]
        wanted = len(q) * len(self) * (2 * half_window + 1) * max(4, q.element_size())
        if wanted > DENSE_LIMIT:
            raise RangeError(f"This band would take {wanted / 2**30:.1f} GiB; ask for one head.")
        return attention_band(q, k, half_window)

    def save(self, path: Path | str) -> None:
        """Writes the recording to one safetensors file: its values, and the rest in the header.

        Raises:
            OutputError: the file can't be written.
        """
        path = Path(path)
        tensors = {name: value.contiguous() for name, value in self.values.items()}
        if self.logits is not None:
            tensors["logits"] = self.logits.contiguous()
        header = {"format": "pt", "encoding": json.dumps(asdict(self.encoding))}
        header |= {"config": json.dumps(self.config.to_dict()), "taps": json.dumps([*self.values])}
        try:
            write_beside(path, lambda beside: save_file(tensors, beside, header))
        except (OSError, SafetensorError) as error:
            reason = getattr(error, "strerror", None) or error
            raise OutputError(f"{path} can't be written ({reason}); choose another.") from None

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Opens what `save` wrote; the values stay in the mapped file until they are read.

        Raises:
            ModelError: the file is missing, or holds no recording.
        """
        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata()
                values = {name: file.get_tensor(name) for name in json.loads(header["taps"])}
                has_logits = "logits" in file.keys()  # noqa: SIM118 - not a mapping
                logits = file.get_tensor("logits") if has_logits else None
            stored = json.loads(header["encoding"])
            stored["offsets"] = [tuple(offset) for offset in stored["offsets"]]
            for name, value in stored.items():
                stored[name] = tuple(value) if isinstance(value, list) else value
            encoding = Encoding(**stored)
            config = ModernBertConfig.from_dict(json.loads(header["config"]))
        except FileNotFoundError:
            raise ModelError(
                f"There is no file {path}; name one that a recording was saved to."
            ) from None
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{path} holds no recording ({error}); record it again.") from None
        return cls(encoding, config, values, logits)

    def _layer(self, layer: int) -> int:
        return find_index("layer", layer, self.config.num_hidden_layers)

    def _heads(self, head: int | None) -> slice:
        if head is None:
            return slice(None)
        head = find_index("head", head, self.config.num_attention_heads)
        return slice(head, head + 1)


def check_index(what: str, index: int, count: int) -> int:
    """`index` itself, if it is one of 0 .. count - 1.

    Raises:
        RangeError: it is not; the sentence gives the range.
    """
    if not 0 <= index < count:
        raise RangeError(f"There is no {what} {index}; choose 0 to {count - 1}.")
    return index


def find_index(what: str, index: int, count: int) -> int:
    """An index from 0; a negative one counts from the end, as in Python.

    Raises:
        RangeError: it is outside, or no whole number.
    """
    try:
        whole = operator.index(index)
    except TypeError:
        raise RangeError(f"There is no {what} {index!r}; give one whole number.") from None
    if not -count <= whole < count:
        raise RangeError(f"There is no {what} {whole}; choose 0 to {count - 1}.")
    return whole % count


def to_float64(value: Tensor) -> Tensor:
    """A value in float64, in main memory: Apple's devices have no float64."""
    return value.cpu().double()


def find_positions(wanted: Positions, seq: int, device: torch.device) -> Tensor:
    """The positions (query,) that a part of a text names.

    Args:
        wanted: a position, a slice, positions, one boolean a token, or None for all.
        seq: tokens of the text.
        device: where they are needed.

    Raises:
        RangeError: a position is outside, or they are no positions.
    """
    positions = torch.arange(seq, device=device)
    if wanted is None:
        return positions
    if isinstance(wanted, slice):
        return positions[wanted]
    try:
        listed = torch.as_tensor(wanted, device=device)
    except (TypeError, ValueError, RuntimeError):
        raise RangeError(f"There is no token {wanted!r}; give whole numbers.") from None
    if listed.dtype == torch.bool:
        if listed.shape != (seq,):
            raise RangeError(
                f"A mask of shape {tuple(listed.shape)} doesn't fit the text; give one boolean for "
                f"each of its {seq} tokens."
            )
        return positions[listed]
    if listed.is_floating_point() and listed.numel():
        raise RangeError(f"There is no token {listed.flatten()[0]:g}; give whole numbers.")
    listed = listed.long().reshape(-1)
    outside = listed[(listed < -seq) | (listed >= seq)]
    if len(outside):
        raise RangeError(f"There is no token {int(outside[0])}; choose 0 to {seq - 1}.")
    return listed % seq


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
