"""The options of `mbexplore attention` that say what to look at: the fields of a `Wish`."""

from __future__ import annotations

from typing import Annotated

import typer

Layer = Annotated[
    str, typer.Option("--layer", "-l", help="Which layer, from 0; all is the model view.")
]
Head = Annotated[
    int | None,
    typer.Option(help="Which head, from 0; all of them by default.", show_default=False),
]
Form = Annotated[
    str,
    typer.Option(
        "--view", help="map; band, a local layer by offset; or arcs, the links that carry most."
    ),
]
Mean = Annotated[bool, typer.Option("--mean", help="The mean over the heads.")]
Words = Annotated[bool, typer.Option("--words", help="Words instead of their pieces.")]
HideSpecial = Annotated[bool, typer.Option("--hide-special", help="Without [CLS] and [SEP].")]
Tokens = Annotated[
    str | None,
    typer.Option(metavar="A:B", help="Only these tokens, A to B - 1.", show_default=False),
]
Queries = Annotated[
    str | None,
    typer.Option(metavar="A:B", help="Only these tokens as rows.", show_default=False),
]
Keys = Annotated[
    str | None,
    typer.Option(metavar="A:B", help="Only these tokens as columns.", show_default=False),
]
Query = Annotated[
    str | None,
    typer.Option(
        help="Links of this token alone: a word of the text, or a position.", show_default=False
    ),
]
Links = Annotated[
    int, typer.Option("--links", "--top", min=0, help="How many of the strongest links.")
]
Mass = Annotated[
    float, typer.Option(help="With --view arcs: the share of each row that they carry together.")
]
