"""The attention of one layer: its maps, a local layer's band, or its strongest links as arcs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from mbexplore.display.attention_blocks import Arcs, AttentionMap
from mbexplore.display.blocks import Block, Cell, Column, Headline, Note, Table
from mbexplore.display.numbers import offset_name, percent, significant
from mbexplore.errors import UsageError
from mbexplore.views.guide import Guide
from mbexplore.views.papers import cited
from mbexplore.views.parameters import Head, Layer, Token
from mbexplore.views.view import View, option

if TYPE_CHECKING:
    from mbexplore.analysis.links import Arcs as ArcsData
    from mbexplore.session import Session
    from mbexplore.views._attention import Attention

Measure = Literal["weights", "norms", "rollout", "value_zeroing"]
NAMES = {
    "norms": "norm-based contributions, all heads together",
    "rollout": "rollout through the layers up to this one",
    "value_zeroing": "value zeroing, all heads together",
}
NOTES = {
    "norms": "The norm of what a key's value adds to the query over all heads, as a share of the "
    "row: how much is added, not what it does.",
    "rollout": "Weights averaged over the heads and multiplied through the layers, half of each "
    "layer for the residual stream: neither values nor MLPs count.",
    "value_zeroing": "How much the layer's output at the query changes with the key's value set to "
    "zero, as a share of the row: how much it matters, not what it does.",
}
WEIGHTS: Mapping[str, tuple[str, ...]] = {"measure": ("weights",)}


class AttentionView(View["Attention"]):
    """Attention weights of a layer: which keys each query attends to, in every head or in one."""

    name = "attention"
    title = "Attention"
    question = "Which tokens does each token attend to?"
    guide = Guide(
        "Attention weights: a row for each token that attends (the query), a column for each "
        "token attended to (the key).",
        "A dark cell is a large weight, and each row adds up to 1; lines mark the window of a "
        "local layer.",
        "Draw the strongest links of layer 6 as arcs.",
        values={"layer": 6, "picture": "arcs"},
    )
    evidence = "correlational"
    tested = "against the maps of transformers, and a dense map by brute force"
    group = "From where"
    place = 1
    papers = cited(
        "clark2019what",
        "vig2019multiscale",
        "jain2019attention",
        "kobayashi2020attention",
        "abnar2020quantifying",
        "mohebbi2023quantifying",
    )
    limits = (
        "A weight is how much of a value is taken, not what it does: a large weight on a small "
        "value, such as a separator's, changes little."
    )
    sample = True

    navigator = "model-view"
    formats: ClassVar[tuple[str, ...]] = ("png", "svg", "pdf", "html", "json", "csv", "npz")
    example = '"The capital of France is [MASK]." --layer 6 --head 3 --token 6'

    layer: Layer = option("The layer, from 0.", default=0, short="-l")
    head: Head = option(
        "One head, from 0; all of them by default.", default=None,
        only={"mean": (False,), **WEIGHTS},
    )  # fmt: skip
    token: Token = option("The query whose links are listed, by position or word.", default=None)
    picture: Literal["map", "band", "arcs"] = option(
        "The map; the band of a local layer by offset; or the links that carry most, as arcs.",
        default="map", only=WEIGHTS,
    )  # fmt: skip
    measure: Measure = option(
        "Attention weights, or what they mix: norms, rollout, value_zeroing.", default="weights"
    )
    mean: bool = option("The mean over the heads.", default=False, only=WEIGHTS)
    words: bool = option(
        "Words in place of their pieces.", default=False, only={"picture": ("map", "arcs")}
    )
    special: bool = option("[CLS] and [SEP] too.", default=True)
    tokens: str | None = option("Only tokens A to B - 1, as A:B.", default=None)
    queries: str | None = option(
        "Only these tokens as rows, as A:B.", default=None, label="",
        only={"picture": ("map", "band")},
    )  # fmt: skip
    keys: str | None = option(
        "Only these tokens as columns, as A:B.", default=None, label="", only={"picture": ("map",)}
    )
    top: int = option("Strongest links listed.", default=12, at_least=0, label="")
    mass: float = option(
        "The share of each row that its arcs carry.", default=0.5, at_least=0.01, at_most=1.0,
        only={"picture": ("arcs",), **WEIGHTS},
    )  # fmt: skip

    def compute(self, session: Session) -> Attention:
        """The maps at no more pixels than are drawn, and their links, in one pass over the rows."""
        from mbexplore.views._attention import find_attention

        if self.tokens and (self.queries or self.keys):
            raise UsageError(
                f"tokens {self.tokens} cuts both sides of a map; give that, or queries and keys."
            )
        return find_attention(self, session)

    def blocks(self, found: Attention, session: Session) -> Iterator[Block]:
        """The picture, and what in it is strongest."""
        yield Headline(self._headline(found))
        title = self._title(found)
        place = found.place
        if found.band is not None:
            tile = found.tile
            axis = "offset (key \N{MINUS SIGN} query)"
            band = AttentionMap(
                tile, tile.names, title, found.marked, axis, profile=found.band.profile
            )
            yield from _beside(found, band, _band_table(found))
        elif found.arcs is not None:
            yield from _beside(found, Arcs(found.arcs, title, place), self._links(found))
            yield Note(_arcs_note(found.arcs))
        else:
            unit = "attention weight" if self.measure == "weights" else "share of the row"
            names = found.tile.names if self.measure == "weights" else (NAMES[self.measure],)
            shown = AttentionMap(found.tile, names, title, found.marked, unit=unit)
            yield from _beside(found, shown, self._links(found))
        if not self.special:
            yield Note("Weight on [CLS] and [SEP] isn't shown, so rows sum to less than 1.")
        yield Note(NOTES.get(self.measure, self.limits))

    def _title(self, found: Attention) -> str:
        from mbexplore.analysis.maps import layer_title

        facts = layer_title(found.layer, found.kind, found.half_window, found.theta)
        layer, rest = f"Layer {found.layer}", facts.partition(" \N{MIDDLE DOT} ")[2]
        if self.measure != "weights":
            return f"{layer} \N{MIDDLE DOT} {NAMES[self.measure]}"
        if self.mean:
            layer += f" mean of {len(found.heads)} heads"
        elif len(found.heads) == 1:
            layer += f" head {found.heads[0]}"
        return f"{layer} \N{MIDDLE DOT} {rest}"

    def _headline(self, found: Attention) -> str:
        if found.band is not None:
            return _band_headline(found)
        if not found.links:
            return f"No weight of layer {found.layer} is in this part."
        best = found.links[0]
        query, key = found.queries.name_of(best.query), found.keys.name_of(best.key)
        what = "attends most to" if self.measure == "weights" else "takes most from"
        several = len(found.heads) > 1 and best.head >= 0
        where = f"layer {found.layer}" + (f" head {best.head}" if several else "")
        start = (
            f"{query} {what} {key}"
            if found.place is not None
            else f"{query} \N{RIGHTWARDS ARROW} {key} is strongest"
        )
        return f"{start} in {where}: {significant(best.weight)}."

    @property
    def _value(self) -> str:
        """What a link's number is called."""
        return "weight" if self.measure == "weights" else self.measure

    def _links(self, found: Attention) -> Table:
        many = len(found.heads) > 1 and found.has_heads
        value = self._value.replace("_", " ")
        columns = (*(("head",) if many else ()), "query", "key", "offset", value)
        rows = []
        for link in found.links[: self.top]:
            query, key = int(found.queries.starts[link.query]), int(found.keys.starts[link.key])
            shown = f"{link.weight:.3f}" if link.weight >= 0.0005 else "<0.001"
            weight = Cell(link.weight, shown, min(link.weight, 1.0), found.kind)
            row = (
                Cell(found.queries.name_of(link.query), select={"token": query}),
                Cell(found.keys.name_of(link.key)),
                Cell(key - query, offset_name(key - query)),
                weight,
            )
            rows.append((Cell(link.head, select={"head": link.head}), *row) if many else row)
        return Table(columns, tuple(rows), title="Strongest links", left=("query", "key"))

    def position(self, found: Attention) -> int | None:
        """The query that is followed."""
        return found.token

    def to_json(self, found: Attention) -> dict[str, Any]:
        """The layer, the axes, the weights and the links."""
        return {"picture": self.picture, "measure": self.measure, **found.to_json()}

    def table(self, found: Attention, session: Session) -> Table | None:
        """A row for every weight that is shown."""
        return found.table(self._value)


def _beside(found: Attention, picture: Block, table: Table) -> Iterator[Block]:
    """A picture and its table, beside each other unless the picture is of several heads."""
    is_wide = len(found.tile.weights) > 1
    yield from (picture, table) if is_wide else (Column((picture, table)),)


def _arcs_note(arcs: ArcsData) -> str:
    """Which links are drawn."""
    whole = f"{arcs.total:,} links that carry {arcs.mass:.0%} of every row"
    cut = len(arcs.links) < arcs.total
    return (
        f"The strongest {arcs.most:,} of each head among the {whole}." if cut else f"The {whole}."
    )


def _band_headline(found: Attention) -> str:
    assert found.band is not None
    edge = float(found.band.edge.mean())
    if not found.band.edge_rows:
        return f"No two tokens are {found.band.half_window} apart, as the window's edges are."
    return f"{percent(edge)} of layer {found.layer}'s weight is on the window's two edges."


def _band_table(found: Attention) -> Table:
    band = found.band
    assert band is not None
    rows = []
    for name, profile, edge in zip(band.names, band.profile, band.edge, strict=True):
        best = int(profile.argmax())
        offset, mean = int(band.offsets[best]), float(profile[best])
        rows.append((
            Cell(name.removeprefix("head ")), Cell(offset, offset_name(offset)),
            Cell(mean, percent(mean), min(mean, 1.0), "local"),
            Cell(float(edge), percent(float(edge))),
        ))  # fmt: skip
    columns = ("head", "most at offset", "mean weight there", "window's edges")
    return Table(columns, tuple(rows), title="Mean weight by offset")
