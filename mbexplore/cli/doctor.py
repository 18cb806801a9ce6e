"""`mbexplore doctor`."""

from __future__ import annotations

import os
import platform
import sys

import typer

from mbexplore import __version__
from mbexplore.cli import options
from mbexplore.cli.output import print_blocks, print_json
from mbexplore.display.blocks import Table

PACKAGES = (
    "torch", "transformers", "tokenizers", "safetensors", "huggingface_hub", "gradio", "textual",
    "matplotlib", "numpy", "typer", "rich",
)  # fmt: skip
SLOW_SECONDS = 2.0
"""From this time on one sentence of the bundled model is called slow."""


def doctor(json: options.Json = False) -> None:
    """Versions, device, threads, cache, and what is slow and why, to paste into an issue.

    Example: mbexplore doctor
    """
    found = {**_software(), **_machine(), **_files(), **_speed()}
    advice = _advice(found)
    if json:
        print_json(found | {"advice": advice})
        return
    columns = ("what", "found")
    rows = tuple((name.replace("_", " "), str(value)) for name, value in found.items())
    print_blocks([Table(columns, rows, left=columns)])
    for line in advice or ["Nothing to mend was found."]:
        typer.echo(line)


def _software() -> dict[str, object]:
    from importlib.metadata import PackageNotFoundError, version

    def installed(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "not installed"

    return {
        "mbexplore": __version__,
        "python": f"{platform.python_version()} on {platform.platform(terse=True)}",
        **{package: installed(package) for package in PACKAGES},
    }


def _machine() -> dict[str, object]:
    import torch

    from mbexplore.bench.result import find_machine
    from mbexplore.checks import find_device

    machine = find_machine(())
    return {
        "processor": machine.processor,
        "cores": machine.cores,
        "threads": torch.get_num_threads(),
        "load": None if machine.load is None else round(machine.load, 1),
        "device": str(find_device("auto")),
        "oneDNN_products": _has_onednn(),
        "threads_wait": os.environ.get("OMP_WAIT_POLICY", "as OpenMP does by itself").lower(),
    }


def _has_onednn() -> bool:
    from mbexplore.network.linear import onednn

    return onednn() is not None


def _files() -> dict[str, object]:
    from huggingface_hub.constants import HF_HUB_CACHE

    from mbexplore.checkpoints.hub import list_models

    cached = [one.name for one in list_models() if one.place == "cached"]
    return {
        "hub_cache": HF_HUB_CACHE,
        "cached_models": ", ".join(cached) or "none",
        "default_model": os.environ.get("MBEXPLORE_MODEL", "tiny (bundled)"),
        "terminal": f"{sys.stdout.encoding}, {'colours' if sys.stdout.isatty() else 'no terminal'}",
    }


def _speed() -> dict[str, object]:
    """Seconds of one answer of the bundled model, and how far it is from what it should be."""
    import time

    from mbexplore.checkpoints import hub
    from mbexplore.explorer import load

    start = time.perf_counter()
    explorer = load(hub.BUNDLED, device="cpu")
    opened = time.perf_counter()
    answer = explorer.fill_masks("The capital of France is [MASK].", top_k=1)
    done = time.perf_counter()
    return {
        "bundled_model": f"answers {answer.masks[0].predictions[0].token.strip()!r}",
        "seconds_to_open": round(opened - start, 2),
        "seconds_to_answer": round(done - opened, 2),
    }


def _advice(found: dict[str, object]) -> list[str]:
    """What is amiss, a sentence each with its remedy."""
    lines = []
    load, cores = found["load"], found["cores"]
    if isinstance(load, float) and isinstance(cores, int) and load > cores:
        lines.append(
            f"The load is {load:.1f} on {cores} cores: other programs slow this one down; end "
            "them, or give it fewer threads with --threads."
        )
    threads = found["threads"]
    if isinstance(threads, int) and isinstance(cores, int) and threads > cores:
        lines.append(
            f"{threads} threads share {cores} cores; set $OMP_NUM_THREADS to {cores} or less."
        )
    if not found["oneDNN_products"]:
        lines.append(
            "This build of torch has no oneDNN: linear layers are slower; install torch from PyPI."
        )
    seconds = found["seconds_to_answer"]
    if isinstance(seconds, float) and seconds > SLOW_SECONDS:
        lines.append(
            f"One sentence took {seconds} s, usually under 0.2 s; see the load and the threads."
        )
    if "Paris" not in str(found["bundled_model"]):
        lines.append(
            "The bundled model answers something else than 'Paris'; run mbexplore verify, and "
            "report what it prints."
        )
    return lines
