"""Which known fault makes ours agree with an implementation that parts from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from mbexplore.errors import MbexploreError
from mbexplore.reference.forward import rms
from mbexplore.reference.ports.faults import FAULTS, Fault
from mbexplore.reference.ports.suite import Case
from mbexplore.reference.ports.values import Ours

DECIDING = 3
"""Cases on which every fault is tried; those that agree there are tried on all."""

PROMISING = 5
"""Faults that are tried together with each other one, where none alone explains the difference."""

CLOSEST = 0.2
"""Share of the difference that the closest fault may leave on any text to be named at all."""

EXPLAINED = 0.5
"""Share of the difference that a fault must leave at most to count as promising."""


@dataclass(frozen=True, eq=False)
class Measured:
    """A case on both sides.

    Attributes:
        case: what both ran on.
        theirs: values by name, one tensor a text.
        ours: the same in float64.
        tolerances: what the root mean square of the difference may be, by name.
    """

    case: Case
    theirs: Mapping[str, list[Tensor]]
    ours: Mapping[str, list[Tensor]]
    tolerances: Mapping[str, float]

    @property
    def excess(self) -> float:
        """How many times its tolerance the worst value differs; above 1 both part."""
        return self.excess_of(self.ours)

    def excess_of(self, ours: Mapping[str, list[Tensor]]) -> float:
        """The same of other values of ours; infinite where they can't be compared."""
        worst = 0.0
        for name, theirs in self.theirs.items():
            pairs = list(zip(ours.get(name, []), theirs, strict=False))
            if len(pairs) != len(theirs) or any(a.shape != b.shape for a, b in pairs):
                return float("inf")
            grown = max(1.0, rms(*(a for a, _ in pairs)) / max(rms(*self.ours[name]), 1e-30))
            excess = rms(*(a - b for a, b in pairs)) / (grown * max(self.tolerances[name], 1e-30))
            worst = max(worst, excess) if excess == excess else float("inf")
        return worst


@dataclass(frozen=True)
class Diagnosis:
    """The fault with which ours agrees with the other side.

    Attributes:
        fault: its name, or the names of two together.
        sentence: "the other side behaves as if ...".
        agrees_within: largest difference that is left with it.
        also: other faults that explain the difference as well on these texts.
        closest: whether it explains the difference only in part.
        remains: share of the difference that is left with it, of root mean squares.
    """

    fault: str
    sentence: str
    agrees_within: float
    also: tuple[str, ...] = ()
    closest: bool = False
    remains: float = 0.0


def diagnose(ours: Ours, measured: Sequence[Measured]) -> Diagnosis | None:
    """The known fault that explains every case; the closest one where none does; None without one.

    Args:
        ours: in float64.
        measured: every case on both sides, of which some part.
    """
    parted = sorted(
        (one for one in measured if one.excess > 1), key=lambda one: one.case.ids.numel()
    )
    deciding = parted[:DECIDING]
    tried = []
    for faults in _single():
        planted = _plant(ours, faults)
        if planted is not None:
            tried.append((_excess(planted, deciding), faults, planted))
    tried.sort(key=lambda one: one[0])
    if not (found := _confirmed(tried, measured)):
        before = deciding[0].excess
        promising = [one for one in tried if one[0] < EXPLAINED * before][:PROMISING]
        pairs = []
        for _, (first,), _ in promising:
            for second in FAULTS:
                both = (first, second)
                if second is first:
                    continue
                # One that changes modules is planted last: a config can't be put around them.
                planted = _plant(ours, both) or _plant(ours, both[::-1])
                if planted is not None:
                    pairs.append((_excess(planted, deciding), both, planted))
        pairs.sort(key=lambda one: one[0])
        found = _confirmed(pairs, measured)
        if not found:
            return _closest(promising, parted)
    faults, planted = found[0]
    return Diagnosis(
        " and ".join(fault.name for fault in faults),
        ", and ".join(fault.sentence for fault in faults),
        _largest_difference(planted, measured),
        tuple(" and ".join(fault.name for fault in faults) for faults, _ in found[1:]),
    )


Trial = tuple[float, tuple[Fault, ...], Ours]


def _single() -> Iterator[tuple[Fault, ...]]:
    for fault in FAULTS:
        yield (fault,)


def _plant(ours: Ours, faults: Sequence[Fault]) -> Ours | None:
    planted: Ours | None = ours
    for fault in faults:
        if planted is None:
            return None
        try:
            planted = fault.plant(planted)
        except (MbexploreError, RuntimeError):  # a model that can't be so
            return None
    return planted


def _excess(planted: Ours, measured: Sequence[Measured]) -> float:
    """The worst of several cases, up to the first that parts."""
    worst = 0.0
    for one in measured:
        if worst > 1:
            break
        try:
            values = planted.run(one.case.ids, one.case.mask, one.theirs)
        except (RuntimeError, IndexError):  # a module that the fault broke
            return float("inf")
        worst = max(worst, one.excess_of(values))
    return worst


def _confirmed(
    tried: Sequence[Trial], measured: Sequence[Measured]
) -> list[tuple[tuple[Fault, ...], Ours]]:
    """Those that explain the deciding cases and then every other one."""
    return [
        (faults, planted)
        for excess, faults, planted in tried
        if excess <= 1 and _excess(planted, measured) <= 1
    ]


def _closest(promising: Sequence[Trial], parted: Sequence[Measured]) -> Diagnosis | None:
    if not promising:
        return None
    _, (fault,), planted = promising[0]
    remains = max(
        one.excess_of(planted.run(one.case.ids, one.case.mask, one.theirs)) / one.excess
        for one in parted
    )
    if not remains < CLOSEST:
        return None
    return Diagnosis(
        fault.name,
        fault.sentence,
        _largest_difference(planted, parted),
        closest=True,
        remains=remains,
    )


def _largest_difference(planted: Ours, measured: Sequence[Measured]) -> float:
    largest = 0.0
    for one in measured:
        found = planted.run(one.case.ids, one.case.mask, one.theirs)
        for name, theirs in one.theirs.items():
            for a, b in zip(found[name], theirs, strict=True):
                largest = max(largest, float((a - b).abs().max()))
    return largest
