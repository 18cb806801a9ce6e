"""A text beside its counterfactual: runs of either with parts of the other's activations.

A part is a head's output at one token. Every run gives the share of the logit difference that is
there: 1 as on the text, 0 as on the counterfactual. Runs go in batches, and what lies before the
first part of a batch runs once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mbexplore.analysis.readout import Readout
from mbexplore.analysis.target import Target
from mbexplore.analysis.why.question import Question
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.hooks import Progress, hooked
from mbexplore.network.tap import Action
from mbexplore.recording import Recording

KEEP = ("hidden_states", "attention", "values", "z")
BATCH_TOKENS = 1024
"""Tokens in one batch, all its copies of the text together; two copies at least, as what is
the same in both runs once."""


class Part(NamedTuple):
    """The output of a head at a token."""

    layer: int
    head: int
    query: int


Parts = Sequence[Part]


@dataclass(frozen=True, eq=False)
class TextPair:
    """Two texts of one length and the logit difference between their answers.

    Attributes:
        readout: what is read off the model.
        target: the answer to the text.
        other: the answer to the counterfactual.
        clean: the text's recording.
        corrupted: the counterfactual's.
        clean_difference: logit of the answer less that of the other, on the text.
        corrupted_difference: likewise, on the counterfactual.
        changed: positions at which the texts differ.
    """

    readout: Readout
    target: Target
    other: Target
    clean: Recording
    corrupted: Recording
    clean_difference: float
    corrupted_difference: float
    changed: tuple[int, ...]

    @classmethod
    def build(
        cls,
        question: Question,
        counterfactual: Encoding,
        other: Target,
        clean: Recording | None = None,
    ) -> TextPair:
        """Runs and records both texts.

        Args:
            question: what is asked.
            counterfactual: as many tokens as the text has.
            other: its answer.
            clean: the text's recording, where another pair has it.
        """
        explorer, encoding = question.explorer, question.encoding
        clean = explorer.record(encoding, keep=KEEP) if clean is None else clean
        corrupted = explorer.record(counterfactual, keep=KEEP)
        logits = question.readout.logits(question.ids_of(counterfactual.ids))
        rows = torch.cat((question.logits[None], logits))
        ends = rows[:, question.target.token_id] - rows[:, other.token_id]
        pairs = zip(encoding.ids, counterfactual.ids, strict=True)
        changed = tuple(i for i, (a, b) in enumerate(pairs) if a != b)
        return cls(
            readout=question.readout,
            target=question.target,
            other=other,
            clean=clean,
            corrupted=corrupted,
            clean_difference=float(ends[0]),
            corrupted_difference=float(ends[1]),
            changed=changed,
        )

    @property
    def span(self) -> float:
        """The logit difference that the change makes."""
        return self.clean_difference - self.corrupted_difference

    def __len__(self) -> int:
        return len(self.clean)

    def z(self, recording: Recording, layer: int) -> Tensor:
        """Outputs of a layer's heads, (heads, seq, head_dim)."""
        return recording.tap(f"layers.{layer}.z")

    def restored(
        self, rows: Sequence[Parts], progress: Progress | None = None
    ) -> NDArray[np.float64]:
        """The counterfactual with the text's values at some parts; (rows,) shares."""
        return self._put(self.corrupted, self.clean, rows, progress)

    def replaced(
        self, rows: Sequence[Parts], progress: Progress | None = None
    ) -> NDArray[np.float64]:
        """The text with the counterfactual's values at some parts; (rows,) shares that remain."""
        return self._put(self.clean, self.corrupted, rows, progress)

    def kept(
        self, rows: Sequence[Parts], tokens: Sequence[int], progress: Progress | None = None
    ) -> NDArray[np.float64]:
        """The text with everything but some parts and tokens taken from the counterfactual.

        Every other token is the counterfactual's and so is the output of every other head; MLPs
        and the heads that are kept compute with what reaches them.

        Args:
            rows: the parts that are kept, for each run.
            tokens: the tokens that are kept in all runs.
            progress: called with the runs done and all there are; what it raises ends the work.

        Returns:
            (rows,) shares that remain.
        """
        clean, corrupted = self.clean.encoding.ids, self.corrupted.encoding.ids
        both = enumerate(zip(clean, corrupted, strict=True))
        ids = [a if i in tokens else b for i, (a, b) in both]
        layers = range(self.clean.config.num_hidden_layers)

        def run(some: Sequence[Parts]) -> NDArray[np.float64]:
            places = _by_layer(some)
            others = {layer: self.z(self.corrupted, layer) for layer in layers}
            actions = {
                f"layers.{layer}.z": _keeping(other, places.get(layer), len(some))
                for layer, other in others.items()
            }
            return self._shares(ids, actions, len(some))

        return self._in_batches(rows, run, progress)

    def added(
        self, part: Part, values: Tensor, progress: Progress | None = None
    ) -> NDArray[np.float64]:
        """The counterfactual with something added to a head's output; (rows,) shares restored.

        Args:
            part: the head and the token.
            values: (rows, head_dim).
            progress: see `kept`.
        """
        tap = f"layers.{part.layer}.z"

        def run(some: Sequence[Parts]) -> NDArray[np.float64]:
            chosen = values[[one[0].query for one in some]]

            def action(value: Tensor) -> Tensor:
                value = value.repeat(len(some), 1, 1, 1)  # (rows, heads, seq, head_dim)
                value[:, part.head, part.query] += chosen
                return value

            return self._shares(self.corrupted.encoding.ids, {tap: action}, len(some))

        numbered = [[Part(part.layer, part.head, row)] for row in range(len(values))]
        return self._in_batches(numbered, run, progress)

    def without(self, tokens: Sequence[int]) -> float:
        """The share that remains of the text with some tokens the counterfactual's."""
        clean, corrupted = self.clean.encoding.ids, self.corrupted.encoding.ids
        both = enumerate(zip(clean, corrupted, strict=True))
        return float(self._shares([b if i in tokens else a for i, (a, b) in both], {}, 1)[0])

    def _put(
        self, into: Recording, source: Recording, rows: Sequence[Parts], progress: Progress | None
    ) -> NDArray[np.float64]:
        def run(some: Sequence[Parts]) -> NDArray[np.float64]:
            actions = {
                f"layers.{layer}.z": _putting(self.z(source, layer), place, len(some))
                for layer, place in _by_layer(some).items()
            }
            return self._shares(into.encoding.ids, actions, len(some))

        return self._in_batches(rows, run, progress)

    def _in_batches(
        self,
        rows: Sequence[Parts],
        run: Callable[[Sequence[Parts]], NDArray[np.float64]],
        progress: Progress | None,
    ) -> NDArray[np.float64]:
        """Runs that begin at about the same layer together."""
        last = self.clean.config.num_hidden_layers
        starts = [min((part.layer for part in row), default=last) for row in rows]
        order = sorted(range(len(rows)), key=starts.__getitem__)
        size, shares = max(2, BATCH_TOKENS // len(self)), np.zeros(len(rows))
        for first in range(0, len(rows), size):
            some = order[first : first + size]
            shares[some] = run([rows[i] for i in some])
            if progress is not None:
                progress(first + len(some), len(rows))
        return shares

    def _shares(
        self, ids: Sequence[int], actions: Mapping[str, Action], count: int
    ) -> NDArray[np.float64]:
        model = self.readout.model
        with hooked(model, actions):
            logits = self.readout.logits(torch.tensor([ids], device=model.device))
        found = logits[:, self.target.token_id] - logits[:, self.other.token_id]
        shares = (found.double().cpu().numpy() - self.corrupted_difference) / self.span
        return np.broadcast_to(shares, count)  # one row where no part was anywhere


def counted(progress: Progress | None, before: int, total: int) -> Progress | None:
    """The progress of a part of some work, which begins after `before` of `total` steps."""
    return progress and (lambda done, _: progress(before + done, total))


Places = tuple[list[int], list[int], list[int]]
"""Rows, heads and queries of the parts of a layer."""


def _by_layer(rows: Sequence[Parts]) -> dict[int, Places]:
    found: defaultdict[int, Places] = defaultdict(lambda: ([], [], []))
    for row, parts in enumerate(rows):
        for part in parts:
            for place, index in zip(found[part.layer], (row, part.head, part.query), strict=True):
                place.append(index)
    return dict(found)


def _putting(source: Tensor, places: Places, count: int) -> Action:
    """Makes a row of each run, where there is one yet, and puts the source's values there."""

    def action(value: Tensor) -> Tensor:
        value = value.expand(count, -1, -1, -1).clone()  # (rows, heads, seq, head_dim)
        rows, heads, queries = places
        value[rows, heads, queries] = source[heads, queries]
        return value

    return action


def _keeping(other: Tensor, places: Places | None, count: int) -> Action:
    """Replaces every value but those at the places."""

    def action(value: Tensor) -> Tensor:
        if places is None:
            return other.expand(len(value), -1, -1, -1)
        made = other.expand(count, -1, -1, -1).clone()
        made[places] = value.expand(count, -1, -1, -1)[places]
        return made

    return action
