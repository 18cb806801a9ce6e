"""What a view gives: its data, its blocks, and every form of them, each made when asked for."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from mbexplore.display.blocks import Block, Headline, Table
from mbexplore.display.data import rows_of, to_csv, to_json, to_npz, to_plain
from mbexplore.display.story_blocks import Proof
from mbexplore.errors import OutputError, UsageError
from mbexplore.files import PICTURES, check_target, write_whole
from mbexplore.sample import sample_text
from mbexplore.text import shortened
from mbexplore.views.guide import FRANCE
from mbexplore.views.parameters import SELECTED

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from typing_extensions import Unpack

    from mbexplore.display.style import FigureOptions
    from mbexplore.explorer import ModelInfo
    from mbexplore.session import Session
    from mbexplore.views.view import View

Data = TypeVar("Data")
FORMATS = (*PICTURES, "html", "json", "csv", "npz")
"""What a result may be saved as; npz where there are arrays, csv where there is a table."""
ABOUT = 160
"""Most letters of a text in a title."""


class Result(Generic[Data]):
    """One view of one text.

    Attributes:
        view: with its parameters.
        session: the text and the model.
        data: what the analysis found.
    """

    def __init__(self, view: View[Data], session: Session, data: Data) -> None:
        self.view, self.session, self.data = view, session, data

    def __repr__(self) -> str:
        return f"<{self.view.name}: {self.headline or self.view.question}>"

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """What is shown."""
        return tuple(self.view.blocks(self.data, self.session))

    @property
    def headline(self) -> str:
        """The answer in one sentence; "" for a view without one."""
        return next((one.text for one in self.blocks if isinstance(one, Headline)), "")

    @property
    def info(self) -> ModelInfo:
        """The model."""
        return self.session.explorer.info

    @property
    def name(self) -> str:
        """Stem of a saved file's name."""
        return self.view.file_name(self.data)

    @property
    def command(self) -> str:
        """The command line that makes this again, ready for a shell."""
        return shlex.join(("mbexplore", *build_command(self.view, self.session)))

    @cached_property
    def table(self) -> Table | None:
        """The rows of csv and of `to_frame`."""
        return self.view.table(self.data, self.session)

    @cached_property
    def formats(self) -> tuple[str, ...]:
        """The endings this can be saved under."""
        if self.view.formats:
            return self.view.formats
        has = {"csv": self.table is not None, "npz": bool(self.view.arrays(self.data))}
        return tuple(ending for ending in FORMATS if has.get(ending, True))

    def to_json(self) -> dict[str, Any]:
        """What `--json` prints: the model, the data's fields, and what the view can't show."""
        found = self.view.to_json(self.data)
        limits = {"limits": self.view.limits} if self.view.limits else {}
        plain: dict[str, Any] = to_plain(
            {"model": dataclasses.asdict(self.info), **found, **limits}
        )
        return plain

    def to_frame(self) -> Any:
        """The rows as a pandas DataFrame.

        Raises:
            UsageError: pandas isn't installed.
            OutputError: there are no rows.
        """
        try:
            import pandas  # type: ignore[import-untyped]
        except ImportError:
            raise UsageError("to_frame() needs pandas; pip install pandas.") from None
        header, *rows = self._rows()
        return pandas.DataFrame(rows, columns=header)

    def figure(self, **options: Unpack[FigureOptions]) -> Figure:
        """The picture.

        Args:
            options: of the picture, see `FigureStyle`: style, width, dpi, title, font.

        Raises:
            MbexploreError: there is no such style or font, or no such width.
        """
        from mbexplore.display.figure import build_figure
        from mbexplore.display.style import FigureStyle

        return build_figure(self.blocks, self._title(), FigureStyle(**options))

    def html(self) -> str:
        """A page that needs nothing else and shows every number under the pointer."""
        from mbexplore.display.page import build_page

        return build_page(self.blocks, self._title(), self.command)

    def content(self, ending: str, **options: Unpack[FigureOptions]) -> bytes:
        """The bytes of a file.

        Args:
            ending: one of `formats`.
            options: of a picture, see `figure`.

        Raises:
            OutputError: the format can't hold this view.
        """
        if ending not in self.formats:
            raise OutputError(
                f"{self.name} can't be saved as .{ending}; choose one of "
                f"{', '.join('.' + known for known in self.formats)}."
            )
        if ending == "json":
            return to_json(self.to_json())
        if ending == "npz":
            return to_npz(self.view.arrays(self.data))
        if ending == "csv":
            return to_csv(self._rows())
        if ending == "html":
            return self.html().encode()
        from mbexplore.display.figure import to_bytes
        from mbexplore.display.style import FigureStyle

        return to_bytes(self.figure(**options), ending, FigureStyle(**options))

    def save(
        self, path: str | Path, *, data: bool = False, **options: Unpack[FigureOptions]
    ) -> Path:
        """Writes a file whole, in the format of its ending.

        Args:
            path: the file.
            data: whether to write the numbers beside a picture too, see `data_path`.
            options: of a picture, see `figure`.

        Raises:
            OutputError: it can't be written, or the format can't hold this view.
        """
        path = check_target(Path(path), self.formats)
        write_whole(path, self.content(path.suffix.removeprefix(".").lower(), **options))
        if data:
            beside = check_target(self.data_path(path), self.formats)
            write_whole(beside, self.content(beside.suffix.removeprefix(".")))
        return path

    def data_path(self, path: Path) -> Path:
        """The file of a picture's numbers: csv, or json where there are no rows."""
        return path.with_suffix(".csv" if "csv" in self.formats else ".json")

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, str | bytes]:
        """What a notebook shows: the page in a frame without rights, a picture, and the text."""
        from mbexplore.display.figure import to_small_png
        from mbexplore.display.page import build_frame
        from mbexplore.display.terminal import to_text

        return {
            "text/html": build_frame(self.html(), self._title()),
            "image/png": to_small_png(self.figure()),
            "text/plain": to_text(self.blocks),
        }

    def _rows(self) -> list[list[Any]]:
        if self.table is None:
            raise OutputError(f"{self.name} has no rows; save it as .json.")
        return rows_of(self.table)

    def _title(self) -> str:
        about = self.session.texts[0] if self.view.reads == "text" and self.session.texts else ""
        about = shortened(about, ABOUT)
        model = Path(self.info.name).name
        title = self.view.title
        title = title.lower() if title[1:].islower() else title
        return f"{model}: {title}" + (f" of {about!r}" if about else "")


def join_content(results: Iterable[Result[Any]], ending: str) -> bytes:
    """The bytes of one file with the results for several texts.

    Args:
        results: of one view, one a text; each is let go when it is written.
        ending: "json" for a list under "results", or "csv" for one table whose first columns are
            the number of the text and the text.
    """
    if ending == "json":
        return to_json({"results": [result.to_json() for result in results]})
    lines: list[Sequence[Any]] = []
    for number, result in enumerate(results):
        assert result.table is not None
        header, *rows = rows_of(result.table)
        text = result.session.texts[0]
        lines += [] if lines else [["line", "text", *header]]
        lines += ([number, text, *row] for row in rows)
    return to_csv(lines)


def build_command(view: View[Any], session: Session) -> list[str]:
    """The arguments after `mbexplore` that make a view again."""
    is_sample = view.sample and session.texts == (sample_text(),)
    texts = () if is_sample or view.reads == "model" else session.texts
    more: list[str] = []
    if view.reads != "model":
        more += _option("--context", session.context) if session.context is not None else ()
        is_cut = session.truncate or (view.reads == "text" and session.encoding.is_cut)
        more += ["--truncate"] if is_cut and not is_sample else []
    return join_arguments(view, texts, (*more, *model_options(session.explorer.info)))


def join_arguments(view: View[Any], texts: Sequence[str], more: Sequence[str] = ()) -> list[str]:
    """The arguments after `mbexplore` for a view of texts under the bundled model, and more."""
    arguments: list[str] = view.command.split()
    positional = list(texts[:1] if view.reads == "text" else texts)
    options: list[str] = []
    for parameter in view.parameters:
        value = getattr(view, parameter.name)
        if parameter.option.positional:
            positional += [] if value is None else [str(value)]
        elif value != parameter.default:
            if parameter.option.separator:
                value = parameter.join(value)
            for one in value if isinstance(value, tuple) else (value,):
                options += _option(parameter.flag, one)
    options += more
    if any(text.startswith("-") for text in positional):
        return [*arguments, *options, "--", *positional]
    return [*arguments, *positional, *options]


def prove(view: View[Any], session: Session, figure: str = "") -> Proof:
    """A view of a text as the proof of a phrase; `figure` where it is the story's own."""
    settings = {}
    for one in view.parameters:
        value = getattr(view, one.name)
        if value != one.default or (one.kind in SELECTED and value is not None):
            settings[one.name] = one.join(value) if isinstance(value, tuple) else value
    command = shlex.join(("mbexplore", *build_command(view, session)))
    return Proof(view.name, settings, session.texts[0], command, figure)


def guide_lines(view: type[View[Any]]) -> dict[str, str]:
    """The lines of a view's guide by their names, the last one with its command."""
    if view.guide is None:
        return {}
    lines = view.guide.lines
    *_, last = lines
    return lines | {last: f"{lines[last]} {try_command(view)}"}


def try_command(view: type[View[Any]]) -> str:
    """The command of the last line of a view's guide."""
    guide = view.guide
    assert guide is not None
    other = guide.view or view
    texts = () if other.reads == "model" else guide.texts or (FRANCE,)
    return shlex.join(("mbexplore", *join_arguments(other(**guide.values), texts)))


def model_options(info: ModelInfo) -> tuple[str, ...]:
    """The options that open this model again; nothing for the bundled one as it comes."""
    from mbexplore.explorer import find_device

    named = () if info.source == "bundled" else ("-m", info.name)
    dtype = () if info.dtype == "float32" else ("--dtype", info.dtype)
    kind = info.device.partition(":")[0]
    device = () if kind == find_device("auto").type else ("--device", kind)
    return (*named, *dtype, *device)


def _option(flag: str, value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if value is True:
        return (flag,)
    if value is False:
        return (f"--no-{flag.removeprefix('--')}",)
    return (f"{flag}={value}",) if str(value).startswith("-") else (flag, str(value))
