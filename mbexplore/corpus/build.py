"""A corpus into a sketch, block by block; goes on where it was broken off.

A block is a fixed number of neighbouring texts, always computed alone and in the same way, so what
it gives doesn't depend on where, when or beside what it was computed. A worker keeps a sketch of
the blocks that it did in a file of its own, its part; whoever finds that all blocks are in parts
merges them. So workers need nothing of each other but the folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from filelock import FileLock, Timeout

from mbexplore.corpus.dictionary import Dictionary
from mbexplore.corpus.observe import Observer
from mbexplore.corpus.sketch import COUNTS, Shape, Sketch
from mbexplore.corpus.sources import CONTROLS, Block, Source, read_blocks
from mbexplore.corpus.store import MANIFEST, save_sketch
from mbexplore.corpus.tiles import Pack
from mbexplore.errors import OutputError, TextError, UsageError
from mbexplore.explorer import Explorer
from mbexplore.hooks import hooked
from mbexplore.jobs import in_threads
from mbexplore.network.init import init_weights
from mbexplore.network.linear import Linear
from mbexplore.network.packing import PACK, no_gradients, packs
from mbexplore.process import free_memory
from mbexplore.sample import sample_text

SAVE_AFTER = 20.0
"""Seconds of work that a kill may cost."""
SKETCH, CONTROL = "sketch", "control"
"""What is built: of the model, and of the same with other weights."""

Advance = Callable[[int, int], None]


def add_block(
    observer: Observer, explorer: Explorer, block: Block, *, truncate: bool = False
) -> None:
    """Takes a block into the observer's sketch. Texts that can't be run are counted.

    Args:
        observer: of the explorer's model, or of its control.
        explorer: for its tokenizer and limits.
        block: the texts.
        truncate: whether too long a text is cut, not left out.

    Raises:
        ModelError: the model's numbers are not finite.
    """
    counts, found = observer.sketch.arrays["counts"], []
    for i, text in enumerate(block.texts):
        if text is None or not text.strip():
            counts[COUNTS.index("broken" if text is None else "empty")] += 1
            continue
        try:
            found.append((block.first + i, explorer.encode(text, truncate=truncate)))
        except TextError:
            counts[COUNTS.index("unusable")] += 1
    found.sort(key=lambda pair: len(pair[1]))  # texts of like length beside each other
    for group in packs([len(one) for _, one in found], PACK):
        keys, encodings = zip(*(found[i] for i in group), strict=True)
        observer.see(Pack(keys, encodings))
    observer.sketch.blocks.add(block.key)


def save_memory(explorer: Explorer) -> None:
    """Keeps no second copy of the weights: rows of thousands of tokens gain little by it."""
    for module in explorer.model.modules():
        if isinstance(module, Linear):
            module.keeps_packed = False


def find_thresholds(
    explorer: Explorer, dictionary: Dictionary | None = None
) -> dict[str, tuple[float, ...]]:
    """The |activation| that `EDGES` count in, to three digits: of neurons by layer, of features.

    The root mean square over the bundled paragraph, of features where they aren't 0. It depends on
    the model alone, so sketches of different texts agree on it.
    """
    config, found = explorer.model.config, {}
    encoding = explorer.encode(sample_text(), truncate=True)

    def keep(layer: int) -> Callable[[torch.Tensor], None]:
        def action(value: torch.Tensor) -> None:
            found[layer] = _three_digits(value)

        return action

    actions = {f"layers.{i}.mlp_post": keep(i) for i in range(config.num_hidden_layers)}
    ids = torch.tensor([encoding.ids], device=explorer.model.device)
    with no_gradients(), hooked(explorer.model, actions):
        explorer.model.encoder(input_ids=ids)
    thresholds = {"neuron": tuple(found[i] for i in range(config.num_hidden_layers))}
    if dictionary is None:
        return thresholds
    activations = dictionary.to(explorer.model.device).run(explorer.model, encoding.ids)
    there = activations[activations != 0]
    return thresholds | {"feature": (_three_digits(there) if len(there) else 1.0,)}


def _three_digits(values: torch.Tensor) -> float:
    """The root mean square."""
    return float(f"{float(values.float().square().mean().sqrt()):.3g}")


def build_control(explorer: Explorer, kind: str = CONTROLS[0], seed: int = 0) -> Explorer:
    """The same model with other weights: what chance gives.

    Args:
        explorer: of the model.
        kind: freshly initialised; or its own weights, shuffled within each matrix or vector, so
            that they are as large as they were.
        seed: of the draw.
    """
    model = deepcopy(explorer.model)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        device = model.device
        model.encoder.cpu()
        if kind == CONTROLS[0]:
            init_weights(model.encoder, model.config)
        else:
            for one in model.encoder.parameters():
                one.copy_(one.flatten()[torch.randperm(one.numel())].view_as(one))
        model.to(device)
    return Explorer(model.eval(), explorer.tokenizer, explorer.files)


@contextmanager
def alone(folder: Path, name: str = "0", *, wait: bool = False) -> Iterator[None]:
    """Keeps a second worker of the same name out of a folder; the lock of a killed one is free.

    Args:
        folder: made where it isn't there.
        name: of the worker.
        wait: for the end of another, rather than refusing.

    Raises:
        OutputError: another builds there, or the folder can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f".lock-{name}")
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        raise OutputError(
            f"Another build writes to {folder}; wait for its end, or choose another folder."
        ) from None
    except OSError as error:
        raise OutputError(
            f"{folder} can't be written ({error.strerror}); choose another folder."
        ) from None
    try:
        yield
    finally:
        lock.release()
        if not wait:  # who waits for this file must not be passed by on a new one
            Path(lock.lock_file).unlink(missing_ok=True)


def check_free(folder: Path) -> None:
    """Refuses a folder that has a finished corpus.

    Raises:
        UsageError: it has one.
    """
    if (folder / MANIFEST).exists():
        raise UsageError(
            f"{folder} has a finished corpus; choose another folder, and to add texts join the "
            "two with mbexplore corpus merge."
        )


@dataclass(frozen=True)
class Build:
    """What is built, and where.

    Attributes:
        folder: of the store to be.
        sources: the texts.
        about: see `describe`.
        explorer: whose model runs.
        kinds: `SKETCH`, and `CONTROL` where it is wanted.
        dictionary: whose features are looked at.
    """

    folder: Path
    sources: tuple[Source, ...]
    about: dict[str, Any]
    explorer: Explorer
    kinds: tuple[str, ...] = (SKETCH,)
    dictionary: Dictionary | None = None

    @cached_property
    def shape(self) -> Shape:
        """Of the sketches."""
        features = 0 if self.dictionary is None else self.dictionary.features
        return Shape.of(self.explorer.model.config, features)

    @cached_property
    def keys(self) -> list[int]:
        """Of all blocks, in the order of the texts."""
        return [key for source in self.sources for key in source.keys]

    @property
    def rows(self) -> int:
        """Of all sources."""
        return sum(source.about["rows"] for source in self.sources)

    def part(self, kind: str, worker: str) -> Path:
        """The file of a worker's sketch."""
        return self.folder / f"{kind}-{worker}.safetensors"

    def parts(self, kind: str) -> list[Path]:
        """The files that are there."""
        return sorted(self.folder.glob(f"{kind}-*.safetensors"))

    def done(self, kind: str) -> set[int]:
        """Keys of the blocks that are in them.

        Raises:
            ModelError: one of them is no sketch.
        """
        return {key for path in self.parts(kind) for key in Sketch.read_blocks(path)}

    def is_complete(self) -> bool:
        """Whether all blocks are there."""
        return all(self.done(kind).issuperset(self.keys) for kind in self.kinds)

    def empty(self) -> Sketch:
        """A sketch that has no block."""
        sources = {str(one.key): dict(one.about) for one in self.sources}
        return Sketch(self.shape, self.about, sources)

    def load(self, path: Path) -> Sketch:
        """A part.

        Raises:
            UsageError: it is of another model, corpus or command.
            ModelError: it is no sketch.
        """
        found = Sketch.load(path, self.shape)
        if found.about != self.about or found.sources != self.empty().sources:
            raise UsageError(
                f"{path.parent} has a part of another build (other texts, model or options); "
                "remove it, or choose another folder."
            )
        return found

    def merged(self, kind: str) -> Sketch:
        """All parts in one.

        Raises:
            MbexploreError: see `load` and `Sketch.add`.
        """
        paths = self.parts(kind)
        whole = self.load(paths[0])
        for path in paths[1:]:
            whole.add(self.load(path))
        return whole

    @cached_property
    def control(self) -> Explorer:
        """The model with other weights."""
        return build_control(self.explorer, self.about["control"], self.about["seed"])


def run_share(build: Build, kind: str, advance: Advance, rank: int = 0, world: int = 1) -> None:
    """Every `world`-th block that isn't done, into a part that is saved on the way.

    Args:
        build: what is built.
        kind: of model.
        advance: called with the texts that are done and all there are.
        rank: of this worker, from 0.
        world: how many workers there are.

    Raises:
        MbexploreError: the texts can't be read, or the part can't be written.
    """
    path, done = build.part(kind, str(rank)), build.done(kind)
    share = build.keys[rank::world]
    if done.issuperset(share):
        return
    sketch = build.load(path) if path.exists() else build.empty()
    others = set(build.keys) - set(share)
    run_blocks(build, kind, sketch, read_blocks(build.sources, done | others), advance, path)


def run_blocks(
    build: Build, kind: str, sketch: Sketch, blocks: Iterable[Block], advance: Advance, path: Path
) -> None:
    """Takes blocks into a sketch, which is saved every `SAVE_AFTER` and in the end.

    Raises:
        MbexploreError: the texts can't be read, or the sketch can't be written.
    """
    explorer, about, thresholds = build.explorer, build.about, build.about["thresholds"]
    if kind == CONTROL:
        explorer = build.control
        thresholds = find_thresholds(explorer, build.dictionary)  # of weights of another size

    def run(block: Block) -> Sketch:
        own = build.empty()
        observer = Observer(explorer.model, thresholds, own, about["seed"], build.dictionary)
        add_block(observer, explorer, block, truncate=about["truncate"])
        return own

    saved = monotonic()
    for found in in_threads(run, blocks):  # what one does on one core lets another compute
        sketch.add(found)
        free_memory()
        counts = sketch.arrays["counts"]
        advance(int(counts.sum() - counts[COUNTS.index("tokens")]), build.rows)
        if monotonic() - saved > SAVE_AFTER:
            save_sketch(sketch, path)
            saved = monotonic()
    save_sketch(sketch, path)
