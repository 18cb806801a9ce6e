"""One view of many texts, to a table: by parts, with the errors of single texts in their rows."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from itertools import islice, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbexplore.cli.output import notice, print_json
from mbexplore.cli.progress import progress
from mbexplore.errors import MbexploreError, RangeError, TextError, UsageError
from mbexplore.jobs import FIRST, WORKERS, can_fork, in_processes, in_threads, report
from mbexplore.partial import ENDINGS, Partial
from mbexplore.prompts import Prompt, Prompts
from mbexplore.rows import TABLES, stamp
from mbexplore.views import View

if TYPE_CHECKING:
    from mbexplore.explorer import Explorer
    from mbexplore.session import Session

TOGETHER, LAST, ALONE = 128, 32, 8
"""Texts that are computed and written together: the most; the fewest towards the end, where no
worker should wait long for another; and those of each part that is computed before others begin."""
OF_ONE_TEXT = (TextError, RangeError)
"""Mistakes that may be a single text's; any other ends the work."""

Row = dict[str, Any]


def find_prompts(view: type[View[Any]], shared: dict[str, Any]) -> Prompts | None:
    """The file of many texts that was named, if one was.

    Args:
        view: that looks at them.
        shared: options that all commands have.

    Raises:
        UsageError: an option of such files was given without one.
    """
    file, lines, column = (shared[name] for name in ("file", "lines", "column"))
    if view.takes_many():
        if lines is not None and str(lines) != "-":
            return Prompts(lines, column, shared["id"])
        output = shared["output"]
        is_of_many = output is not None and output.suffix.lower() in (".jsonl", ".parquet")
        is_table = column is not None or (file is not None and file.suffix.lower() in TABLES)
        if file is not None and (is_table or is_of_many):
            return Prompts(file, column, shared["id"])
    for name in ("column", "id", "strict"):
        if shared[name]:
            raise UsageError(
                f"--{name} has no effect without a file of many texts; give --file with a csv, "
                "tsv, jsonl or parquet file, or --lines."
            )
    return None


def is_table_file(path: Path | None) -> bool:
    """Whether a file to be written is a table of many texts."""
    return path is not None and path.suffix.lower().removeprefix(".") in ENDINGS


def write_table(
    view: View[Any], explorer: Explorer, prompts: Prompts, path: Path, shared: dict[str, Any]
) -> int:
    """Writes the rows of every text to a file; goes on where an earlier run ended.

    Args:
        view: with its parameters.
        explorer: the model.
        prompts: the texts.
        path: csv, jsonl or parquet.
        shared: options that all commands have.

    Returns:
        How many texts couldn't be looked at.

    Raises:
        MbexploreError: the first part has no text that can be looked at; or, with `strict`, one
            can't.
    """
    total = prompts.survey(strict=shared["strict"]).rows
    partial = Partial(path, _about(view, explorer, prompts))
    if partial.done:
        notice(f"Going on at text {partial.done:,} of {total:,}.")
    waiting = islice(prompts.each(), partial.done, None)
    is_many = view.runs_together()
    sizes = _sizes(total, partial.done) if is_many else repeat(1, total - partial.done)
    parts = (list(islice(waiting, size)) for size in sizes)
    forks = is_many and explorer.model.device.type == "cpu" and can_fork()
    names = (prompts.id_name, "text")
    rows_of = functools.partial(_rows_of, view, explorer, names, shared)
    held: list[list[Row]] = []  # of texts with an error, before the first without
    with (
        progress(view.title or view.name) as advance,
        closing((in_processes if forks else in_threads)(rows_of, parts)) as found,
    ):
        advance(partial.done, total)
        for every in found:
            held += every
            if not partial.done and all("error" in row for rows in held for row in rows):
                if len(held) >= min(TOGETHER, total):
                    # As likely the command's mistake as that of every text.
                    partial.discard()
                    first = held[0][0]
                    raise TextError(f"Text {first[names[0]]}: {first['error']}")
                continue
            partial.append(held)
            if shared["json"]:
                for row in (row for rows in held for row in rows):
                    print_json(row)
            held = []
            advance(partial.done, total)
    partial.finish()
    errors = f", {partial.failed:,} with an error" if partial.failed else ""
    notice(f"{path}: {total:,} texts{errors}", dim=False)
    return partial.failed


def _sizes(total: int, done: int) -> Iterator[int]:
    """How many texts each part has after those that are done: the parts of an unbroken run."""
    start = 0
    while start < total:
        left = total - start
        size = ALONE if start < FIRST * ALONE else max(LAST, left // WORKERS)
        end = min(total, start + min(TOGETHER, size))
        if end > done:
            yield end - max(start, done)
        start = end


def _about(view: View[Any], explorer: Explorer, prompts: Prompts) -> dict[str, Any]:
    """What the rows depend on."""
    return {
        "view": view.name,
        "parameters": view.values,
        "model": [explorer.info.name, explorer.info.dtype],
        "input": stamp(prompts.path),
        "columns": [prompts.column, prompts.id],
    }


def _rows_of(
    view: View[Any],
    explorer: Explorer,
    names: tuple[str, str],
    shared: dict[str, Any],
    some: Sequence[Prompt],
) -> list[list[Row]]:
    """The rows of each text; of one that can't be looked at, a row with its error."""
    from mbexplore.hooks import watched
    from mbexplore.session import Session

    given = {name: shared[name] for name in ("context", "truncate")}
    sessions = [Session(explorer, [one.text], progress=report, **given) for one in some]
    found: list[list[Row]] = [[] for _ in some]

    def fail(number: int, error: MbexploreError) -> None:
        if shared["strict"]:
            raise type(error)(f"Text {some[number].id}: {error}") from None
        found[number] = [{"error": str(error)}]

    good = []
    for number, (prompt, session) in enumerate(zip(some, sessions, strict=True)):
        try:
            if prompt.error is not None:
                raise TextError(prompt.error)
            view.check(session)
        except OF_ONE_TEXT as error:
            fail(number, error)
        else:
            good.append(number)
    with watched(explorer.model, report):
        for number, rows in zip(good, _together(view, [sessions[i] for i in good]), strict=True):
            if isinstance(rows, MbexploreError):
                fail(number, rows)
            else:
                found[number] = rows
    for session in sessions:
        session.forget()
    return [
        [{names[0]: one.id, names[1]: one.text} | row for row in rows]
        for one, rows in zip(some, found, strict=True)
    ]


def _together(view: View[Any], sessions: Sequence[Session]) -> Iterator[list[Row] | MbexploreError]:
    """The rows of texts that are run side by side, or one by one where one of them fails."""
    if not sessions:
        return
    with suppress(*OF_ONE_TEXT):
        yield from list(view.rows(sessions))
        return
    for session in sessions:
        try:
            [rows] = view.rows([session])
            yield rows
        except OF_ONE_TEXT as error:
            yield error
