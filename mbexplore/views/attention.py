"""The attention of one layer: its maps, a local layer's band, or its strongest links as arcs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from mbexplore.display.attention_blocks import Arcs, AttentionMap
from mbexplore.display.blocks import Block, Cell, Column, Headline, Lines, Note, Series, Table
from mbexplore.display.numbers import offset_name, percent, significant
from mbexplore.errors import UsageError
from mbexplore.views.view import Guide, Head, Layer, Token, View, cited, option

if TYPE_CHECKING:
    from mbexplore.analysis.band import BandMap
    from mbexplore.analysis.links import Arcs as ArcsData
    from mbexplore.session import Session
    from mbexplore.views._attention import Attention

OFFSET = "offset (key \N{MINUS SIGN} query)"


class AttentionView(View["Attention"]):
    """Attention weights of a layer: which keys each query attends to, in every head or in one."""

    name = "attention"
    title = "Attention"
    question = "Which tokens does each token attend to?"
    guide = Guide(
        "Attention weights: a row for each token that attends (the query), a column for each "
        "token attended to (the key).",
        "A dark cell is a large weight, and each row adds up to 1; lines, or grey beyond it, mark "
        "the window of a local layer.",
        "Draw the strongest links of layer 6 as arcs.",
        values={"layer": 6, "picture": "arcs"},
    )
    evidence = "correlational"
    tested = "against the maps of transformers, and a dense map by brute force"
    group = "From where"
    place = 1
    papers = cited("clark2019what", "vig2019multiscale", "jain2019attention")
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
        "One head, from 0; all of them by default.", default=None, only={"mean": (False,)}
    )
    token: Token = option("The query whose links are listed, by position or word.", default=None)
    picture: Literal["map", "band", "arcs"] = option(
        "The map; the band of a local layer by offset; or the links that carry most, as arcs.",
        default="map",
    )  # fmt: skip
    mean: bool = option("The mean over the heads.", default=False)
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
        only={"picture": ("arcs",)},
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
            band = AttentionMap(found.tile, found.tile.names, title, found.marked, OFFSET)
            yield from _beside(found, band, _band_table(found))
            yield _band_curve(found.band)
        elif found.arcs is not None:
            yield from _beside(found, Arcs(found.arcs, title, place), self._links(found))
            yield Note(_arcs_note(found.arcs))
        else:
            shown = AttentionMap(found.tile, found.tile.names, title, found.marked)
            yield from _beside(found, shown, self._links(found))
        if not self.special:
            yield Note("Weight on [CLS] and [SEP] isn't shown, so rows sum to less than 1.")
        yield Note(self.limits)

    def _title(self, found: Attention) -> str:
        from mbexplore.analysis.maps import layer_title

        facts = layer_title(found.layer, found.kind, found.half_window, found.theta)
        layer, rest = f"Layer {found.layer}", facts.partition(" \N{MIDDLE DOT} ")[2]
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
        several = len(found.heads) > 1 and best.head >= 0
        where = f"layer {found.layer}" + (f" head {best.head}" if several else "")
        start = (
            f"{query} attends most to {key}"
            if found.place is not None
            else f"{query} \N{RIGHTWARDS ARROW} {key} is strongest"
        )
        return f"{start} in {where}: {significant(best.weight)}."

    def _links(self, found: Attention) -> Table:
        many = len(found.heads) > 1 and not found.is_mean
        columns = (*(("head",) if many else ()), "query", "key", "offset", "weight")
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
        return {"picture": self.picture, **found.to_json()}


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


def _band_curve(band: BandMap) -> Lines:
    """The mean weight at each offset, of the one head or over all."""
    heads = band.names[0] if len(band.names) == 1 else f"mean of {len(band.names)} heads"
    weights, offsets = band.profile.mean(axis=0).tolist(), band.offsets.astype(float).tolist()
    curve = Series(heads, tuple(weights), tuple(offsets), hue="local")
    return Lines((curve,), f"Mean weight by offset, {heads}", x=OFFSET, y="weight")


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
