"""What every view is: data, picture, table, arrays, and the command line that makes it again."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any

from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.errors import OutputError
from mbexplore.explorer import ModelInfo, find_device
from mbexplore.files import PICTURES
from mbexplore.text import json_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class View:
    """One answer in every form. Each form is made when it is asked for.

    Attributes:
        name: stem of a file's name, "attention-layer3".
        command: the arguments that make it on the command line, after `mbexplore`.
        payload: what `--json` prints.
        draw: the picture.
        arrays: named arrays, for npz.
        rows: a table with its header first, for csv.
        page: a self-contained html page; without it, the picture on a page.
    """

    name: str
    command: Sequence[str]
    payload: Callable[[], dict[str, Any]]
    draw: Callable[[], Figure] | None = None
    arrays: Callable[[], Mapping[str, NDArray[Any]]] | None = None
    rows: Callable[[], Iterable[Sequence[object]]] | None = None
    page: Callable[[], str] | None = None

    @property
    def formats(self) -> tuple[str, ...]:
        """The endings this view can be saved under."""
        forms = {
            **dict.fromkeys(PICTURES, self.draw),
            "html": self.page or self.draw,
            "json": self.payload,
            "npz": self.arrays,
            "csv": self.rows,
        }
        return tuple(ending for ending, form in forms.items() if form is not None)

    @property
    def command_line(self) -> str:
        """The command that makes this view, ready for a shell."""
        return shlex.join(("mbexplore", *self.command))

    def content(self, ending: str) -> bytes:
        """The bytes of a file.

        Args:
            ending: one of `formats`.

        Raises:
            OutputError: the format can't hold this view.
        """
        if ending not in self.formats:
            raise OutputError(
                f"{self.name} can't be saved as .{ending}; choose one of "
                f"{', '.join('.' + known for known in self.formats)}."
            )
        if ending == "json":
            return (json_line(self.payload()) + "\n").encode()
        if ending == "npz" and self.arrays is not None:
            return _npz(self.arrays())
        if ending == "csv" and self.rows is not None:
            return _csv(self.rows()).encode()
        if ending == "html":
            return (self.page() if self.page is not None else self._picture_page()).encode()
        return self._picture(ending)

    def _picture(self, ending: str) -> bytes:
        assert self.draw is not None
        buffer = BytesIO()
        self.draw().savefig(buffer, format=ending, dpi=150)
        return buffer.getvalue()

    def _picture_page(self) -> str:
        from mbexplore.views.picture_page import picture_page

        assert self.draw is not None
        return picture_page(self.draw(), self.name, self.command_line)


def join_content(views: Iterable[View], ending: str) -> bytes:
    """The bytes of one file with the answers to several texts.

    Args:
        views: of one kind, one a text; each is let go when it is written.
        ending: "json" for an object whose "answers" are the list of their payloads, or "csv" for
            one table whose first column is the number of the text, from 0.
    """
    if ending == "json":
        payloads = [view.payload() for view in views]
        return (json_line({"answers": payloads}) + "\n").encode()
    lines: list[Sequence[object]] = []
    for number, view in enumerate(views):
        assert view.rows is not None
        header, *rows = view.rows()
        lines += [] if lines else [["text", *header]]
        lines += ([number, *row] for row in rows)
    return _csv(lines).encode()


def build_command(
    name: str, info: ModelInfo, texts: Sequence[str] | Encoding, **wishes: object
) -> list[str]:
    """The arguments of a command, its texts first where none can be taken for an option.

    Args:
        name: of the command.
        info: the model that answered, in its dtype and on its device.
        texts: what the command reads; an encoding stands for its text, the one after it, and
            whether they were cut.
        **wishes: its options, `top_k=3` for `--top-k 3`. True names a switch, a list repeats the
            option, None and False say nothing.
    """
    if isinstance(texts, Encoding):
        wishes = {"context": texts.context, **wishes, "truncate": texts.is_cut}
        texts = texts.texts[:1]
    options = [
        argument
        for option, wish in wishes.items()
        for value in (wish if isinstance(wish, list) else [wish])
        for argument in _option(option, value)
    ]
    options += model_arguments(info)
    if any(text.startswith("-") for text in texts):
        return [name, *options, "--", *texts]
    return [name, *texts, *options]


def model_arguments(info: ModelInfo) -> tuple[str, ...]:
    """The options that open this model again; nothing for the bundled one as it comes."""
    named = () if info.source == "bundled" else ("-m", info.name)
    dtype = () if info.dtype == "float32" else ("--dtype", info.dtype)
    kind = info.device.partition(":")[0]
    device = () if kind == find_device("auto").type else ("--device", kind)
    return (*named, *dtype, *device)


def _option(name: str, value: object) -> tuple[str, ...]:
    flag = f"--{name.replace('_', '-')}"
    if value is None or value is False:
        return ()
    if value is True:
        return (flag,)
    if str(value).startswith("-"):
        return (f"{flag}={value}",)
    return (flag, str(value))


def _npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    import numpy as np

    buffer = BytesIO()
    # The stubs take any keyword for `allow_pickle`, so the arrays go in as one mapping.
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _csv(rows: Iterable[Sequence[object]]) -> str:
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
