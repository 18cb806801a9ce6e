"""A corpus on a Ray cluster: Ray Data hands blocks to actors, each with a copy of the model.

All nodes see the texts and the folder, as they do under Slurm: an actor reads the blocks it is
given and writes their sketch there, in one file a batch. Ray runs the batch of a lost actor again,
which writes the same file; what is in files is left out when the command is given again.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mbexplore.corpus.build import Advance, Build, run_blocks, save_memory
from mbexplore.corpus.sources import BLOCK, Block, hash_model, read_blocks
from mbexplore.errors import MbexploreError, ModelError, OutputError, TextError, UsageError

_STORE = 2**27
"""Bytes of a local cluster's object store: rows are numbers of blocks, and sketches are files."""


@dataclass(frozen=True)
class Cluster:
    """What is asked of Ray.

    Attributes:
        workers: actors, each with a copy of the model.
        cpus: of each, and threads it computes with.
        gpus: of each.
        batch: blocks that a worker is given at a time; what one does between two saves.
        environment: Ray's runtime_env.
    """

    workers: int = 2
    cpus: float = 1
    gpus: float = 0
    batch: int = 16
    environment: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Opened:
    """The model as `load` opens it, on any node."""

    name: str | None
    device: str
    dtype: str


class Worker:
    """An actor: a copy of the model, and the blocks it is given."""

    def __init__(self, build: Mapping[str, Any], opened: Opened, kind: str) -> None:
        """Opens the model.

        Args:
            build: fields of `Build` but for the explorer.
            opened: the model.
            kind: of sketch.

        Raises:
            ModelError: this node has another model of that name.
        """
        from mbexplore.explorer import load

        explorer = load(opened.name, device=opened.device, dtype=opened.dtype)
        if hash_model(explorer) != build["about"]["model"]["sha256"]:
            raise ModelError(
                f"A node has another model {opened.name!r}; give a folder that all nodes see."
            )
        save_memory(explorer)
        self.build, self.kind = Build(explorer=explorer, **build), kind
        self._blocks: Iterator[Block] = iter(())

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[int]]:
        """Runs the blocks of one row."""
        [row] = batch["blocks"]
        keys = [int(key) for key in str(row).split()]
        path = self.build.part(self.kind, f"{keys[0]:016x}")
        sketch = self.build.empty()
        run_blocks(self.build, self.kind, sketch, map(self._read, keys), _ignore, path)
        return {"done": [len(keys)]}

    def _read(self, key: int) -> Block:
        """Goes on to a block, once more from the beginning where it lies before the last one."""
        for _ in range(2):
            for block in self._blocks:
                if block.key == key:
                    return block
            self._blocks = read_blocks(self.build.sources)
        raise TextError("A node reads other texts than were counted; give files that all see.")


def run_on_ray(build: Build, opened: Opened, cluster: Cluster, kind: str, advance: Advance) -> None:
    """All blocks of one kind that aren't done.

    Args:
        build: what is built.
        opened: the model, as the nodes open it.
        cluster: what is asked of Ray.
        kind: of sketch.
        advance: called with the texts that are done and all there are.

    Raises:
        MbexploreError: Ray is missing, or what a worker raised.
    """
    done = build.done(kind)
    missing = [key for key in build.keys if key not in done]
    if not missing:
        return
    ray = _started(cluster)
    rows = [
        {"blocks": " ".join(map(str, missing[i : i + cluster.batch]))}
        for i in range(0, len(missing), cluster.batch)
    ]
    given = {
        name: getattr(build, name) for name in ("folder", "sources", "about", "kinds", "dictionary")
    }
    blocks = len(build.keys) - len(missing)
    try:
        found = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            Worker, fn_constructor_args=(given, opened, kind), batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=cluster.workers),
            num_cpus=cluster.cpus, num_gpus=cluster.gpus,
        )  # fmt: skip
        for row in found.iter_rows():
            blocks += row["done"]
            advance(min(blocks * BLOCK, build.rows), build.rows)
    except ray.exceptions.RayError as error:
        raise _own(error) or error from None
    if lost := len(set(missing) - build.done(kind)):
        raise OutputError(
            f"{lost:,} blocks that were run are not in {build.folder}; give a folder that all "
            "nodes see."
        )


def _started(cluster: Cluster) -> Any:
    """The package, with a cluster: that of $RAY_ADDRESS, or one on this machine."""
    try:
        import ray
        import ray.data
    except ImportError:
        raise UsageError("--engine ray needs Ray; pip install 'mbexplore[ray]'.") from None
    if not ray.is_initialized():
        own: dict[str, Any] = {}
        if "RAY_ADDRESS" not in os.environ:
            cores = max(os.cpu_count() or 1, math.ceil(cluster.workers * cluster.cpus))
            own = {"num_cpus": cores, "object_store_memory": _STORE, "include_dashboard": False}
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves unasked
        ray.init(
            runtime_env=dict(cluster.environment), logging_level=logging.ERROR,
            log_to_driver=False, **own,
        )  # fmt: skip
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray


def _own(error: BaseException | None) -> MbexploreError | None:
    """The mistake of a user that a worker met, if it is one."""
    while error is not None:
        if isinstance(error, MbexploreError):
            return error
        error = getattr(error, "cause", None) or error.__cause__
    return None


def _ignore(done: int, total: int) -> None:
    """What a worker does isn't shown on its node."""
