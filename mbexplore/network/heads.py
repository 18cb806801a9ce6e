"""The other heads of ModernBERT: sequences, tokens, answers in a text, choices.

All put the MLM head's transform and one linear layer on the encoder; they differ in what they
read: one pooled vector a text, or every token.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from mbexplore.errors import ModelError
from mbexplore.network.config import ModernBertConfig
from mbexplore.network.init import init_weights
from mbexplore.network.model import ModernBertModel, PredictionHead, PretrainedModel
from mbexplore.text import quoted

POOLINGS = ("cls", "mean")
REGRESSION = "regression"
MULTI_LABEL = "multi_label_classification"
PROBLEMS = (REGRESSION, "single_label_classification", MULTI_LABEL)
"""What config.json may call the problem: a number, one label of several, or any of them."""


class ClassifierModel(PretrainedModel):
    """What the heads share: encoder, transform, dropout and a linear layer with bias.

    Attributes:
        does: what the head is for, in words.
    """

    does: ClassVar[str]

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__(config)
        _check_name("classifier_pooling", config.classifier_pooling, POOLINGS)
        if config.problem_type is not None:
            _check_name("problem_type", config.problem_type, PROBLEMS)
        self.model = ModernBertModel(config)
        self.head = PredictionHead(config)
        self.drop = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.hidden_size, self.outputs(config))
        init_weights(self.classifier, config, "classifier")

    def outputs(self, config: ModernBertConfig) -> int:
        """Numbers the classifier gives: one a label."""
        return len(config.labels)

    def read(self, hidden_states: Tensor, attention_mask: Tensor | None) -> Tensor:
        """What the head reads of hidden states (batch, seq, hidden): every token's."""
        return hidden_states

    @property
    def problem(self) -> str | None:
        """`problem_type`; where config.json has none, one label alone makes it a plain number.

        So does transformers' own forward pass.
        """
        alone = REGRESSION if len(self.config.labels) == 1 else None
        return self.config.problem_type or alone

    def answer(self, hidden_states: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Logits (batch, label), or (batch, seq, label), of hidden states (batch, seq, hidden)."""
        seen = self.read(hidden_states, attention_mask)
        logits: Tensor = self.classifier(self.drop(self.head(seen)))
        return logits

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Logits (batch, label), or (batch, seq, label); see `ModernBertModel.forward`."""
        return self.answer(self.model(input_ids, attention_mask), attention_mask)


class PooledClassifierModel(ClassifierModel):
    """A head that reads one vector a text."""

    def read(self, hidden_states: Tensor, attention_mask: Tensor | None) -> Tensor:
        """The pooled vector (batch, hidden)."""
        return pool(hidden_states, attention_mask, self.config.classifier_pooling)


class ModernBertForSequenceClassification(PooledClassifierModel):
    """A label for a whole text: logits (batch, label)."""

    does = "labels texts"


class ModernBertForTokenClassification(ClassifierModel):
    """A label for every token: logits (batch, seq, label)."""

    does = "labels tokens"


class ModernBertForQuestionAnswering(ClassifierModel):
    """Where in a text an answer starts and ends: logits (batch, seq, 2) of its two ends."""

    does = "finds answers in texts"

    def outputs(self, config: ModernBertConfig) -> int:
        """Two numbers a token: how well an answer starts there, and ends there."""
        if len(config.labels) != 2:
            raise ModelError(
                f"config.json has {len(config.labels)} labels, and an answer in a text has two "
                "ends; correct num_labels and id2label."
            )
        return 2


class ModernBertForMultipleChoice(PooledClassifierModel):
    """Which of several texts is the right one."""

    does = "chooses among texts"

    def outputs(self, config: ModernBertConfig) -> int:
        """One number, how good a choice is."""
        return 1

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Logits (batch, choice) of ids (batch, choice, seq)."""
        mask = None if attention_mask is None else attention_mask.flatten(0, 1)
        logits = super().forward(input_ids.flatten(0, 1), mask)  # (batch * choice, 1)
        return logits.view(input_ids.shape[:2])  # (batch, choice)


def pool(hidden_states: Tensor, attention_mask: Tensor | None, pooling: str) -> Tensor:
    """One vector a text (batch, hidden) of hidden states (batch, seq, hidden).

    Args:
        hidden_states: of every token.
        attention_mask: (batch, seq), 0 for padding; None where there is none.
        pooling: "cls" for the first real token, as in transformers' multiple choice (its sequence
            classification takes position 0, be it padding); "mean" for the mean of all real ones.
    """
    if attention_mask is None:
        return hidden_states[:, 0] if pooling == "cls" else hidden_states.mean(dim=1)
    real = (attention_mask != 0).to(hidden_states.dtype)  # (batch, seq)
    if pooling == "cls":
        return hidden_states[torch.arange(len(real), device=real.device), real.argmax(dim=1)]
    return (hidden_states * real[..., None]).sum(dim=1) / real.sum(dim=1, keepdim=True)


def _check_name(field: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ModelError(
            f"{field} is {quoted(value)} in config.json; open a model with {', '.join(known)}."
        )


CLASSIFIERS: dict[str, type[ClassifierModel]] = {
    kind.__name__: kind
    for kind in (
        ModernBertForSequenceClassification,
        ModernBertForTokenClassification,
        ModernBertForQuestionAnswering,
        ModernBertForMultipleChoice,
    )
}
