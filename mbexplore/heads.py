"""The other heads of ModernBERT: sequences, tokens, answers in a text, choices.

All put the MLM head's transform and one linear layer on the encoder; they differ in what they
read: one pooled vector a text, or every token. `open_model` is here since it knows them all.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from mbexplore.config import ModernBertConfig
from mbexplore.errors import ModelError
from mbexplore.model import (
    ModernBertForMaskedLM,
    ModernBertModel,
    PredictionHead,
    PretrainedModel,
)
from mbexplore.weights import Checkpoint

POOLINGS = ("cls", "mean")


class ClassifierModel(PretrainedModel):
    """What the heads share: encoder, transform, dropout and a linear layer with bias.

    Attributes:
        does: what the head is for, in words.
    """

    does: ClassVar[str]

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__(config)
        if config.classifier_pooling not in POOLINGS:
            raise ModelError(
                f"classifier_pooling is {config.classifier_pooling!r} in config.json; mbexplore "
                f"knows {' and '.join(POOLINGS)}."
            )
        self.model = ModernBertModel(config)
        self.head = PredictionHead(config)
        self.drop = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.hidden_size, self.outputs(config))
        self.init_weights()

    def outputs(self, config: ModernBertConfig) -> int:
        """Numbers the classifier gives: one a label."""
        return len(config.labels)

    def classify(self, hidden_states: Tensor) -> Tensor:
        """Logits (..., label) of hidden states (..., hidden)."""
        logits: Tensor = self.classifier(self.drop(self.head(hidden_states)))
        return logits


class ModernBertForSequenceClassification(ClassifierModel):
    """A label for a whole text."""

    does = "labels texts"

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Logits (batch, label); see `ModernBertModel.forward`."""
        hidden_states = self.model(input_ids, attention_mask)
        return self.classify(pool(hidden_states, attention_mask, self.config.classifier_pooling))


class ModernBertForTokenClassification(ClassifierModel):
    """A label for every token."""

    does = "labels tokens"

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Logits (batch, seq, label); see `ModernBertModel.forward`."""
        return self.classify(self.model(input_ids, attention_mask))


class ModernBertForQuestionAnswering(ClassifierModel):
    """Where in a text an answer starts and ends."""

    does = "finds answers in texts"

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Logits (batch, seq, 2) of being an answer's first token and its last."""
        return self.classify(self.model(input_ids, attention_mask))


class ModernBertForMultipleChoice(ClassifierModel):
    """Which of several texts is the right one."""

    does = "chooses among texts"

    def outputs(self, config: ModernBertConfig) -> int:
        """One number, how good a choice is."""
        return 1

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Logits (batch, choice) of ids (batch, choice, seq)."""
        mask = None if attention_mask is None else attention_mask.flatten(0, 1)
        hidden_states = self.model(input_ids.flatten(0, 1), mask)  # (batch * choice, seq, hidden)
        logits = self.classify(pool(hidden_states, mask, self.config.classifier_pooling))
        return logits.view(input_ids.shape[:2])  # (batch, choice)


def pool(hidden_states: Tensor, attention_mask: Tensor | None, pooling: str) -> Tensor:
    """One vector a text (batch, hidden) of hidden states (batch, seq, hidden).

    Args:
        hidden_states: of every token.
        attention_mask: (batch, seq), 0 for padding; None where there is none.
        pooling: "cls" for the first real token, "mean" for the mean of all real ones.
    """
    if attention_mask is None:
        return hidden_states[:, 0] if pooling == "cls" else hidden_states.mean(dim=1)
    real = (attention_mask != 0).to(hidden_states.dtype)  # (batch, seq)
    if pooling == "cls":
        return hidden_states[torch.arange(len(real), device=real.device), real.argmax(dim=1)]
    return (hidden_states * real[..., None]).sum(dim=1) / real.sum(dim=1, keepdim=True)


CLASSIFIERS: dict[str, type[ClassifierModel]] = {
    kind.__name__: kind
    for kind in (
        ModernBertForSequenceClassification,
        ModernBertForTokenClassification,
        ModernBertForQuestionAnswering,
        ModernBertForMultipleChoice,
    )
}


def open_model(
    folder: Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> PretrainedModel:
    """Opens a checkpoint as what it is: with the head that its file has, else the bare encoder.

    A classifier is named by `architectures`; one that is not named there is left alone.

    Raises:
        ModelError: see `PretrainedModel.from_pretrained`.
    """
    config = ModernBertConfig.from_folder(folder)
    with Checkpoint(folder) as checkpoint:
        keys = checkpoint.shapes.keys()
    kind: type[PretrainedModel] = ModernBertModel
    if "classifier.weight" in keys:
        named = [CLASSIFIERS[name] for name in config.architectures if name in CLASSIFIERS]
        kind = named[0] if named else ModernBertModel
    elif "head.dense.weight" in keys:
        kind = ModernBertForMaskedLM
    return kind.from_pretrained(folder, dtype=dtype, device=device)
