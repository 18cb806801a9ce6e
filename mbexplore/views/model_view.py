"""Every head of every layer at a glance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from mbexplore.display.attention_blocks import ModelView
from mbexplore.display.blocks import Block, Cell, Headline, Note, Table
from mbexplore.display.numbers import significant
from mbexplore.views.papers import cited
from mbexplore.views.view import View, option

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mbexplore.analysis.maps import LayerMap
    from mbexplore.session import Session

Maps = tuple["LayerMap", ...]


class ModelMapsView(View["Maps"]):
    """Model view: the attention map of every head of every layer, small."""

    name = "model-view"
    title = "All heads"
    question = "What pattern does each head have?"
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

    def compute(self, session: Session) -> Maps:
        """Every map, pooled."""
        from mbexplore.analysis.maps import model_maps
        from mbexplore.views._attention import axis_of

        axis = axis_of(self, session.encoding, self.tokens)
        recording = session.recording("attention")
        return model_maps(recording, axis=axis, mean=self.mean, progress=session.progress)

    def blocks(self, found: Maps, session: Session) -> Iterator[Block]:
        """The maps, and the strongest link of each layer."""
        heads, axis = len(found[0].weights), found[0].axis
        strongest = [min(one.strongest, key=lambda link: -link.weight) for one in found]
        best = max(range(len(found)), key=lambda layer: strongest[layer].weight)
        yield Headline(
            f"{len(found) * heads} maps of {axis.size}; the largest weight is "
            f"{significant(strongest[best].weight)}, in layer {best}"
            + ("." if self.mean else f" head {strongest[best].head}.")
        )
        title = "Mean of the heads of every layer" if self.mean else "Every head of every layer"
        yield ModelView(found, title)
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
            for each, link in zip(found, strongest, strict=True)
        )  # fmt: skip
        yield Table(columns, rows[::-1], title="Strongest link of each layer",
                    left=("layer", "query", "key"))  # fmt: skip
        yield Note(self.limits)

    def to_json(self, found: Maps) -> dict[str, Any]:
        """The layers with the largest weight of each head, and the maps (pooled as "pool" says)."""
        first, facts = found[0], ("layer", "kind", "theta", "half_window")
        return {
            "unit": first.axis.unit,
            "tokens": first.axis.labels,
            "spans": first.axis.spans,
            "heads": first.heads,
            "mean": first.is_mean,
            "pool": first.pool,
            "layers": [
                {name: getattr(each, name) for name in facts} | {"strongest": each.strongest}
                for each in found
            ],
        }

    def arrays(self, found: Maps) -> Mapping[str, NDArray[Any]]:
        """Every map, (layers, heads or 1, rows, columns)."""
        import numpy as np

        return {
            "tokens": np.array(found[0].axis.labels),
            "spans": np.array(found[0].axis.spans),
            "pool": np.array(found[0].pool),
            "kinds": np.array([each.kind for each in found]),
            "weights": np.stack([each.weights for each in found]),
        }

    def table(self, found: Maps, session: Session) -> Table:
        """The strongest link of every head."""
        from mbexplore.views._attention import link_rows

        axis = found[0].axis
        links = ((each.layer, link) for each in found for link in each.strongest)
        return link_rows(axis, axis, links)
