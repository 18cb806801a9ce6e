"""What every test shares: no network, few threads, repeatable properties."""

import os

# Before torch is imported anywhere: as many threads as a worker has cores for itself. The process
# that starts the workers sets nothing, or they would inherit all cores and wait for one another.
if WORKERS := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(WORKERS))))
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

import pytest
from hypothesis import HealthCheck, settings

from mbexplore.process import tune_process

tune_process()  # before torch is imported: workers side by side must not spin while they wait

settings.register_profile(
    "mbexplore",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("mbexplore")


@pytest.fixture(scope="module")
def explorer():
    """Random weights in three layers of two heads, over a vocabulary of a few words."""
    from tests.handbuilt import build_explorer, build_random

    return build_explorer(build_random())


@pytest.fixture(scope="session")
def tiny():
    """The bundled model; nobody changes it."""
    import mbexplore

    return mbexplore.load("tiny", device="cpu")


@pytest.fixture(scope="module")
def models(tiny):
    """The models of the page, by their names; a file may have others."""
    return {"tiny": tiny}


@pytest.fixture(scope="module")
def served_page(models):
    """The page of these models: its address, and the sessions of its people."""
    from tests.browser import served

    with served(models) as (address, sessions):
        yield address, sessions


@pytest.fixture(scope="module")
def one_thread():
    """Sums in the same order; and models this small only wait for each other's threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window, for tests of pages in one file."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    from tests.browser import MISSING, chromium

    if MISSING is not None:
        pytest.skip(MISSING)
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def world(tiny, served_page, browser):
    """A browser and the page's address, for `visit`."""
    assert tiny.reference  # opened here, so that no step waits for transformers
    return browser, served_page[0]


@pytest.fixture
def width():
    """Pixels of a person's window; a file may have another."""
    return 1280


@pytest.fixture
def person(world, width):
    """A visit that asks nobody else for anything, and in which nothing complains."""
    from tests.browser import visit

    visited = visit(*world, width=width)
    yield visited
    visited.page.context.close()
    assert visited.foreign == [] and visited.errors == []
