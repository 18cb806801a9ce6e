"""What a corpus shows of one head, neuron or feature."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from mbexplore.display.blocks import (
    Bars,
    Block,
    Cell,
    Column,
    Headline,
    Hue,
    Lines,
    Note,
    Row,
    Selection,
    Series,
    Table,
    TokenStrip,
    Value,
)
from mbexplore.display.numbers import count, percent, significant
from mbexplore.display.scatter_blocks import Scatter
from mbexplore.text import word
from mbexplore.views.shared import listing

if TYPE_CHECKING:
    from mbexplore.corpus.examples import Example
    from mbexplore.corpus.profile import HeadProfile, Overview
    from mbexplore.corpus.unit_profile import UnitProfile
    from mbexplore.explorer import Explorer

SHARES = frozenset({
    "self", "previous", "next", "cls", "sep", "separator", "punctuation", "mask", "edge", "far",
    "left", "right", "duplicate", "induction", "entropy",
})  # fmt: skip
"""Metrics that are shown as per cent."""
OF_NEURONS = ("firing_rate", "mean", "root_mean_square", "largest", "smallest")
AROUND = 24
"""Tokens shown on each side of a use."""
CORRELATED = "correlation_"
LISTED = 10


def open_head(layer: int, head: int) -> Selection:
    """What a click on a head selects, wherever it is named, to see what it does over a corpus."""
    return {"view": "corpus", "layer": layer, "head": head, "neuron": None, "feature": None}


def head_cell(one: Mapping[str, Any]) -> Cell:
    """A head by its name; a click opens it."""
    layer, head = one["layer"], one["head"]
    return Cell(f"{layer}.{head}", hue=one["kind"], select=open_head(layer, head))


@dataclass(frozen=True)
class OverCorpus:
    """What some heads do over the corpus of their model.

    Attributes:
        kinds: of the heads, by layer and head.
        lines: of each, a sentence; none where there is no corpus of the model.
        texts: of the corpus.
    """

    kinds: Mapping[tuple[int, int], Hue]
    lines: Mapping[tuple[int, int], str]
    texts: int

    @classmethod
    def of(cls, explorer: Explorer, kinds: Mapping[tuple[int, int], Hue]) -> OverCorpus:
        """Out of the corpus that is known for a model."""
        from mbexplore.corpus.profile import known_lines

        texts, lines = known_lines(explorer, tuple(kinds)) if kinds else (0, {})
        return cls(kinds, lines, texts)

    @property
    def by_name(self) -> dict[str, str]:
        """The lines by the heads' names."""
        return {f"{layer}.{head}": line for (layer, head), line in self.lines.items()}

    def blocks(self) -> Iterator[Block]:
        """A row a head; a click opens it in the corpus."""
        rows = tuple(
            (Cell(f"{layer}.{head}", hue=self.kinds[layer, head], select=open_head(layer, head)),
             line)
            for (layer, head), line in self.lines.items()
        )  # fmt: skip
        if rows:
            title = f"These heads over {self.texts:,} texts"
            yield Table(("head", "in the corpus"), rows, title, left=("head", "in the corpus"))


def numbered(value: float | None, name: str) -> str:
    """A metric's value as it is written; a space for none."""
    if value is None or value != value:
        return " "
    return percent(value) if name in SHARES else significant(value)


def worded(metric: str) -> str:
    """What a metric is, in a sentence."""
    words = {
        "entropy": "relative entropy", "nats": "entropy in nats", "distance": "mean distance",
        "distance_variance": "variance of the distance", "separator": "weight on [CLS] and [SEP]",
        "duplicate": "weight on other occurrences of its token",
        "induction": "weight on tokens after other occurrences of its token",
        "left": "weight to the left", "right": "weight to the right",
        "previous": "weight on the previous token", "next": "weight on the next token",
        "self": "weight on itself", "cls": "weight on [CLS]", "sep": "weight on [SEP]",
        "mask": "weight on masks", "far": "weight beyond half a window",
        "edge": "weight on the window's edge",
    }  # fmt: skip
    return words.get(metric, f"weight on {metric}")


def heads_scatter(found: Overview, x: str, y: str, mark: tuple[int, int] | None = None) -> Scatter:
    """Every head on two metrics, with the same heads of the control behind."""
    from mbexplore.corpus.tables import METRICS

    heads, control = found.heads, found.manifest["control"]
    places = [(one["layer"], one["head"]) for one in heads]
    there = [n for n in METRICS if any(one[n] is not None for one in heads)]
    return Scatter(
        tuple(f"{layer}.{head}" for layer, head in places),
        {name: tuple(one[name] for one in heads) for name in there},
        x if x in there else there[0],
        y if y in there else there[0],
        f"All {len(heads)} heads by two metrics, over {count(heads[0]['queries'])} queries",
        hues=tuple(one["kind"] for one in heads),
        select=tuple(open_head(*place) for place in places),
        mark=None if mark is None else places.index(mark),
        theirs={n: tuple(one[f"control_{n}"] for one in heads) for n in there} if control else {},
        theirs_name=control or "",
        shares=SHARES,
        hold=("against", "metric"),
    )


def head_blocks(found: HeadProfile, x: str, y: str) -> Iterator[Block]:
    """A head: what it does in a line, where it stands, and its uses."""
    name = f"Head {found.layer}.{found.head} ({found.kind})"
    yield Headline(f"{name}: {found.line[0].lower()}{found.line[1:]}")
    yield Note(_largest_share(found))
    yield Row((_distances(found), _largest(found)))
    scatter = heads_scatter(found.overview, x, y, (found.layer, found.head))
    yield Row((scatter, Column((_similar(found),))))
    tables = [_token_table(found, role) for role in ("query", "key")]
    yield Row((*tables, _metric_table(found)))
    counts = {edge: round(share * found.queries) for edge, share in _by_interval(found)}
    yield from _strips(found.examples, found.kind, "weight", counts, "queries")


def _largest_share(found: HeadProfile) -> str:
    by_name = {one.name: one for one in found.metrics}
    names = ("self", "previous", "next", "separator", "duplicate", "mask")
    most = max((by_name[n] for n in names if n in by_name), key=lambda one: one.value)
    chance = (
        "" if most.control is None else f" ({found.manifest['control']}: {percent(most.control)})"
    )
    return (
        f"{percent(most.value)} of its {worded(most.name)}{chance}, rank {most.rank} of "
        f"{most.heads} heads, over {count(most.queries)} queries."
    )


def _distances(found: HeadProfile) -> Lines:
    """Share of weight by distance, the window's edges as upright lines."""
    bins = [tuple(one) for one in found.manifest["distance_bins"]]
    curves = [Series("this head", found.distances, hue=found.kind, dots=True)]
    if found.control_distances is not None:
        curves.append(Series(found.manifest["control"], found.control_distances, dashed=True))
    some = [i for one in curves for i, share in enumerate(one.y) if share > 0]
    low, high = (min(some), max(some) + 1) if some else (0, len(bins))
    marks = {}
    if found.half_window is not None:
        ends = {"left edge": -found.half_window, "right edge": found.half_window}
        places = [(name, _bin_of(bins, end) - low) for name, end in ends.items()]
        marks = {name: float(place) for name, place in places if 0 <= place < high - low}
    names = tuple(str(a) if a == b else f"{a}..{b}" for a, b in bins[low:high])
    return Lines(
        tuple(Series(one.name, one.y[low:high], hue=one.hue, dots=one.dots, dashed=one.dashed)
              for one in curves),
        "Weight by distance, key less query" + ("; edges of the window" * bool(marks)),
        x="tokens", y="share", ticks=names, marks=marks,
    )  # fmt: skip


def _bin_of(bins: Sequence[tuple[int, ...]], offset: int) -> int:
    return next((i for i, (low, high) in enumerate(bins) if low <= offset <= high), -1)


def _by_interval(found: HeadProfile) -> Iterator[tuple[str, float]]:
    """The lower end of each interval of weight, as examples have it, and its share of queries."""
    edges = (0.0, *found.manifest["weight_edges"])
    yield from ((f"{edge:g}", share) for edge, share in zip(edges, found.largest, strict=True))


def _largest(found: HeadProfile) -> Bars:
    edges = [edge for edge, _ in _by_interval(found)]
    sizes = [count(share * found.queries) for share in found.largest]
    names = tuple(
        f"{low} to {high}, n = {n}"
        for low, high, n in zip(edges, [*edges[1:], "1"], sizes, strict=True)
    )
    return Bars(
        names, found.largest, "Queries by their largest weight on a token of the text", unit="%",
        hue=found.kind, theirs=found.control_largest,
        theirs_name=found.manifest["control"] or "", ours_name="this head",
    )  # fmt: skip


def _similar(found: HeadProfile) -> Table:
    columns: dict[str, Any] = {
        "head": lambda one: head_cell(vars(one)), "kind": "kind", "difference": "distance",
    }  # fmt: skip
    title = "Similar heads: difference of their metrics, in standard deviations"
    return listing(found.similar, columns, title)


def _token_table(found: HeadProfile, role: str) -> Table:
    rows = [one for one in found.tokens if one["role"] == role][:LISTED]
    title = "Queries by summed largest weight" if role == "query" else "Keys by summed weight"
    names = {role: "token", "weight": "weight", "occurrences": "occurrences"}
    columns = {shown: itemgetter(name) for shown, name in names.items()}
    return listing(rows, columns, title, tokens=(role,))


def _metric_table(found: HeadProfile) -> Table:
    has_control, control = (
        any(one.control is not None for one in found.metrics),
        found.manifest["control"],
    )
    rows: list[tuple[Value, ...]] = []
    for one in found.metrics:
        numbers = [one.value, one.median, *[one.control] * has_control]
        cells = [Cell(value, numbered(value, one.name)) for value in numbers]
        rows.append((one.name.replace("_", " "), *cells, one.rank, one.queries))
    columns = ("metric", "this head", "median", *["control"] * has_control, "rank", "queries")
    title = f"Among all {found.metrics[0].heads} heads" + f"; control: {control}" * has_control
    return Table(columns, tuple(rows), title, left=("metric",))


def _strips(
    examples: Sequence[Example], hue: Hue, unit: str, counts: Mapping[str, int], of: str
) -> Iterator[Block]:
    every = [float(abs(one.values).max()) for one in examples]
    high = 1.0 if unit == "weight" else max(every, default=1.0)  # one scale for all
    for one in examples:
        start = max(0, min(one.position, one.position if one.key is None else one.key) - AROUND)
        stop = max(one.position, one.position if one.key is None else one.key) + AROUND
        which = "Strongest: " if one.interval == "strongest" else (
            f"Sample of the {count(counts.get(one.interval, 0))} {of} from {one.interval} on: "
        )  # fmt: skip
        use = f"{which}{word(one.tokens[one.position])}"
        if one.key is not None:
            use += f" attends to {word(one.tokens[one.key])}"
        title = f"{use}, {significant(one.value)} (text {one.id})"
        values = tuple(map(float, one.values[start:stop]))
        yield TokenStrip(
            one.tokens[start:stop],
            values,
            title,
            unit=unit,
            hue=hue,
            mark=one.position - start,
            high=high,
        )


def unit_blocks(found: UnitProfile) -> Iterator[Block]:
    """A neuron or a feature: when it fires, what it promotes, where it stands, and its uses."""
    row, control = found.row, found.row.get("control_firing")
    name = (
        f"Feature {found.number}" if found.layer is None else f"Neuron {found.layer}.{found.number}"
    )
    yield Headline(f"{name}: {found.line[0].lower()}{found.line[1:]}")
    chance = "" if control is None else f" ({found.manifest['control']}: {percent(control[0])})"
    yield Note(
        f"It fires on {percent(row['firing_rate'])} of {count(row['tokens'])} tokens{chance}."
    )
    edges = found.manifest["firing_edges"][found.unit]
    sizes = {f"{edge:g}": round(share * row["tokens"])
             for edge, share in zip(edges, row["firing"], strict=True)}  # fmt: skip
    names = tuple(f"beyond {edge} x, n = {count(n)}" for edge, n in sizes.items())
    bars = Bars(
        names, tuple(row["firing"]), "Tokens by |activation|, in thresholds", unit="%",
        theirs=None if control is None else tuple(control),
        theirs_name=found.manifest["control"] or "", ours_name=f"this {found.unit}",
    )  # fmt: skip
    columns: dict[str, Any] = {
        "activation": lambda name: name.replace("_", " "),
        "value": lambda name: Cell(row[name], significant(row[name])),
    }
    numbers = listing(("threshold", *OF_NEURONS[1:]), columns)
    named = [name for name in row if name.startswith(CORRELATED) and row[name] is not None]
    apart = [(name.removeprefix(CORRELATED).replace("_", " "), row[name]) for name in named]
    apart.sort(key=lambda pair: -abs(pair[1]))
    correlated = Table(
        ("kind of token", "correlation"),
        tuple((name, Cell(value, significant(value, 2, signed=True))) for name, value in apart),
        "Correlation with its activation",
        left=("kind of token",),
    )
    words = [tuple(map(word, some)) for some in (found.promoted, found.suppressed)]
    promoted = Table(
        ("promoted", "suppressed"), tuple(zip(*words, strict=False)), "At its strongest use",
        left=("promoted", "suppressed"),
    )  # fmt: skip
    yield Row((bars, numbers))
    if below := [*[correlated] * bool(apart), *[promoted] * bool(found.promoted)]:
        yield Row(tuple(below))
    yield _units_scatter(found)
    within = _between(edges, row["firing"], row["tokens"])
    yield from _strips(found.examples, "signed", "activation", within, "tokens")
    of = "the layer's activations" if found.unit == "neuron" else "all activations that aren't 0"
    yield Note(
        f"The threshold is the root mean square of {of} over the bundled paragraph. Samples are of "
        f"texts in which the {found.unit} fires, each at its strongest token."
    )


def _between(edges: Sequence[float], beyond: Sequence[float], tokens: int) -> dict[str, int]:
    """Tokens from each edge to the next, out of the shares beyond each."""
    shares = [a - b for a, b in zip(beyond, [*beyond[1:], 0.0], strict=True)]
    return {f"{edge:g}": round(one * tokens) for edge, one in zip(edges, shares, strict=True)}


def _units_scatter(found: UnitProfile) -> Scatter:
    others, unit = found.others, found.unit
    before = "" if found.layer is None else f"{found.layer}."
    where = "of the dictionary" if found.layer is None else "of the layer"
    return Scatter(
        tuple(f"{before}{one[unit]}" for one in others),
        {name: tuple(one[name] for one in others) for name in OF_NEURONS},
        "firing_rate",
        "largest",
        f"All {len(others)} {unit}s {where}, over {count(found.row['tokens'])} tokens",
        select=tuple({unit: one[unit]} for one in others),
        mark=found.number,
        shares=frozenset({"firing_rate"}),
    )
