"""Why the model gives an answer: one explanation of it, in a few sentences, tested."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from mbexplore.display.blocks import (
    Bars,
    Block,
    Cell,
    Headline,
    Note,
    Row,
    Table,
    TokenStrip,
)
from mbexplore.display.data import Arrays, pick
from mbexplore.display.numbers import significant
from mbexplore.display.story_blocks import LEAST, Edge, RouteGraph, Sentence, Story
from mbexplore.limits import WHY
from mbexplore.text import said
from mbexplore.views._corpus import OverCorpus
from mbexplore.views._why_story import (
    ROUTE,
    TESTS,
    TOKENS,
    describe_step,
    heads_of,
    names_elsewhere,
    tell,
    thresholds,
    tokens_of,
    whole,
)
from mbexplore.views.attention import AttentionView
from mbexplore.views.result import prove
from mbexplore.views.shared import (
    HUGGING_FACE,
    compared,
    layer_heat,
    listing,
    pair_names,
    token_cell,
)
from mbexplore.views.view import FRANCE, Guide, Token, View, cited, option

if TYPE_CHECKING:
    from mbexplore.analysis.target import Target
    from mbexplore.analysis.why import Route, Why
    from mbexplore.analysis.why.evidence import TokenEvidence
    from mbexplore.analysis.why.route import Step
    from mbexplore.session import Session

MOST_LISTED = 16
"""Tokens in the table of both measures."""
MOST_DRAWN = 12
"""Tokens of the route that are drawn, those on the way first."""


@dataclass(frozen=True, eq=False)
class Explained:
    """An explanation and its story.

    Attributes:
        why: the explanation.
        story: sentences, each with the command that shows it.
        corpus: what each named head does over the corpus of the model.
    """

    why: Why
    story: tuple[Sentence, ...]
    corpus: OverCorpus

    @property
    def target(self) -> Target:
        """The answer."""
        return self.why.target


class WhyView(View[Explained]):
    """Why this answer: tokens, a counterfactual, the heads on the way, and tests of all that."""

    name = "why"
    title = "Why"
    question = "Why does the model give this answer?"
    guide = Guide(
        "One explanation of the answer in numbered sentences: the words it rests on, the heads "
        "that carry them, and tests of both.",
        "Each number is measured, and what is underlined leads to what shows it; the bars say how "
        "much of the difference the named parts keep.",
        "Ask why the answer is not Rome.",
        values={"rival": "Rome"},
        texts=(FRANCE,),
    )
    evidence = "causal"
    tested = "on models made by hand whose route is known"
    group = "Why"
    place = 1
    papers = cited(
        "zhang2024towards", "sundararajan2017axiomatic", "conmy2023towards", "deyoung2020eraser"
    )
    limits = WHY
    explains_answer = True

    token: Token = None
    answer: str | None = None
    rival: str | None = option(
        "Why the answer and not this one; by default the answer to the changed text.",
        default=None, flag="--not", label="not",
    )  # fmt: skip
    counterfactual: str | None = option(
        "A text of as many tokens that gets another answer; by default one is searched for.",
        default=None,
    )
    hf: bool = option(default=False, label=HUGGING_FACE)
    detail: bool = option("Name up to 16 heads, not 6.", default=False)

    def compute(self, session: Session) -> Explained:
        """Everything, one after the other."""
        from mbexplore.analysis.why import why

        other = self.counterfactual
        found = why(
            session.explorer,
            session.encoding,
            session.token(self.token),
            answer=self.answer,
            rival=self.rival,
            counterfactual=None if not other else session.beside(other).encoding,
            detail=self.detail,
            progress=session.progress,
        )
        parity = self._parity(session)
        own = partial(prove, self, session)
        heads = {(one.layer, one.head): one.kind for one in _named(found)}
        corpus = OverCorpus.of(session.explorer, heads)
        return Explained(found, tuple(tell(found, session, own, parity)), corpus)

    def _parity(self, session: Session) -> str:
        """How close transformers comes at the masks, or why it can't; "" where it isn't asked."""
        from mbexplore.analysis.classify import is_classifier

        masks = session.encoding.mask_positions
        if not self.hf or not masks or is_classifier(session.explorer):
            return ""
        answer = session.once(("answer", 5), lambda: session.explorer.fill_masks(session.encoding))
        theirs, refusal = compared(lambda: session.explorer.compare_with_transformers(answer), True)
        if theirs is None:
            return refusal
        largest = significant(theirs.max_abs_logit_difference, 2)
        return f"Its logits match transformers {theirs.version} within {largest}."

    def blocks(self, explained: Explained, session: Session) -> Iterator[Block]:
        """The headline, the story, then what it rests on."""
        found = explained.why
        yield Headline(headline(found))
        story = Story(explained.story)
        yield story if found.route is None else Row((story, _graph(found, found.route, session)))
        yield TokenStrip(
            found.tokens,
            tuple(one.attribution for one in found.evidence.tokens),
            f"What carries {said(found.target.token)} rather than {said(found.rival.token)}",
            unit="logits, integrated gradients",
            mark=found.target.position,
        )
        tokens = _tokens(found)
        if found.route is not None:
            yield Row((tokens, _bars(found.route, found)))
            yield _heads(found, found.route)
            yield from explained.corpus.blocks()
        else:
            yield tokens
        yield Note(f"{thresholds(found)} {self.limits}")

    def to_json(self, found: Explained) -> dict[str, Any]:
        """Every number, and the story with the commands that show it."""
        why, route = found.why, found.why.route
        change = why.counterfactual
        plain = pick(
            why, "answer", "runner_up", "target", "evidence.completeness_error", "evidence.tokens",
            "verdict", rival="against", logit_difference="evidence.value",
        ) | {
            "counterfactual": None,
            "heads": [],
            "corpus": found.corpus.by_name,
            "backups": [],
            "tests": None,
            "first_after_layer": _layer(why.first_state),
            "decided_after_layer": _layer(why.decided_state),
            "story": [one.text for one in found.story],
            "shown_by": [one.commands for one in found.story],
        }  # fmt: skip
        if change is not None:
            plain["counterfactual"] = pick(
                change, "encoding.context", "answer", "changes", "likelihood", "is_given", "tried"
            ) | {"text": change.encoding.texts[0]}
        if route is not None:
            plain |= pick(
                route, "backups", "clean_difference", "corrupted_difference", heads="steps",
                named_tokens="tokens", tests="trust", carried="carried.shares",
                carried_positions="carried.positions",
            )  # fmt: skip
        return plain

    def arrays(self, found: Explained) -> Arrays:
        """The share that each token restores after each layer, (states, tokens)."""
        import numpy as np

        if found.why.route is None:
            return {}
        carried = found.why.route.carried
        return {"carried": carried.shares, "carried_positions": np.array(carried.positions)}

    def table(self, found: Explained, session: Session) -> Table:
        """One row, so that many texts make a table."""
        why, route, change = found.why, found.why.route, found.why.counterfactual
        trust = None if route is None else route.trust
        row: dict[str, str | float | None] = {
            "answer": why.answer.token,
            "probability": why.answer.probability,
            "rival": why.against.token,
            "counterfactual": None if change is None else change.encoding.text,
            "its_answer": None if change is None else change.answer.token,
            "its_probability": None if change is None else change.answer.probability,
            "heads": None if route is None else " ".join(one.name for one in route.steps),
            "sufficiency": None if trust is None else trust.sufficiency,
            "necessity": None if trust is None else trust.necessity,
            "random_mean": None if trust is None else trust.random.mean,
            "random_std": None if trust is None else trust.random.std,
            "verdict": why.verdict,
        }
        return Table(tuple(row), (tuple(row.values()),))


def _layer(state: int | None) -> int | None:
    """The layer after which a state is; -1 for the embeddings."""
    return None if state is None else state - 1


def headline(found: Why) -> str:
    """The explanation in a sentence, or that there is no short one."""
    answer = said(found.target.token)
    route = found.route
    if route is None:
        return f"No short explanation found: no change that was tried moves the answer {answer}."
    tokens = tokens_of(found, route)
    heads, kept = heads_of(route.steps), whole(route.trust.sufficiency)
    way = f", carried by {heads}" if route.steps else ", without any head"
    if found.verdict == "explained":
        return (
            f"{answer} because of {tokens}{way}: with these alone {kept} of the difference to "
            f"{said(route.other.token)} remains."
        )
    return (
        f"No short explanation found; the best is {tokens}{way}, with {kept} of the difference "
        f"between {answer} and {said(route.other.token)}."
    )


def _tokens(found: Why) -> Table:
    """Both measures of the tokens, of a long text those where either is largest."""
    by_attribution, by_ablation = found.evidence.scales

    def size(one: TokenEvidence) -> float:
        return max(abs(one.attribution) / by_attribution, abs(one.ablation or 0.0) / by_ablation)

    order = sorted(found.evidence.tokens, key=size, reverse=True)[:MOST_LISTED]
    columns: dict[str, Any] = {
        "token": lambda one: token_cell(found.tokens, one.position),
        "attribution": "attribution",
        "masked": lambda one: None if one.ablation is None else -one.ablation,
        "answer without it": "without",
    }
    order, both = sorted(order, key=lambda one: one.position), ("attribution", "masked")
    shares = ("answer without it",)
    return listing(order, columns, TOKENS, signed=both, bars=both, shares=shares)


def _named(found: Why) -> tuple[Step, ...]:
    """The heads on the way, and those that could take their place."""
    return () if found.route is None else (*found.route.steps, *found.route.backups)


def _heads(found: Why, route: Route) -> Table:
    """The named heads and their backups."""

    def head(step: Step) -> Cell:
        return Cell(step.name, hue=step.kind, select=pick(step, "layer", "head", token="query"))

    def restored(step: Step) -> Cell:
        share = step.restored
        return Cell(share, whole(share), bar=max(-1.0, min(share, 1.0)), hue="signed")

    columns: dict[str, Any] = {
        "head": head,
        "key": lambda one: token_cell(found.tokens, one.key),
        "query": lambda one: token_cell(found.tokens, one.query),
        "restored": restored,
        "lost": lambda one: Cell(one.lost, whole(one.lost)),
        "weight": lambda one: Cell(one.weight, f"{one.weight:.3f}"),
        "distance": "distance",
    }
    title = f"Logit of {said(found.target.token)} less {said(route.other.token)}: "
    title += f"{significant(route.clean_difference, signed=True)} on the text, "
    title += f"{significant(route.corrupted_difference, signed=True)} on the counterfactual"
    return listing(_named(found), columns, title)


def _graph(found: Why, route: Route, session: Session) -> RouteGraph:
    """Where the difference is, layer by token, and the heads that move it on."""
    import numpy as np

    carried, own, change = route.carried, found.target.position, found.counterfactual
    assert change is not None
    steps = (*route.steps, *route.backups)
    ends = {place for step in steps for place in (step.key, step.query)}
    most = dict(zip(carried.positions, abs(carried.shares).max(axis=0), strict=True))
    drawn = {i for i, share in most.items() if share >= LEAST} | ends
    drawn |= set() if own is None else {own}
    if len(found.tokens) <= MOST_DRAWN:  # so few that all have room
        drawn |= set(range(len(found.tokens)))
    chosen = sorted(sorted(drawn, key=lambda i: (i not in ends, -most.get(i, 0.0)))[:MOST_DRAWN])
    shares = np.full((len(carried.shares), len(chosen)), np.nan)
    for column, position in enumerate(chosen):
        if position in carried.positions:
            shares[:, column] = carried.shares[:, carried.positions.index(position)]
    both = ([text[i] for i in chosen] for text in (found.tokens, change.encoding.tokens))
    nodes = layer_heat(
        shares, pair_names(*both), session, "token", title=ROUTE, hue="signed",
        high=max(1.0, float(abs(carried.shares).max())), unit="share restored",
        column_values=tuple(chosen), mark=(None, chosen.index(own)) if own in chosen else None,
    )  # fmt: skip
    edges = tuple(
        _edge(found, step, chosen, session, step in route.backups)
        for step in steps if {step.key, step.query} <= set(chosen)
    )  # fmt: skip
    return RouteGraph(nodes, edges)


def _edge(found: Why, step: Step, chosen: Sequence[int], session: Session, is_backup: bool) -> Edge:
    view = AttentionView(layer=step.layer, head=step.head, token=step.query, top=5)
    return Edge(
        row=step.layer,
        key=chosen.index(step.key),
        query=chosen.index(step.query),
        name=step.name,
        share=step.restored,
        text=whole(step.restored),
        about="".join(describe_step(found.tokens, step)),
        hue=step.kind,
        proof=prove(view, session),
        backup=is_backup,
    )


def _bars(route: Route, found: Why) -> Bars:
    trust = route.trust
    values = {
        "the text as it is": 1.0,
        "named parts alone": trust.sufficiency,
        f"random heads, \N{PLUS-MINUS SIGN} {whole(trust.random.std)} "
        f"({trust.random.n} draws)": trust.random.mean,
        "without the named heads": 1 - trust.necessity,
        "without random heads": 1 - trust.random_necessity.mean,
    }
    if trust.necessity_with_backups is not None:
        values["without the backups too"] = 1 - trust.necessity_with_backups
    for name, one in zip(names_elsewhere(found), trust.other_changes, strict=True):
        values[f"under {name}"] = one.sufficiency
    every = tuple(values.values())
    return Bars(tuple(values), every, TESTS, "%", strong=frozenset({1}), ours_name="share")
