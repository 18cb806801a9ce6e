"""The same weights for other runtimes: `python -m mbexplore.bench.export MODEL FOLDER`.

Written by transformers' own model and torch's exporter, as their users would do it. The texts'
length is free; a batch is one text.
"""

from __future__ import annotations

import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mbexplore.bench.inputs import FEATURES, LOGITS

LONGEST = 8192


class Features(nn.Module):
    """The encoder: token ids (1, seq) to hidden states (1, seq, hidden)."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder = model.model

    def forward(self, input_ids: Tensor) -> Tensor:
        """Hidden states of every token after the final norm."""
        hidden_states: Tensor = self.encoder(input_ids=input_ids).last_hidden_state
        return hidden_states


class Logits(Features):
    """The same with the head, at some positions: (1, position, vocab)."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.head, self.decoder = model.head, model.decoder

    def forward(self, input_ids: Tensor, positions: Tensor) -> Tensor:  # type: ignore[override]
        """Logits at `positions`, (position,)."""
        logits: Tensor = self.decoder(self.head(super().forward(input_ids)[:, positions]))
        return logits


def export(source: Path, folder: Path) -> None:
    """Writes `FEATURES`, `LOGITS` and the config to `folder`.

    Args:
        source: of the checkpoint.
        folder: an empty one.
    """
    from mbexplore.bench.theirs import open_theirs

    model = open_theirs(source)
    shutil.copy(source / "config.json", folder)
    ids, positions = torch.arange(600)[None] % model.config.vocab_size, torch.arange(5)
    seq, position = (torch.export.Dim(name, min=1, max=LONGEST) for name in ("seq", "position"))
    for name, module, inputs, shapes in (
        (FEATURES, Features(model), (ids,), ({1: seq},)),
        (LOGITS, Logits(model), (ids, positions), ({1: seq}, {0: position})),
    ):
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's own, about deprecated names
            torch.onnx.export(
                module.eval(),
                inputs,
                folder / name,
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=["input_ids", "positions"][: len(inputs)],
                output_names=["output"],
                external_data=True,
                verbose=False,
            )


if __name__ == "__main__":
    export(Path(sys.argv[1]), Path(sys.argv[2]))
