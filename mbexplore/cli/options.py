"""Arguments and options that commands share, and where their texts come from."""

from __future__ import annotations

import dataclasses
import inspect
import os
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from mbexplore.corpus import VARIABLE
from mbexplore.display.style import HELP, STYLES, FigureStyle
from mbexplore.errors import ModelError, TextError, UsageError
from mbexplore.files import PICTURES, check_target
from mbexplore.sample import sample_text as sample_text

Text = Annotated[
    str | None,
    typer.Argument(metavar="[TEXT]", help="The text; - reads standard input."),
]
Texts = Annotated[
    list[str] | None,
    typer.Argument(metavar="[TEXT]...", help="The texts; - reads standard input."),
]
File = Annotated[
    Path | None,
    typer.Option(
        "--file",
        "-f",
        help="Read one text, the whole file; or a text a row of csv, tsv, jsonl or parquet.",
    ),
]
Lines = Annotated[
    Path | None,
    typer.Option("--lines", help="Read one text a line; - reads standard input."),
]
Column = Annotated[
    str | None,
    typer.Option(help="The column of the texts in a csv, tsv, jsonl or parquet --file."),
]
Id = Annotated[
    str | None,
    typer.Option("--id", help="The column of what each text is called."),
]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first text with an error.")]
Recording = Annotated[
    Path | None,
    typer.Option(help="Look at what `mbexplore record` saved, without running the model again."),
]
Context = Annotated[
    str | None,
    typer.Option(
        "--context",
        "--pair",
        help="A second text for a model that takes two, such as the one to find the answer in.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        envvar="MBEXPLORE_MODEL",
        help="tiny (bundled, the default), base, large, a folder or a hub id.",
    ),
]
Corpus = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="DIR",
        help="What `mbexplore corpus build` wrote, for the views that look at a corpus; repeat it "
        "for more models.",
        callback=lambda folders: use_corpora(folders),
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Dtype = Annotated[str, typer.Option(help="float32, float64, float16 or bfloat16.")]
Truncate = Annotated[
    bool, typer.Option("--truncate", help="Cut a text that is longer than the model takes.")
]
Plot = Annotated[bool, typer.Option("--plot", help="Save a picture.")]
Output = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        help="Save as png, svg, pdf, html, json, csv or npz; many texts as csv, jsonl or parquet.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PICTURE = "Picture"
"""The panel of the help that options of pictures stand in."""
Style = Annotated[
    str | None,
    typer.Option(
        metavar="|".join(STYLES),
        autocompletion=lambda: list(STYLES),
        help=HELP["style"],
        rich_help_panel=PICTURE,
    ),
]
Width = Annotated[
    str | None,
    typer.Option(metavar="LENGTH", help=HELP["width"], rich_help_panel=PICTURE),
]
Dpi = Annotated[int | None, typer.Option(help=HELP["dpi"], rich_help_panel=PICTURE)]
Title = Annotated[str | None, typer.Option(help=HELP["title"], rich_help_panel=PICTURE)]
No_Title = Annotated[
    bool, typer.Option("--no-title", help="Nothing above it.", rich_help_panel=PICTURE)
]
Font = Annotated[str | None, typer.Option(help=HELP["font"], rich_help_panel=PICTURE)]
Data = Annotated[
    bool,
    typer.Option(
        "--data", help="Save its numbers beside it, as csv or json.", rich_help_panel=PICTURE
    ),
]


def figure_options(shared: Mapping[str, Any], path: Path | None) -> dict[str, Any]:
    """The keywords of `Result.save`, checked before any work is done.

    Raises:
        UsageError: they have no effect, or contradict each other.
        MbexploreError: there is no such style, width or font.
    """
    names = ("style", "width", "dpi", "title", "font", "no_title", "data")
    given = {name: shared[name] for name in names if shared[name] not in (None, False)}
    if not given:
        return {}
    if path is None or path.suffix.lower().removeprefix(".") not in PICTURES:
        raise UsageError(
            f"--{next(iter(given)).replace('_', '-')} has no effect without a picture; add --plot, "
            "or -o with a file that ends in .png, .svg or .pdf."
        )
    if given.pop("no_title", False):
        if "title" in given:
            raise UsageError("--title and --no-title were both given; give one of them.")
        given["title"] = ""
    FigureStyle(**{name: value for name, value in given.items() if name != "data"})
    if "font" in given:
        from mbexplore.display.fonts import named_font

        with named_font(given["font"]):
            pass
    return given


def target(output: Path | None, plot: bool, name: str, formats: Collection[str]) -> Path | None:
    """The file to write, if any: --plot alone names `NAME.png`. Checked before any work is done.

    Raises:
        OutputError: it can't be written, or can't hold what is asked for.
    """
    path = Path(f"{name}.png") if plot and output is None else output
    return path and check_target(path, formats)


def use_corpora(folders: list[Path] | None) -> list[Path] | None:
    """Has views look at these corpora, each for the model that it is of. Loads nothing heavy.

    Raises:
        ModelError: a folder holds no finished corpus.
    """
    for folder in folders or ():
        if not (folder / "manifest.json").is_file():
            raise ModelError(
                f"{folder} holds no finished corpus; build one with mbexplore corpus build."
            )
    if folders:
        os.environ[VARIABLE] = os.pathsep.join(str(folder.resolve()) for folder in folders)
    return folders


def use_threads(count: int) -> None:
    """Limits how many threads torch computes with, in this process and those it starts."""
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(count)
    if "torch" in sys.modules:  # it reads the environment but once
        sys.modules["torch"].set_num_threads(count)


def read_file_lines(file: Path) -> list[str]:
    """The texts to work on: each line of a file or, for "-", of standard input."""
    return read_lines("-", None) if str(file) == "-" else read_lines(None, file)


def read_lines(text: str | None, file: Path | None) -> list[str]:
    """The texts to work on: TEXT itself, or each line of a file or of standard input."""
    lines = [line for line in read_text(text, file).splitlines() if line.strip()]
    if not lines:
        raise TextError("The text is empty; give at least one word.")
    return lines


def read_text(text: str | None, file: Path | None) -> str:
    """The one text to work on: TEXT, a whole file, or all of standard input.

    The line end that closes a file is not of its text: the file gives what its words typed give.
    """
    if text is not None and file is not None:
        raise UsageError(f"Both a TEXT and --file {file} were given; give one of them.")
    if file is not None:
        try:
            return _without_line_end(_decode(file.read_bytes(), str(file)))
        except OSError as error:
            raise TextError(f"{file} can't be read ({error.strerror}); name a text file.") from None
    if text == "-":
        return _without_line_end(_decode(sys.stdin.buffer.read(), "Standard input"))
    if text is None:
        raise UsageError("No text was given; add a TEXT, --file FILE, or - for standard input.")
    return _decode(text.encode("utf-8", "surrogateescape"), "The text")


def _without_line_end(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r")


def _decode(raw: bytes, what: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TextError(
            f"{what} is not UTF-8 (byte 0x{raw[error.start]:02X} at position {error.start:,}); "
            "convert it to UTF-8."
        ) from None


def parameter(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> Any:
    """A parameter of a command whose signature is made, as Typer reads it."""
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def of_fields(kind: type[Any]) -> Iterator[inspect.Parameter]:
    """The fields of a dataclass that have help, as options."""
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if "help" in field.metadata:
            about = dict(field.metadata)
            default = field.default
            option = typer.Option(*about.pop("flags"), **about)
            is_required = default is dataclasses.MISSING
            default = inspect.Parameter.empty if is_required else default
            yield parameter(field.name, Annotated[hints[field.name], option], default)
