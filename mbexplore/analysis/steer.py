"""Steering: a direction added to the residual stream, or taken out of it, and what that changes.

Turner et al. 2023, "Activation Addition" (arXiv:2308.10248): a direction times a strength is added
to every token's state after a layer. Rimsky et al. 2023, "Steering Llama 2 via Contrastive
Activation Addition" (arXiv:2312.06681): the direction is the difference between the mean states of
two sets of prompts. Arditi et al. 2024, "Refusal in Language Models Is Mediated by a Single
Direction" (arXiv:2406.11717): ablation takes a state's part along the direction out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mbexplore.analysis.readout import Readout, build_readout
from mbexplore.analysis.target import OptionScore, Target, expected
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.errors import RangeError, TextError
from mbexplore.explorer import DEFAULT_TOP_K, Explorer, Prediction
from mbexplore.hooks import Progress
from mbexplore.network.tap import Action
from mbexplore.recording import Recording, check_index
from mbexplore.text import quoted

DIRECTION = "direction"
"""What a file of several arrays calls the one."""
STRENGTHS = (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)
"""Shares of the strength that the curve is made of."""


@dataclass(frozen=True)
class Steered:
    """The two answers at one strength.

    Attributes:
        strength: times the direction.
        before: score of the answer of the model as it is.
        after: score of the steered model's.
    """

    strength: float
    before: OptionScore
    after: OptionScore


@dataclass(frozen=True, eq=False)
class Steering:
    """What a direction does to an answer.

    Attributes:
        tokens: of the text.
        layer: after which the direction is added.
        strength: times the direction; None where it is ablated.
        before: predictions of the model as it is.
        after: with the direction added, or ablated.
        target: the answer before.
        steered: the answer after.
        kl: KL(before || after), in nats.
        curve: scores of both at shares of the strength; none where it is ablated.
        direction: (hidden), as given or found.
        norm: its length.
        state_norm: mean length of the states that it is added to.
    """

    tokens: tuple[str, ...]
    layer: int
    strength: float | None
    before: tuple[Prediction, ...]
    after: tuple[Prediction, ...]
    target: Target
    steered: Target
    kl: float
    curve: tuple[Steered, ...]
    direction: npt.NDArray[np.float32]
    norm: float
    state_norm: float


def find_direction(
    explorer: Explorer, toward: Sequence[str], away: Sequence[str], layer: int
) -> Tensor:
    """Mean state of some prompts after a layer, less that of others, (hidden).

    A prompt's state is that of its first mask where all prompts have one, and otherwise the mean
    over its tokens but the special ones.

    Raises:
        TextError: there is no prompt on a side, or one can't be encoded.
        RangeError: there is no such layer.
    """
    if not toward or not away:
        raise TextError("A direction leads from some prompts to others; give one or more of each.")
    check_index("layer", layer, explorer.model.config.num_hidden_layers)
    encodings = [explorer.encode(text) for text in (*toward, *away)]
    at_mask = all(one.mask_positions for one in encodings)
    keep = (f"layers.{layer}.resid_post",)
    states = [
        _state(recording, layer, at_mask)
        for recording in explorer.record_many(encodings, keep=keep, layers=(layer,))
    ]
    return torch.stack(states[: len(toward)]).mean(dim=0) - torch.stack(states[len(toward) :]).mean(
        dim=0
    )


def load_direction(explorer: Explorer, path: str) -> Tensor:
    """A direction from a file, (hidden).

    Args:
        explorer: whose hidden size it must have.
        path: npy, or safetensors or npz, with ":name" after it where that holds several, none of
            them called "direction".

    Raises:
        TextError: it can't be read, or holds no such vector.
    """
    file, _, name = (
        path.rpartition(":") if Path(path.rpartition(":")[0]).is_file() else (path, "", "")
    )
    arrays = _arrays(Path(file))
    if not name and DIRECTION in arrays:
        name = DIRECTION
    if not name and len(arrays) != 1:
        raise TextError(f"{file} holds {', '.join(arrays) or 'nothing'}; name one: {file}:NAME.")
    if name and name not in arrays:
        raise TextError(f"{file} holds no {quoted(name)}; name one of {', '.join(arrays)}.")
    found = torch.as_tensor(arrays[name or next(iter(arrays))])
    hidden = explorer.model.config.hidden_size
    if tuple(found.squeeze().shape) != (hidden,) or not found.is_floating_point():
        raise TextError(
            f"{path} has the shape {tuple(found.shape)}, and a direction in {explorer.info.name} "
            f"has {hidden} numbers; give such a vector."
        )
    return found.squeeze().to(explorer.model.device).float()


def steer(
    explorer: Explorer,
    encoding: Encoding,
    direction: Tensor,
    layer: int,
    *,
    strength: float = 1.0,
    ablate: bool = False,
    position: int | None = None,
    top_k: int = DEFAULT_TOP_K,
    progress: Progress | None = None,
) -> Steering:
    """Adds a direction to every token's state after a layer, or takes it out, and answers again.

    Args:
        explorer: with a head that chooses; see `readout.build_readout`.
        encoding: the text.
        direction: (hidden).
        layer: after which.
        strength: times the direction; below 0 for the opposite.
        ablate: whether to take the part along the direction out of every state instead.
        position: which token is asked about; see `readout.build_readout`.
        top_k: predictions named.
        progress: called with the passes done and all there are; what it raises ends the work.

    Raises:
        RangeError: there is no such layer, or the direction has no length.
        MbexploreError: see `readout.build_readout`.
    """
    check_index("layer", layer, explorer.model.config.num_hidden_layers)
    norm = float(direction.norm())
    if not norm > 0:
        raise RangeError("The direction has length 0; give another vector, or texts that differ.")
    readout = build_readout(explorer, encoding, position)
    ids = torch.tensor([encoding.ids], device=explorer.model.device)
    shares = () if ablate else STRENGTHS
    total = len(shares) + 2

    def run(action: Action, done: int) -> Tensor:
        with explorer.edit({f"layers.{layer}.resid_post": action}):
            logits = readout.logits(ids)[0]
        if progress is not None:
            progress(done, total)
        return logits

    sizes: list[float] = []
    before = run(lambda x: sizes.append(float(x.norm(dim=-1).mean())), 1)
    after = run(_ablating(direction) if ablate else _adding(direction, strength), 2)
    target, steered = readout.target(before), readout.target(after)
    rows = [
        run(_adding(direction, share * strength), i + 3) if share != 1 else after
        for i, share in enumerate(shares)
    ]
    return Steering(
        encoding.tokens, layer, None if ablate else strength,
        readout.top_predictions(before, top_k), readout.top_predictions(after, top_k),
        target, steered, _kl(readout, before, after),
        _curve(readout, rows, [share * strength for share in shares], target, steered),
        direction.float().cpu().numpy(), norm, sizes[0],
    )  # fmt: skip


def _curve(
    readout: Readout, rows: list[Tensor], strengths: list[float], target: Target, steered: Target
) -> tuple[Steered, ...]:
    if not rows:
        return ()
    logits = torch.stack(rows)
    scores = (readout.scores_of(logits, one) for one in (target, steered))
    return tuple(map(Steered, strengths, *scores))


def _kl(readout: Readout, before: Tensor, after: Tensor) -> float:
    log_p, log_q = readout.log_probs(before), readout.log_probs(after)
    return float(expected(log_p, log_p - log_q).sum())


def _adding(direction: Tensor, strength: float) -> Action:
    def add(x: Tensor) -> Tensor:
        added: Tensor = x + (strength * direction).to(x)
        return added

    return add


def _ablating(direction: Tensor) -> Action:
    def ablate(x: Tensor) -> Tensor:
        unit = (direction / direction.norm()).to(x)
        left: Tensor = x - (x @ unit)[..., None] * unit
        return left

    return ablate


def _state(recording: Recording, layer: int, at_mask: bool) -> Tensor:
    encoding, value = recording.encoding, recording.values[f"layers.{layer}.resid_post"]
    if at_mask:
        return value[encoding.mask_positions[0]].float()
    places = [i for i, word in enumerate(encoding.words) if word is not None] or [0]
    return value[places].float().mean(dim=0)


def _arrays(path: Path) -> dict[str, Any]:
    """The arrays of a file, by name."""
    ending = path.suffix.lower()
    try:
        if ending == ".npy":
            return {path.stem: np.load(path, allow_pickle=False)}
        if ending == ".npz":
            with np.load(path, allow_pickle=False) as saved:
                return dict(saved)
        if ending == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise TextError(f"{path} can't be read ({reason}); copy it again.") from None
    raise TextError(f"{path} holds no vector; name a .npy, .npz or .safetensors file.")
