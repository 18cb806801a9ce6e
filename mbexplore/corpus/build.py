"""A corpus into a sketch, block by block; goes on where it was broken off.

A block is a fixed number of neighbouring texts, always computed alone and in the same way, so what
it gives doesn't depend on where, when or beside what it was computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO

import torch
from filelock import FileLock, Timeout

from mbexplore.corpus.observe import Observer
from mbexplore.corpus.sketch import COUNTS, Shape, Sketch
from mbexplore.corpus.tiles import Pack
from mbexplore.errors import OutputError, TextError, UsageError
from mbexplore.explorer import Explorer
from mbexplore.files import clear_parts
from mbexplore.hooks import hooked
from mbexplore.network.init import init_weights
from mbexplore.network.packing import PACK, no_gradients, packs
from mbexplore.prompts import Prompts
from mbexplore.sample import sample_text

BLOCK = 64
"""Texts of a block."""
SAVE_AFTER = 20.0
"""Seconds of work that a kill may cost."""
STATE, CONTROL = "state.safetensors", "control.safetensors"
"""Sketches of a build that isn't finished."""

Advance = Callable[[int, int], None]


@dataclass(frozen=True)
class Block:
    """Neighbouring texts of a corpus.

    Attributes:
        number: from 0.
        texts: "" where there is none.
    """

    number: int
    texts: Sequence[str]


def read_blocks(prompts: Prompts, done: Collection[int] = ()) -> Iterator[Block]:
    """The blocks of a corpus, those left out that are done.

    Raises:
        TextError: the file can't be read.
    """
    texts, number = (one.text for one in prompts), 0
    while some := list(islice(texts, BLOCK)):
        if number not in done:
            yield Block(number, some)
        number += 1


def add_block(
    observer: Observer, explorer: Explorer, block: Block, *, truncate: bool = False
) -> None:
    """Takes a block into the observer's sketch. Texts without a word or too long are counted.

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
        if not text.strip():
            counts[COUNTS.index("empty")] += 1
            continue
        try:
            found.append((block.number * BLOCK + i, explorer.encode(text, truncate=truncate)))
        except TextError:
            counts[COUNTS.index("unusable")] += 1
    found.sort(key=lambda pair: len(pair[1]))  # texts of like length beside each other
    for group in packs([len(one) for _, one in found], PACK):
        numbers, encodings = zip(*(found[i] for i in group), strict=True)
        observer.see(Pack(numbers, encodings))
    observer.sketch.blocks.add(block.number)


def find_thresholds(explorer: Explorer) -> tuple[float, ...]:
    """From which |activation| on a neuron of each layer fires.

    The root mean square of the layer's activations over the bundled paragraph: it depends on the
    model alone, so sketches of different texts agree on it.
    """
    config, found = explorer.model.config, {}
    encoding = explorer.encode(sample_text(), truncate=True)

    def keep(layer: int) -> Callable[[torch.Tensor], None]:
        def action(value: torch.Tensor) -> None:
            found[layer] = float(value.float().square().mean().sqrt())

        return action

    actions = {f"layers.{i}.mlp_post": keep(i) for i in range(config.num_hidden_layers)}
    ids = torch.tensor([encoding.ids], device=explorer.model.device)
    with no_gradients(), hooked(explorer.model, actions):
        explorer.model.encoder(input_ids=ids)
    return tuple(found[i] for i in range(config.num_hidden_layers))


def build_control(explorer: Explorer, seed: int = 0) -> Explorer:
    """The same model freshly initialised: what chance gives."""
    model = deepcopy(explorer.model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        device = model.device
        init_weights(model.encoder.cpu(), model.config)
        model.to(device)
    return Explorer(model.eval(), explorer.tokenizer, explorer.files)


def hash_model(explorer: Explorer) -> str:
    """SHA-256 over the names, shapes and values of all parameters."""
    found = hashlib.sha256()
    for name, value in sorted(explorer.model.encoder.state_dict().items()):
        found.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        found.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return found.hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        TextError: it can't be read.
    """
    try:
        with path.open("rb") as file:
            return _digest(file)
    except OSError as error:
        raise TextError(f"{path} can't be read ({error.strerror}); name a file of texts.") from None


def _digest(file: BinaryIO) -> str:
    found = hashlib.sha256()
    while part := file.read(2**20):
        found.update(part)
    return found.hexdigest()


def describe(
    explorer: Explorer, prompts: Prompts, *, truncate: bool = False, seed: int = 0
) -> dict[str, Any]:
    """What a store depends on, and no path of this machine: the same, the same store."""
    return {
        "model": {
            "name": explorer.info.name if explorer.info.source != str(explorer.files.folder)
            else explorer.files.folder.name,
            "sha256": hash_model(explorer),
            "dtype": explorer.info.dtype,
        },
        "tokenizer": {"sha256": explorer.tokenizer.sha256},
        "corpus": {
            "file": prompts.path.name,
            "sha256": hash_file(prompts.path),
            "column": prompts.column,
            "id": prompts.id,
        },
        "truncate": truncate,
        "seed": seed,
        "block": BLOCK,
        "format": 1,
    }  # fmt: skip


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keeps a second builder out of a folder; the lock of a killed one is free.

    Raises:
        OutputError: another builds there, or the folder can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise OutputError(
            f"Another build writes to {folder}; wait for its end, or choose another folder."
        ) from None
    except OSError as error:
        raise OutputError(
            f"{folder} can't be written ({error.strerror}); choose another folder."
        ) from None
    try:
        clear_parts(folder)
        yield
    finally:
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


def find_sketch(path: Path, shape: Shape, about: dict[str, Any]) -> Sketch:
    """What an earlier build left at `path`, or an empty sketch.

    Raises:
        UsageError: it is of another model, corpus or command.
        ModelError: it is no sketch.
    """
    if not path.exists():
        return Sketch(shape, about)
    found = Sketch.load(path, shape)
    if found.about != about:
        raise UsageError(
            f"{path.parent} has a part of another build (other texts, model or options); remove "
            "it, or choose another folder."
        )
    return found


def check_free(folder: Path) -> None:
    """Refuses a folder that has a finished corpus.

    Raises:
        UsageError: it has one.
    """
    if (folder / "manifest.json").exists():
        raise UsageError(f"{folder} has a finished corpus; remove it, or choose another folder.")


def run_blocks(
    explorer: Explorer,
    prompts: Prompts,
    path: Path,
    about: dict[str, Any],
    advance: Advance,
) -> Sketch:
    """All blocks of a corpus that aren't done; the sketch is saved on the way.

    Args:
        explorer: whose model runs.
        prompts: the texts.
        path: of the sketch.
        about: see `describe`.
        advance: called with the texts that are done and all there are.

    Raises:
        MbexploreError: the texts can't be read, or the sketch can't be written.
    """
    sketch = find_sketch(path, Shape.of(explorer.model.config), about)
    total = prompts.count()
    observer = Observer(explorer.model, find_thresholds(explorer), sketch, about["seed"])
    saved = monotonic()
    for block in read_blocks(prompts, sketch.blocks):
        add_block(observer, explorer, block, truncate=about["truncate"])
        advance(min(len(sketch.blocks) * BLOCK, total), total)
        if monotonic() - saved > SAVE_AFTER:
            save_sketch(sketch, path)
            saved = monotonic()
    save_sketch(sketch, path)
    return sketch


def save_sketch(sketch: Sketch, path: Path) -> None:
    """Writes a sketch whole.

    Raises:
        OutputError: it can't be written; what was there before is unharmed.
    """
    try:
        sketch.save(path)
    except OSError as error:
        raise OutputError(
            f"{path} can't be written ({error.strerror}); make room, or choose another folder."
        ) from None
