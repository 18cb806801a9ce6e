"""GeGLU neurons: the strongest of a layer over a text, and the strongest of all at one token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mbexplore.display.blocks import Block, Cell, Headline, Heat, Note, Table
from mbexplore.display.numbers import fixed, percent, significant
from mbexplore.limits import NEURONS as LIMITS
from mbexplore.text import said, word
from mbexplore.views.shared import listing, token_cell, token_names
from mbexplore.views.view import FRANCE, Guide, Layer, Token, View, cited, option

if TYPE_CHECKING:
    from mbexplore.analysis.neurons import Change, LayerNeurons, TokenNeurons
    from mbexplore.session import Session


class NeuronsView(View["LayerNeurons"]):
    """Neurons of a layer: how often each fires, how much it adds, and the tokens it promotes."""

    name = "neurons"
    title = "Neurons"
    question = "Which neurons of a layer add most, and what?"
    guide = Guide(
        "The neurons of one layer that add most, how often each fires, and the words that it "
        "makes likelier.",
        "A neuron's norm is how much it adds at a token; the words are what it promotes by "
        "itself, so take them as a hint.",
        "Look at layer 4.",
        values={"layer": 4},
    )
    evidence = "correlational"
    tested = "against the model's own activations and logits"
    group = "Under the hood"
    place = 1
    papers = cited("geva2021transformer")
    limits = LIMITS
    sample = True
    example = '"The capital of France is [MASK]." --layer 5'

    layer: Layer = 0
    token: Token = None
    top_k: int = option("Neurons listed.", default=12, short="-k", at_least=1, label="neurons")

    def compute(self, session: Session) -> LayerNeurons:
        """One pass over the text that keeps the layer's neurons."""
        from mbexplore.analysis.neurons import layer_neurons, taps

        explorer = session.explorer
        explorer.check_layer_and_head(self.layer)
        session.token(self.token)
        recording = session.recording(*taps(explorer.model.config, self.layer))
        return layer_neurons(explorer, recording, self.layer, self.top_k)

    def blocks(self, found: LayerNeurons, session: Session) -> Iterator[Block]:
        """The strongest as a table, and what they add at every token."""
        yield Headline(
            f"Layer {found.layer} ({found.kind}): {percent(float(found.firing_rate.mean()), 0)} of "
            f"its {len(found.firing_rate):,} neurons fire at a token on average; neuron "
            f"{found.top[0].neuron} adds most."
        )
        yield _layer_table(found)
        yield Heat(
            found.contributions.astype(float),
            tuple(
                f"{one.neuron} {word(one.promoted[0].token)}" if one.promoted else str(one.neuron)
                for one in found.top
            ),
            token_names(found.tokens),
            title=f"Signed norm of what each adds at every token, layer {found.layer}",
            row_axis="neuron",
            column_axis="token",
            hue="signed",
            unit="norm",
            select=(None, "token"),
            mark=(None, session.focus(self.token)),
        )
        yield Note(
            f"A neuron fires where its activation is beyond {significant(found.threshold)}, the "
            f"root mean square of the layer; norms are L2. {LIMITS}"
        )


class TokenNeuronsView(View["TokenNeurons"]):
    """Neurons at a token: those of all layers that add most there, and the tokens they promote."""

    name = "token-neurons"
    title = "Neurons at a token"
    question = "Which neurons add most at this token, and what?"
    guide = Guide(
        "The neurons of all layers that add most at one token.",
        "Neurons are named layer.neuron; promoted words become likelier, suppressed ones less "
        "likely.",
        "Look at the token France.",
        values={"token": 4},
        texts=(FRANCE,),
    )
    evidence = "correlational"
    tested = "against the model's own activations and logits"
    group = "Under the hood"
    place = 2
    papers = cited("geva2021transformer")
    limits = LIMITS
    example = '"The capital of France is [MASK]." --token France'

    token: Token = None
    top_k: int = option("Neurons listed.", default=12, short="-k", at_least=1, label="neurons")

    def compute(self, session: Session) -> TokenNeurons:
        """One pass that keeps all neurons of the one token."""
        from mbexplore.analysis.neurons import (
            last_state,
            taps,
            token_activations,
            token_neurons,
            top_neurons,
        )

        explorer, position = session.explorer, session.focus(self.token)
        kept = session.kept(*taps(explorer.model.config))
        if kept is not None:
            return token_neurons(explorer, kept, position, count=self.top_k)
        with token_activations(explorer.model, position, None) as rows, session.counting():
            recording = explorer.record(session.encoding, keep=(last_state(explorer.model.config),))
        return top_neurons(explorer, recording, rows, position, count=self.top_k)

    def blocks(self, found: TokenNeurons, session: Session) -> Iterator[Block]:
        """A row a neuron, the largest contribution first."""
        token = f"{said(found.tokens[found.position])} (token {found.position})"
        best = found.neurons[0]
        yield Headline(
            f"Neuron {best.layer}.{best.neuron} adds most at {token}: "
            f"norm {significant(best.norm)}."
        )
        yield _token_table(found, session)
        yield Note(f"Neurons are named layer.neuron; norms are L2. {LIMITS}")


def _words(changes: tuple[Change, ...], most: int = 2) -> Cell:
    """Tokens, with the largest change of a logit; files hold the tokens."""
    if not changes:
        return Cell("")
    words = " ".join(word(one.token) for one in changes[:most])
    return Cell(
        " ".join(one.token.strip() for one in changes),
        f"{fixed(changes[0].change, 2, signed=True)} {words}",
    )


def _layer_table(found: LayerNeurons) -> Table:
    def fires(one: Any) -> Cell:
        return Cell(rate := float(found.firing_rate[one.neuron]), percent(rate, 0))

    columns: dict[str, Any] = {
        "neuron": "neuron",
        "mean norm": lambda one: Cell(float(found.mean_norm[one.neuron]), hue=found.kind),
        "fires": fires,
        "most at": lambda one: token_cell(found.tokens, one.position),
        "norm": "norm",
        "promoted": lambda one: _words(one.promoted),
        "suppressed": lambda one: _words(one.suppressed),
    }
    firing = [float(found.norm_when_firing[one.neuron]) for one in found.top]
    extra = {"activation": [one.activation for one in found.top], "norm when firing": firing}
    title = "The neurons that add most over the text"
    return listing(found.top, columns, title, bars=("mean norm",), extra=extra)


def _token_table(found: TokenNeurons, session: Session) -> Table:
    kinds = session.explorer.model.config.layer_kinds

    def name(one: Any) -> Cell:
        hue, select = kinds[one.layer], {"layer": one.layer}
        return Cell(f"{one.layer}.{one.neuron}", hue=hue, select=select)

    columns: dict[str, Any] = {
        "neuron": name,
        "activation": "activation",
        "norm": lambda one: Cell(one.norm, hue=kinds[one.layer]),
        "promoted": lambda one: _words(one.promoted),
        "suppressed": lambda one: _words(one.suppressed),
    }
    return listing(found.neurons, columns, bars=("norm",), signed=("activation",))
