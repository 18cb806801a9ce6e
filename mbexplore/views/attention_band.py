"""A local layer's attention straightened, by the offset of its keys, in every form.

The view reads a recording that kept "attention"; a form is computed when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mbexplore.analysis.axis import Axis, build_axis
from mbexplore.analysis.band import band_map
from mbexplore.explorer import Explorer
from mbexplore.recording import Recording
from mbexplore.views.attention_facts import about, attention_command, layer_facts
from mbexplore.views.attention_page import attention_page
from mbexplore.views.names import attention_name
from mbexplore.views.old import View

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


def view_band(
    explorer: Explorer,
    recording: Recording,
    layer: int,
    head: int | None = None,
    *,
    axis: Axis | None = None,
    mean: bool = False,
) -> View:
    """A local layer straightened into query by offset; see `view_map`.

    Raises:
        RangeError: the layer is global, something is outside, or the axis counts in words.
    """
    explorer.check_layer_and_head(layer, head)
    axis = axis or build_axis(recording.encoding)
    found = band_map(recording, layer, head, axis=axis, mean=mean)

    def draw() -> Figure:
        from mbexplore.plots.band import plot_band

        return plot_band(found, explorer.info.name)

    def payload() -> dict[str, Any]:
        return {
            **about(explorer, axis, head, mean, "band"),
            **layer_facts(recording.config, layer),
            "offsets": found.offsets.tolist(),
            "profile": found.profile.tolist(),
            "edge": found.edge.tolist(),
        }

    def arrays() -> Mapping[str, NDArray[Any]]:
        import numpy as np

        whole = band_map(recording, layer, head, len(axis), axis, mean=mean)
        return {
            "tokens": np.array(axis.labels),
            "queries": axis.starts,
            "offsets": found.offsets,
            "band": whole.weights,
            "profile": found.profile,
            "edge": found.edge,
        }

    def rows() -> Iterator[list[object]]:
        yield ["layer", "head", "offset", "mean_weight"]
        heads = [-1] if mean else found.heads
        for each, profile in zip(heads, found.profile.tolist(), strict=True):
            for offset, weight in zip(found.offsets.tolist(), profile, strict=True):
                yield [layer, each, offset, weight]

    command = attention_command(
        explorer, recording, axis, layer=layer, head=head, mean=mean, view="band"
    )
    return View(
        attention_name("band", layer, head),
        command,
        payload,
        draw,
        arrays,
        rows,
        lambda: attention_page([found], explorer.info.name, command),
    )
