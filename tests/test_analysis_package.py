"""What every analysis has in common: it is listed, it says its limits, and it can be stopped."""

import subprocess
import sys
from importlib import import_module

import pytest

import mbexplore
from mbexplore import analysis
from mbexplore.analysis.ablate import Head, ablate, ablate_heads
from mbexplore.analysis.attribute import attribute
from mbexplore.analysis.band import band_map
from mbexplore.analysis.compare import compare
from mbexplore.analysis.context_mixing import context_mixing
from mbexplore.analysis.focus import find_head
from mbexplore.analysis.heads import head_atlas
from mbexplore.analysis.lens import lens, lens_map
from mbexplore.analysis.links import arcs
from mbexplore.analysis.maps import layer_map, model_maps
from mbexplore.analysis.patch import patch
from mbexplore.analysis.similar_heads import similar_heads
from mbexplore.analysis.similarity import similarity
from mbexplore.analysis.tile import tile
from mbexplore.analysis.why import why
from mbexplore.analysis.without import run_without

TEXT, OTHER = "The capital of France is [MASK].", "The capital of Italy is [MASK]."
METHODS = [
    "ablate", "attribute", "compare", "context_mixing", "heads", "lens", "neurons", "patch",
    "reach", "residual", "rope", "similar_heads", "similarity", "why",
]  # fmt: skip


def test_analyses_are_listed_and_loaded_when_asked_for():
    assert set(METHODS) <= set(dir(analysis))
    code = (
        "import sys, mbexplore.analysis as a; assert 'lens' in dir(a);"
        "print('torch' in sys.modules, 'mbexplore.analysis.lens' in sys.modules);"
        "print(a.lens.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False", "mbexplore.analysis.lens"], done.stderr
    with pytest.raises(AttributeError, match="has no attribute 'nose'"):
        analysis.nose  # noqa: B018


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_what_it_cannot_show(name):
    limits = import_module(f"mbexplore.analysis.{name}").LIMITS
    assert limits.endswith(".") and 1 <= limits.count(". ") + limits.count(": ") + 1 <= 3


LONG = {
    "lens": lambda e, r, p: lens(e, TEXT, progress=p),
    "lens map": lambda e, r, p: lens_map(e, r, progress=p),
    "ablate": lambda e, r, p: ablate(e, TEXT, [Head(0, 0)], progress=p),
    "without": lambda e, r, p: run_without(e, r, [Head(0, 0)], progress=p),
    "find head": lambda e, r, p: find_head(e, r.encoding, progress=p),
    "ablate heads": lambda e, r, p: ablate_heads(e, TEXT, progress=p),
    "patch": lambda e, r, p: patch(e, TEXT, OTHER, progress=p),
    "why": lambda e, r, p: why(e, TEXT, progress=p),
    "attribute": lambda e, r, p: attribute(e, TEXT, progress=p),
    "compare": lambda e, r, p: compare((e, TEXT), (e, OTHER), progress=p),
    "heads": lambda e, r, p: head_atlas([r], progress=p),
    "similar heads": lambda e, r, p: similar_heads(r, 3, 1, progress=p),
    "similarity": lambda e, r, p: similarity(r, progress=p),
    "arcs": lambda e, r, p: arcs(r, 3, progress=p),
    "context mixing": lambda e, r, p: context_mixing(e, r, 3, progress=p),
    "band": lambda e, r, p: band_map(r, 4, progress=p),
    "layer map": lambda e, r, p: layer_map(r, 3, progress=p),
    "model maps": lambda e, r, p: model_maps(r, progress=p),
    "tile": lambda e, r, p: tile(
        r, 3, None, analysis.axis.build_axis(r.encoding), analysis.axis.build_axis(r.encoding), 9,
        progress=p,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def explorer():
    return mbexplore.load("tiny", device="cpu")


@pytest.fixture(scope="module")
def recording(explorer):
    return explorer.record(TEXT, keep=("attention", "values", "hidden_states", "updates"))


class StoppedError(Exception):
    """What ends the work."""


@pytest.mark.parametrize("name", LONG)
def test_every_long_analysis_tells_its_progress_and_can_be_stopped(name, explorer, recording):
    steps = []
    LONG[name](explorer, recording, lambda done, total: steps.append((done, total)))
    done, total = zip(*steps, strict=True)
    assert list(done) == sorted(set(done)) and set(total) == {done[-1]}

    def stop(done, total):
        raise StoppedError

    with pytest.raises(StoppedError):
        LONG[name](explorer, recording, stop)
    assert all(not module.hooks for module in explorer.model.modules() if hasattr(module, "hooks"))
