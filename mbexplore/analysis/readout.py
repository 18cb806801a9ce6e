"""What is read off a model: a choice among options, each with a logit. The notion of an answer.

The MLM head chooses a token of the vocabulary at a position, the others a label of a text or of a
token, or where in a second text the answer starts or ends. `lens`, `ablate`, `patch`, `attribute`
and `compare` read through this and know no head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mbexplore.analysis.target import OptionScore, Target, find_position, find_token, upcast
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.checks import check_blank, check_finite, check_told_apart
from mbexplore.errors import ModelError, RangeError, TextError
from mbexplore.explorer import Explorer, Prediction
from mbexplore.network.heads import (
    MULTI_LABEL,
    REGRESSION,
    ClassifierModel,
    ModernBertForMultipleChoice,
    ModernBertForQuestionAnswering,
    ModernBertForTokenClassification,
)
from mbexplore.network.model import PretrainedModel
from mbexplore.text import quoted

ENDS = ("start", "end")
"""What a question answering head tells of an answer, in the order of its logits."""
NO_ANSWER = "(no answer)"


@dataclass(frozen=True, eq=False)
class Readout:
    """One choice that a model makes over a text.

    Attributes:
        model: that chooses.
        read: hidden states after the final norm (batch, seq, hidden) to logits (batch, option).
        name: of an option.
        find: the option of that name.
        position: the token that an option is about; None where it is the whole text.
        options: what there is to choose from, equal for two readouts where they can be compared
            option by option; made when asked for, as a vocabulary is long.
        answer: the option to follow; None for the one that the model chooses.
        is_exclusive: whether one option rules out the others, so that their shares sum to one.
    """

    model: PretrainedModel
    read: Callable[[Tensor], Tensor]
    name: Callable[[int], str]
    find: Callable[[str], int]
    position: Callable[[int], int | None]
    options: Callable[[], Sequence[object]]
    answer: int | None = None
    is_exclusive: bool = True

    def logits(self, input_ids: Tensor) -> Tensor:
        """Logits (batch, option) of ids (batch, seq), whatever hooks are on the model.

        Raises:
            ModelError: they are not finite.
        """
        with torch.no_grad():
            return self.read(self.model.encoder(input_ids))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Probabilities of logits (..., option)."""
        return logits.softmax(dim=-1) if self.is_exclusive else logits.sigmoid()

    def log_probs(self, logits: Tensor) -> Tensor:
        """Log-probabilities (..., choice, outcome): one choice of all, or yes and no of each."""
        if self.is_exclusive:
            return logits[..., None, :].log_softmax(dim=-1)
        return torch.stack((logits, torch.zeros_like(logits)), dim=-1).log_softmax(dim=-1)

    def has_same_options(self, other: Readout) -> bool:
        """Whether both choose in one way among the same options."""
        return self.is_exclusive == other.is_exclusive and self.options() == other.options()

    def target(self, logits: Tensor) -> Target:
        """The option followed, given the logits (option) of the model as it is.

        Raises:
            ModelError: they are all the same.
        """
        check_told_apart(logits)
        return self.option(int(logits.argmax()) if self.answer is None else self.answer)

    def find_contrast(self, name: str, target: Target) -> Target:
        """The option of that name, to set against the target.

        Raises:
            RangeError: there is no such option, or it is the target itself.
        """
        contrast = self.option(self.find(name))
        if contrast == target:
            raise RangeError(f"{target.token!r} is the answer itself; name another contrast.")
        return contrast

    def option(self, index: int) -> Target:
        """An option by its number."""
        return Target(self.position(index), self.name(index), index)

    def top_predictions(self, logits: Tensor, top_k: int) -> tuple[Prediction, ...]:
        """The `top_k` likeliest of logits (option), or all if there are fewer, falling."""
        shares = self.probabilities(logits)
        return tuple(
            Prediction(self.name(i), i, float(shares[i]), float(logits[i]))
            for i in logits.topk(min(top_k, len(logits))).indices.tolist()
        )

    def scores_of(
        self, logits: Tensor, target: Target, contrast: Target | None = None
    ) -> list[OptionScore]:
        """The scores of an option in each row of logits (batch, option).

        Args:
            logits: of each row.
            target: the option that is followed.
            contrast: an option whose logit is subtracted from the logit of the scores.
        """
        option = target.token_id
        own, probabilities = logits[:, option], self.probabilities(logits)[:, option]
        ranks = 1 + (logits > own[:, None]).sum(dim=-1)
        if contrast is not None:
            own = own - logits[:, contrast.token_id]
        rows = zip(own.tolist(), probabilities.tolist(), ranks.tolist(), strict=True)
        return [OptionScore(*row) for row in rows]


def build_readout(
    explorer: Explorer,
    encoding: Encoding,
    position: int | None = None,
    answer: str | None = None,
    *,
    number: bool = False,
) -> Readout:
    """What this model chooses about a text.

    Args:
        explorer: a model with any head.
        encoding: the text, or the pair of texts.
        position: the token asked about; None for the first mask, for the whole text, or, where an
            answer is looked for, for the model's own.
        answer: the option to follow: a token, a label, or "start" or "end"; None for the model's.
        number: whether a head that gives one number and no choice will do.

    Raises:
        ModelError: the model has no head, or one that does not choose.
        TextError: the text lacks a mask or the second text.
        RangeError: there is no such token or option.
    """
    model = explorer.model
    check_blank(model)
    if isinstance(model, ModernBertForQuestionAnswering):
        return _read_span(explorer, model, encoding, position, answer)
    if isinstance(model, ClassifierModel) and not isinstance(
        model, ModernBertForTokenClassification
    ):
        return _read_label(explorer, model, encoding, position, answer, number)
    rows, name, find = token_reader(explorer)
    if position is None and isinstance(model, ClassifierModel):
        raise TextError(
            f"{explorer.info.name} {model.does}; name the token asked about, from 0 to "
            f"{len(encoding) - 1}."
        )
    place = find_position(encoding, position)
    is_label = isinstance(model, ClassifierModel)
    count = len(model.config.labels) if is_label else explorer.tokenizer.vocab_size
    return Readout(
        model,
        lambda hidden_states: rows(hidden_states[:, place]),
        name,
        lambda name: find(name, encoding, place),
        lambda option: place,
        lambda: [name(option) for option in range(count)],
        None if answer is None else find(answer, encoding, place),
    )


def token_reader(
    explorer: Explorer,
) -> tuple[Callable[[Tensor], Tensor], Callable[[int], str], Callable[[str, Encoding, int], int]]:
    """How a head that speaks of every token reads one.

    Returns:
        Hidden states (..., hidden) after the final norm to logits (..., option); an option's name;
        and the option of a name, at a position of a text.

    Raises:
        ModelError: the head speaks of the whole text, or there is none.
    """
    model = explorer.model
    check_blank(model)
    if isinstance(model, ModernBertForTokenClassification):
        labels = model.config.labels
        return (
            lambda hidden_states: _finite(model, model.answer(hidden_states)),
            labels.__getitem__,
            lambda name, encoding, position: _find_label(labels, name),
        )
    if isinstance(model, ClassifierModel):
        raise ModelError(
            f"{explorer.info.name} {model.does}, so there is no answer at every token; ask "
            "for its one answer."
        )
    masked_lm, tokenizer = explorer.masked_lm(), explorer.tokenizer
    return (
        lambda hidden_states: _finite(masked_lm, masked_lm.logits(hidden_states)),
        tokenizer.token,
        lambda name, encoding, position: _check_embedded(
            masked_lm, find_token(tokenizer, name, encoding, position), name
        ),
    )


def _read_label(
    explorer: Explorer,
    model: ClassifierModel,
    encoding: Encoding,
    position: int | None,
    answer: str | None,
    number: bool,
) -> Readout:
    """Which label a text has; or a number alone, its own or that of a choice."""
    name, is_choice = explorer.info.name, isinstance(model, ModernBertForMultipleChoice)
    if is_choice and encoding.pair_start is None:
        raise TextError(f"{name} {model.does}; give the one to look at as the second text.")
    if position is not None:
        raise RangeError(
            f"{name} {model.does} as a whole, and token {position} was asked about; name no token."
        )
    if (is_choice or model.problem == REGRESSION) and not number:
        raise ModelError(
            f"{name} gives {'each choice' if is_choice else 'a text'} one number and no answer "
            "among several; use `mbexplore attribute` to explain the number."
        )
    labels = ("this choice",) if is_choice else model.config.labels
    return Readout(
        model,
        lambda hidden_states: _finite(model, model.answer(hidden_states)),
        labels.__getitem__,
        lambda label: _find_label(labels, label),
        lambda option: None,
        lambda: labels,
        None if answer is None else _find_label(labels, answer),
        is_exclusive=model.problem != MULTI_LABEL,
    )


def _read_span(
    explorer: Explorer,
    model: ModernBertForQuestionAnswering,
    encoding: Encoding,
    position: int | None,
    answer: str | None,
) -> Readout:
    """Where in the second text the answer starts, or ends; its first token means nowhere."""
    name = explorer.info.name
    if encoding.pair_start is None:
        raise TextError(
            f"{name} {model.does}; give the question as the first text and the text to "
            "search as the second."
        )
    if answer not in (None, *ENDS):
        raise RangeError(
            f"{name} tells where an answer starts and where it ends, and {answer!r} is neither; "
            "write start or end, and name the token by its number."
        )
    places, end = [0, *encoding.pair_positions], ENDS.index(answer or ENDS[0])
    if position is not None and position not in places:
        raise RangeError(
            f"Token {position} is outside the text that is searched; choose {places[1]} to "
            f"{places[-1]}."
        )

    def find(name: str) -> int:
        raise RangeError(f"An answer is a place in the text and {name!r} is none; leave it out.")

    return Readout(
        model,
        lambda hidden_states: _finite(model, model.answer(hidden_states)[:, places, end]),
        lambda option: (  # a text may hold the same token twice
            f"{encoding.tokens[places[option]]} ({places[option]})" if option else NO_ANSWER
        ),
        find,
        places.__getitem__,
        lambda: (ENDS[end], *places),
        None if position is None else places.index(position),
    )


def _finite(model: PretrainedModel, logits: Tensor) -> Tensor:
    """Logits in float32 or wider, checked: every view reads them here."""
    check_finite(model, logits)
    return upcast(logits)


def _check_embedded(model: PretrainedModel, token_id: int, name: str) -> int:
    """The id of a token that the model has an embedding for; a tokenizer may have more tokens."""
    if token_id >= model.config.vocab_size:
        raise RangeError(
            f"{quoted(name)} has the id {token_id:,} in the tokenizer, and the model has "
            f"{model.config.vocab_size:,} embeddings; name another token."
        )
    return token_id


def _find_label(labels: Sequence[str], name: str) -> int:
    if name not in labels:
        raise RangeError(f"There is no label {name!r}; choose {', '.join(labels)}.")
    return labels.index(name)
