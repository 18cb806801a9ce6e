"""A verification against transformers in every form."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.explorer import Explorer
from mbexplore.reference.precision import PrecisionLoss
from mbexplore.reference.verify import Verification
from mbexplore.views.old import View, build_command

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def view_verify(
    explorer: Explorer,
    result: Verification,
    encoding: Encoding | None = None,
    *,
    long: bool = False,
    padded: bool = False,
    loss: PrecisionLoss | None = None,
) -> View:
    """Every value that was compared, in the order of the forward pass.

    Args:
        explorer: which model.
        result: what was found.
        encoding: the text, or the two, that it ran on; None for the bundled paragraph.
        long: whether the text was repeated over several windows.
        padded: whether it ran in a padded batch.
        loss: of half precision beside float32, or None.
    """

    def payload() -> dict[str, Any]:
        first = result.first_mismatch
        return {
            "model": dataclasses.asdict(explorer.info),
            "transformers": result.version,
            "tokens": list(result.tokens),
            "passed": result.passed,
            "precision_loss": None if loss is None else dataclasses.asdict(loss),
            "first_mismatch": None if first is None else {"what": first.what, "layer": first.layer},
            "checks": [
                dataclasses.asdict(check) | {"passed": check.passed} for check in result.checks
            ],
        }

    def draw() -> Figure:
        from mbexplore.plots.verify import plot_verification

        name = PurePath(explorer.info.name).name
        return plot_verification(result, f"{name} against transformers {result.version}")

    def rows() -> Iterator[list[object]]:
        columns = [field.name for field in dataclasses.fields(result.checks[0])]
        yield [*columns, "passed"]
        for check in result.checks:
            yield [*(getattr(check, name) for name in columns), check.passed]

    command = build_command("verify", explorer.info, encoding or [], long=long, padded=padded)
    return View("verify", command, payload, draw, rows=rows)
