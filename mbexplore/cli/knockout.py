"""`mbexplore knockout`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from mbexplore.cli import options, view
from mbexplore.cli.output import model_line, notice_cut
from mbexplore.errors import UsageError
from mbexplore.files import ARRAYS, TABLES

if TYPE_CHECKING:
    from mbexplore.analysis.ablate import Ablation, HeadAblation, Part, Replacement
    from mbexplore.explorer import Explorer

_STRONGEST = 10


def knockout(
    text: options.Text = None,
    heads: Annotated[
        list[str] | None,
        typer.Option("--head", metavar="LAYER.HEAD", help="Silence a head, such as 3.1."),
    ] = None,
    attentions: Annotated[
        list[int] | None, typer.Option("--attention", help="Silence a layer's attention.")
    ] = None,
    mlps: Annotated[
        list[int] | None, typer.Option("--mlp", help="Silence the MLP of a layer.")
    ] = None,
    tokens: Annotated[
        list[int] | None, typer.Option("--token", help="Let no other token look at this one.")
    ] = None,
    far: Annotated[
        int | None,
        typer.Option(min=0, help="Let no token look further than this.", show_default=False),
    ] = None,
    all_heads: Annotated[
        bool, typer.Option("--all-heads", help="Silence every head alone: a map of effects.")
    ] = False,
    mean: Annotated[
        bool, typer.Option("--mean", help="Put the mean over the text's tokens, not zero.")
    ] = False,
    at: view.At = None,
    answer: view.AnswerToken = None,
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
    """Silence parts of the model and report what becomes of its answer.

    Several parts are silenced together, then each alone.

    Example: mbexplore knockout "The capital of France is [MASK]." --all-heads
    """
    given = (heads, attentions, mlps, tokens, far)
    if all_heads == any(option not in (None, []) for option in given):
        raise UsageError(
            "Name what to silence: parts (--head, --attention, --mlp, --token, --far), or else "
            "--all-heads."
        )
    path = view.target(output, plot, "knockout", ARRAYS if all_heads else TABLES)
    source = options.read_text(text, file)
    pairs = [_read_head(name) for name in heads or []]
    from mbexplore.analysis import ablate as analysis
    from mbexplore.explorer import load
    from mbexplore.views.knockout import view_head_effects, view_knockout

    explorer = load(model, device=device, dtype=dtype)
    encoding = explorer.encode(source, pair=context, truncate=truncate)
    notice_cut(encoding)
    fill: Replacement = "mean" if mean else "zero"
    if all_heads:
        with view.progress("silencing heads") as on_step:
            effects = analysis.ablate_heads(
                explorer, encoding, at, answer=answer, replacement=fill, progress=on_step
            )
        seen = view_head_effects(explorer, encoding, effects, answer, fill)
        view.give(seen, path, json, lambda: _print_heads(explorer, effects), explorer.info)
    else:
        parts: list[Part] = [analysis.Head(*pair) for pair in pairs]
        parts += [analysis.Block(layer, "attention") for layer in attentions or []]
        parts += [analysis.Block(layer, "mlp") for layer in mlps or []]
        parts += [analysis.BlockedTokens(tuple(tokens))] if tokens else []
        parts += [] if far is None else [analysis.BlockedDistance(far)]
        found = analysis.ablate(explorer, encoding, parts, at, answer=answer, replacement=fill)
        seen = view_knockout(explorer, encoding, found, parts, answer, fill)
        view.give(seen, path, json, lambda: _print_parts(explorer, found), explorer.info)


def _read_head(name: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)\.(\d+)", name)
    if match is None:
        raise UsageError(f"{name!r} is no head; write LAYER.HEAD, such as 3.1.")
    return int(match[1]), int(match[2])


def _print_parts(explorer: Explorer, found: Ablation) -> None:
    from rich.console import Console
    from rich.text import Text

    from mbexplore.analysis.ablate import LIMITS

    console = Console(highlight=False)
    console.print(Text(f"Model: {model_line(explorer.info)}", style="bold"))
    console.print(view.marked(found.tokens, found.target.position))
    answer, clean = view.word(found.target.token), found.clean
    table = view.build_table("without", f"logit of {answer}", "change", "p", "rank", "first now",
                             left=("without", "first now"))  # fmt: skip
    table.add_row("nothing", f"{clean.logit:.2f}", "", f"{clean.probability:.1%}",
                  f"{clean.rank:,}", "")  # fmt: skip
    for effect in found.effects:
        after = effect.score
        table.add_row(
            "\n".join(effect.parts), f"{after.logit:.2f}", f"{after.logit - clean.logit:+.2f}",
            f"{after.probability:.1%}", f"{after.rank:,}", Text(view.word(effect.top1)),
        )  # fmt: skip
    console.print(table)
    console.print(Text(LIMITS, style="dim"))


def _print_heads(explorer: Explorer, found: HeadAblation) -> None:
    """The heads whose loss changes the answer's logit most."""
    from rich.console import Console
    from rich.text import Text

    from mbexplore.analysis.ablate import LIMITS

    console, clean = Console(highlight=False), found.clean
    console.print(Text(f"Model: {model_line(explorer.info)}", style="bold"))
    console.print(view.marked(found.tokens, found.target.position))
    answer = view.word(found.target.token)
    console.print(Text(
        f"{answer} has logit {clean.logit:.2f}, probability {clean.probability:.1%}, rank "
        f"{clean.rank:,}. The heads whose loss changes the logit most:"
    ))  # fmt: skip
    table = view.build_table("head", "kind", "change of logit", "of probability", "rank",
                             left=("kind",))  # fmt: skip
    for layer, head in found.strongest(_STRONGEST):
        table.add_row(
            f"{layer}.{head}", explorer.model.config.layer_kinds[layer],
            f"{found.logit[layer, head]:+.3f}", f"{found.probability[layer, head]:+.1%}",
            f"{found.rank[layer, head]:,}",
        )  # fmt: skip
    console.print(table)
    console.print(Text(LIMITS, style="dim"))
