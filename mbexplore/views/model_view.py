"""Every head of every layer at a glance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mbexplore.display.attention_blocks import ModelView
from mbexplore.display.blocks import Block, Cell, Column, Headline, Note, Table
from mbexplore.display.data import Arrays, pick
from mbexplore.display.numbers import significant
from mbexplore.views._parts import (
    blocked_option,
    describe_without,
    parts_option,
    without_blocks,
    without_of,
)
from mbexplore.views.shared import token_names
from mbexplore.views.view import FRANCE, Guide, View, cited, option

if TYPE_CHECKING:
    from mbexplore.analysis.maps import LayerMap
    from mbexplore.analysis.without import Without
    from mbexplore.session import Session


@dataclass(frozen=True, eq=False)
class Maps:
    """Every map, and what was switched off.

    Attributes:
        layers: the maps of each layer, from the first.
        without: the pass that they are of, where parts are ablated; else None.
        blocked: tokens that no other can attend to.
    """

    layers: tuple[LayerMap, ...]
    without: Without | None
    blocked: tuple[int, ...]


class ModelMapsView(View[Maps]):
    """Model view: the attention map of every head of every layer, small.

    Any set of heads, layers and tokens can be switched off: the maps and the answer are then those
    of the model without them.
    """

    name = "model-view"
    title = "All heads"
    question = "What pattern does each head have?"
    guide = Guide(
        "A small attention map of every head: a row for each layer, the last one on top.",
        "A column is a token that all others attend to, a diagonal a head that attends to "
        "neighbours; blue layers are global, orange ones local.",
        "Switch head 6.3 off and see what becomes of the answer.",
        values={"parts": ("6.3",)},
        texts=(FRANCE,),
    )
    evidence = "correlational"
    tested = "against the weights of a small random model"
    group = "From where"
    place = 2
    papers = cited("vig2019multiscale")
    limits = (
        "Each map has a colour scale of its own, so an even head looks as strong as a sharp one: "
        "compare the largest weights."
    )
    sample = True
    formats: ClassVar[tuple[str, ...]] = ("png", "svg", "pdf", "html", "json", "csv", "npz")
    example = '"The capital of France is [MASK]." -o heads.html'

    mean: bool = option("The mean of each layer's heads.", default=False)
    words: bool = option("Words in place of their pieces.", default=False)
    special: bool = option("[CLS] and [SEP] too.", default=True)
    tokens: str | None = option("Only tokens A to B - 1, as A:B.", default=None)
    parts: tuple[str, ...] = parts_option()
    blocked: tuple[str, ...] = blocked_option()

    def compute(self, session: Session) -> Maps:
        """Every map, pooled; one pass more where something is switched off."""
        from mbexplore.analysis.maps import model_maps
        from mbexplore.views._attention import axis_of

        axis = axis_of(self, session.encoding, self.tokens)
        without = without_of(session, self.parts, self.blocked)
        recording = session.recording("attention") if without is None else without.recording
        maps = model_maps(recording, axis=axis, mean=self.mean, progress=session.progress)
        return Maps(maps, without, tuple(map(session.focus, self.blocked)))

    def blocks(self, found: Maps, session: Session) -> Iterator[Block]:
        """The answer where something is switched off, the maps, the strongest link of a layer."""
        from mbexplore.views._attention import first_on

        layers, without = found.layers, found.without
        heads, axis = len(layers[0].weights), layers[0].axis
        strongest = [min(one.strongest, key=lambda link: -link.weight) for one in layers]
        best = max(range(len(layers)), key=lambda layer: strongest[layer].weight)
        largest = (
            f"{len(layers) * heads} maps of {axis.size}; the largest weight is "
            f"{significant(strongest[best].weight)}, in layer {best}"
            + ("." if self.mean else f" head {strongest[best].head}.")
        )
        yield Headline(largest if without is None else describe_without(without))
        title = "Mean of the heads of every layer" if self.mean else "Every head of every layer"
        tokens = () if self.mean else token_names(session.encoding.tokens)
        mark = first_on(axis, session.encoding.mask_positions)
        maps = ModelView(layers, title, self.parts, found.blocked, tokens, mark)
        beside = () if without is None else tuple(without_blocks(without, session))
        yield Column((maps, *beside)) if beside else maps
        columns = ("layer", "head", "query", "key", "weight")
        rows = tuple(
            (
                Cell(each.layer, f"{each.layer} {each.kind}", hue=each.kind),
                Cell("mean" if self.mean else link.head,
                     select=None if self.mean else {"layer": each.layer, "head": link.head}),
                axis.name_of(link.query),
                axis.name_of(link.key),
                Cell(link.weight, f"{link.weight:.3f}", min(link.weight, 1.0), each.kind),
            )
            for each, link in zip(layers, strongest, strict=True)
        )  # fmt: skip
        yield Table(columns, rows[::-1], title="Strongest link of each layer",
                    left=("layer", "query", "key"))  # fmt: skip
        yield Note(self.limits)

    def to_json(self, found: Maps) -> dict[str, Any]:
        """The layers with the largest weight of each head, and the maps (pooled as "pool" says)."""
        facts = ("layer", "kind", "theta", "half_window", "strongest")
        plain = pick(
            found.layers[0], "axis.unit", "axis.spans", "heads", "pool", tokens="axis.labels",
            mean="is_mean",
        )  # fmt: skip
        plain["layers"] = [pick(each, *facts) for each in found.layers]
        if found.without is not None:
            plain["without"] = pick(found.without, "parts", "before", "after")
        return plain

    def arrays(self, found: Maps) -> Arrays:
        """Every map, (layers, heads or 1, rows, columns)."""
        import numpy as np

        layers = found.layers
        return {
            "tokens": np.array(layers[0].axis.labels),
            "spans": np.array(layers[0].axis.spans),
            "pool": np.array(layers[0].pool),
            "kinds": np.array([each.kind for each in layers]),
            "weights": np.stack([each.weights for each in layers]),
        }

    def table(self, found: Maps, session: Session) -> Table:
        """The strongest link of every head."""
        from mbexplore.views._attention import link_rows

        axis = found.layers[0].axis
        links = ((each.layer, link) for each in found.layers for link in each.strongest)
        return link_rows(axis, axis, links)
