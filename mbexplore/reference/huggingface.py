"""The Hugging Face side: the same folder, opened and run by transformers.

The only module that imports transformers, and only when a reference is built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mbexplore.errors import MbexploreError, TransformersError
from mbexplore.reading import read_json
from mbexplore.text import shortened

BATCH_TOKENS = 512
"""Tokens that are run together where many texts are."""


class Reference:
    """A model as transformers runs it.

    Attributes:
        version: of transformers.
    """

    def __init__(self, model: Any, version: str) -> None:
        self._model = model
        self.version = version

    @classmethod
    def load(
        cls,
        folder: Path,
        dtype: torch.dtype,
        device: torch.device,
        attention: str = "sdpa",
        architecture: str = "ModernBertForMaskedLM",
    ) -> Reference:
        """Opens a checkpoint folder; no network, no progress bar.

        Args:
            folder: of the checkpoint.
            dtype: of the parameters.
            device: where they go.
            attention: transformers' implementation; only "eager" gives maps.
            architecture: its class.

        Raises:
            TransformersError: transformers can't open it, though we can; so do the methods where
                it can't run it.
        """
        import transformers

        with _quiet(), _theirs("open"):
            model: Any = getattr(transformers, architecture).from_pretrained(
                folder,
                config=_read_config(folder),
                dtype=dtype,
                attn_implementation=attention,
                local_files_only=True,
            )
            return cls(model.to(device).eval(), transformers.__version__)

    def logits(self, ids: Sequence[int], rows: Sequence[int]) -> Tensor:
        """Logits (row, vocab) of one text at the given positions."""
        with torch.inference_mode(), _theirs("run"):
            output = self._model(torch.tensor([ids], device=self._model.device))
            logits: Tensor = output.logits[0, list(rows)]
        return logits

    def logits_many(
        self, texts: Sequence[Sequence[int]], positions: Sequence[Sequence[int]]
    ) -> Iterator[Tensor]:
        """Logits (row, vocab) of each text at its positions; neighbours of one length together."""
        places = iter(positions)
        for _, some in groupby(texts, len):
            for batch in _batches(list(some)):
                with torch.inference_mode(), _theirs("run"):
                    logits = self._model(torch.tensor(batch, device=self._model.device)).logits
                for of_text in logits:  # (seq, vocab)
                    yield of_text[list(next(places))]

    def classify(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits of a classifier, in the shape that ours has.

        Args:
            ids: (batch, seq), or (batch, choice, seq) for multiple choice.
            mask: likewise, 0 for padding.
        """
        with torch.inference_mode(), _theirs("run"):
            return _logits(self._model(ids, mask))

    def to_float64(self, rounded_to: Mapping[str, torch.dtype]) -> None:
        """Moves the weights to float64 on the CPU, rounded as another model holds them.

        Args:
            rounded_to: dtype of each parameter by its name, with or without "model." before it.
        """
        self._model = self._model.to("cpu")
        for name, parameter in self._model.named_parameters():
            bare = name.removeprefix("model.")
            dtype = rounded_to.get(name, rounded_to.get(bare, parameter.dtype))
            parameter.data = parameter.data.to(dtype).double()
        self._model = self._model.double()

    def trace(self, ids: Tensor, mask: Tensor, visit: Callable[[str, Tensor], None]) -> None:
        """Runs a padded batch and hands over every value worth comparing, none kept.

        Args:
            ids: (batch, seq), on the model's device.
            mask: (batch, seq), 0 for padding.
            visit: called with a name and its value: "embed", "layers.N.attention" (batch,
                heads, query, key), "layers.N.resid_post", "final_norm", "head" and "logits".
        """

        def keep(name: str) -> Any:
            def hook(module: Any, inputs: Any, output: Any) -> None:
                visit(name, output[0] if isinstance(output, tuple) else output)

            return hook

        def keep_map(name: str) -> Any:
            def hook(module: Any, inputs: Any, output: Any) -> None:
                visit(name, output[1])

            return hook

        with ExitStack() as stack, torch.inference_mode(), _theirs("run"):
            encoder = self._model.model
            modules = {"embed": encoder.embeddings, "final_norm": encoder.final_norm}
            modules["head"] = self._model.head
            for i, layer in enumerate(encoder.layers):
                modules[f"layers.{i}.resid_post"] = layer
                handle = layer.attn.register_forward_hook(keep_map(f"layers.{i}.attention"))
                stack.callback(handle.remove)
            for name, module in modules.items():
                stack.callback(module.register_forward_hook(keep(name)).remove)
            if type(self._model).__name__.endswith("MultipleChoice"):
                ids, mask = ids[:, None], mask[:, None]  # each text the one choice there is
            visit("logits", _logits(self._model(ids, mask)))


def _batches(texts: Sequence[Sequence[int]]) -> Iterator[Sequence[Sequence[int]]]:
    """Texts of one length, at most `BATCH_TOKENS` together: logits of every token are made."""
    size = max(1, BATCH_TOKENS // len(texts[0]))
    for first in range(0, len(texts), size):
        yield texts[first : first + size]


@contextmanager
def _theirs(what: str) -> Iterator[None]:
    """Whatever transformers raises inside, in one sentence with its reason: the model is foreign.

    Raises:
        TransformersError: it can't `what` ("open" or "run") the model.
    """
    from transformers import __version__

    try:
        yield
    except MbexploreError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise TransformersError(
            f"transformers {__version__} can't {what} this model ({shortened(reason, 300)}), so "
            "there is nothing to compare with; mend config.json, or leave the comparison out."
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """No notice and no progress bar of transformers inside; afterwards it is as it was."""
    from transformers import utils

    logging: Any = utils.logging
    verbosity, has_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if has_bar:
            logging.enable_progress_bar()


def _read_config(folder: Path) -> Any:
    """Their own reading of config.json.

    Transformers 5 takes a null `local_rope_theta`, which to 4 meant the global one, for a number.
    """
    from transformers import ModernBertConfig

    values = read_json(folder / "config.json")
    if values.get("local_rope_theta", 0) is None and "global_rope_theta" in values:
        values["local_rope_theta"] = values["global_rope_theta"]
    return ModernBertConfig.from_dict(values)


def _logits(output: Any) -> Tensor:
    """Logits of any head; those of an answer's two ends side by side (batch, seq, 2)."""
    ends = output.get("start_logits"), output.get("end_logits")
    logits: Tensor = output.logits if ends[0] is None else torch.stack(ends, dim=-1)
    return logits
