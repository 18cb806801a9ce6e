"""The Hugging Face side: the same folder, opened and run by transformers.

The only module that imports transformers, and only when a reference is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


class Reference:
    """A masked-language model as transformers runs it (sdpa).

    Attributes:
        version: of transformers.
    """

    def __init__(self, model: Any, version: str) -> None:
        self._model = model
        self.version = version

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype, device: torch.device) -> Reference:
        """Opens a checkpoint folder; no network, no progress bar."""
        import transformers
        from transformers.models.modernbert import ModernBertForMaskedLM

        logging: Any = transformers.utils.logging
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        model: Any = ModernBertForMaskedLM.from_pretrained(
            folder, dtype=dtype, attn_implementation="sdpa", local_files_only=True
        )
        return cls(model.to(device).eval(), transformers.__version__)

    def logits(self, ids: Sequence[int], rows: Sequence[int]) -> Tensor:
        """Logits (row, vocab) of one text at the given positions."""
        with torch.inference_mode():
            output = self._model(torch.tensor([ids], device=self._model.device))
        logits: Tensor = output.logits[0, list(rows)]
        return logits
