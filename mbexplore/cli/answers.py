"""Our answer beside Hugging Face's in a terminal: tables, and the wait for the slower side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from mbexplore.cli.output import model_line
from mbexplore.text import bar, shown, word

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from mbexplore.analysis.classify import Candidate, ClassComparison, Classification
    from mbexplore.explorer import Answer, Comparison, ModelInfo, Prediction

    Part: TypeAlias = Table | Text

Found = TypeVar("Found")
_BAR = 12
WAITING = "\N{HORIZONTAL ELLIPSIS}"


@dataclass(frozen=True)
class Cell:
    """One answer of one side: its name, and a probability or else a plain number."""

    name: str
    probability: float | None
    logit: float


def show(
    render: Callable[[Found | None, bool], list[Part]], compare: Callable[[], Found] | None
) -> Found | None:
    """Prints ours at once; on a terminal Hugging Face's column fills in when it is ready.

    Args:
        render: what to print, given the comparison once it is there and whether it will be.
        compare: makes the comparison; None where Hugging Face is left out.

    Returns:
        The comparison.
    """
    from rich.console import Console, Group
    from rich.live import Live

    console = Console(highlight=False)
    if compare is None:
        console.print(*render(None, False), sep="\n")
        return None
    if not console.is_terminal:
        comparison = compare()
        console.print(*render(comparison, comparison is not None), sep="\n")
        return comparison
    with Live(Group(*render(None, True)), console=console) as live:
        comparison = compare()
        live.update(Group(*render(comparison, comparison is not None)), refresh=True)
    return comparison


def build_sides(rows: Sequence[tuple[str, Cell, Cell | None]], *, with_hf: bool) -> Table:
    """A table of answers, ours and, with `with_hf`, theirs or a sign that it is on its way.

    Args:
        rows: what a line begins with, our answer and theirs.
        with_hf: whether there is a column of theirs.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    is_share = rows[0][1].probability is not None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", style="dim", no_wrap=True)
    for side in ("mbexplore", "Hugging Face") if with_hf else ("mbexplore",):
        table.add_column(side, overflow="fold", min_width=max(map(len, side.split())))
        table.add_column("p" if is_share else "value", justify="right")
        if is_share:
            table.add_column("", width=_BAR)
    for start, ours, theirs in rows:
        cells: list[Text | str] = [Text(start)]
        for cell in (ours, theirs) if with_hf else (ours,):
            if cell is None:
                cells += [WAITING, "", ""] if is_share else [WAITING, ""]
            elif cell.probability is None:
                cells += [Text(word(cell.name)), f"{cell.logit:+.4f}"]
            else:
                share = Text(bar(cell.probability, _BAR), style="cyan")
                cells += [Text(word(cell.name)), f"{cell.probability:.1%}", share]
        table.add_row(*cells)
    return table


def render_masks(answer: Answer, comparison: Comparison | None, with_hf: bool) -> list[Part]:
    """The likeliest tokens at every mask."""
    from rich.text import Text

    parts: list[Part] = [Text(f"Model: {shown(model_line(answer.model))}", style="bold")]
    theirs = (None,) * len(answer.masks) if comparison is None else comparison.masks
    for mask, other in zip(answer.masks, theirs, strict=True):
        parts.append(_sentence(answer, mask.position))
        predictions = [None] * len(mask.predictions) if other is None else other.predictions
        rows: list[tuple[str, Cell, Cell | None]] = [
            (rank, _token(ours), None if hf is None else _token(hf))
            for rank, ours, hf in zip(
                _ranks(len(predictions)), mask.predictions, predictions, strict=True
            )
        ]
        parts.append(build_sides(rows, with_hf=with_hf))
    return [*parts, *_end(comparison, with_hf)]


def render_classes(
    info: ModelInfo, found: Classification, comparison: ClassComparison | None, with_hf: bool
) -> list[Part]:
    """Labels, an answer or a choice; of every token its best label."""
    from rich.text import Text

    parts: list[Part] = [Text(f"Model: {shown(model_line(info))}", style="bold")]
    parts += _asked(found)
    theirs = (None,) * len(found.outputs) if comparison is None else comparison.outputs
    rows: list[tuple[str, Cell, Cell | None]] = []
    for output, other in zip(found.outputs, theirs, strict=True):
        candidates = output.candidates
        starts = _ranks(len(candidates))
        if output.position is not None:
            candidates = candidates[:1]
            token = found.encodings[0].tokens[output.position]
            starts = [f"{output.position:>3}  {word(token)}"]
        for rank, (start, ours) in enumerate(zip(starts, candidates, strict=True)):
            rows.append((start, _class(ours), _class(other.candidates[rank]) if other else None))
    parts.append(build_sides(rows, with_hf=with_hf))
    return [*parts, *_end(comparison, with_hf)]


def _ranks(count: int) -> list[str]:
    """1, 2, ... in one width."""
    return [f"{rank:>{len(str(count))}}" for rank in range(1, count + 1)]


def _asked(found: Classification) -> list[Part]:
    """The text, or both texts of a pair, the best answer in them standing out."""
    from rich.text import Text

    from mbexplore.analysis.classify import find_span

    encoding, best = found.encodings[0], found.outputs[0].candidates[0].tokens
    parts: list[Part] = []
    start = 0
    for text in encoding.texts[: 1 if found.choices else None]:
        line = Text("\n")
        low, high = (0, 0) if best is None else find_span(encoding, best)
        low, high = (max(0, min(at - start, len(text))) for at in (low, high))
        line.append(shown(text[:low]))
        line.append(shown(text[low:high]), style="bold reverse")
        line.append(shown(text[high:]))
        parts.append(line)
        start += len(text) + 1
    return parts


def _token(prediction: Prediction) -> Cell:
    return Cell(prediction.token, prediction.probability, prediction.logit)


def _class(candidate: Candidate) -> Cell:
    return Cell(candidate.answer, candidate.probability, candidate.logit)


def _end(comparison: Comparison | ClassComparison | None, with_hf: bool) -> list[Part]:
    """How far the two sides are apart."""
    from rich.text import Text

    if comparison is not None:
        return [Text(comparison.summary)]
    return [Text(f"Hugging Face is loading{WAITING}", style="dim")] if with_hf else []


def _sentence(answer: Answer, position: int) -> Text:
    """The text around one mask, the mask itself standing out."""
    from rich.text import Text

    text = answer.encoding.text
    start, end = answer.encoding.offsets[position]
    left, right = max(0, start - 60), min(len(text), end + 60)
    before = (WAITING if left else "") + text[left:start]
    after = text[end:right] + (WAITING if right < len(text) else "")
    return Text.assemble(
        "\n", shown(before), (shown(text[start:end]), "bold reverse"), shown(after),
        (f"  token {position}", "dim"),
    )  # fmt: skip
