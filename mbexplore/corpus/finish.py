"""Sketches into a store: of the parts of a build, or of other stores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from mbexplore.corpus.build import CONTROL, SKETCH, Build, alone
from mbexplore.corpus.dictionary import Dictionary
from mbexplore.corpus.reader import Store
from mbexplore.corpus.sketch import NUMBERS, Shape, Sketch
from mbexplore.corpus.sources import hash_model, in_order
from mbexplore.corpus.store import (
    CONTROL_FILE,
    MANIFEST,
    SKETCH_FILE,
    Text,
    read_texts,
    write_store,
)
from mbexplore.errors import ModelError, UsageError
from mbexplore.explorer import Explorer
from mbexplore.files import clear_parts

_NAME = "finish"


def finish(build: Build) -> Sketch | None:
    """Merges the parts of a build and writes the store, where all blocks are there.

    Every worker calls it when its share is done: the last one finds the others' parts.

    Returns:
        The whole; None where blocks are missing, or another worker wrote the store.

    Raises:
        MbexploreError: a part is of another build, or the store can't be written.
    """
    with alone(build.folder, _NAME, wait=True):
        if (build.folder / MANIFEST).exists() or not build.is_complete():
            return None
        clear_parts(build.folder)
        whole = build.merged(SKETCH)
        control = build.merged(CONTROL) if CONTROL in build.kinds else None
        texts = read_texts(build.explorer, build.sources, whole)
        write_store(build.folder, build.explorer, texts, whole, control, build.dictionary)
        for path in (*build.parts(SKETCH), *build.parts(CONTROL)):
            path.unlink()
        (build.folder / f".lock-{_NAME}").unlink(missing_ok=True)
    return whole


def merge_stores(explorer: Explorer, stores: Sequence[Store], folder: Path) -> Sketch:
    """Several stores in one, as one build over all their texts writes it.

    Args:
        explorer: of the model that built them.
        stores: of different texts.
        folder: of the new one; made where it isn't there.

    Raises:
        UsageError: they hold the same texts, or are of different options.
        ModelError: they are of another model, or one lacks its sketch.
        OutputError: the new one can't be written.
    """
    for store in stores:
        if store.manifest["model"]["sha256"] != hash_model(explorer):
            raise ModelError(
                f"The corpus in {store.folder} is of {store.manifest['model']['name']} and not of "
                f"{explorer.info.name}; open that model."
            )
    if len({bool(store.manifest["control"]) for store in stores}) > 1:
        raise UsageError(
            "Some of these stores have a control and others don't; build all with --control, or "
            "none."
        )
    dictionary = Dictionary.load(stores[0].dictionary) if stores[0].dictionary.exists() else None
    shape = Shape.of(explorer.model.config, dictionary.features if dictionary else 0)
    whole = _merged(shape, [store.folder / SKETCH_FILE for store in stores])
    control = None
    if stores[0].manifest["control"]:
        control = _merged(shape, [store.folder / CONTROL_FILE for store in stores])
    write_store(folder, explorer, _texts(stores, whole), whole, control, dictionary)
    return whole


def _merged(shape: Shape, paths: Sequence[Path]) -> Sketch:
    whole: Sketch | None = None
    for path in paths:
        if not path.exists():
            raise ModelError(f"{path} is missing, and stores are merged from it; build it again.")
        found = Sketch.load(path, shape)
        if whole is None:
            whole = found
        else:
            whole.add(found)
    assert whole is not None
    return whole


def _texts(stores: Sequence[Store], whole: Sketch) -> Iterator[Text]:
    """The texts of all stores in the order of the new one: source by source."""
    for source in in_order(whole.sources):
        for store in stores:
            if source in store.sources:
                yield from (one for one in store.texts() if one.key // NUMBERS == int(source))
