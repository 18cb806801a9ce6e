"""transformers' side of every piece of work, written as its users write it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mbexplore.bench.inputs import make_batch, make_ids

Run = Callable[[], Tensor]
BATCH = 16


def forward(folder: Path, tokens: int) -> Run:
    """Logits of one text, looked at in the middle."""
    run = logits(folder, tokens)
    return lambda: run()[tokens // 2, None]


def logits(folder: Path, tokens: int) -> Run:
    """Logits of every token of one text."""
    model = open_theirs(folder)
    ids = make_ids(tokens, model.config.vocab_size)

    def run() -> Tensor:
        with torch.inference_mode():
            logits: Tensor = model(torch.tensor([ids])).logits[0]
        return logits

    return run


def features(folder: Path, tokens: int, dtype: torch.dtype = torch.float32) -> Run:
    """Hidden states of one text, all positions, the encoder alone."""
    encoder = open_theirs(folder, dtype=dtype).model
    ids = make_ids(tokens, encoder.config.vocab_size)

    def run() -> Tensor:
        with torch.inference_mode():
            hidden_states: Tensor = encoder(torch.tensor([ids])).last_hidden_state[0]
        return hidden_states.float()

    return run


def batch(folder: Path, tokens: int) -> Run:
    """Logits of 64 texts in padded batches of 16, in the order in which they come."""
    model = open_theirs(folder)
    texts = make_batch(tokens, model.config.vocab_size)

    def run() -> Tensor:
        return torch.cat([_padded(model, texts[i : i + BATCH]) for i in range(0, 64, BATCH)])

    return run


def _padded(model: Any, texts: list[list[int]]) -> Tensor:
    """Logits at the middle of each text of one batch."""
    longest = max(len(text) for text in texts)
    ids = torch.tensor([text + [0] * (longest - len(text)) for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts])
    middles = torch.tensor([len(text) // 2 for text in texts])
    with torch.inference_mode():
        logits: Tensor = model(ids, attention_mask=mask).logits
    return logits[torch.arange(len(texts)), middles]


def every_map(folder: Path, tokens: int) -> Run:
    """Everything transformers gives: logits, hidden states and attention maps."""
    model = open_theirs(folder, attention="eager")
    ids, middle = make_ids(tokens, model.config.vocab_size), tokens // 2

    def run() -> Tensor:
        with torch.inference_mode():
            output = model(torch.tensor([ids]), output_attentions=True, output_hidden_states=True)
        middles = [weights[0, :, middle].flatten() for weights in output.attentions]
        return torch.cat([output.logits[0, middle], *middles])

    return run


_RUNS: tuple[Callable[[Path, int], Run], ...] = (features, forward, logits, every_map, batch)
TASKS = {one.__name__.replace("_", " "): one for one in _RUNS}
TASKS["bfloat16"] = partial(features, dtype=torch.bfloat16)


def open_theirs(folder: Path, attention: str = "sdpa", dtype: torch.dtype = torch.float32) -> Any:
    """The model as a user of transformers opens it."""
    import transformers
    from transformers import AutoModelForMaskedLM

    logging: Any = transformers.utils.logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    auto: Any = AutoModelForMaskedLM
    model = auto.from_pretrained(
        folder, dtype=dtype, attn_implementation=attention, local_files_only=True
    )
    return model.eval()
