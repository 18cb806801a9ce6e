"""`mbexplore rope`."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mbexplore.cli import options, view
from mbexplore.cli.output import model_line, notice_bundled, notice_cut, print_json, shown
from mbexplore.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mbexplore.analysis.rope import PairNorms, RopeSpectrum, ScoreShares


def rope(
    text: options.Text = None,
    layer: Annotated[
        int | None,
        typer.Option("--layer", "-l", help="A layer's norms in each pair.", show_default=False),
    ] = None,
    head: Annotated[int, typer.Option(help="With --query: which head, from 0.")] = 0,
    query: Annotated[
        str | None,
        typer.Option(help="Take a score apart: the token that looks, a position or a word."),
    ] = None,
    key: Annotated[str | None, typer.Option(help="And the token it looks at.")] = None,
    plot: view.Plot = False,
    output: view.Output = None,
    file: options.File = None,
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
    if layer is None and (query is not None or text is not None or file is not None):
        raise UsageError("A text is looked at one layer at a time; add --layer, such as --layer 0.")
    path = view.find_output(output, plot, "rope")
    whole = text is None and file is None
    source = options.sample_text() if whole else options.read_text(text, file)
    from mbexplore.analysis.places import find_place
    from mbexplore.analysis.rope import pair_norms, rope_spectra, score_shares
    from mbexplore.explorer import load

    explorer = load(model, device=device, dtype=dtype)
    spectra = rope_spectra(explorer.model.config)
    norms: PairNorms | None = None
    shares: ScoreShares | None = None
    if layer is not None:
        explorer.check_layer_and_head(layer, head)
        recording = explorer.record(source, keep=("attention",), truncate=truncate)
        notice_cut(recording.encoding)
        norms = pair_norms(recording, layer)
        if query is not None and key is not None:
            places = [find_place(recording.encoding, name) for name in (query, key)]
            shares = score_shares(recording, layer, head, *places)
    payload = {"model": dataclasses.asdict(explorer.info), **_payload(spectra, norms, shares)}
    view.save(path, payload, lambda: _draw(spectra, norms, explorer.info.name))
    if json:
        print_json(payload)
    else:
        tokens = recording.encoding.tokens if layer is not None else ()
        _print(model_line(explorer.info), spectra, norms, shares, tokens)
    notice_bundled(explorer.info)


def _payload(
    spectra: tuple[RopeSpectrum, ...], norms: PairNorms | None, shares: ScoreShares | None
) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "spectra": [
            {
                "theta": each.theta,
                "kinds": list(each.kinds),
                "layers": list(each.layers),
                "width": each.width,
                "length": each.length,
                "frequencies": each.frequencies.tolist(),
                "wavelengths": each.wavelengths.tolist(),
                "slower_than_width": each.slower_than_width,
                "slower_than_length": each.slower_than_length,
            }
            for each in spectra
        ]
    }
    if norms is not None:
        payload["norms"] = {"layer": norms.layer, "q": norms.q.tolist(), "k": norms.k.tolist()}
    if shares is not None:
        payload["score"] = dataclasses.asdict(shares)
    return payload


def _draw(spectra: tuple[RopeSpectrum, ...], norms: PairNorms | None, name: str) -> Figure:
    from mbexplore.plots.rope import plot_pair_norms, plot_rope

    return plot_rope(spectra, name) if norms is None else plot_pair_norms(norms, name)


def _print(
    model: str,
    spectra: tuple[RopeSpectrum, ...],
    norms: PairNorms | None,
    shares: ScoreShares | None,
    tokens: tuple[str, ...],
) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    console.print(Text(f"Model: {shown(model)}", style="bold"))
    if shares is not None:
        _print_shares(shares, tokens)
    elif norms is not None:
        _print_norms(norms)
    else:
        for spectrum in spectra:
            _print_spectrum(spectrum)


def _print_spectrum(spectrum: RopeSpectrum) -> None:
    from rich.console import Console

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
    table = view.build_table("pair", "radians a token", "tokens a turn", "turns in the width")
    for m in sorted({*range(0, pairs, max(1, pairs // 8)), pairs - 1}):
        turns = spectrum.width / spectrum.wavelengths[m]
        table.add_row(
            str(m), f"{spectrum.frequencies[m]:.2e}", f"{spectrum.wavelengths[m]:,.1f}",
            f"{turns:,.3f}",
        )  # fmt: skip
    console.print(table)


def _print_norms(norms: PairNorms) -> None:
    """For each head the pairs in which queries and keys are largest together."""
    from rich.console import Console

    console = Console(highlight=False)
    console.print(
        f"Layer {norms.layer} is {norms.kind}, theta {norms.theta:,.0f}: the three pairs of each "
        "head with the largest |q| x |k|."
    )
    table = view.build_table("head", "pair", "tokens a turn", "|q|", "|k|")
    for head, products in enumerate(norms.q * norms.k):
        for rank, m in enumerate(products.argsort()[::-1][:3]):
            table.add_row(
                "" if rank else str(head), str(m), f"{norms.wavelengths[m]:,.1f}",
                f"{norms.q[head, m]:.2f}", f"{norms.k[head, m]:.2f}",
            )  # fmt: skip
    console.print(table)


def _print_shares(shares: ScoreShares, tokens: tuple[str, ...]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    names = [f"{view.word(tokens[i])} {i}" for i in (shares.query, shares.key)]
    console.print(
        Text(
            f"Layer {shares.layer}, head {shares.head}: {names[0]} looks at {names[1]} with the "
            f"score {shares.score:.3f}, weight {shares.weight:.3f}. The largest shares:"
        )
    )
    table = view.build_table("pair", "tokens a turn", "|q|", "|k|", "phase", "share")
    for pair in sorted(shares.shares, key=lambda pair: -abs(pair.share))[:10]:
        table.add_row(
            str(pair.pair), f"{math.tau / pair.frequency:,.1f}", f"{pair.q_norm:.2f}",
            f"{pair.k_norm:.2f}", f"{pair.phase:+.2f}", f"{pair.share:+.3f}",
        )  # fmt: skip
    console.print(table)
    console.print(f"All {len(shares.shares)} shares add up to the score.")
