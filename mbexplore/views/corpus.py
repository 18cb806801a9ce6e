"""A corpus: every head by a metric, or all that is known of one head, neuron or feature."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from mbexplore.display.blocks import Block, Cell, Headline, Note, Row, Table, Value
from mbexplore.display.data import Arrays, to_plain
from mbexplore.display.numbers import percent
from mbexplore.views._corpus import (
    head_blocks,
    head_cell,
    heads_scatter,
    numbered,
    unit_blocks,
    worded,
)
from mbexplore.views.shared import layer_heat, listing
from mbexplore.views.view import Guide, Head, Layer, View, option

if TYPE_CHECKING:
    from mbexplore.corpus.examples import Example
    from mbexplore.corpus.profile import HeadProfile, Overview
    from mbexplore.corpus.unit_profile import UnitProfile
    from mbexplore.session import Session

Metric = Literal[
    "self", "previous", "next", "cls", "sep", "separator", "punctuation", "mask", "edge", "far",
    "left", "right", "duplicate", "induction", "entropy", "nats", "distance", "distance_variance",
]  # fmt: skip


class CorpusView(View["Overview | HeadProfile | UnitProfile"]):
    """What every head and neuron does over many texts, beside what chance gives.

    Of all heads, a metric; of one head, examples by interval of their weight, distances, tokens
    and where it stands among all heads; of one neuron, or one feature of a dictionary, how often
    it fires, what it promotes, and examples.
    """

    name = "corpus"
    command = "corpus show"
    title = "Corpus"
    question = "What does this head or neuron do over many texts?"
    guide = Guide(
        "What one head or neuron does over many texts, with examples from weak to strong.",
        "One text may be an exception; compare the counts with what chance gives, which stands "
        "beside them.",
        "Look at head 3.2.",
        values={"layer": 3, "head": 2},
    )
    evidence = "correlational"
    tested = "against dense maps text by text, in any order of texts"
    group = "Which part"
    place = 9
    reads = "model"
    limits = (
        "An example shows where a head attends or a neuron fires, not what that does; and what is "
        "rare in the corpus is rare here."
    )
    example = "--layer 3 --head 2"

    corpus: str | None = option(default=None, positional=True, local=True)
    layer: Layer = 0
    head: Head = option(
        "One head, from 0; all of them by default.", default=None,
        only={"neuron": (None,), "feature": (None,)},
    )  # fmt: skip
    neuron: int | None = option(
        "A neuron of the layer, from 0.", default=None, at_least=0, only={"feature": (None,)}
    )
    feature: int | None = option(
        "A feature of the corpus's dictionary, from 0.", default=None, at_least=0
    )
    metric: Metric = option("The metric that all heads are shown by.", default="previous", label="")
    against: Metric = option("The metric from left to right.", default="entropy", label="")
    examples: int = option("Strongest uses that are shown.", default=6, short="-k", at_least=1)

    def compute(self, session: Session) -> Overview | HeadProfile | UnitProfile:
        """Out of the store; the examples' weights by the model."""
        from mbexplore.corpus.profile import find_store, read_head, read_overview
        from mbexplore.corpus.unit_profile import read_unit

        explorer, layer, most = session.explorer, self.layer, self.examples
        store = session.once(("corpus", self.corpus), lambda: find_store(explorer, self.corpus))
        place = None if self.neuron is None else {"layer": layer, "neuron": self.neuron}
        place = place if self.feature is None else {"feature": self.feature}
        if place is not None:
            return read_unit(explorer, store, place, strongest=most, sampled=1)
        every = session.once(("corpus heads", self.corpus), lambda: read_overview(store))
        if (head := self.head) is None:
            return every
        return session.once(  # whatever it is set against
            ("corpus head", self.corpus, layer, head, most),
            lambda: read_head(explorer, store, every, layer, head, strongest=most, sampled=1),
        )

    def blocks(
        self, found: Overview | HeadProfile | UnitProfile, session: Session
    ) -> Iterator[Block]:
        """All heads, or one head, neuron or feature."""
        from mbexplore.corpus.profile import HeadProfile, Overview

        if isinstance(found, Overview):
            yield from _overview(found, self.against, self.metric, session)
        elif isinstance(found, HeadProfile):
            yield from head_blocks(found, self.against, self.metric)
        else:
            yield from unit_blocks(found)
        yield Note(f"{_size(found.manifest)} {self.limits}")

    def to_json(self, found: Overview | HeadProfile | UnitProfile) -> dict[str, Any]:
        """The fields; of the manifest what names the corpus."""
        fields = {one.name: getattr(found, one.name) for one in dataclasses.fields(found)}
        plain: dict[str, Any] = to_plain({
            name: value for name, value in fields.items() if name not in ("overview", "others")
        })  # fmt: skip
        named = ("corpus", "texts", "tokens", "control")
        plain["manifest"] = {name: found.manifest[name] for name in named}
        if "number" in plain:  # under the name that asks for it
            plain[plain.pop("unit")] = plain.pop("number")
        return plain

    def arrays(self, found: Overview | HeadProfile | UnitProfile) -> Arrays:
        """Of all heads, every metric, (layers, heads)."""
        from mbexplore.corpus.profile import Overview
        from mbexplore.corpus.tables import METRICS

        if not isinstance(found, Overview):
            return {}
        there = [n for name in METRICS for n in (name, f"control_{name}") if n in found.heads[0]]
        return {name: found.square(name) for name in there}

    def table(self, found: Overview | HeadProfile | UnitProfile, session: Session) -> Table:
        """A row a head; or a row an example."""
        from mbexplore.corpus.profile import Overview

        if not isinstance(found, Overview):
            return _example_rows(found.examples)
        lists = ("distances", "largest", "control_distances", "control_largest")
        names = [name for name in found.heads[0] if name not in lists]
        return Table(tuple(names), tuple(tuple(one[n] for n in names) for one in found.heads))


def _size(manifest: Mapping[str, Any]) -> str:
    texts, tokens = manifest["texts"], manifest["tokens"]
    control = manifest["control"]
    chance = f" Control: the same model, {control}." if control else ""
    return f"{texts:,} texts, {tokens:,} tokens.{chance}"


def _overview(found: Overview, against: str, metric: str, session: Session) -> Iterator[Block]:
    values = [one for one in found.heads if one[metric] is not None]
    if not values:
        yield Headline(f"No query of this corpus could send weight to {metric}.")
        return
    best = max(values, key=lambda one: float(one[metric]))
    control = f"control_{metric}"
    name = found.manifest["control"]
    chance = f"; {name}, {numbered(best[control], metric)}" if control in best else ""
    yield Headline(
        f"Head {best['layer']}.{best['head']} has the largest {worded(metric)}: "
        f"{numbered(best[metric], metric)}{chance}."
    )
    squares = [(metric, worded(metric).capitalize())]
    squares += [(control, "Control")] * (control in best)
    high = max(float(one[metric]) for one in values)
    names = tuple(map(str, range(found.square(metric).shape[1])))
    heats = (
        layer_heat(found.square(name), names, session, "head", title=title, hue="global",
                   low=0.0, high=high or 1.0)
        for name, title in squares
    )  # fmt: skip
    yield Row((*heats, heads_scatter(found, against, metric)))
    rows: list[tuple[Value, ...]] = []
    said = {(one["layer"], one["head"]): found.summaries[i] for i, one in enumerate(found.heads)}
    for one in sorted(values, key=lambda one: -float(one[metric])):
        summary = said[one["layer"], one["head"]]
        named = [name for name in (metric, control) if name in one]
        share = "" if summary.share is None else percent(summary.share, 0)
        rows.append((
            head_cell(one), *(Cell(one[n], numbered(one[n], metric)) for n in named),
            Cell(summary.share, share or " "), summary.what,
        ))  # fmt: skip
    uses = max(one.uses for one in found.summaries)
    columns = ("head", metric, *["control"] * (control in best), "of uses", f"its {uses} strongest")
    title = f"Over {values[0].get(f'queries_{metric}', values[0]['queries']):,} queries a head"
    yield Table(columns, tuple(rows), title, left=("head", columns[-1]))


def _example_rows(examples: Sequence[Example]) -> Table:
    columns: dict[str, Any] = {
        "interval": "interval", "id": "id", "position": "position",
        "token": lambda one: one.tokens[one.position], "key": "key",
        "key_token": lambda one: None if one.key is None else one.tokens[one.key], "value": "value",
    }  # fmt: skip
    return listing(examples, columns)
