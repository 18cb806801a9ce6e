"""What is asked: why the model gives this answer and not another one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from mbexplore.analysis.readout import ENDS, Readout, build_readout
from mbexplore.analysis.target import Target, find_token
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.errors import ModelError, RangeError, TextError
from mbexplore.explorer import Explorer
from mbexplore.network.heads import ClassifierModel, ModernBertForQuestionAnswering


@dataclass(frozen=True)
class Scored:
    """An answer with its probability."""

    token: str
    probability: float


@dataclass(frozen=True, eq=False)
class Question:
    """A text, the model's answer, and the answer it is set against.

    Attributes:
        explorer: the model.
        encoding: the text.
        readout: what is read off the model.
        target: the answer that is explained.
        rival: the answer it is set against: the runner-up, or the one that was named.
        top: the model's own first answer, the target unless another was named.
        logits: (option) of the text.
        end: "start" or "end" where a place in the text is answered; else None.
    """

    explorer: Explorer
    encoding: Encoding
    readout: Readout
    target: Target
    rival: Target
    top: Target
    logits: Tensor
    end: str | None

    @property
    def ids(self) -> Tensor:
        """(1, seq), on the model's device."""
        return self.ids_of(self.encoding.ids)

    def ids_of(self, ids: Sequence[int]) -> Tensor:
        """Ids of another text likewise."""
        return torch.tensor([ids], device=self.explorer.model.device)

    def spelled(self, option: Target) -> str | None:
        """An answer as a person names it; None for one that no name means, such as half a letter.

        The bare word where that is this token, else the token in quotes.
        """
        if self.end is not None:
            return self.end if option == self.target else None
        explorer, bare = self.explorer, option.token.strip()
        if isinstance(explorer.model, ClassifierModel):
            return option.token
        for name in (bare, option.spelling):
            with suppress(RangeError, TextError):  # several tokens, or nothing but a space
                place = option.position
                if find_token(explorer.tokenizer, name, self.encoding, place) == option.token_id:
                    return name
        return None

    def scored(self, option: Target) -> Scored:
        """An answer with its probability on the text."""
        return Scored(option.token, float(self.readout.probabilities(self.logits)[option.token_id]))

    @property
    def difference_here(self) -> float:
        """Logit of the target less that of the rival, on the text."""
        return float(self.difference(self.logits[None])[0])

    def difference(self, logits: Tensor) -> Tensor:
        """Logit of the target less that of the rival, (rows,) of logits (rows, option)."""
        return logits[:, self.target.token_id] - logits[:, self.rival.token_id]


def ask(
    explorer: Explorer,
    encoding: Encoding,
    position: int | None = None,
    *,
    answer: str | None = None,
    rival: str | None = None,
) -> Question:
    """The question about a text: why this answer, and not its rival.

    Text, position and answer are what `readout.build_readout` takes; the rival is the likeliest
    other word unless it is named.

    Raises:
        ModelError: the model has no head that chooses, or only one answer.
        TextError: no position is given and the text has no mask.
        RangeError: there is no such token or option, or both answers are the same.
    """
    readout = build_readout(explorer, encoding, position, answer)
    logits = readout.logits(torch.tensor([encoding.ids], device=explorer.model.device))[0]
    if len(logits) < 2:
        raise ModelError(f"{explorer.info.name} has one answer alone; use a model with several.")
    target = readout.target(logits)
    likely = [readout.option(i) for i in logits.topk(min(10, len(logits))).indices.tolist()]
    others = [one for one in likely if one != target]
    if rival is not None:
        against = readout.find_contrast(rival, target)
    else:
        against = next((one for one in others if not same_word(one, target)), others[0])
    end = None
    if isinstance(explorer.model, ModernBertForQuestionAnswering):
        end = answer or ENDS[0]
    return Question(explorer, encoding, readout, target, against, likely[0], logits, end)


def same_word(one: Target, other: Target) -> bool:
    """Whether two tokens are one word but for letter case and space."""
    return one.token.strip().casefold() == other.token.strip().casefold()
