"""RoPE: how fast each rotary pair turns, against what its layers can reach."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mbexplore.display.blocks import Block, Cell, Headline, Heat, Lines, Note, Row, Series, Table
from mbexplore.display.data import Arrays, pick
from mbexplore.display.numbers import count, significant
from mbexplore.views.rope_score import RopeScoreView
from mbexplore.views.view import Guide, View, cited

if TYPE_CHECKING:
    from mbexplore.analysis.rope import RopeSpectrum
    from mbexplore.session import Session

POINTS = 300
"""Distances at which the kernel is drawn."""
CELLS = 40
"""Columns of a map of cosines."""
ARRAYS = ("frequencies", "wavelengths", "kernel", "positions", "cos", "sin")


class RopeView(View["tuple[RopeSpectrum, ...]"]):
    """RoPE: the wavelength of each rotary pair, for every theta that the model has."""

    name = "rope"
    title = "RoPE"
    question = "How far can each rotary pair tell positions apart?"
    guide = Guide(
        "How many tokens each rotary pair takes to turn once around, in local and in global "
        "layers.",
        "A short wavelength tells neighbours apart, a long one positions that are far from each"
        " other; pairs in bold turn within reach.",
        "See what the pairs make of one attention score.",
        values={"layer": 3, "head": 1},
        view=RopeScoreView,
    )
    evidence = "correlational"
    tested = "against the definition with complex numbers"
    group = "Under the hood"
    place = 3
    papers = cited("su2021roformer")
    limits = "The score of two equal vectors takes every pair at one norm; trained heads do not."
    reads = "model"
    needs_weights = False
    example = "-o rope.png"

    def compute(self, session: Session) -> tuple[RopeSpectrum, ...]:
        """The angles, from the config alone."""
        from mbexplore.analysis.rope import rope_spectra

        return rope_spectra(session.explorer.model.config)

    def blocks(self, found: tuple[RopeSpectrum, ...], session: Session) -> Iterator[Block]:
        """Wavelengths as a table and as curves, the score over distance, the cosines."""
        yield Headline(f"Wavelength beyond reach: {', '.join(map(_slow_pairs, found))}.")
        yield _table(found)
        yield Row((_wavelengths(found), _kernels(found)))
        yield Row(tuple(map(_cosines, found)))
        scaled = [one for one in found if one.scaling]
        yield from (Note(f"Scaled in {_kinds(one)} layers: {one.scaling}.") for one in scaled)
        yield Note(
            "Reach: the longest distance inside a layer's window, or inside the longest text. "
            f"A cell of a map is the mean of the distances that it holds. {self.limits}"
        )

    def to_json(self, found: tuple[RopeSpectrum, ...]) -> dict[str, Any]:
        """The frequencies and wavelengths of each theta."""
        names = ("theta", "kinds", "layers", "width", "length", "frequencies", "wavelengths",
                 "slower_than_width", "slower_than_length")  # fmt: skip
        spectra = [
            pick(one, *names) | {"scaling": one.scaling and one.scaling.to_dict()} for one in found
        ]
        return {"spectra": spectra}

    def arrays(self, found: tuple[RopeSpectrum, ...]) -> Arrays:
        """Every array of each theta, named by it."""
        return {
            f"theta{one.theta:.0f}{'_scaled' if one.scaling else ''}_{name}": getattr(one, name)
            for one in found
            for name in ARRAYS
        }


def _kinds(one: RopeSpectrum) -> str:
    return " and ".join(one.kinds)


def _slow_pairs(one: RopeSpectrum) -> str:
    slow, pairs = len(one.slower_than_width), len(one.wavelengths)
    return f"{slow} of {pairs} pairs in {_kinds(one)} layers ({count(one.width)} tokens)"


def _table(found: tuple[RopeSpectrum, ...]) -> Table:
    """A row a pair, and for each theta its wavelength and turns."""
    columns = ["pair"]
    for one in found:
        columns += [f"{_kinds(one)} wavelength", f"{_kinds(one)} turns in reach"]
    rows = []
    for pair in range(len(found[0].wavelengths)):
        row = [Cell(pair)]
        for one in found:
            wavelength = float(one.wavelengths[pair])
            turns, hue = one.width / wavelength, one.kinds[0]
            wave = Cell(wavelength, significant(wavelength, 4), hue=hue, strong=turns >= 1)
            row += [wave, Cell(turns, significant(turns))]
        rows.append(tuple(row))
    extra = {f"{_kinds(one)} radians a token": one.frequencies.tolist() for one in found}
    title = "Wavelengths in tokens; bold: within reach"
    return Table(tuple(columns), tuple(rows), title, extra=extra)


def _wavelengths(found: tuple[RopeSpectrum, ...]) -> Lines:
    series = tuple(
        Series(f"{_kinds(one)}, \N{GREEK SMALL LETTER THETA} = {count(one.theta)}",
               tuple(one.wavelengths.tolist()), hue=one.kinds[0], dots=True)
        for one in found
    )  # fmt: skip
    levels = {f"{_kinds(one)} reach {count(one.width)}": float(one.width) for one in found}
    return Lines(series, "Wavelength of each pair", x="pair", y="tokens", log_y=True, levels=levels)


def _kernels(found: tuple[RopeSpectrum, ...]) -> Lines:
    """The score of two equal vectors by distance, as far as the layers reach."""
    import numpy as np

    series = []
    for one in found:
        far = min(len(one.kernel) - 1, one.width)
        places = np.unique(np.geomspace(1, max(far, 1), POINTS).astype(int))
        series.append(Series(f"{_kinds(one)} layers", tuple(one.kernel[places].tolist()),
                             tuple(places.astype(float).tolist()), hue=one.kinds[0]))  # fmt: skip
    return Lines(
        tuple(series), "Score of two equal vectors", x="distance in tokens",
        y="share of that at 0", log_x=True, levels={"": 0.0},
    )  # fmt: skip


def _cosines(one: RopeSpectrum) -> Heat:
    """The cosine of each pair's angle across the reach, the fastest pair at the top."""
    import numpy as np

    from mbexplore.analysis.rope import mean_rotations

    cos, _ = mean_rotations(one, CELLS)
    distances = np.array_split(np.arange(one.width + 1), len(cos))
    return Heat(
        cos.T,
        tuple(str(pair) for pair in range(cos.shape[1])),
        tuple(count(int(part[0])) for part in distances),
        title=f"Cosine of each pair's angle, {_kinds(one)} layers",
        row_axis="pair",
        column_axis="distance in tokens",
        hue="signed",
        high=1.0,
    )
