"""One `mbexplore train`: from the user's options to a trained model folder.

Sets up devices and processes, makes or reads the tokenizer, runs the `Trainer`, draws the plot.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from filelock import FileLock, Timeout
from tokenizers import Tokenizer

from mbexplore.checkpoints.hub import locate
from mbexplore.display.figure import to_bytes
from mbexplore.errors import DeviceError, ModelError, OutputError, UsageError
from mbexplore.files import clear_parts, write_whole
from mbexplore.network.config import ModernBertConfig
from mbexplore.training.checkpoint import STATE_FILE
from mbexplore.training.corpus import (
    Document,
    iterate_paragraphs,
    parse_corpus_spec,
    read_documents,
    read_words,
)
from mbexplore.training.history import plot_history
from mbexplore.training.options import TrainOptions
from mbexplore.training.packing import tokenize_corpora
from mbexplore.training.recipe import PRESETS, build_config
from mbexplore.training.tokenizer import build_tokenizer, special_ids
from mbexplore.training.trainer import Budget, Report, Trainer


def train(
    options: TrainOptions,
    on_step: Callable[[Report], None] = lambda report: None,
    on_notice: Callable[[str], None] = lambda sentence: None,
) -> None:
    """Trains a model and leaves it in `options.out`, with its log and its loss plot.

    Args:
        options: what to do.
        on_step: called with every step, in the first process.
        on_notice: called, in the first process, with what goes otherwise than was asked.

    Raises:
        MbexploreError: an option, a file or the disk is at fault.
    """
    budget = _check(options)
    if options.start is not None:
        options = replace(options, start=locate(str(options.start)).folder)
    with _alone(options.out), _processes() as rank:
        device = choose_device(options.device)
        corpora = [
            (read_documents(spec), spec.weight) for spec in map(parse_corpus_spec, options.corpus)
        ]
        tokenizer = _tokenizer(options, corpora, rank)
        texts = tokenize_corpora(tokenizer, corpora)
        del corpora
        recipe = replace(options.recipe, seed=options.seed)
        if options.rate is not None:
            recipe = replace(recipe, matrix_rate=options.rate, other_rate=options.rate)
        trainer = Trainer(
            _config(options, tokenizer),
            tokenizer,
            texts,
            recipe,
            options.out,
            device=device,
            bf16=use_bf16(options.precision, device),
            compiled=options.compiled,
            resume=options.resume,
            start=options.start,
        )
        if trainer.notice and rank == 0:
            on_notice(f"Training goes on uncompiled: {trainer.notice}.")
        trainer.run(
            budget,
            checkpoint_minutes=options.checkpoint_minutes,
            save_every=options.save_every,
            on_step=on_step,
        )
        entries = trainer.history.read()
        del trainer  # and its hold on the process group
        if rank == 0 and entries:
            write_whole(options.out / "loss.png", to_bytes(plot_history(entries), "png"))


def choose_device(name: str) -> torch.device:
    """The device to train on; `auto` takes a GPU if there is one.

    Raises:
        DeviceError: it isn't there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            name = "cuda"
        else:
            name = "mps" if torch.backends.mps.is_available() else "cpu"
    local = int(os.environ.get("LOCAL_RANK", "0"))
    try:
        device = torch.device(name)
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", local)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise DeviceError(f"--device {name} can't be used ({reason}); try --device cpu.") from None
    return device


def use_bf16(precision: str, device: torch.device) -> bool:
    """Whether the matrix products run in bfloat16; `auto` does so where the hardware helps.

    Raises:
        UsageError: the precision is none of auto, bfloat16, float32.
    """
    if precision not in ("auto", "bfloat16", "float32"):
        raise UsageError(f"--precision is {precision!r}; choose auto, bfloat16 or float32.")
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return device.type == "cpu" and bool(supported())


def _check(options: TrainOptions) -> Budget:
    if (options.steps is None) == (options.minutes is None):
        raise UsageError(
            "Nothing says how long to train, or two things do; give --steps or --minutes."
        )
    if options.start is not None and (options.tokenizer or options.words or options.vocab_size):
        raise UsageError(
            f"--from {options.start} brings its own tokenizer; leave out --tokenizer, --words and "
            "--vocab-size."
        )
    if options.preset not in PRESETS:
        raise UsageError(
            f"There is no preset {options.preset!r}; choose one of {', '.join(PRESETS)}."
        )
    if not options.resume and (options.out / STATE_FILE).exists():
        raise OutputError(
            f"{options.out} holds a run already; add --resume to go on with it, or give another "
            "--out."
        )
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{options.out} can't be made ({error.strerror}); give another --out."
        ) from None
    return Budget(options.steps, options.minutes)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keeps a second run out of the folder; the lock of a killed one is free.

    Raises:
        OutputError: another run writes there.
    """
    if os.environ.get("RANK", "0") != "0":  # the first process keeps it for all
        yield
        return
    lock = FileLock(out / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise OutputError(
            f"Another run is training in {out}; give another --out, or wait for its end."
        ) from None
    try:
        clear_parts(out)
        yield
    finally:
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


@contextmanager
def _processes() -> Iterator[int]:
    """Joins the processes that torchrun started, if it did; yields this one's rank."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield dist.get_rank() if dist.is_initialized() else 0
        return
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield dist.get_rank()
        gc.collect()  # the reducer of DistributedDataParallel holds the group in a circle
        dist.barrier()  # nobody hangs up while another still talks
    finally:
        dist.destroy_process_group()


def _config(options: TrainOptions, tokenizer: Tokenizer) -> ModernBertConfig:
    if options.start is not None:
        return ModernBertConfig.from_folder(options.start)
    return build_config(options.preset, special_ids(tokenizer), tokenizer.get_vocab_size())


def _tokenizer(
    options: TrainOptions, corpora: list[tuple[list[Document], float]], rank: int
) -> Tokenizer:
    kept = options.out / "tokenizer.json"
    given = options.tokenizer or options.start
    if given is not None:
        return read_tokenizer(given)
    if rank == 0 and not (options.resume and kept.exists()):
        texts = [text for documents, _ in corpora for text in iterate_paragraphs(documents)]
        words = read_words(options.words) if options.words else []
        vocab_size = options.vocab_size or PRESETS[options.preset]["vocab_size"]
        built = build_tokenizer(texts, vocab_size, words)
        write_whole(kept, built.to_str(pretty=True).encode())
    if dist.is_initialized():
        dist.barrier()  # the others read what the first has written
    return read_tokenizer(kept)


def read_tokenizer(path: Path) -> Tokenizer:
    """Reads a tokenizer.json, or that of a model folder.

    Raises:
        ModelError: it can't be read, or lacks a special token.
    """
    file = path / "tokenizer.json" if path.is_dir() else path
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises nothing narrower
        raise ModelError(
            f"{file} can't be read as a tokenizer ({error}); give a tokenizer.json or a model's "
            "folder."
        ) from None
    special_ids(tokenizer)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
