"""A corpus: every head by a metric, or all that is known of one head or one neuron."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

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
    Series,
    Table,
    TokenStrip,
    Value,
)
from mbexplore.display.numbers import percent, significant
from mbexplore.errors import UsageError
from mbexplore.text import word
from mbexplore.views.parameters import Head, Layer
from mbexplore.views.shared import layer_heat
from mbexplore.views.view import View, option

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mbexplore.corpus.profile import Example, HeadProfile, NeuronProfile, Overview
    from mbexplore.corpus.search import Found
    from mbexplore.session import Session

Metric = Literal[
    "self", "previous", "next", "cls", "sep", "separator", "punctuation", "mask", "edge", "far",
    "left", "right", "duplicate", "induction", "entropy", "nats", "distance", "distance_variance",
]  # fmt: skip
SHOWN = ("self", "previous", "next", "separator", "punctuation", "duplicate", "entropy")
"""Metrics in the table of all heads."""
SHARES = {*SHOWN, "cls", "sep", "mask", "edge", "far", "left", "right", "induction"}
AROUND = 24
"""Tokens shown on each side of a use."""


class CorpusView(View["Overview | HeadProfile | NeuronProfile"]):
    """What every head and neuron does over many texts, beside what chance gives.

    Of all heads, a metric; of one head, examples by interval of their weight, distances, tokens
    and where it stands among all heads; of one neuron, how often it fires, and examples.
    """

    name = "corpus"
    command = "corpus show"
    title = "Corpus"
    question = "What does this head or neuron do over many texts?"
    group = "Which part"
    place = 9
    reads = "model"
    limits = (
        "An example shows where a head attends or a neuron fires, not what that does; and what is "
        "rare in the corpus is rare here."
    )
    example = "--layer 3 --head 2"

    corpus: str | None = option(
        "The folder of the corpus; $MBEXPLORE_CORPUS, or the bundled one, by default.",
        default=None, positional=True, local=True,
    )  # fmt: skip
    layer: Layer = 0
    head: Head = None
    neuron: int | None = option("A neuron of the layer, from 0.", default=None, at_least=0)
    metric: Metric = option("The metric that all heads are shown by.", default="previous")
    examples: int = option("Strongest uses that are shown.", default=6, short="-k", at_least=1)

    def compute(self, session: Session) -> Overview | HeadProfile | NeuronProfile:
        """Out of the store; the examples' weights by the model."""
        from mbexplore.corpus.profile import find_store, read_head, read_neuron, read_overview

        explorer = session.explorer
        store = session.once(("corpus", self.corpus), lambda: find_store(explorer, self.corpus))
        if self.neuron is not None:
            if self.head is not None:
                raise UsageError("A head and a neuron were both given; leave one out.")
            return read_neuron(
                explorer, store, self.layer, self.neuron, strongest=self.examples, sampled=1
            )
        if self.head is None:
            return read_overview(store)
        return read_head(explorer, store, self.layer, self.head, strongest=self.examples, sampled=1)

    def blocks(
        self, found: Overview | HeadProfile | NeuronProfile, session: Session
    ) -> Iterator[Block]:
        """All heads, or one head or neuron."""
        from mbexplore.corpus.profile import HeadProfile, Overview

        if isinstance(found, Overview):
            yield from _overview(found, self.metric, session)
        elif isinstance(found, HeadProfile):
            yield from _head(found)
        else:
            yield from _neuron(found)
        yield Note(f"{_size(found.manifest)} {self.limits}")

    def to_json(self, found: Overview | HeadProfile | NeuronProfile) -> dict[str, Any]:
        """The fields; of the manifest what names the corpus."""
        from mbexplore.display.data import to_plain

        plain: dict[str, Any] = to_plain(found)
        named = ("corpus", "texts", "tokens", "control")
        plain["manifest"] = {name: found.manifest[name] for name in named}
        return plain

    def arrays(self, found: Overview | HeadProfile | NeuronProfile) -> Mapping[str, NDArray[Any]]:
        """Of all heads, every metric, (layers, heads)."""
        from mbexplore.corpus.profile import Overview
        from mbexplore.corpus.store import METRICS

        if not isinstance(found, Overview):
            return {}
        there = [n for name in METRICS for n in (name, f"control_{name}") if n in found.heads[0]]
        return {name: found.square(name) for name in there}

    def table(self, found: Overview | HeadProfile | NeuronProfile, session: Session) -> Table:
        """A row a head; or a row an example."""
        from mbexplore.corpus.profile import Overview

        if not isinstance(found, Overview):
            return _example_rows(found.examples)
        names = [name for name in found.heads[0] if name not in ("distances", "largest")]
        return Table(tuple(names), tuple(tuple(one[n] for n in names) for one in found.heads))


def _size(manifest: Mapping[str, Any]) -> str:
    texts, tokens = manifest["texts"], manifest["tokens"]
    chance = " Control: the same model freshly initialised." if manifest["control"] else ""
    return f"{texts:,} texts, {tokens:,} tokens.{chance}"


def _named(value: float | None, name: str) -> str:
    if value is None or value != value:
        return ""
    return percent(value) if name in SHARES else significant(value)


def _overview(found: Overview, metric: str, session: Session) -> Iterator[Block]:
    values = [one for one in found.heads if one[metric] is not None]
    if not values:
        yield Headline(f"No query of this corpus could send weight to {metric}.")
        return
    best = max(values, key=lambda one: float(one[metric]))
    control = f"control_{metric}"
    chance = f"; freshly initialised, {_named(best[control], metric)}" if control in best else ""
    yield Headline(
        f"Head {best['layer']}.{best['head']} has the largest {_worded(metric)}: "
        f"{_named(best[metric], metric)}{chance}."
    )
    squares = [(metric, _worded(metric).capitalize())]
    squares += [(control, "Control")] * (control in best)
    high = max(float(one[metric]) for one in values)
    names = tuple(map(str, range(found.square(metric).shape[1])))
    yield Row(tuple(
        layer_heat(found.square(name), names, session, "head", title=title, hue="global",
                   low=0.0, high=high or 1.0)
        for name, title in squares
    ))  # fmt: skip
    names = tuple(dict.fromkeys((metric, *SHOWN)))
    rows = []
    for one in sorted(values, key=lambda one: -float(one[metric])):
        select = {"layer": one["layer"], "head": one["head"]}
        name = Cell(f"{one['layer']}.{one['head']}", hue=one["kind"], select=select)
        cells = [Cell(one[n], _named(one[n], n) or " ") for n in names]
        chances = [one[control]] if control in one else []
        chance_cells = [Cell(value, _named(value, metric) or " ") for value in chances]
        rows.append((name, cells[0], *chance_cells, *cells[1:]))
    columns = ("head", metric, *["control"] * (control in best), *names[1:])
    yield Table(columns, tuple(rows))


def _worded(metric: str) -> str:
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


def _head(found: HeadProfile) -> Iterator[Block]:
    by_name = {one.name: one for one in found.metrics}
    shares = [by_name[n] for n in ("self", "previous", "next", "separator", "duplicate", "mask")
              if n in by_name]  # fmt: skip
    most = max(shares, key=lambda one: one.value)
    chance = "" if most.control is None else f" (freshly initialised: {percent(most.control)})"
    yield Headline(
        f"Head {found.layer}.{found.head} ({found.kind}) has {percent(most.value)} of its "
        f"{_worded(most.name)}{chance}, rank {most.rank} of {most.heads} heads."
    )
    yield Row((_distances(found), _largest(found)))
    tables = [_token_table(found, role) for role in ("query", "key")]
    yield Row((*tables, _metric_table(found)))
    yield from _strips(found.examples, found.kind, "weight")


def _distances(found: HeadProfile) -> Lines:
    """Share of weight by distance, the window's edges as upright lines."""
    bins = [tuple(one) for one in found.manifest["distance_bins"]]
    some = [i for i, share in enumerate(found.distances) if share > 0]
    low, high = (some[0], some[-1] + 1) if some else (0, len(bins))
    marks = {}
    if found.half_window is not None:
        ends = {"left edge": -found.half_window, "right edge": found.half_window}
        places = [(name, _bin_of(bins, end) - low) for name, end in ends.items()]
        marks = {name: float(place) for name, place in places if 0 <= place < high - low}
    names = tuple(str(a) if a == b else f"{a}..{b}" for a, b in bins[low:high])
    return Lines(
        (Series("share of weight", found.distances[low:high], hue=found.kind, dots=True),),
        "Weight by distance, key less query; dashed: edges of the window", x="tokens", y="share",
        ticks=names, marks=marks,
    )  # fmt: skip


def _bin_of(bins: Sequence[tuple[int, ...]], offset: int) -> int:
    return next((i for i, (low, high) in enumerate(bins) if low <= offset <= high), -1)


def _intervals(edges: Sequence[float], last: str) -> tuple[str, ...]:
    ends = [f"{edge:g}" for edge in edges[1:]]
    return tuple(f"{low:g} to {high}" for low, high in zip(edges, [*ends, last], strict=True))


def _largest(found: HeadProfile) -> Bars:
    names = _intervals((0.0, *found.manifest["weight_edges"]), "1")
    title = "Queries by their largest weight on a token of the text"
    return Bars(names, found.largest, title, unit="%", hue=found.kind)


def _token_table(found: HeadProfile, role: str) -> Table:
    rows = [one for one in found.tokens if one["role"] == role][:10]
    title = "Queries by summed largest weight" if role == "query" else "Keys by summed weight"
    cells = tuple(
        (Cell(one["token"], word(one["token"])), one["weight"], one["occurrences"]) for one in rows
    )
    return Table((role, "weight", "occurrences"), cells, title, left=(role,))


def _metric_table(found: HeadProfile) -> Table:
    has_control = any(one.control is not None for one in found.metrics)
    rows: list[tuple[Value, ...]] = []
    for one in found.metrics:
        numbers = [one.value, one.median, *[one.control] * has_control]
        cells = [Cell(value, _named(value, one.name) or " ") for value in numbers]
        rows.append((one.name.replace("_", " "), *cells, one.rank))
    columns = ("metric", "this head", "median", *["control"] * has_control, "rank")
    return Table(columns, tuple(rows), "Among all heads", left=("metric",))


def _strips(examples: Sequence[Example], hue: Hue, unit: str) -> Iterator[Block]:
    for one in examples:
        start = max(0, min(one.position, one.position if one.key is None else one.key) - AROUND)
        stop = max(one.position, one.position if one.key is None else one.key) + AROUND
        which = "" if one.interval == "strongest" else f"sample from {one.interval} on: "
        use = f"{which}{word(one.tokens[one.position])}"
        if one.key is not None:
            use += f" attends to {word(one.tokens[one.key])}"
        title = f"{use}, {significant(one.value)} (text {one.id})"
        values = tuple(map(float, one.values[start:stop]))
        yield TokenStrip(
            one.tokens[start:stop], values, title, unit=unit, hue=hue, mark=one.position - start
        )


def _neuron(found: NeuronProfile) -> Iterator[Block]:
    row = found.row
    promoted = " ".join(map(word, found.promoted))
    writes = f"; its strongest use promotes {promoted}" if promoted else ""
    yield Headline(
        f"Neuron {found.layer}.{found.neuron} fires on {percent(row['firing_rate'])} of tokens"
        f"{writes}."
    )
    edges = found.manifest["firing_edges"]
    names = tuple(f"beyond {edge:g} x" for edge in edges)
    bars = Bars(names, tuple(row["firing"]), "Tokens by |activation|, in thresholds", unit="%")
    named = ("threshold", "mean", "root_mean_square", "largest", "smallest")
    numbers = Table(
        ("activation", "value"),
        tuple((name.replace("_", " "), Cell(row[name], significant(row[name]))) for name in named),
        left=("activation",),
    )
    yield Row((bars, Column((numbers,))))
    yield from _strips(found.examples, "signed", "activation")
    yield Note(
        "The threshold is the root mean square of the layer's activations over the bundled "
        "paragraph. Samples are of texts in which the neuron fires, each at its strongest token."
    )


def _example_rows(examples: Sequence[Example]) -> Table:
    columns = ("interval", "id", "position", "token", "key", "key_token", "value")
    rows = tuple(
        (
            one.interval, one.id, one.position, one.tokens[one.position], one.key,
            None if one.key is None else one.tokens[one.key], one.value,
        )
        for one in examples
    )  # fmt: skip
    return Table(columns, rows)


def search_blocks(found: Found) -> Iterator[Block]:
    """What a search found."""
    what = "" if found.token is None else f" with {word(found.token)} in their examples"
    heads, neurons = len(found.heads), len(found.neurons)
    also = f", {neurons:,} neurons" * (neurons > 0)
    yield Headline(f"{heads:,} heads{also}{what}.")
    for rows, title in ((found.heads, "Heads"), (found.neurons, "Neurons")):
        if not rows:
            continue
        part = "head" if title == "Heads" else "neuron"
        names = [name for name in rows[0] if name not in ("layer", part)]
        cells = tuple(
            (
                Cell(f"{one['layer']}.{one[part]}", hue=one.get("kind", "plain")),
                *(_searched(one[name], name) for name in names),
            )
            for one in rows
        )
        yield Table((part, *names), cells, title, left=(part, "kind", "as"))


def _searched(value: Any, name: str) -> Cell:
    return Cell(value, _named(value, name)) if isinstance(value, float) else Cell(value)
