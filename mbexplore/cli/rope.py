"""`mbexplore rope`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from mbexplore.cli import options, view
from mbexplore.cli.output import model_line, notice_cut
from mbexplore.errors import UsageError
from mbexplore.files import ARRAYS

if TYPE_CHECKING:
    from rich.console import Console

    from mbexplore.analysis.rope import PairNorms, RopeSpectrum, ScoreContributions
    from mbexplore.explorer import Explorer

_SPARKS = "\N{LOWER ONE EIGHTH BLOCK}▂▃▄▅▆▇\N{FULL BLOCK}"


_WIDEST = 120
"""The most columns of a picture."""


def rope(
    text: options.Text = None,
    layer: Annotated[
        int | None,
        typer.Option("--layer", "-l", help="A layer's norms in each pair.", show_default=False),
    ] = None,
    head: Annotated[
        int | None,
        typer.Option(help="With --query: which head, from 0; 0 by default.", show_default=False),
    ] = None,
    query: Annotated[
        str | None,
        typer.Option(help="Take a score apart: the token that looks, a position or a word."),
    ] = None,
    key: Annotated[str | None, typer.Option(help="And the token it looks at.")] = None,
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
    """Show how RoPE turns: wavelengths against the window, and what each pair adds to a score.

    With --layer it runs the text (a bundled paragraph without one); a score needs --query and
    --key as well.

    Example: mbexplore rope "The river runs to the sea." -l 3 --head 1 --query river --key sea
    """
    if (query is None) != (key is None):
        raise UsageError("A score needs both --query and --key; give both of them.")
    if head is not None and query is None:
        raise UsageError("--head is the one whose score is taken apart; add --query and --key.")
    if layer is None and (query is not None or text is not None or file is not None):
        raise UsageError("A text is looked at one layer at a time; add --layer, such as --layer 0.")
    path = view.target(output, plot, "rope", ARRAYS)
    whole = text is None and file is None
    source = options.sample_text() if whole else options.read_text(text, file)
    from mbexplore.analysis.rope import check_visible, pair_norms, rope_spectra, score_contributions
    from mbexplore.analysis.token_spans import find_token_position
    from mbexplore.explorer import load
    from mbexplore.recorder import of_layers
    from mbexplore.views.rope import view_rope

    explorer = load(model, device=device, dtype=dtype)
    spectra = rope_spectra(explorer.model.config)
    if layer is None:
        seen = view_rope(explorer, spectra)
        view.give(seen, path, json, lambda: _print_spectra(explorer, spectra), explorer.info)
        return
    head = head or 0
    explorer.check_layer_and_head(layer, head)
    encoding = explorer.encode(source, pair=context, truncate=truncate or whole)
    notice_cut(encoding)
    places = [find_token_position(encoding, name) for name in (query, key) if name is not None]
    if places:
        check_visible(explorer.model.config, layer, *places)
    recording = view.recorded(explorer, encoding, of_layers("attention", layer))
    norms = pair_norms(recording, layer)
    shares = score_contributions(recording, layer, head, *places) if places else None
    seen = view_rope(explorer, spectra, norms, shares, encoding)
    view.give(seen, path, json, lambda: _print(explorer, norms, shares, encoding.tokens),
              explorer.info)  # fmt: skip


def _print_spectra(explorer: Explorer, spectra: tuple[RopeSpectrum, ...]) -> None:
    _print_model(explorer)
    for spectrum in spectra:
        _print_spectrum(spectrum)


def _print(
    explorer: Explorer, norms: PairNorms, shares: ScoreContributions | None, tokens: tuple[str, ...]
) -> None:
    _print_model(explorer)
    if shares is None:
        _print_norms(norms)
    else:
        _print_shares(shares, tokens)


def _print_model(explorer: Explorer) -> None:
    from rich.console import Console
    from rich.text import Text

    Console(highlight=False).print(Text(f"Model: {model_line(explorer.info)}", style="bold"))


def _print_spectrum(spectrum: RopeSpectrum) -> None:
    from rich.console import Console
    from rich.text import Text

    from mbexplore.text import bar

    console, pairs = Console(highlight=False), len(spectrum.wavelengths)
    slow, never = len(spectrum.slower_than_width), len(spectrum.slower_than_length)
    console.print(
        f"\nTheta {spectrum.theta:,.0f}, {' and '.join(spectrum.kinds)} layers "
        f"{', '.join(map(str, spectrum.layers))}: they look across {spectrum.width:,} tokens."
    )
    console.print(
        f"{slow} of {pairs} pairs never turn once in that width, {never} never in the longest "
        f"text ({spectrum.length:,} tokens)."
    )
    table = view.build_table("pair", "radians a token", "tokens a turn", "", "turns in the width",
                             left=("",))  # fmt: skip
    longest = math.log(spectrum.wavelengths[-1])
    for m in sorted({*range(0, pairs, max(1, pairs // 8)), pairs - 1}):
        wavelength = spectrum.wavelengths[m]
        table.add_row(
            str(m), f"{spectrum.frequencies[m]:.2e}", f"{wavelength:,.1f}",
            Text(bar(math.log(wavelength) / longest, 10), style="cyan"),
            f"{spectrum.width / wavelength:,.3f}",
        )  # fmt: skip
    console.print(table)
    if console.is_terminal:
        _print_turns(console, spectrum)
    console.print(f"Two equal vectors score, at distance 0 to {spectrum.width:,} (least to most):")
    console.print(Text(_spark(spectrum), style="cyan"))


def _print_turns(console: Console, spectrum: RopeSpectrum) -> None:
    """How the pairs turn across the width: two a line, the fastest at the top."""
    from rich.segment import Segment, Segments
    from rich.style import Style

    from mbexplore.analysis.rope import mean_rotations
    from mbexplore.display.half_blocks import Blocks
    from mbexplore.display.palette import ON_BLACK, ramp

    room = min(console.width, _WIDEST) - 4
    cos, _ = mean_rotations(spectrum, room)
    shades = (cos.T + 1) / 2  # (pairs, cells)
    blocks = Blocks(shades.repeat(room // len(cos), axis=1), ramp(ON_BLACK[spectrum.kinds[0]]))
    colour = console.color_system is not None and not console.no_color
    for i, line in enumerate(blocks.lines(colour=colour)):
        name = Segment(f"{2 * i:>3} " if i % 4 == 0 else " " * 4, Style(dim=True))
        console.print(Segments([name, *line, Segment.line()]), end="")
    console.print(
        f"Pairs, the fastest at the top, at distance 0 to {spectrum.width:,}: the cosine of their "
        "angle; bright is 1, dark is -1. A cell shows the mean of the distances it holds.",
        style="dim",
    )


def _spark(spectrum: RopeSpectrum, most: int = 64) -> str:
    """The kernel over distance as a line of blocks, each the mean of the distances it spans."""
    import numpy as np

    kernel = spectrum.kernel[: spectrum.width + 1]
    means = [float(part.mean()) for part in np.array_split(kernel, min(most, len(kernel)))]
    low, high = min(means), max(means)
    return "".join(_SPARKS[round((x - low) / max(high - low, 1e-9) * 7)] for x in means)


def _print_norms(norms: PairNorms) -> None:
    """For each head the pairs in which queries and keys are largest together."""
    from rich.console import Console

    console = Console(highlight=False)
    console.print(
        f"Layer {norms.layer} is {norms.kind}, theta {norms.theta:,.0f}: the three pairs of each "
        "head with the largest |q| x |k|; above them all pairs, the fastest to the left."
    )
    _print_products(norms)
    table = view.build_table("head", "pair", "tokens a turn", "|q|", "|k|")
    for head, products in enumerate(norms.q * norms.k):
        for rank, m in enumerate(products.argsort()[::-1][:3]):
            table.add_row(
                "" if rank else str(head), str(m), f"{norms.wavelengths[m]:,.1f}",
                f"{norms.q[head, m]:.2f}", f"{norms.k[head, m]:.2f}",
            )  # fmt: skip
    console.print(table)


def _print_products(norms: PairNorms) -> None:
    """|q| x |k| as a line a head."""
    from rich.console import Console

    from mbexplore.cli.strips import print_strips

    products, heads = norms.q * norms.k, len(norms.q)
    names, scale = [f"head {head}" for head in range(heads)], max(products.max(), 1e-30)
    print_strips(Console(highlight=False), products / scale, names, [norms.kind] * heads)


def _print_shares(shares: ScoreContributions, tokens: tuple[str, ...]) -> None:
    from rich.console import Console
    from rich.text import Text

    from mbexplore.display.palette import ON_EITHER
    from mbexplore.text import bar

    console = Console(highlight=False)
    names = [f"{view.word(tokens[i])} {i}" for i in (shares.query, shares.key)]
    console.print(
        Text(
            f"Layer {shares.layer}, head {shares.head}: {names[0]} looks at {names[1]} with the "
            f"score {shares.score:.3f}, weight {shares.weight:.3g}. The largest shares:"
        )
    )
    table = view.build_table("pair", "tokens a turn", "|q|", "|k|", "phase", "share", "",
                             left=("",))  # fmt: skip
    largest = sorted(shares.contributions, key=lambda pair: -abs(pair.contribution))[:10]
    most = max(abs(largest[0].contribution), 1e-30)
    for pair in largest:
        colour = ON_EITHER["global" if pair.contribution >= 0 else "local"]
        table.add_row(
            str(pair.pair), f"{math.tau / pair.frequency:,.1f}", f"{pair.q_norm:.2f}",
            f"{pair.k_norm:.2f}", f"{pair.phase:+.2f}", f"{pair.contribution:+.3f}",
            Text(bar(abs(pair.contribution) / most, 10), style=colour),
        )  # fmt: skip
    console.print(table)
    console.print(f"All {len(shares.contributions)} shares add up to the score.")
