"""Runs a model over texts and keeps what it computes, and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import accumulate

import torch
from torch import Tensor

from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.errors import RangeError
from mbexplore.hooks import hooked
from mbexplore.network.model import ModernBertForMaskedLM, PretrainedModel
from mbexplore.network.packing import PACK, no_gradients, pack
from mbexplore.network.tap import Action
from mbexplore.recording import KEEP, Recording, find_index

DEFAULT_KEEP = ("attention", "values", "hidden_states", "neurons")

BEFORE_QUERIES = {"resid_pre", "q", "k", "v", "rot_q", "rot_k", "scores", "pattern"}
"""Taps of a layer that see every token, also where the layer goes on with some of them."""

HEADS_FIRST = {"q", "k", "v", "rot_q", "rot_k", "scores", "pattern", "z"}
"""Taps whose values are (heads, seq, ...), not (seq, ...)."""


MOST_OF_MAPS = 512
"""Tokens that are run together where scores or patterns are kept."""


class _LastIsKept(Exception):
    """Ends a pass of which nothing else is wanted."""


def kept_taps(
    model: PretrainedModel, keep: Collection[str], layers: Collection[int] | None = None
) -> list[str]:
    """The taps that a request is about, in the order of the forward pass.

    Args:
        model: whose taps they are.
        keep: groups of `KEEP` and taps by their last part ("pattern"), both for every layer; and
            single taps, such as "layers.3.mlp_post".
        layers: the layers that the first two are about; None for all, and for the embeddings where
            hidden states are kept.

    Raises:
        RangeError: a name or a layer is unknown.
    """
    known = list(model.taps)
    short = {name.rpartition(".")[2] for name in known}
    if isinstance(keep, str):
        keep = (keep,)
    unknown = sorted({str(name) for name in keep} - KEEP.keys() - short - set(known))
    if unknown:
        raise RangeError(
            f"A recording can't keep {unknown[0]!r}; choose from {', '.join(KEEP)}, a tap of every "
            "layer, such as 'pattern', or of one, such as 'layers.0.mlp_post'."
        )
    count = model.config.num_hidden_layers
    chosen = range(count) if layers is None else {find_index("layer", i, count) for i in layers}
    everywhere = {tap for name in keep for tap in KEEP.get(name, (name,))}
    wanted = {f"layers.{layer}.{tap}" for layer in chosen for tap in everywhere} | set(keep)
    if layers is None and "hidden_states" in keep:
        wanted.add("embed")
    return [name for name in known if name in wanted]


def recording_size(model: PretrainedModel, seq: int, keep: Collection[str]) -> int:
    """Bytes that a recording of a text of `seq` tokens holds; maps (scores, patterns) excluded."""
    config = model.config
    wide = {"mlp_post": config.intermediate_size}
    shorts = [name.rpartition(".")[2] for name in kept_taps(model, keep)]
    values = sum(wide.get(short, config.hidden_size) for short in shorts)
    return values * seq * model.dtype.itemsize


def of_layers(group: str, *layers: int) -> tuple[str, ...]:
    """What to ask `record` for where a group of `KEEP` is wanted of some layers alone."""
    return tuple(f"layers.{layer}.{tap}" for layer in layers for tap in KEEP[group])


def record(
    model: PretrainedModel,
    encoding: Encoding,
    keep: Collection[str] = DEFAULT_KEEP,
    layers: Collection[int] | None = None,
) -> Recording:
    """Runs the model once over a text and keeps what is asked for.

    Args:
        model: an encoder, with or without a head.
        encoding: the text.
        keep: what, see `kept_taps`.
        layers: of which layers; the pass ends after the last of them, without logits where that is
            not the model's last. None for all.

    Raises:
        RangeError: a name in `keep` or a layer is unknown.
    """
    return _record_together(model, [encoding], keep, layers)[0]


def record_many(
    model: PretrainedModel,
    encodings: Iterable[Encoding],
    keep: Collection[str] = DEFAULT_KEEP,
    layers: Collection[int] | None = None,
    most: int = PACK,
) -> Iterator[Recording]:
    """`record` for many texts, packed side by side and never padded, one recording after another.

    Each text gets the values it gets alone, to rounding. Texts are taken as they are needed.

    Args:
        model: see `record`.
        encodings: the texts.
        keep: see `record`.
        layers: see `record`.
        most: tokens that are run together.
    """
    if any(_is_map(name) for name in kept_taps(model, keep, layers)):
        most = min(most, MOST_OF_MAPS)  # they are made of the whole row
    waiting: list[Encoding] = []
    for encoding in encodings:
        if waiting and sum(map(len, waiting)) + len(encoding) > most:
            yield from _record_together(model, waiting, keep, layers)
            waiting = []
        waiting.append(encoding)
    if waiting:
        yield from _record_together(model, waiting, keep, layers)


def _record_together(
    model: PretrainedModel,
    encodings: Sequence[Encoding],
    keep: Collection[str],
    layers: Collection[int] | None,
) -> list[Recording]:
    """A recording of each text, from one pass over a row of them all."""
    names, last = kept_taps(model, keep, layers), model.config.num_hidden_layers - 1
    starts = list(accumulate(map(len, encodings), initial=0))
    places = [
        start + mask
        for start, encoding in zip(starts, encodings, strict=False)
        for mask in encoding.mask_positions
    ]
    queries = torch.tensor(places, dtype=torch.long, device=model.device)
    of_last = {name.rpartition(".")[2] for name in names if name.startswith(f"layers.{last}.")}
    is_short = of_last <= BEFORE_QUERIES  # the last layer need not go on elsewhere
    is_cut = layers is not None and names and not names[-1].startswith(f"layers.{last}.")
    values: list[dict[str, Tensor]] = [{} for _ in encodings]
    actions = _keepers(model, names, values, starts)
    if is_cut:
        actions[names[-1]] = _ending(actions[names[-1]])
    inputs = pack([encoding.ids for encoding in encodings], model.device)
    if len(encodings) == 1:  # a text alone has nothing to be kept apart from
        inputs = {"input_ids": inputs["input_ids"]}
    logits: Sequence[Tensor | None] = [None] * len(encodings)
    with no_gradients(), hooked(model, actions), suppress(_LastIsKept):
        if is_short:
            hidden_states = model.encoder(**inputs, query_positions=queries)[0]
        else:
            hidden_states = model.encoder(**inputs)[0, queries]
        if isinstance(model, ModernBertForMaskedLM):
            counts = [len(encoding.mask_positions) for encoding in encodings]
            logits = torch.split(model.logits(hidden_states), counts)  # each (mask, vocab)
    return [
        Recording(encoding, model.config, kept, of_masks)
        for encoding, kept, of_masks in zip(encodings, values, logits, strict=True)
    ]


def _ending(action: Action) -> Action:
    def keep_and_end(value: Tensor) -> None:
        action(value)
        raise _LastIsKept

    return keep_and_end


def _keepers(
    model: PretrainedModel,
    names: Sequence[str],
    values: Sequence[dict[str, Tensor]],
    starts: Sequence[int],
) -> dict[str, Action]:
    """For each of these taps what copies its value, text by text, to `values`.

    All layers of a tap lie in one piece of memory for each text, apart from where the forward pass
    works: kept values between its own would scatter both. Only maps differ in shape by layer.
    """
    stores: dict[tuple[int, str], Tensor] = {}
    groups = [name if _is_map(name) else name.rpartition(".")[2] for name in names]

    def keeper(name: str, group: str, place: int) -> Action:
        def keep_value(value: Tensor) -> None:
            for text, kept in enumerate(values):
                part = _of_text(model, name, value[0], slice(starts[text], starts[text + 1]))
                if (text, group) not in stores:
                    stores[text, group] = part.new_empty(groups.count(group), *part.shape)
                kept[name] = stores[text, group][place].copy_(part)

        return keep_value

    return {
        name: keeper(name, group, groups[:i].count(group))
        for i, (name, group) in enumerate(zip(names, groups, strict=True))
    }


def _is_map(name: str) -> bool:
    return name.endswith((".scores", ".pattern"))


def _of_text(model: PretrainedModel, name: str, value: Tensor, text: slice) -> Tensor:
    """The part of a value, without the batch axis, that belongs to one of the texts of a row."""
    if _is_map(name) and model.config.half_window(int(name.split(".")[1])) is None:
        return value[:, text, text]
    return value[:, text] if name.rpartition(".")[2] in HEADS_FIRST else value[text]
