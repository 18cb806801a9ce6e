"""`mbexplore attribute`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mbexplore.cli import options, view
from mbexplore.cli.output import model_line, notice, notice_cut
from mbexplore.errors import UsageError
from mbexplore.files import TABLES

if TYPE_CHECKING:
    from mbexplore.analysis.attribute import Attribution
    from mbexplore.explorer import Explorer

_BAR = 12


def attribute(
    text: options.Text = None,
    at: view.At = None,
    answer: view.AnswerToken = None,
    contrast: Annotated[
        str | None,
        typer.Option(help="Explain why the answer and not this token.", show_default=False),
    ] = None,
    baseline: Annotated[
        str, typer.Option(help="What the text is set against: mask or pad embeddings.")
    ] = "mask",
    steps: Annotated[int, typer.Option(min=1, help="Points on the path.")] = 64,
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
    """Share the answer's logit out among the tokens: integrated gradients, gradient x input.

    Example: mbexplore attribute "The capital of France is [MASK]." --answer Paris --contrast Rome
    """
    if baseline not in ("mask", "pad"):
        raise UsageError(f"There is no baseline {baseline!r}; choose mask or pad.")
    path = view.target(output, plot, "attribute", TABLES)
    source = options.read_text(text, file)
    from mbexplore.analysis import attribute as analysis
    from mbexplore.explorer import load
    from mbexplore.views.attribute import view_attribution

    explorer = load(model, device=device, dtype=dtype)
    encoding = explorer.encode(source, pair=context, truncate=truncate)
    notice_cut(encoding)
    found = analysis.attribute(
        explorer,
        encoding,
        at,
        answer=answer,
        contrast=contrast,
        baseline="mask" if baseline == "mask" else "pad",
        steps=steps,
    )
    seen = view_attribution(explorer, encoding, found, answer, contrast)
    view.give(seen, path, json, lambda: _print(explorer, found), explorer.info)
    if found.completeness_error > analysis.MOST_ERROR:
        notice(f"The completeness error is above 1%; raise --steps above {found.steps}.")


def _print(explorer: Explorer, found: Attribution) -> None:
    from rich.console import Console
    from rich.text import Text

    from mbexplore.analysis.attribute import LIMITS
    from mbexplore.display.palette import ON_EITHER
    from mbexplore.text import bar

    console = Console(highlight=False)
    console.print(Text(f"Model: {model_line(explorer.info)}", style="bold"))
    console.print(view.marked(found.tokens, found.target.position))
    answer, of = view.word(found.target.token), f"logit of {view.word(found.target.token)}"
    if found.contrast is not None:
        of += f" less that of {view.word(found.contrast.token)}"
    console.print(Text(f"Why {answer}: {of} {found.value:+.2f}, on the baseline "
                       f"{found.baseline_value:+.2f}."))  # fmt: skip
    table = view.build_table("", "token", "integrated", "", "gradient x input",
                             left=("token", ""))  # fmt: skip
    most = max(1e-12, *map(abs, found.integrated))
    rows = zip(found.tokens, found.integrated, found.gradient_input, strict=True)
    for i, (token, share, gradient) in enumerate(rows):
        colour = ON_EITHER["global" if share >= 0 else "local"]
        table.add_row(
            str(i), Text(view.word(token)), f"{share:+.2f}",
            Text(bar(abs(share) / most, _BAR), style=colour), f"{gradient:+.2f}",
        )  # fmt: skip
    console.print(table)
    console.print(Text(
        f"Integrated gradients sum to {sum(found.integrated):+.3f} of "
        f"{found.value - found.baseline_value:+.3f}: completeness error "
        f"{found.completeness_error:.2%} at {found.steps} steps."
    ))  # fmt: skip
    console.print(Text(LIMITS, style="dim"))
