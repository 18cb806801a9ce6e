"""Another implementation beside ours, text by text, and the fault that explains where they part.

Every value is compared with ours in float64. An implementation may be as far from that as rounding
takes ours in its own precision; beyond, the known faults are tried on ours, one after the other,
until one makes both agree. That names the fault instead of a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mbexplore.analysis.embed import DEFAULT_POOLING
from mbexplore.checkpoints.sentence_transformers import SentenceModel, read_sentence_model
from mbexplore.errors import ModelError
from mbexplore.explorer import Explorer
from mbexplore.hooks import Progress
from mbexplore.reference.forward import rms
from mbexplore.reference.ports.diagnosis import Diagnosis, Measured, diagnose
from mbexplore.reference.ports.implementation import Implementation, Precision, Unable
from mbexplore.reference.ports.implementations import as_named
from mbexplore.reference.ports.precision import in_precision
from mbexplore.reference.ports.suite import Case
from mbexplore.reference.ports.values import POOLED, Ours, names_of

ERROR_RATIO = 4.0
"""How many times our own rounding error in its precision the other side's may be: it sums in
another order, and a few outliers may hold all of the error."""

INT8_RATIO = 2.0
"""The same in int8, where the error is that of the rounded weights on both sides."""

TOKEN_RATIO = 3.0
"""How many times a value's tolerance the error of one token may be: a few may hold most of it."""


@dataclass(frozen=True)
class Value:
    """One value of one case on both sides.

    Attributes:
        case: name of the case.
        tokens: of its longest text.
        name: see `values`.
        cosine: of both sides, the least of any text.
        max_abs: largest difference from ours in float64.
        error: root mean square of that difference.
        tolerance: what it may be.
        size: root mean square of ours.
        norm_ratio: root mean square of theirs over ours.
        first_token: the first token of any text beyond; None where no token is, or where the value
            is not one of tokens.
        tokens_beyond: share of the tokens that are.
    """

    case: str
    tokens: int
    name: str
    cosine: float
    max_abs: float
    error: float
    tolerance: float
    size: float
    norm_ratio: float
    first_token: int | None = None
    tokens_beyond: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether the error is within its tolerance; NaN is not."""
        return self.error <= self.tolerance


@dataclass(frozen=True)
class PortReport:
    """Another implementation compared with ours.

    Attributes:
        name: of the other side.
        precision: of the other side, from which the tolerances come.
        compared: every value of every case, short cases first, in the order of the forward pass.
        not_compared: what could not be compared, and why.
        diagnosis: the fault that explains what parts; None where nothing parts or none does.
        notes: sentences.
    """

    name: str
    precision: Precision
    compared: tuple[Value, ...]
    not_compared: tuple[str, ...]
    diagnosis: Diagnosis | None = None
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every value is within its tolerance."""
        return all(value.passed for value in self.compared)

    @property
    def cases(self) -> list[str]:
        """Names of the cases that were compared, in their order."""
        return list(dict.fromkeys(value.case for value in self.compared))

    @property
    def differing(self) -> list[str]:
        """Names of those with a value beyond its tolerance."""
        return list(dict.fromkeys(value.case for value in self.compared if not value.passed))

    @property
    def first_mismatch(self) -> Value | None:
        """The first value that is not, of the shortest case where one is not."""
        return next((value for value in self.compared if not value.passed), None)


def compare(
    explorer: Explorer,
    other: Implementation,
    cases: Sequence[Case],
    *,
    precision: Precision | None = None,
    progress: Progress | None = None,
) -> PortReport:
    """Compares another implementation of a model with ours.

    Args:
        explorer: ours.
        other: the other side, with the same weights.
        cases: what to compare on; an implementation with values of its own has its own.
        precision: of the other side; what it says itself by default.
        progress: called with the cases done and all there are.

    Raises:
        ModelError: the other side fails, or gives nothing that can be compared.
    """
    wide = replace(_ours(explorer), model=deepcopy(explorer.model).to("cpu").double())
    cases = cases if other.own_case is None else [other.own_case]
    measured, skipped, unknown = [], [], set[str]()
    for done, case in enumerate(cases):
        if progress is not None:
            progress(done, len(cases))
        _check_ids(explorer, case)
        try:
            theirs = as_named(other.run(case), case, explorer.model.config)
        except Unable as reason:
            skipped.append(f"{case.name}: {reason}")
            continue
        known = [name for name in names_of(explorer.model) if name in theirs]
        unknown |= theirs.keys() - {*known}
        measured.append((case, {name: theirs[name] for name in known}))
    if not measured:
        raise ModelError(
            f"{other.name} can't be asked any of the texts ({skipped[0]}); export it for texts of "
            "any number and length."
        )
    if not any(theirs for _, theirs in measured):
        raise ModelError(
            f"{other.name} gives nothing that can be compared; give logits, last_hidden_state, "
            "hidden_states.N, attention.N or pooled, by these names."
        )
    notes = []
    if _have_length_1(texts for _, theirs in measured for texts in [theirs.get(POOLED, ())]):
        wide = replace(wide, unit=True)
        notes.append("Vectors are compared at length 1, as the other side gives them.")
    precision = precision or other.precision  # known when it has been asked
    ratio = INT8_RATIO if precision == "int8" else ERROR_RATIO
    narrow = in_precision(wide, precision)
    found = [_measure(wide, narrow, *one, ratio) for one in measured]
    skipped += [f"{name}: this model has nothing of that name" for name in sorted(unknown)]
    skipped += _not_given(explorer, {name for _, theirs in measured for name in theirs})
    values = tuple(value for one in found for value in _values(one))
    if precision != "float32":
        notes.append(_hidden_by(precision, values))
    diagnosis = None if all(value.passed for value in values) else diagnose(wide, found)
    return PortReport(other.name, precision, values, tuple(skipped), diagnosis, tuple(notes))


def _hidden_by(precision: Precision, values: Sequence[Value]) -> str:
    hidden = max(value.tolerance / max(value.size, 1e-30) for value in values)
    return (
        f"Rounding to {precision} hides whatever changes a value by less than {hidden:.1%}: "
        "smaller faults pass. Compare in float32 to see them."
    )


def _ours(explorer: Explorer) -> Ours:
    own = read_sentence_model(explorer.files.folder)
    return Ours(explorer.model, own or SentenceModel((DEFAULT_POOLING,)))


def _check_ids(explorer: Explorer, case: Case) -> None:
    highest, vocab = int(case.ids.max()), explorer.model.config.vocab_size
    if highest >= vocab or int(case.ids.min()) < 0:
        raise ModelError(
            f"{case.name}: there is the id {highest:,}, and the model has {vocab:,} embeddings; "
            "save the ids of this model's tokenizer."
        )


def _have_length_1(vectors: Iterable[Iterable[Tensor]]) -> bool:
    norms = [float(vector.norm()) for texts in vectors for vector in texts]
    return bool(norms) and all(abs(norm - 1) < 1e-3 for norm in norms)


def _measure(
    wide: Ours, narrow: Ours, case: Case, theirs: Mapping[str, list[Tensor]], ratio: float
) -> Measured:
    ours = wide.run(case.ids, case.mask, theirs)
    rounded = narrow.run(case.ids, case.mask, theirs)
    tolerances = {}
    for name, texts in ours.items():
        for own, other in zip(texts, theirs[name], strict=True):
            if own.shape != other.shape:
                raise ModelError(
                    f"{name} of {case.name} has the shape {tuple(other.shape)} a text, and ours "
                    f"{tuple(own.shape)}; compare the same checkpoint on both sides."
                )
        error = rms(*(a - b for a, b in zip(rounded[name], texts, strict=True)))
        tolerances[name] = ratio * error + torch.finfo(torch.float32).eps * rms(*texts)
    return Measured(case, theirs, ours, tolerances)


def _values(one: Measured) -> Iterable[Value]:
    for name, theirs in one.theirs.items():
        ours = one.ours[name]
        pairs = list(zip(ours, theirs, strict=True))
        differences, size = [a - b for a, b in pairs], rms(*ours)
        cosines = [
            float(torch.cosine_similarity(a.flatten(), b.flatten(), dim=0)) for a, b in pairs
        ]
        yield Value(
            one.case.name,
            one.case.tokens,
            name,
            min(cosines),
            max(float(one.abs().max()) for one in differences),
            rms(*differences),
            one.tolerances[name],
            size,
            rms(*theirs) / size if size else float("nan"),
            *_tokens_beyond(name, pairs, one.tolerances[name]),
        )


def _tokens_beyond(
    name: str, pairs: Sequence[tuple[Tensor, Tensor]], tolerance: float
) -> tuple[int | None, float]:
    """The first token beyond `TOKEN_RATIO` times the tolerance, and the share of those that are."""
    beyond = []
    for ours, theirs in pairs:
        squares = (ours - theirs).square()
        if name.startswith("attention."):
            squares = squares.transpose(0, 1).flatten(1)  # (query, heads * key)
        elif squares.dim() != 2:
            return None, 0.0
        beyond.append(~(squares.mean(dim=-1).sqrt() <= TOKEN_RATIO * tolerance))
    places = [int(each.nonzero()[0, 0]) for each in beyond if each.any()]
    return min(places, default=None), float(torch.cat(beyond).double().mean())


def _not_given(explorer: Explorer, given: set[str]) -> Iterable[str]:
    """What the other side does not give, in words."""
    kinds = {"hidden_states": "hidden states", "attention": "attention maps",
             "pooled": "sentence vectors", "logits": "logits"}  # fmt: skip
    there = {name.split(".")[0] for name in given}
    for kind, words in kinds.items():
        if kind not in there and kind in {n.split(".")[0] for n in names_of(explorer.model)}:
            yield f"{words}: the other side does not give them"
