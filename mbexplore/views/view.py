"""What a view is: parameters, the analysis that it calls, and the blocks that it shows.

That is all a view has to say. The command, the tab with its controls, the terminal pane, pictures,
files and the method of `Explorer` come from it; see `Result` and the front ends.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar, get_args

from mbexplore.display.blocks import Block, Table
from mbexplore.display.data import Arrays, arrays_of, first_table, rows_of, to_plain
from mbexplore.errors import OutputError, UsageError
from mbexplore.views.guide import FRANCE, ITALY, Guide
from mbexplore.views.papers import Paper, cited
from mbexplore.views.parameters import (
    SELECTED,
    File,
    Head,
    Layer,
    OtherModel,
    Parameter,
    Token,
    option,
    parameters_of,
)

if sys.version_info >= (3, 11):
    from typing import dataclass_transform
else:
    from typing_extensions import dataclass_transform

if TYPE_CHECKING:
    from typing_extensions import Self

    from mbexplore.session import Session
    from mbexplore.views.result import Result

__all__ = [
    "FRANCE", "ITALY", "File", "Guide", "Head", "Layer", "OtherModel", "Token", "View", "cited",
    "option",
]  # fmt: skip
"""What a view is written with."""

Data = TypeVar("Data")
Evidence = Literal["", "output", "correlational", "gradient", "causal"]
Group = Literal["Why", "What", "From where", "When", "Which part", "Versus", "Under the hood"]

REGISTRY: dict[str, type[View[Any]]] = {}
"""Every view by name. A class with a `name` enters itself."""


def sort_views() -> None:
    """Puts the views in the order of tabs and panes; those that a program adds follow."""
    groups = get_args(Group)
    views = sorted(REGISTRY.values(), key=lambda v: (groups.index(v.group), v.place, v.name))
    REGISTRY.clear()
    REGISTRY.update((view.name, view) for view in views)


def _any(values: Collection[Any]) -> str:
    return " or ".join(map(str, values))


class _Parameters:
    """The parameters of a view, found when they are asked for: annotations take a while."""

    def __get__(self, view: object | None, of: type) -> tuple[Parameter, ...]:
        return parameters_of(of)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(option,))
class View(Generic[Data]):
    """One way to look at a model or at a text. Subclasses are frozen dataclasses of parameters.

    Attributes:
        name: of the command, the endpoint, the file and, by default, the method.
        title: on the page's tab.
        question: that it answers, in one line.
        guide: how it is read, for whoever sees it for the first time.
        group: of tabs, in the order of `Group`.
        place: in its group, from left to right.
        papers: where the method comes from.
        limits: what it can't show.
        reads: what it looks at: one text, several texts at once, or the model alone.
        explains_answer: whether it is about the model's answer at its parameter `token`: where a
            front end has another token selected, such a view stays with the first mask.
        needs_more: whether it shows nothing with its defaults; where nothing can be typed it is
            left out.
        needs_weights: whether it looks at more of the model than the header of its weights.
        sample: whether a bundled paragraph stands in for a text that isn't given.
        formats: what its results can be saved as; found out from the data where it isn't said.

        navigator: on the page, the view beside this one on which a head is chosen.
        method: name of the method of `Explorer`.
        command: of the command line, where it isn't the name: "corpus show".
        early: parameters of an answer that is shown while the whole one is computed.
        text_flag: an option that gives the text as well as its place among the arguments does.
        example: arguments of the command in its help.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    question: ClassVar[str] = ""
    guide: ClassVar[Guide | None] = None
    evidence: ClassVar[Evidence] = ""
    tested: ClassVar[str] = ""
    group: ClassVar[Group] = "Under the hood"
    place: ClassVar[int] = 100
    papers: ClassVar[tuple[Paper, ...]] = ()
    limits: ClassVar[str] = ""
    reads: ClassVar[Literal["text", "texts", "model"]] = "text"
    explains_answer: ClassVar[bool] = False
    needs_more: ClassVar[bool] = False
    needs_weights: ClassVar[bool] = True
    sample: ClassVar[bool] = False
    formats: ClassVar[tuple[str, ...]] = ()

    navigator: ClassVar[str] = ""
    method: ClassVar[str] = ""
    command: ClassVar[str] = ""
    text_flag: ClassVar[str] = ""
    early: ClassVar[Mapping[str, Any]] = {}
    example: ClassVar[str] = '"The capital of France is [MASK]."'
    parameters: ClassVar[_Parameters] = _Parameters()

    def __init_subclass__(cls) -> None:
        """Makes a frozen dataclass of the fields, and registers a class that has a name."""
        super().__init_subclass__()
        # Each method that a dataclass writes is compiled anew; those of `View` serve all.
        dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)(cls)
        if "name" in vars(cls):
            cls.method = vars(cls).get("method", cls.name.replace("-", "_"))
            cls.command = vars(cls).get("command", cls.name)
            REGISTRY[cls.name] = cls

    def __post_init__(self) -> None:
        """Refuses values that the view can't take, and those without an effect.

        Raises:
            MbexploreError: the sentence names the parameter, its value and the remedy.
        """
        values = self.values
        for parameter in self.parameters:
            value = parameter.check(values[parameter.name], self.name)
            if value is not values[parameter.name]:
                object.__setattr__(self, parameter.name, value)
            if value != parameter.default and not parameter.has_effect(values):
                for other, which in parameter.option.only.items():
                    if list(which) == [None] and values[other] is not None:
                        raise UsageError(
                            f"{parameter.name} {value!r} has no effect beside {other} "
                            f"{values[other]!r}; leave one of them out."
                        )
                needs = " and ".join(
                    other.replace("_", " ") + ("" if list(which) == [True] else f" {_any(which)}")
                    for other, which in parameter.option.only.items()
                )
                raise UsageError(
                    f"{parameter.name.replace('_', ' ')} {value!r} has no effect without {needs}; "
                    "leave it out, or set that too."
                )

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.values == self.values

    def __hash__(self) -> int:
        return hash((type(self), *self.values.items()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.values.items())})"

    @classmethod
    def with_effect(cls, values: Mapping[str, Any]) -> Self:
        """The view with those of the values that have an effect beside the others.

        Raises:
            MbexploreError: the view refuses a value.
        """
        every = {one.name: values.get(one.name, one.default) for one in cls.parameters}
        used = [one.name for one in cls.parameters if one.has_effect(every)]
        return cls(**{name: values[name] for name in used if name in values})

    @property
    def values(self) -> dict[str, Any]:
        """The parameters' values by name."""
        return {one.name: getattr(self, one.name) for one in self.parameters}

    @classmethod
    def needs_file(cls) -> bool:
        """Whether it looks at a file, so that the page, which must read none, lacks it."""
        return any(one.kind == "file" and one.is_required for one in cls.parameters)

    def of(self, session: Session) -> Result[Data]:
        """This view of a session's text, computed once.

        Raises:
            MbexploreError: the model or the text can't be looked at in this way.
        """
        from mbexplore.views.result import Result

        return session.once(self, lambda: Result(self, session, self.compute(session)))

    def each(self, sessions: Iterable[Session]) -> Iterator[Result[Data]]:
        """This view of several texts in turn, run side by side where the view can; see `pack`.

        Raises:
            MbexploreError: see `of`; of texts that are run side by side before the first of them.
        """
        from mbexplore.views.result import Result

        waiting = list(sessions)
        packed = self.pack(waiting) if len(waiting) > 1 else None
        if packed is not None:
            for session in waiting:
                self.check(session)
        waiting.reverse()
        while waiting:
            session = waiting.pop()  # and let go
            yield self.of(session) if packed is None else Result(self, session, next(packed))

    def pack(self, sessions: Sequence[Session]) -> Iterator[Data] | None:
        """What is found in texts that are run side by side, as it is asked for; None for alone."""
        return None

    @classmethod
    def runs_together(cls) -> bool:
        """Whether it runs several texts side by side."""
        return cls.pack is not View.pack or cls.rows is not View.rows

    def check(self, session: Session) -> None:
        """Refuses a text that can't be looked at, before any work is done for it.

        Raises:
            MbexploreError: the sentence says why.
        """
        _ = session.encoding

    def rows(self, sessions: Sequence[Session]) -> Iterator[list[dict[str, Any]]]:
        """What a table of many texts has of each: rows by column.

        Raises:
            MbexploreError: see `of`; or the view has no table.
        """
        for result in self.each(sessions):
            if result.table is None:
                raise OutputError(f"{self.name} has no rows; save it as .json.")
            header, *rows = rows_of(result.table)
            yield [dict(zip(header, row, strict=True)) for row in rows]

    @classmethod
    def check_flagged(cls, text: str, values: Mapping[str, Any]) -> None:
        """Refuses a text that its option can't give beside the command's other options.

        Raises:
            MbexploreError: the sentence says why.
        """

    @classmethod
    def takes_many(cls) -> bool:
        """Whether it makes a table of many texts, each looked at by itself."""
        return cls.reads == "text" or cls.rows is not View.rows

    # What a view says.

    def compute(self, session: Session) -> Data:
        """Calls the analysis."""
        raise NotImplementedError

    def blocks(self, found: Data, session: Session) -> Iterator[Block]:
        """What is shown of it, the headline first: by default its own `blocks`."""
        blocks: Iterator[Block] = found.blocks()  # type: ignore[attr-defined]
        return blocks

    # What a view or its data may say, where the default doesn't fit.

    def position(self, found: Data) -> int | None:
        """The token that the answer is about, marked in the text."""
        place = getattr(getattr(found, "target", found), "position", None)
        return place if isinstance(place, int) else None

    def failed(self, found: Data) -> bool:
        """Whether something that was checked doesn't hold; the command exits with 1 then."""
        return False

    def file_name(self, found: Data) -> str:
        """Stem of a saved file's name: what was chosen, and the layer, head and token."""
        values = [(one, getattr(self, one.name)) for one in self.parameters]
        chosen = [str(x) for one, x in values if one.kind == "choice" and x != one.default]
        places = [
            f"{one.name}{x}"
            for one, x in values
            if one.kind in SELECTED and x is not None and str(x).isalnum()
        ]
        return "-".join((self.name, *chosen, *places))

    def to_json(self, found: Data) -> dict[str, Any]:
        """What `--json` prints, beside the model: by default its `to_json`, or else its fields."""
        own = getattr(found, "to_json", None)
        plain: dict[str, Any] = to_plain(own() if own else found)
        return plain

    def arrays(self, found: Data) -> Arrays:
        """Named arrays for npz: by default its `arrays`, or else those among its fields."""
        own = getattr(found, "arrays", None)
        return own() if own else arrays_of(found)

    def table(self, found: Data, session: Session) -> Table | None:
        """The rows of csv and of `to_frame`: by default its `table`, or else the first shown."""
        own = getattr(found, "table", None)
        return own() if own else first_table(self.of(session).blocks)
