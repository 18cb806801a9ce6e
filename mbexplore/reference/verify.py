"""Numerical trust: ours against transformers (eager), value by value through the whole model.

Both sides run the same weights on the same tokens twice. In float64, where only a difference of
meaning shows: any fault, whatever the model's own dtype hides. And in the model's dtype, where our
rounding error may be at most twice that of transformers. What they computed is compared in the
order of the forward pass, so the first check that fails names where they differ; then come the
paths that `predict`, `attention` and long texts take. Knows no front end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from mbexplore.explorer import Explorer
from mbexplore.hooks import Progress
from mbexplore.network.config import LayerKind, ModernBertConfig
from mbexplore.network.heads import ModernBertForSequenceClassification
from mbexplore.network.linear import HALF
from mbexplore.network.model import PretrainedModel
from mbexplore.reference.batches import Batch
from mbexplore.reference.forward import (
    EVERY_TAP,
    FLOAT32_TAPS,
    Forward,
    pad,
    places,
    real_part,
    rms,
    roundings,
)
from mbexplore.reference.paths import PATHS, PathValue, path_values

ERROR_RATIO = 4.0
"""How many times transformers' own rounding error ours may be, as root mean squares; or that of
rounding at our taps alone, where theirs happens to be small. Ours is 1.5 times theirs at most, but
on outlier channels the mean over texts is 1.0, single texts had 0.3 to 4.0 times theirs: where two
scores nearly tie, one rounding becomes a hundred times as large, on either side."""

RMS_RATIO = 16.0
"""In float64, how many times the effect of rounding attention to float32, as transformers does
there, a difference may be: its roundings fall otherwise than the ones they are estimated by."""

MAX_RATIO = 24.0
"""The same of the largest difference, which chance moves more."""

PATH_RATIO = 3.0
"""How many times a value's tolerance a part of it may differ by: the few tokens of a part may hold
most of the error of the whole."""

STEPS = 4
_NAMES = {
    "attention": "attention map",
    "resid_post": "hidden state",
    "embed": "hidden state",
    "final_norm": "final norm",
}


@dataclass(frozen=True)
class Check:
    """One value on both sides.

    Attributes:
        what: "hidden state", "attention map", "final norm", "head", "logits", one of
            `paths.PATHS`, or a published value.
        layer: of the layer that computed it; None before and after the layers.
        kind: of that layer.
        theta: of that layer.
        half_window: of that layer; None for a global one.
        max_abs: largest absolute difference from transformers over the real tokens; of one of
            `PATHS` from the plain forward pass.
        mean_abs: mean absolute difference.
        error: our error against float64, root mean square; of a published value `max_abs`.
        tolerance: what `error` may be; see `ERROR_RATIO`.
        float64_difference: largest difference of both sides in float64.
        float64_tolerance: what it may be.
        float64_rms: root mean square of that difference.
        float64_rms_tolerance: what it may be.
    """

    what: str
    layer: int | None
    kind: LayerKind | None
    theta: float | None
    half_window: int | None
    max_abs: float
    mean_abs: float
    error: float
    tolerance: float
    float64_difference: float = 0.0
    float64_tolerance: float = 0.0
    float64_rms: float = 0.0
    float64_rms_tolerance: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether the error and the float64 difference are within their tolerances; NaN is not."""
        return (
            self.error <= self.tolerance
            and self.float64_difference <= self.float64_tolerance
            and self.float64_rms <= self.float64_rms_tolerance
        )


@dataclass(frozen=True)
class Verification:
    """All checks of one text or batch: those of the forward pass in its order, then the paths.

    Attributes:
        checks: one a value.
        tokens: of each text.
        version: of transformers.
        notes: what these checks can't show, or where both sides differ on purpose; sentences.
    """

    checks: tuple[Check, ...]
    tokens: tuple[int, ...]
    version: str
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def first_mismatch(self) -> Check | None:
        """The first check that failed."""
        return next((check for check in self.checks if not check.passed), None)


def verify(explorer: Explorer, batch: Batch, progress: Progress | None = None) -> Verification:
    """Compares every value of one forward pass over a batch, and the other paths to it.

    Args:
        explorer: the model, in the dtype to be verified.
        batch: token ids of each text; texts of unequal length are padded on the right. In float64
            each runs alone, as transformers gives NaN for padding there.
        progress: called with the steps done and all there are.
    """
    steps = iter(range(1, STEPS + 1))

    def step() -> None:
        if progress is not None:
            progress(next(steps), STEPS)

    model = explorer.model
    sides = _Sides(model, batch)
    step()
    reference = explorer.load_reference("eager")
    checks = {name: _Measured() for name in places(model.config)}
    if model.dtype != torch.float64:
        theirs_ids, theirs_mask = explorer.pad(batch)
        reference.trace(theirs_ids, theirs_mask, sides.compare_dtype(checks))
    step()
    if model.dtype in HALF:  # ours keeps some parameters in float32, theirs has rounded all
        reference = explorer.load_reference("eager", torch.float32)
    reference.to_float64({name: value.dtype for name, value in model.named_parameters()})
    for row, ids in enumerate(batch):
        reference.trace(*pad([ids], 0), sides.compare_float64(checks, row))
    step()
    found = [
        one.as_check(place, model.config)
        for place, one in checks.items()
        if place in sides.oracle[0]
    ]
    found += _check_paths(sides, checks)
    step()
    return Verification(
        tuple(found), tuple(map(len, batch)), reference.version, tuple(_notes(model, checks))
    )


class _Measured:
    """Running maxima over texts of what is compared at one place; `rms` where not said otherwise.

    Attributes:
        max_abs: largest difference of both sides in the model's dtype.
        ours: our error against float64.
        theirs: the error of transformers.
        taps: the error of rounding at our taps alone.
        exact: rms and maximum of the difference in float64.
        size: of the values, rms.
        rounding: rms and maximum of what transformers' own rounding to float32 does there.
    """

    def __init__(self) -> None:
        self.max_abs = self.mean_abs = self.ours = self.theirs = self.taps = 0.0
        self.floor = self.exact_floor = self.size = 0.0
        self.exact = self.rounding = (0.0, 0.0)
        self.has_dtype = False

    def add_dtype(
        self, ours: Tensor, theirs: Tensor, oracle: Tensor, tapped: Tensor, dtype: torch.dtype
    ) -> None:
        """Takes in one text in the model's dtype."""
        self.has_dtype = True
        self._add_difference((ours - theirs).abs())
        self.ours = _larger(self.ours, rms(ours - oracle))
        self.theirs = _larger(self.theirs, rms(theirs - oracle))
        self.taps = _larger(self.taps, rms(tapped - oracle))
        self.floor = max(self.floor, torch.finfo(dtype).eps * rms(oracle))

    def add_float64(self, theirs: Tensor, oracle: Tensor, rounded: Tensor) -> None:
        """Takes in one text in float64."""
        difference, rounding = (oracle - theirs).abs(), (oracle - rounded).abs()
        sizes = rms(difference), float(difference.max())
        self.exact = _larger(self.exact[0], sizes[0]), _larger(self.exact[1], sizes[1])
        sizes = rms(rounding), float(rounding.max())
        self.rounding = max(self.rounding[0], sizes[0]), max(self.rounding[1], sizes[1])
        self.size = max(self.size, rms(oracle))
        self.exact_floor = max(self.exact_floor, 1e-12 * float(oracle.abs().max()))
        if not self.has_dtype:  # the model itself is in float64
            self._add_difference(difference)
            self.ours = self.exact[0]

    def _add_difference(self, difference: Tensor) -> None:
        self.max_abs = _larger(self.max_abs, float(difference.max()))
        self.mean_abs = _larger(self.mean_abs, float(difference.mean()))

    @property
    def tolerance(self) -> float:
        if not self.has_dtype:
            return self.float64_rms_tolerance
        return ERROR_RATIO * max(self.theirs, self.taps) + self.floor

    @property
    def float64_tolerance(self) -> float:
        return MAX_RATIO * self.rounding[1] + self.exact_floor

    @property
    def float64_rms_tolerance(self) -> float:
        return RMS_RATIO * self.rounding[0] + self.exact_floor

    def as_check(self, place: str, config: ModernBertConfig) -> Check:
        name = place.rpartition(".")[2]
        return Check(
            _NAMES.get(name, name),
            *_layer_facts(config, place),
            self.max_abs,
            self.mean_abs,
            self.ours,
            self.tolerance,
            self.exact[1],
            self.float64_tolerance,
            self.exact[0],
            self.float64_rms_tolerance,
        )


class _Sides:
    """Our side of a batch: in the model's dtype, in float64, and so with transformers' rounding.

    Attributes:
        model: in its own dtype.
        wide: a copy in float64 on the CPU.
        batch: token ids of each text.
        ours: the padded batch in the model's dtype.
        oracle: each text in float64.
        like_theirs: each text in float64, attention rounded to float32 where transformers does.
        tapped: each text in float64, with every tap rounded to the model's dtype.
    """

    def __init__(self, model: PretrainedModel, batch: Batch) -> None:
        self.model, self.batch = model, batch
        self.wide = deepcopy(model).to("cpu").double()
        ids, mask = pad(batch, model.config.pad_token_id or 0)
        self.ours = Forward(model, ids.to(model.device), mask.to(model.device))
        alone = [pad([one], 0) for one in batch]
        self.oracle = [Forward(self.wide, *one) for one in alone]
        like_theirs = roundings(model.config, FLOAT32_TAPS, torch.float32)
        self.like_theirs = [Forward(self.wide, *one, edits=like_theirs) for one in alone]
        tapped = roundings(model.config, EVERY_TAP, model.dtype)
        self.tapped = [Forward(self.wide, *one, edits=tapped) for one in alone]

    def compare_dtype(self, checks: dict[str, _Measured]) -> Callable[[str, Tensor], None]:
        """What takes in a value of transformers' padded batch in the model's dtype."""

        def compare(place: str, theirs: Tensor) -> None:
            for row, ids in enumerate(self.batch):
                if place in self.ours:
                    checks[place].add_dtype(
                        self.ours.text(place, row),
                        real_part(place, theirs[row], len(ids)),
                        self.oracle[row].text(place),
                        self.tapped[row].text(place),
                        _dtype_of(place, self.model.dtype),
                    )

        return compare

    def compare_float64(
        self, checks: dict[str, _Measured], row: int
    ) -> Callable[[str, Tensor], None]:
        """What takes in a value of transformers' run of one text in float64."""

        def compare(place: str, theirs: Tensor) -> None:
            if place in self.oracle[row]:
                rounded = self.like_theirs[row].text(place)
                if place.endswith(".attention"):  # their softmax is float32 too
                    rounded = rounded.float().double()
                checks[place].add_float64(
                    real_part(place, theirs[0], len(self.batch[row])),
                    self.oracle[row].text(place),
                    rounded,
                )

        return compare


def _check_paths(sides: _Sides, checks: dict[str, _Measured]) -> list[Check]:
    """One check a path: where it fails first, or else its largest error."""
    worst: dict[str, Check] = {}
    narrow = path_values(sides.model, sides.batch, sides.ours)
    wide = path_values(sides.wide, sides.batch, None, sides.oracle)
    for value, exact in zip(narrow, wide, strict=True):
        check = _check_path(sides, value, exact, checks[value.place])
        known = worst.get(value.path)
        if known is None or (known.passed and (not check.passed or check.error > known.error)):
            worst[value.path] = check
    return [worst[path] for path in PATHS if path in worst]


def _check_path(sides: _Sides, value: PathValue, exact: PathValue, known: _Measured) -> Check:
    oracle = value.select(sides.oracle[value.row].text(value.place))
    plain = value.select(sides.ours.text(value.place, value.row))
    found = value.value.cpu().double()
    difference, wide = (found - plain).abs(), (exact.value - oracle).abs()
    return Check(
        value.path,
        *_layer_facts(sides.model.config, value.place),
        float(difference.max()),
        float(difference.mean()),
        rms(found - oracle),
        PATH_RATIO * known.tolerance,
        float(wide.max()),
        known.float64_tolerance,
        rms(wide),
        PATH_RATIO * known.float64_rms_tolerance,
    )


def _layer_facts(
    config: ModernBertConfig, place: str
) -> tuple[int | None, LayerKind | None, float | None, int | None]:
    """Layer, kind, theta and half window of a place; None outside the layers."""
    if not place.startswith("layers."):
        return None, None, None, None
    layer = int(place.split(".")[1])
    return layer, config.layer_kinds[layer], config.theta(layer), config.half_window(layer)


def _dtype_of(place: str, dtype: torch.dtype) -> torch.dtype:
    """The dtype that a value is computed in: our maps are float32 or wider."""
    return torch.promote_types(dtype, torch.float32) if place.endswith(".attention") else dtype


def _larger(before: float, now: float) -> float:
    """The larger of both; NaN if one is."""
    return before if math.isnan(before) or before >= now else now


def _notes(model: PretrainedModel, checks: Mapping[str, _Measured]) -> Iterator[str]:
    """What the checks can't show, and where both sides differ on purpose."""
    hidden = [one for place, one in checks.items() if place.endswith(("embed", "resid_post"))]
    least = max(one.float64_rms_tolerance / max(one.size, 1e-30) for one in hidden)
    yield (
        f"A change of a hidden state by less than {least:.0e} of its size would not be seen: "
        "transformers rounds to float32 there even in float64."
    )
    if model.dtype in HALF:
        dtype = str(model.dtype).removeprefix("torch.")
        coarsest = max(one.tolerance / max(one.size, 1e-30) for one in hidden)
        yield (
            f"In {dtype} itself rounding hides what is below {coarsest:.0e} of a hidden state; "
            "the same weights in float64 decide."
        )
    is_pooled = isinstance(model, ModernBertForSequenceClassification)
    if is_pooled and model.config.classifier_pooling == "cls":
        yield (
            "Pad on the right to compare pooled logits: where a text is padded on the left, "
            "mbexplore pools its first real token and transformers the padding at position 0."
        )
