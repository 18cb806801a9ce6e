"""The one service: load a model, encode, predict, record. Every skin calls this and renders.

Defaults, limits and checks live here, once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MethodType
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from mbexplore.checkpoints import hub
from mbexplore.checkpoints.tokenizer import Encoding, Tokenizer
from mbexplore.errors import DeviceError, ModelError, RangeError, TextError
from mbexplore.network.heads import ClassifierModel, explain_no_head, open_model
from mbexplore.network.model import ModernBertForMaskedLM, PretrainedModel
from mbexplore.network.packing import run_packed
from mbexplore.recording import DEFAULT_KEEP, Recording, check_index, record
from mbexplore.reference.huggingface import Reference

DEFAULT_TOP_K = 5
DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True)
class ModelInfo:
    """What every answer says of the model it came from."""

    name: str
    source: str
    parameters: int
    dtype: str
    device: str


@dataclass(frozen=True)
class Prediction:
    """One token that may stand at a mask."""

    token: str
    token_id: int
    probability: float
    logit: float


@dataclass(frozen=True)
class MaskPredictions:
    """The likeliest tokens at one mask, by falling probability."""

    position: int
    predictions: tuple[Prediction, ...]


@dataclass(frozen=True, eq=False)
class Answer:
    """What the model says at every mask of a text.

    Attributes:
        model: which model.
        encoding: the text and its tokens.
        masks: one entry a mask, in the text's order.
        logits: (mask, vocab).
    """

    model: ModelInfo
    encoding: Encoding
    masks: tuple[MaskPredictions, ...]
    logits: Tensor


@dataclass(frozen=True)
class Comparison:
    """Hugging Face's answer to the same text, and how far ours is from it.

    Attributes:
        version: of transformers.
        masks: its predictions, one entry a mask.
        max_abs_logit_difference: over every token of the vocabulary at every mask.
        same_top_k: whether both name the same tokens in the same order.
    """

    version: str
    masks: tuple[MaskPredictions, ...]
    max_abs_logit_difference: float
    same_top_k: bool

    @property
    def summary(self) -> str:
        """How far ours is from it, in one sentence."""
        order = "same" if self.same_top_k else "another"
        return (
            f"Largest logit difference {self.max_abs_logit_difference:.1e}, {order} top "
            f"{len(self.masks[0].predictions)} (transformers {self.version})."
        )


if TYPE_CHECKING:
    from mbexplore.views.typed import ViewMethods
else:
    ViewMethods = object


class Explorer(ViewMethods):
    """A loaded model with its tokenizer. Read-only: one may serve many people.

    Every view is a method: `explorer.lens("The capital of France is [MASK].")`.

    Attributes:
        model: ours.
        tokenizer: text to tokens.
        files: where the model lies.
        info: what answers say of it.
    """

    methods: ClassVar[Mapping[str, Callable[..., Any]]] = {}
    """The views as methods, by name; the package fills it."""

    def __getattr__(self, name: str) -> Any:
        """A view, as a method."""
        if name not in type(self).methods:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return MethodType(type(self).methods[name], self)

    def __dir__(self) -> list[str]:
        """Names of the views too, so that they complete."""
        return [*super().__dir__(), *type(self).methods]

    def __init__(self, model: PretrainedModel, tokenizer: Tokenizer, files: hub.ModelFiles) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.files = files
        self.info = ModelInfo(
            name=files.name,
            source=files.source,
            parameters=sum(p.numel() for p in model.parameters()),
            dtype=str(model.dtype).removeprefix("torch."),
            device=str(model.device),
        )

    def encode(self, text: str, *, pair: str | None = None, truncate: bool = False) -> Encoding:
        """Tokens of a text, or of a pair of texts, checked against the model's limit.

        Raises:
            TextError: a text is empty, or they are too long and not to be truncated, or the second
                of a pair would be cut away whole.
            ModelError: the tokenizer gives an id that the model has no embedding for.
        """
        config = self.model.config
        limit = config.max_position_embeddings
        encoding = self.tokenizer.encode(text, pair=pair, limit=limit, truncate=truncate)
        highest = max(encoding.ids)
        if highest >= config.vocab_size:
            raise ModelError(
                f"The tokenizer of {self.info.name} gives {self.tokenizer.token(highest)!r} the id "
                f"{highest:,}, and the model has {config.vocab_size:,} embeddings; use the "
                "tokenizer.json that belongs to these weights."
            )
        return encoding

    def pad(self, batch: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Texts of unequal length as one rectangle, padded on the right.

        Args:
            batch: token ids of each text.

        Returns:
            Ids and attention mask, each (batch, seq), on the model's device.
        """
        longest = max(len(ids) for ids in batch)
        pad = self.model.config.pad_token_id or 0
        rows = [[*ids, *[pad] * (longest - len(ids))] for ids in batch]
        mask = [[1] * len(ids) + [0] * (longest - len(ids)) for ids in batch]
        device = self.model.device
        return torch.tensor(rows, device=device), torch.tensor(mask, device=device)

    def encode_masked(self, text: str, *, truncate: bool = False) -> Encoding:
        """Tokens of a text that has a mask to predict; see `encode`.

        Raises:
            TextError: there is no mask (any more, where the text was cut).
            ModelError: the model has no MLM head or no mask token.
        """
        self.masked_lm()
        encoding = self.encode(text, truncate=truncate)
        if not encoding.mask_positions:
            mask, cut = self.tokenizer.mask_token, encoding.is_cut
            left = f" within its first {len(encoding):,} tokens" if cut else ""
            raise TextError(
                f"The text {_shortened(text)!r} has no {mask}{left}; put {mask} where a word is to "
                "be predicted."
            )
        return encoding

    def predict(self, text: str | Encoding, *, top_k: int = DEFAULT_TOP_K) -> Answer:
        """The likeliest tokens at every mask of a text. Logits are computed at the masks alone.

        Args:
            text: a text with a mask, or what `encode_masked` made of it.
            top_k: tokens named at each mask.

        Raises:
            TextError: there is no mask.
            ModelError: the model has no MLM head.
        """
        [answer] = self.predict_many([text], top_k=top_k)
        return answer

    def predict_many(
        self, texts: Sequence[str | Encoding], *, top_k: int = DEFAULT_TOP_K
    ) -> Iterator[Answer]:
        """`predict` for many texts, packed side by side and never padded; answers in their order.

        Each text gets the logits it would get alone, to rounding.

        Raises:
            TextError: a text has no mask; no text is run then.
            ModelError: the model has no MLM head, or its numbers are not finite.
        """
        self.check_top_k(top_k)
        model = self.masked_lm()
        encodings = [self.encode_masked(text) if isinstance(text, str) else text for text in texts]
        packed = run_packed(
            model, [one.ids for one in encodings], [one.mask_positions for one in encodings]
        )
        for encoding, logits in zip(encodings, packed, strict=True):  # (mask, vocab)
            check_finite(model, logits)
            yield Answer(self.info, encoding, self._top(encoding, logits, top_k), logits)

    def compare(self, answer: Answer) -> Comparison:
        """The same text through transformers on the same weights."""
        encoding = answer.encoding
        theirs = self.reference.logits(encoding.ids, encoding.mask_positions)
        top_k = len(answer.masks[0].predictions)
        masks = self._top(encoding, theirs, top_k)
        pairs = zip(masks, answer.masks, strict=True)
        return Comparison(
            version=self.reference.version,
            masks=masks,
            max_abs_logit_difference=float((answer.logits - theirs).abs().max()),
            same_top_k=all(_token_ids(hf) == _token_ids(ours) for hf, ours in pairs),
        )

    def record(
        self,
        text: str | Encoding,
        *,
        keep: Collection[str] = DEFAULT_KEEP,
        truncate: bool = False,
    ) -> Recording:
        """One forward pass over a text with what it computed kept; see `recording.kept_taps`.

        Raises:
            TextError: see `encode`.
            ModelError: the model's numbers are not finite.
        """
        encoding = self.encode(text, truncate=truncate) if isinstance(text, str) else text
        recording = record(self.model, encoding, keep)
        # What is not finite stays so from layer to layer, so the last place kept tells of all.
        places = [name.rpartition(".")[0] for name in recording.values]
        kept = zip(places, recording.values.values(), strict=True)
        check_finite(self.model, *(value for place, value in kept if place == places[-1]))
        return recording

    def check_layer_and_head(self, layer: int, head: int | None = None) -> None:
        """Refuses a layer or head that the model lacks, before any work is done.

        Raises:
            RangeError: the sentence gives the range.
        """
        check_index("layer", layer, self.model.config.num_hidden_layers)
        if head is not None:
            check_index("head", head, self.model.config.num_attention_heads)

    @cached_property
    def reference(self) -> Reference:
        """The same weights in transformers, loaded when first asked for."""
        return self.load_reference()

    def load_reference(self, attention: str = "sdpa") -> Reference:
        """The same weights in transformers, as the class that has this head.

        Args:
            attention: transformers' implementation; only "eager" gives maps.
        """
        model, kind = self.model, ModernBertForMaskedLM
        name = (type(model) if isinstance(model, ClassifierModel) else kind).__name__
        return Reference.load(self.files.folder, model.dtype, model.device, attention, name)

    def masked_lm(self) -> ModernBertForMaskedLM:
        """The model, if it can predict.

        Raises:
            ModelError: it has no MLM head, or its tokenizer no mask token.
        """
        if isinstance(self.model, ClassifierModel):
            raise ModelError(
                f"{self.info.name} {self.model.does} and has no MLM head, so it can't predict a "
                "masked word; use `mbexplore attention` on it, or name a masked-language model."
            )
        if not isinstance(self.model, ModernBertForMaskedLM):
            raise ModelError(explain_no_head(self.info.name, self.files.folder))
        if self.tokenizer.mask_token_id is None:
            raise ModelError(
                f"The tokenizer of {self.info.name} has no mask token, so there is nothing to "
                "predict; name a masked-language model."
            )
        return self.model

    def check_top_k(self, top_k: int) -> None:
        """Refuses a number of predictions that the vocabulary can't give.

        Raises:
            RangeError: the sentence gives the range.
        """
        vocab = self.model.config.vocab_size
        if not 1 <= top_k <= vocab:
            raise RangeError(f"top-k is {top_k}; choose 1 to {vocab}, the size of the vocabulary.")

    def _top(self, encoding: Encoding, logits: Tensor, top_k: int) -> tuple[MaskPredictions, ...]:
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        probabilities = wide.softmax(dim=-1)
        ids = wide.topk(top_k, dim=-1).indices  # (mask, top_k)
        return tuple(
            MaskPredictions(
                position,
                tuple(
                    Prediction(self.tokenizer.token(i), i, float(p[i]), float(row[i]))
                    for i in best.tolist()
                ),
            )
            for position, row, p, best in zip(
                encoding.mask_positions, wide, probabilities, ids, strict=True
            )
        )


def load(name: str | None = None, *, device: str = "auto", dtype: str = "float32") -> Explorer:
    """Opens a model.

    Args:
        name: "tiny" (bundled), "base", "large", a folder or a hub id; None for
            `$MBEXPLORE_MODEL`, or "tiny" where that is not set.
        device: "auto", "cpu", "cuda" or "mps".
        dtype: "float32", "float64", "float16" or "bfloat16": of the computation, whatever the file
            stores.

    Raises:
        ModelError: the model can't be found, read or trusted.
        DeviceError: the device isn't there.
    """
    if dtype not in DTYPES:
        raise RangeError(f"There is no dtype {dtype!r}; choose {', '.join(DTYPES)}.")
    place = find_device(device)
    files = hub.locate(name or os.environ.get("MBEXPLORE_MODEL") or hub.BUNDLED)
    model = open_model(files.folder, dtype=DTYPES[dtype], device=place)
    return Explorer(model, Tokenizer.from_folder(files.folder), files)


def check_finite(model: PretrainedModel, *values: Tensor) -> None:
    """Refuses what a model computed where there is NaN or infinity in it.

    Raises:
        ModelError: its weights are damaged, or its dtype is too narrow for what it computes.
    """
    if all(bool(value.isfinite().all()) for value in values):
        return
    remedy = (
        "open it in float32"
        if model.dtype == torch.float16
        else "its weights are damaged, so copy or train them again"
    )
    dtype = str(model.dtype).removeprefix("torch.")
    raise ModelError(f"The model computes numbers that are not finite in {dtype}; {remedy}.")


def find_device(name: str) -> torch.device:
    """The device of that name; "auto" is the first there is of cuda, mps and cpu.

    Raises:
        DeviceError: this machine lacks it.
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(kind for kind, is_there in there.items() if is_there))
    if not there.get(name, False):
        have = ", ".join(kind for kind, is_there in there.items() if is_there)
        raise DeviceError(f"There is no device {name!r} here; this machine has {have}.")
    return torch.device(name)


def _token_ids(mask: MaskPredictions) -> list[int]:
    return [prediction.token_id for prediction in mask.predictions]


def _shortened(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"
