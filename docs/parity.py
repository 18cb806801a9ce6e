r"""The parity matrix: configurations of the family by versions of transformers and dtypes.

`python -m docs.parity` runs every configuration with the transformers that is installed and puts
the errors into parity.json, beside those of other versions. For the oldest one allowed:

    pip install --target build/oldest --no-deps transformers==5.1.0 tokenizers==0.22.2 \
        huggingface_hub==1.3.0
    PYTHONPATH=build/oldest python -m docs.parity
"""

from __future__ import annotations

import copy
import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers

import mbexplore
from mbexplore.checkpoints.model import set_precision
from mbexplore.sample import sample_text
from tests import parity
from tests.test_family import RELATIVES, difference, reduced

FILE = Path(__file__).with_name("parity.json")
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}
REAL = "tiny (bundled)"
"""The only weights that were trained and are at hand wherever this runs."""


def errors(name: str) -> dict[str, float]:
    """The largest error of every logit and hidden state of a configuration, by dtype.

    In float32 and float64 both sides compute alike. In bfloat16 ours keeps the residual stream in
    float32, so its error is that against transformers in float32.
    """
    torch.manual_seed(0)
    if name == REAL:
        return bundled_errors()
    case = reduced(name)
    ours = parity.build_ours(case)
    theirs = parity.build_theirs(ours, case.config)
    found = {"float32": difference(ours, theirs, case)}
    half = set_precision(copy.deepcopy(ours), torch.bfloat16)
    found["bfloat16"] = difference(half, theirs, case)
    found["float64"] = difference(ours.double(), theirs.double(), case)
    return found


def bundled_errors() -> dict[str, float]:
    """The same of the bundled model's logits over its sample text, at every token."""
    found = {}
    for name in DTYPES:
        explorer = mbexplore.load("tiny", device="cpu", dtype=name)
        ids = torch.tensor([explorer.encode(sample_text(), truncate=True).ids])
        theirs = transformers.ModernBertForMaskedLM.from_pretrained(
            explorer.files.folder,
            local_files_only=True,
            dtype=torch.float64 if name == "float64" else torch.float32,
        ).eval()
        with torch.no_grad():
            found[name] = float((explorer.model(ids) - theirs(ids).logits).abs().max())
    return found


def run() -> dict[str, Any]:
    """Every configuration with the transformers that is installed."""
    rows = {name: errors(name) for name in (REAL, *RELATIVES)}
    return {
        "transformers": transformers.__version__,
        "torch": torch.__version__.partition("+")[0],
        "date": datetime.date.today().isoformat(),
        "errors": rows,
    }


def recorded() -> list[dict[str, Any]]:
    """The runs that are kept, the oldest transformers first."""
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else []


def keep(run: dict[str, Any]) -> None:
    """Puts a run in the place of that of the same version."""
    runs = [one for one in recorded() if one["transformers"] != run["transformers"]] + [run]
    runs.sort(key=lambda one: [int(part) for part in one["transformers"].split(".")[:3]])
    FILE.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")


def table() -> str:
    """The matrix in Markdown."""
    return "\n".join(rows(recorded()))


def rows(runs: list[dict[str, Any]]) -> Iterator[str]:
    """The matrix, line by line."""
    versions = (f"transformers {run['transformers']}" for run in runs)
    yield f"| configuration | dtype | {' | '.join(versions)} | real weights |"
    yield "| --- | --- |" + " ---: |" * len(runs) + " --- |"
    for name in runs[-1]["errors"]:
        for dtype in DTYPES:
            found = (run["errors"].get(name, {}).get(dtype) for run in runs)
            cells = " | ".join("not run" if one is None else f"{one:.1e}" for one in found)
            real = "yes" if name == REAL else "never run"
            yield f"| {name} | {dtype} | {cells} | {real} |"
    yield ""
    for run in runs:
        yield f"- transformers {run['transformers']}: {run['date']}, torch {run['torch']}, CPU."


if __name__ == "__main__":
    keep(run())
