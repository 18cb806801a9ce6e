"""What a checkpoint is: its parts, its layers, and what its attention maps would take."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mbexplore.display.blocks import Bars, Block, Cell, Headline, Note, Table
from mbexplore.display.numbers import amount
from mbexplore.views.shared import records
from mbexplore.views.view import Guide, View, cited, option

if TYPE_CHECKING:
    from mbexplore.analysis.card import ModelCard
    from mbexplore.network.scaling import RopeScaling
    from mbexplore.session import Session


class InfoView(View["ModelCard"]):
    """What a model is: its parts, its layers, and what its attention maps would take."""

    name = "info"
    title = "Model"
    question = "What is this model made of?"
    guide = Guide(
        "What the model consists of: its parameters by part, its layers, and the memory that "
        "attention maps take.",
        "Global layers attend to every token, local ones to a window; maps of all heads grow "
        "with the square of the length.",
        "Count the memory for a text of 2,048 tokens.",
        values={"length": 2048},
    )
    evidence = "output"
    tested = "against the model's own tensors and published parameter counts"
    place = 6
    papers = cited("warner2024smarter")
    reads = "model"
    needs_weights = False
    method = "describe"
    example = "--length 2048"

    length: int | None = option(
        "Tokens to count memory for; the model's limit by default.", default=None
    )

    def compute(self, session: Session) -> ModelCard:
        """From the config and the header of the weights' file."""
        from mbexplore.analysis.card import read_card

        return read_card(session.explorer.files, self.length)

    def blocks(self, found: ModelCard, session: Session) -> Iterator[Block]:
        """Where the parameters are, what memory attention takes, and every layer."""
        config = found.config
        yield Headline(
            f"{found.parameters:,} parameters, {'with' if found.has_head else 'without'} an MLM "
            f"head: {config.num_hidden_layers} layers of {config.hidden_size:,}, "
            f"{config.num_attention_heads} heads of {config.head_dim}."
        )
        names = tuple(f"{part}, {size:,}" for part, size in found.parts.items())
        shares = [size / found.parameters for size in found.parts.values()]
        yield Bars(names, tuple(shares), "Parameters by part", unit="%", hue="plain",
                   ours_name="share")  # fmt: skip
        yield _layers(found)
        yield _memory(found)
        stored = ", ".join(f"{name} ({size:,})" for name, size in found.dtypes.items())
        yield Note(
            f"Stored as {stored} in {found.file_bytes / 1e6:,.1f} MB. MLP "
            f"{config.intermediate_size:,}, vocabulary {config.vocab_size:,}, up to "
            f"{config.max_position_embeddings:,} tokens."
        )

    def to_json(self, found: ModelCard) -> dict[str, Any]:
        """The card and the whole config."""
        return dataclasses.asdict(found) | {"config": found.config.to_dict()}

    def table(self, found: ModelCard, session: Session) -> Table:
        """A row for each layer."""
        return records(found.layers)


def _theta(theta: float, scaling: RopeScaling | None) -> str:
    return f"{theta:,.0f}" + (f", {scaling}" if scaling else "")


def _layers(found: ModelCard) -> Table:
    rows = tuple(
        (
            layer.layer,
            Cell(layer.kind, hue=layer.kind),
            "every token" if layer.half_window is None else f"{layer.half_window:,} each side",
            Cell(layer.theta, _theta(layer.theta, found.config.scaling(layer.layer))),
            layer.parameters,
        )
        for layer in reversed(found.layers)
    )
    columns = ("layer", "kind", "attends to", "theta", "parameters")
    return Table(columns, rows, left=("kind", "attends to"))


def _memory(found: ModelCard) -> Table:
    memory = found.memory
    sizes = {
        "one head of one layer, dense": memory.one_map,
        "every head of one layer, dense": memory.one_layer,
        "every head of one local layer, as a band": memory.one_band,
        "every map of the model, dense": memory.all_maps,
        "what mbexplore records instead (q and k)": memory.recorded,
    }
    columns = (f"attention at {memory.length:,} tokens, float32", "memory")
    cells = (Cell(size, amount(size)) for size in sizes.values())
    return Table(columns, tuple(zip(sizes, cells, strict=True)), left=columns[:1])
