"""Logits of a classifier's labels, of a text or of one of its tokens: ours, or Hugging Face's."""

from __future__ import annotations

from torch import Tensor

from mbexplore.analysis.readout import Readout, build_readout
from mbexplore.analysis.target import upcast
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.errors import ModelError
from mbexplore.explorer import Explorer
from mbexplore.network import heads


def is_labeller(explorer: Explorer) -> bool:
    """Whether the model labels texts or tokens."""
    model = explorer.model
    return isinstance(
        model, heads.ModernBertForTokenClassification | heads.ModernBertForSequenceClassification
    )


def check_scores(explorer: Explorer) -> None:
    """Refuses a model that has neither words nor labels to score.

    Raises:
        ModelError: the sentence says what its head does.
    """
    model = explorer.model
    if not isinstance(model, heads.ClassifierModel):
        explorer.masked_lm()
    elif not is_labeller(explorer):
        raise ModelError(
            f"{explorer.info.name} {model.does} and has neither words nor labels to score; "
            "see its answers with `mbexplore predict`."
        )


def label_logits(
    explorer: Explorer, encoding: Encoding, position: int | None, *, theirs: bool = False
) -> tuple[Readout, Tensor]:
    """A choice among labels, and its logits (label), float32 or wider.

    Args:
        explorer: of a model that labels texts or tokens.
        encoding: the text.
        position: of the token that is labelled; None for the whole text.
        theirs: whether the logits are Hugging Face's, on the same weights.

    Raises:
        ModelError: the head gives one number.
        TextError: the token to label isn't named.
        RangeError: a token is, and the head labels whole texts.
        TransformersError: transformers can't open or run the model.
    """
    readout = build_readout(explorer, encoding, position)
    ids, mask = explorer.pad([encoding.ids])
    if not theirs:
        return readout, readout.logits(ids)[0]
    logits = upcast(explorer.reference.classify(ids, mask)[0])  # (label) or (seq, label)
    return readout, logits if position is None else logits[position]
