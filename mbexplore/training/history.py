"""The log of a run as JSON lines, and its loss plot."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean as mean
from typing import TYPE_CHECKING

from mbexplore.display.palette import HUE, INK
from mbexplore.files import write_whole, writing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOG_FILE = "log.jsonl"

Entry = dict[str, float]


class History:
    """`log.jsonl` in the folder of a run: one line a step."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG_FILE

    def add(self, **values: float) -> None:
        """Appends one line.

        Raises:
            OutputError: it can't be written.
        """
        with writing(self.path, "; free some space, then --resume."):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")

    def read(self) -> list[Entry]:
        """All entries; a last line cut short by a crash is left out."""
        if not self.path.exists():
            return []
        entries: list[Entry] = []
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entries.append(json.loads(line))
            except ValueError:
                break
        return entries

    def keep_until(self, step: int, *, write: bool = True) -> None:
        """Drops the lines after `step`: those steps are about to be done again.

        Raises:
            OutputError: the log can't be written; it is as it was.
        """
        if not write or not self.path.exists():
            return
        kept = [entry for entry in self.read() if entry["step"] <= step]
        write_whole(self.path, "".join(json.dumps(entry) + "\n" for entry in kept).encode())


def plot_history(entries: list[Entry], smooth: int | None = None) -> Figure:
    """Loss over tokens, with a running mean, and the learning rate beneath.

    Args:
        entries: of `History.read`, at least one.
        smooth: steps of the running mean; by default a twentieth of the run, 50 at most.
    """
    from matplotlib.figure import Figure

    smooth = smooth or min(50, 1 + len(entries) // 20)
    figure = Figure(figsize=(8, 5), facecolor="white", layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    tokens = [entry["tokens"] / 1e6 for entry in entries]
    losses = [entry["loss"] for entry in entries]
    means = [mean(losses[max(0, i + 1 - smooth) : i + 1]) for i in range(len(losses))]
    top.plot(tokens, losses, color=INK, alpha=0.3, lw=0.6, label="each step")
    top.plot(tokens, means, color=HUE["global"], lw=1.5, label=f"mean of the last {smooth} steps")
    top.set_ylabel("loss (nats a masked token)", color=INK, fontsize=9)
    top.legend(frameon=False, fontsize=9, labelcolor=INK)
    bottom.plot(tokens, [entry["rate"] for entry in entries], color=HUE["local"], lw=1.5)
    bottom.set_ylabel("learning rate", color=INK, fontsize=9)
    bottom.set_xlabel("tokens seen (millions)", color=INK, fontsize=9)
    for axes in (top, bottom):
        axes.tick_params(length=0, labelcolor=INK, labelsize=8)
        axes.grid(axis="y", color="#e4e7eb", lw=0.6)
        axes.spines[:].set_visible(False)
    figure.align_ylabels()
    return figure
