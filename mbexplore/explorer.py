"""The one service: load a model, encode, predict, record. Every front end calls this and renders.

Defaults, limits and checks live here, once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import MethodType
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from mbexplore.answers import Answer as Answer
from mbexplore.answers import Comparison as Comparison
from mbexplore.answers import MaskPredictions as MaskPredictions
from mbexplore.answers import ModelInfo as ModelInfo
from mbexplore.answers import Prediction as Prediction
from mbexplore.answers import read_masks
from mbexplore.checkpoints import hub
from mbexplore.checkpoints.model import explain_no_head, open_model
from mbexplore.checkpoints.tokenizer import Encoding, Tokenizer
from mbexplore.checks import EMBEDDINGS, check_blank, check_told_apart
from mbexplore.checks import check_finite as check_finite
from mbexplore.checks import find_device as find_device
from mbexplore.errors import ModelError, RangeError, TextError
from mbexplore.hooks import hooked, keep_shape
from mbexplore.jobs import locked_property
from mbexplore.network.heads import ClassifierModel
from mbexplore.network.model import ModernBertForMaskedLM, PretrainedModel
from mbexplore.network.packing import pad, run_packs
from mbexplore.network.tap import Action
from mbexplore.recorder import DEFAULT_KEEP, record, record_many
from mbexplore.recording import Recording, check_index
from mbexplore.reference.huggingface import Reference
from mbexplore.text import find_other_mask, shortened

DEFAULT_TOP_K = 5
_DTYPES = ("float32", "float64", "float16", "bfloat16")
DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in _DTYPES}

if TYPE_CHECKING:
    from mbexplore.views.typed import ViewMethods
else:
    ViewMethods = object


class Explorer(ViewMethods):
    """A loaded model with its tokenizer. Read-only: one may serve many people.

    Every view is a method: `explorer.lens("The capital of France is [MASK].")`.

    Attributes:
        model: ours.
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

    def __init__(
        self, model: PretrainedModel, tokenizer: Tokenizer | None, files: hub.ModelFiles
    ) -> None:
        self.model = model
        self.files = files
        if tokenizer is not None:
            self.tokenizer = tokenizer
        self.info = ModelInfo(
            name=files.name,
            source=files.source,
            parameters=sum(p.numel() for p in model.parameters()),
            dtype=str(model.dtype).removeprefix("torch."),
            device=str(model.device),
        )

    @locked_property
    def tokenizer(self) -> Tokenizer:
        """Text to tokens."""
        return Tokenizer.from_folder(self.files.folder)

    def __repr__(self) -> str:
        info, config = self.info, self.model.config
        return (
            f"Explorer({info.name!r}: {config.num_hidden_layers} layers x "
            f"{config.num_attention_heads} heads, {info.parameters:,} parameters, {info.dtype} on "
            f"{info.device})"
        )

    def encode(self, text: str, *, pair: str | None = None, truncate: bool = False) -> Encoding:
        """Tokens of a text, or of a pair of texts, checked against the model's limit.

        Raises:
            TextError: a text is empty, or they are too long and not to be truncated, or the second
                of a pair would be cut away whole.
            ModelError: the tokenizer gives an id that the model has no embedding for.
        """
        if not isinstance(text, str):
            raise TextError(
                f"A text is a string, and {shortened(repr(text), 60)} is of type "
                f"{type(text).__name__}; give one string, or several to fill_masks_many or "
                "record_many."
            )
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
        ids, mask = pad(batch, self.model.config.pad_token_id or 0)
        return ids.to(self.model.device), mask.to(self.model.device)

    def encode_masked(self, text: str, *, truncate: bool = False) -> Encoding:
        """Tokens of a text that has a mask to predict; see `encode`.

        Raises:
            TextError: there is no mask (any more, where the text was cut).
            ModelError: the model has no MLM head or no mask token.
        """
        self.masked_lm()
        return self.check_masked(self.encode(text, truncate=truncate))

    def check_masked(self, encoding: Encoding) -> Encoding:
        """The encoding itself, if it has a mask to predict.

        Raises:
            TextError: it has none.
        """
        if not encoding.mask_positions:
            mask, cut = self.tokenizer.mask_token, encoding.is_cut
            left = f" within its first {len(encoding):,} tokens" if cut else ""
            other = find_other_mask(encoding.text, mask)
            instead = "" if other is None else f", in place of {other}"
            raise TextError(
                f"The text {shortened(encoding.text, 60)!r} has no {mask}{left}; put {mask} "
                f"where a word is to be predicted{instead}."
            )
        return encoding

    def fill_masks(self, text: str | Encoding, *, top_k: int = DEFAULT_TOP_K) -> Answer:
        """The likeliest tokens at every mask of a text. Logits are computed at the masks alone.

        Args:
            text: a text with a mask, or what `encode_masked` made of it.
            top_k: tokens named at each mask.

        Raises:
            TextError: there is no mask.
            ModelError: the model has no MLM head.
        """
        [answer] = self.fill_masks_many([text], top_k=top_k)
        return answer

    def fill_masks_many(
        self, texts: Sequence[str | Encoding], *, top_k: int = DEFAULT_TOP_K
    ) -> Iterator[Answer]:
        """`fill_masks` for many texts, packed side by side, never padded; answers in their order.

        Each text gets the logits it would get alone, to rounding.

        Raises:
            TextError: a text has no mask; no text is run then.
            ModelError: the model has no MLM head, or its numbers are not finite or all the same.
        """
        self.check_top_k(top_k)
        model = self.masked_lm()
        check_blank(model)
        encodings = [self.check_masked(self._encoding(text)) for text in texts]
        packed = run_packs(
            model, [one.ids for one in encodings], [one.mask_positions for one in encodings]
        )
        for places, counts, logits in packed:
            check_finite(model, logits)
            some, parts = [encodings[place] for place in places], torch.split(logits, counts)
            for part in parts:  # (mask, vocab)
                check_told_apart(part)
            every = read_masks(self.tokenizer, some, logits, top_k)
            for _, encoding, masks, part in sorted(zip(places, some, every, parts, strict=True)):
                yield Answer(self.info, encoding, masks, part)

    def compare_with_transformers(self, answer: Answer) -> Comparison:
        """The same text through transformers on the same weights."""
        encoding = answer.encoding
        theirs = self.reference.logits(encoding.ids, encoding.mask_positions)
        top_k = len(answer.masks[0].predictions)
        [masks] = read_masks(self.tokenizer, [encoding], theirs, top_k)
        apart = torch.where(answer.logits == theirs, 0.0, (answer.logits - theirs).abs())
        ids = [
            [[p.token_id for p in one.predictions] for one in side]
            for side in (masks, answer.masks)
        ]
        return Comparison(
            version=self.reference.version,
            masks=masks,
            max_abs_logit_difference=float(apart.max()),
            same_top_k=ids[0] == ids[1],
        )

    def record(
        self,
        text: str | Encoding,
        *,
        keep: Collection[str] = DEFAULT_KEEP,
        layers: Collection[int] | None = None,
        truncate: bool = False,
    ) -> Recording:
        """One forward pass over a text with what it computed kept; see `recorder.record`.

        Args:
            text: the text.
            keep: what to keep; see `recorder.kept_taps`.
            layers: of which layers; the pass ends after the last of them. None for all.
            truncate: whether to cut a text that is too long.

        Raises:
            TextError: see `encode`.
            RangeError: a name in `keep` or a layer is unknown.
            ModelError: the model's numbers are not finite.
        """
        return self._checked(record(self.model, self._encoding(text, truncate), keep, layers))

    def record_many(
        self,
        texts: Iterable[str | Encoding],
        *,
        keep: Collection[str] = DEFAULT_KEEP,
        layers: Collection[int] | None = None,
        truncate: bool = False,
    ) -> Iterator[Recording]:
        """`record` for many texts, packed side by side; recordings in their order, as they come.

        Texts are taken as they are needed, so there may be more than fit in memory. Each gets the
        values it would get alone, to rounding.

        Raises:
            TextError: see `encode`.
            RangeError: a name in `keep` or a layer is unknown.
            ModelError: the model's numbers are not finite.
        """
        encodings = (self._encoding(text, truncate) for text in texts)
        yield from map(self._checked, record_many(self.model, encodings, keep, layers))

    @contextmanager
    def edit(self, actions: Mapping[str, Action]) -> Iterator[Explorer]:
        """Edits values inside the model for as long as the `with` block lasts.

            with explorer.edit({"layers.3.pattern": lambda pattern: pattern.roll(1, 1)}):
                explorer.fill_masks("The capital of France is [MASK].")

        All that this explorer does in the block, and in this thread, goes by the edited values.

        Args:
            actions: by the name of the tap, see `hooks.hooked`; each is called with a value, with
                its batch axis, and returns what takes its place, or None to leave it.

        Raises:
            RangeError: a name is no tap, or an action changes the shape of a value.
        """
        checked = {name: keep_shape(name, action) for name, action in actions.items()}
        with hooked(self.model, checked):
            yield self

    def _encoding(self, text: str | Encoding, truncate: bool = False) -> Encoding:
        return text if isinstance(text, Encoding) else self.encode(text, truncate=truncate)

    def _checked(self, recording: Recording) -> Recording:
        values = {name: v for name, v in recording.values.items() if not name.endswith(".scores")}
        logits = () if recording.logits is None else (recording.logits,)
        check_finite(self.model, *values.values(), *logits)
        check_blank(self.model, EMBEDDINGS)
        return recording

    def check_recording(self, recording: Recording) -> None:
        """Refuses a recording of a model of other dimensions.

        Raises:
            ModelError: it is of another model.
        """
        if recording.config != self.model.config:
            raise ModelError(
                f"The recording is of another model than {self.info.name}; open the one that was "
                "recorded."
            )

    def check_layer_and_head(self, layer: int, head: int | None = None) -> None:
        """Refuses a layer or head that the model lacks, before any work is done.

        Raises:
            RangeError: the sentence gives the range.
        """
        check_index("layer", layer, self.model.config.num_hidden_layers)
        if head is not None:
            check_index("head", head, self.model.config.num_attention_heads)

    @locked_property
    def reference(self) -> Reference:
        """The same weights in transformers, loaded when first asked for."""
        return self.load_reference()

    def load_reference(
        self, attention: str = "sdpa", dtype: torch.dtype | None = None
    ) -> Reference:
        """The same weights in transformers, as the class that has this head.

        Args:
            attention: transformers' implementation; only "eager" gives maps.
            dtype: of the parameters; None for the model's own.
        """
        model, kind = self.model, ModernBertForMaskedLM
        name = (type(model) if isinstance(model, ClassifierModel) else kind).__name__
        return Reference.load(
            self.files.folder, dtype or model.dtype, model.device, attention, name
        )

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


def load(
    name: str | None = None, *, device: str = "auto", dtype: str = "float32", weights: bool = True
) -> Explorer:
    """Opens a model.

    Args:
        name: "tiny" (bundled), "base", "large", a folder or a hub id; None for
            `$MBEXPLORE_MODEL`, or "tiny" where that is not set.
        device: "auto", "cpu", "cuda" or "mps".
        dtype: "float32", "float64", "float16" or "bfloat16": of the computation, whatever the file
            stores.
        weights: False where what the header of their file says is enough; none is read then.

    Raises:
        ModelError: the model can't be found, read or trusted.
        DeviceError: the device isn't there.
    """
    if dtype not in DTYPES:
        raise RangeError(f"There is no dtype {dtype!r}; choose {', '.join(DTYPES)}.")
    place = find_device(device)
    files = hub.locate(name or os.environ.get("MBEXPLORE_MODEL") or hub.BUNDLED)
    model = open_model(files.folder, dtype=DTYPES[dtype], device=place, weights=weights)
    explorer = Explorer(model, Tokenizer.from_folder(files.folder) if weights else None, files)
    if not weights:
        explorer.info = replace(explorer.info, dtype=dtype, device=str(place))
    return explorer
