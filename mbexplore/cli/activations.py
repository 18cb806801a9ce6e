"""`mbexplore activations`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from mbexplore.cli import options, view
from mbexplore.cli.output import model_line, notice_cut
from mbexplore.files import ARRAYS, TABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console
    from rich.text import Text

    from mbexplore.analysis.neurons import Change, LayerNeurons, Neuron, TokenNeurons
    from mbexplore.analysis.residual import ResidualNorms
    from mbexplore.analysis.similarity import Similarity
    from mbexplore.checkpoints.tokenizer import Encoding
    from mbexplore.explorer import Explorer
    from mbexplore.network.config import LayerKind
    from mbexplore.views.old import View


def activations(
    text: options.Text = None,
    layer: Annotated[
        int | None,
        typer.Option("--layer", "-l", help="Neurons of this layer, from 0.", show_default=False),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            "--token",
            help="Neurons of this token: a word, or a position.",
            show_default=False,
        ),
    ] = None,
    top: Annotated[int, typer.Option(help="How many neurons are named.")] = 12,
    plot: view.Plot = False,
    output: view.Output = None,
    file: options.File = None,
    context: options.Context = None,
    model: options.Model = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    truncate: options.Truncate = False,
    json: options.Json = False,
) -> None:
    """Show the residual stream and what each layer adds to it; its neurons, with --layer or --at.

    Without TEXT, a bundled paragraph.

    Example: mbexplore activations "The capital of France is [MASK]."

    Example: mbexplore activations "The capital of France is [MASK]." --at France --layer 5
    """
    path = view.target(output, plot, "activations", TABLES if at is not None else ARRAYS)
    whole = text is None and file is None
    source = options.sample_text() if whole else options.read_text(text, file)
    from mbexplore.analysis.neurons import check_count
    from mbexplore.analysis.token_spans import find_token_position
    from mbexplore.explorer import load

    explorer = load(model, device=device, dtype=dtype)
    if layer is not None:
        explorer.check_layer_and_head(layer)
    check_count(top, explorer.model.config.intermediate_size)
    encoding = explorer.encode(source, pair=context, truncate=truncate or whole)
    place = None if at is None else find_token_position(encoding, at)
    notice_cut(encoding)
    if place is not None:
        seen, show = _see_token(explorer, encoding, place, layer, top)
    elif layer is not None:
        seen, show = _see_layer(explorer, encoding, layer, top)
    else:
        seen, show = _see_stream(explorer, encoding)
    view.give(seen, path, json, show, explorer.info)


def _see_stream(explorer: Explorer, encoding: Encoding) -> tuple[View, Callable[[], None]]:
    """The residual stream, and what prints it."""
    from mbexplore.analysis.residual import KEEP, residual_norms
    from mbexplore.analysis.similarity import similarity
    from mbexplore.views.activations import view_stream

    recording = view.recorded(explorer, encoding, KEEP)
    norms = residual_norms(recording)
    with view.progress("Comparing") as progress:
        alike = similarity(recording, progress)
    seen = view_stream(explorer, encoding, norms, alike)
    return seen, partial(_print_stream, explorer, norms, alike)


def _see_layer(
    explorer: Explorer, encoding: Encoding, layer: int, top: int
) -> tuple[View, Callable[[], None]]:
    """The neurons of a layer, and what prints them."""
    from mbexplore.analysis.neurons import layer_neurons, taps
    from mbexplore.views.activations import view_layer_neurons

    recording = view.recorded(explorer, encoding, taps(explorer.model.config, layer))
    found = layer_neurons(explorer, recording, layer, top)
    seen = view_layer_neurons(explorer, encoding, found, top)
    return seen, partial(_print_layer, explorer, found)


def _see_token(
    explorer: Explorer, encoding: Encoding, place: int, layer: int | None, top: int
) -> tuple[View, Callable[[], None]]:
    """The neurons of a token, of one layer or all, and what prints them."""
    from mbexplore.analysis.neurons import last_state, token_activations, top_neurons
    from mbexplore.views.activations import view_token_neurons

    with token_activations(explorer.model, place, layer) as rows:
        recording = view.recorded(explorer, encoding, (last_state(explorer.model.config),))
    found = top_neurons(explorer, recording, rows, place, layer, top)
    seen = view_token_neurons(explorer, encoding, found, top)
    return seen, partial(_print_token, explorer, found)


def _print_stream(explorer: Explorer, norms: ResidualNorms, alike: Similarity) -> None:
    from rich.console import Console
    from rich.text import Text

    from mbexplore.analysis.similarity import LIMITS
    from mbexplore.display.palette import ON_EITHER
    from mbexplore.text import bar

    console, kinds = Console(highlight=False), explorer.model.config.layer_kinds
    console.print(Text(f"Model: {model_line(explorer.info)}", style="bold"))
    console.print(f"The residual stream over {len(norms.tokens):,} tokens, in lengths.")
    _print_lengths(console, norms, kinds)
    table = view.build_table("after", "stream", "", "+ attn", "+ MLP", "cosine", "CKA",
                             "longest at", left=("after", "", "longest at"))  # fmt: skip
    means = norms.residual.mean(axis=1)
    for state, mean in enumerate(means):
        last, longest = state - 1, int(norms.residual[state].argmax())
        added = [""] * 4
        if state:
            lengths = (norms.attention[last].mean(), norms.mlp[last].mean())
            alikes = (alike.cosine[state, last], alike.cka[state, last])
            added = [*(f"{x:,.1f}" for x in lengths), *(f"{x:.3f}" for x in alikes)]
        style = "" if state == 0 else ON_EITHER[kinds[last]]
        table.add_row(
            Text(view.state_name(state), style=style), f"{mean:,.1f}",
            Text(bar(float(mean / means.max()), 6), style="cyan"), *added,
            _place(norms.tokens, longest),
        )  # fmt: skip
    console.print(table)
    console.print(
        Text(
            f"Means over the tokens; + attn and + MLP are added in that layer, cosine and CKA are "
            f"to the state before. {LIMITS}",
            "dim",
        )
    )


def _print_lengths(console: Console, norms: ResidualNorms, kinds: Sequence[LayerKind]) -> None:
    """The length of the stream as a line a state, from the shortest to the longest, as logs."""
    import numpy as np

    from mbexplore.cli.strips import print_strips

    logs = np.log(np.maximum(norms.residual, 1e-30))
    low, high = np.quantile(logs, (0.001, 0.999)).tolist()
    shades = np.clip((logs - low) / max(high - low, 1e-9), 0, 1)
    names = [view.state_name(state) for state in range(len(logs))]
    pool = print_strips(console, shades, names, (kinds[0], *kinds), most=6)
    pooled = f", {pool} tokens to a cell, the longest shows" if pool > 1 else ""
    console.print(f"Across: every token of the text{pooled}.", style="dim")


def _print_layer(explorer: Explorer, found: LayerNeurons) -> None:
    from rich.console import Console
    from rich.text import Text

    from mbexplore.analysis.neurons import LIMITS

    console = Console(highlight=False)
    console.print(Text(f"Model: {model_line(explorer.info)}", style="bold"))
    console.print(
        f"Layer {found.layer} is {found.kind}: of its {len(found.firing_rate):,} neurons, "
        f"{found.firing_rate.mean():.0%} fire at a token on average. Those that write most over "
        f"{len(found.tokens):,} tokens:"
    )
    _print_written(console, found)
    table = view.build_table("neuron", "fires", "writes then", "most at", "", "raises", "lowers",
                             left=("most at", "raises", "lowers"))  # fmt: skip
    for one in found.top:
        table.add_row(
            str(one.neuron), f"{found.firing_rate[one.neuron]:.0%}",
            f"{found.norm_when_firing[one.neuron]:.2f}",
            _place(found.tokens, one.position), f"{one.norm:.2f}", *_sides(one),
        )  # fmt: skip
    console.print(table)
    fires = f"A neuron fires where its activation is beyond {found.threshold:.2f}, the layer's RMS."
    console.print(Text(f"{fires} {LIMITS}", style="dim"))


def _print_written(console: Console, found: LayerNeurons) -> None:
    """How much each of the top neurons writes at every token, either way, as a line a neuron."""
    import numpy as np

    from mbexplore.cli.strips import print_strips

    written = np.abs(found.contributions)
    shades = np.sqrt(written / max(float(written.max()), 1e-30))
    names = [f"{one.neuron:>5}" for one in found.top]
    pool = print_strips(console, shades, names, [found.kind] * len(names), most=6)
    pooled = f", {pool} tokens to a cell, the most shows" if pool > 1 else ""
    console.print(f"Across: what they write at every token{pooled}.", style="dim")


def _print_token(explorer: Explorer, found: TokenNeurons) -> None:
    from rich.console import Console
    from rich.text import Text

    from mbexplore.analysis.neurons import LIMITS
    from mbexplore.display.palette import ON_EITHER

    console, config = Console(highlight=False), explorer.model.config
    console.print(Text(f"Model: {model_line(explorer.info)}", style="bold"))
    console.print(view.marked(found.tokens, found.position))
    table = view.build_table("layer", "neuron", "activation", "length", "raises", "lowers",
                             left=("raises", "lowers"))  # fmt: skip
    for one in found.neurons:
        style = ON_EITHER[config.layer_kinds[one.layer]]
        table.add_row(
            Text(str(one.layer), style=style), str(one.neuron), f"{one.activation:+.2f}",
            f"{one.norm:.2f}", *_sides(one),
        )  # fmt: skip
    console.print(table)
    console.print(Text(f"Lengths of what each adds to the stream. {LIMITS}", style="dim"))


def _place(tokens: tuple[str, ...], position: int) -> Text:
    from rich.text import Text

    return Text.assemble(view.word(tokens[position]), (f" {position}", "dim"))


def _sides(one: Neuron) -> tuple[Text, Text]:
    """The largest change of a logit up and that down, and the tokens changed, cut to fit."""
    from rich.text import Text

    def named(changes: tuple[Change, ...]) -> Text:
        words = "  ".join(view.word(each.token) for each in changes[:3])
        line = f"{changes[0].change:+.2f} {words}" if changes else ""
        return Text(line, no_wrap=True, overflow="ellipsis")

    return named(one.promoted), named(one.suppressed)
