"""RoPE in every form: how fast pairs turn, how a layer's heads use them, one score by pair."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mbexplore.analysis.rope import PairNorms, RopeSpectrum, ScoreContributions
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.explorer import Explorer
from mbexplore.views.old import View, build_command

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

Spectra = tuple[RopeSpectrum, ...]


def view_rope(
    explorer: Explorer,
    spectra: Spectra,
    norms: PairNorms | None = None,
    shares: ScoreContributions | None = None,
    encoding: Encoding | None = None,
) -> View:
    """The narrowest that is given: a score, a layer's norms, or the spectra.

    Args:
        explorer: whose RoPE it is.
        spectra: one entry a theta; the payload always has them.
        norms: of the layer asked about.
        shares: of the score asked about; with `norms` of its layer.
        encoding: of the text that was run, with `norms`.
    """
    if norms is None or encoding is None:
        return _view_spectra(explorer, spectra)
    if shares is None:
        return _view_norms(explorer, spectra, norms, encoding)
    return _view_score(explorer, spectra, norms, shares, encoding)


def _view_spectra(explorer: Explorer, spectra: Spectra) -> View:
    def draw() -> Figure:
        from mbexplore.plots.rope import plot_rope

        return plot_rope(spectra, explorer.info.name)

    def arrays() -> Mapping[str, NDArray[Any]]:
        names = ("frequencies", "wavelengths", "kernel", "positions", "cos", "sin")
        return {
            f"theta{each.theta:.0f}_{name}": getattr(each, name)
            for each in spectra
            for name in names
        }

    def rows() -> Iterator[list[object]]:
        yield ["theta", "kinds", "pair", "frequency", "wavelength", "turns_in_width"]
        for each in spectra:
            pairs = zip(each.frequencies.tolist(), each.wavelengths.tolist(), strict=True)
            for m, (frequency, wavelength) in enumerate(pairs):
                kinds, turns = " ".join(each.kinds), each.width / wavelength
                yield [each.theta, kinds, m, frequency, wavelength, turns]

    command = build_command("rope", explorer.info, [])
    return View("rope", command, lambda: _payload(explorer, spectra), draw, arrays, rows)


def _view_norms(explorer: Explorer, spectra: Spectra, norms: PairNorms, encoding: Encoding) -> View:
    def draw() -> Figure:
        from mbexplore.plots.rope import plot_pair_norms

        return plot_pair_norms(norms, explorer.info.name)

    def arrays() -> Mapping[str, NDArray[Any]]:
        return {"q": norms.q, "k": norms.k, "wavelengths": norms.wavelengths}

    def rows() -> Iterator[list[object]]:
        yield ["head", "pair", "wavelength", "q", "k"]
        for head, (q, k) in enumerate(zip(norms.q.tolist(), norms.k.tolist(), strict=True)):
            for m, wavelength in enumerate(norms.wavelengths.tolist()):
                yield [head, m, wavelength, q[m], k[m]]

    command = build_command("rope", explorer.info, encoding, layer=norms.layer)
    name, payload = f"rope-layer{norms.layer}", lambda: _payload(explorer, spectra, norms)
    return View(name, command, payload, draw, arrays, rows)


def _view_score(
    explorer: Explorer,
    spectra: Spectra,
    norms: PairNorms,
    shares: ScoreContributions,
    encoding: Encoding,
) -> View:
    fields = [field.name for field in dataclasses.fields(shares.contributions[0])]

    def draw() -> Figure:
        from mbexplore.plots.rope import plot_score_shares

        return plot_score_shares(shares, norms, encoding.tokens, explorer.info.name)

    def arrays() -> Mapping[str, NDArray[Any]]:
        import numpy as np

        return {
            name: np.array([getattr(each, name) for each in shares.contributions])
            for name in fields
        }

    def rows() -> Iterator[list[object]]:
        yield list(fields)
        for each in shares.contributions:
            yield [getattr(each, name) for name in fields]

    command = build_command(
        "rope", explorer.info, encoding, layer=shares.layer, head=shares.head,
        query=shares.query, key=shares.key,
    )  # fmt: skip
    name = f"rope-layer{shares.layer}-head{shares.head}"
    return View(
        name, command, lambda: _payload(explorer, spectra, norms, shares), draw, arrays, rows
    )


def _payload(
    explorer: Explorer,
    spectra: Spectra,
    norms: PairNorms | None = None,
    shares: ScoreContributions | None = None,
) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "model": dataclasses.asdict(explorer.info),
        "spectra": [
            {
                "theta": each.theta,
                "kinds": list(each.kinds),
                "layers": list(each.layers),
                "width": each.width,
                "length": each.length,
                "frequencies": each.frequencies.tolist(),
                "wavelengths": each.wavelengths.tolist(),
                "slower_than_width": each.slower_than_width,
                "slower_than_length": each.slower_than_length,
            }
            for each in spectra
        ],
    }
    if norms is not None:
        payload["norms"] = {"layer": norms.layer, "q": norms.q.tolist(), "k": norms.k.tolist()}
    if shares is not None:
        payload["score"] = dataclasses.asdict(shares)
    return payload
