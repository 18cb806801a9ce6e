"""What a checkpoint's folder holds, by the names of its files. Opens none but the small ones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mbexplore.errors import ModelError
from mbexplore.reading import read_any_json, read_json, read_optional_json
from mbexplore.text import quoted

CONFIG_FILE = "config.json"
TOKENIZER_FILE = "tokenizer.json"
ADAPTER_FILE = "adapter_config.json"
WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
"""A checkpoint's weights: in one file, or in the shards that the index names."""
MODULES_FILE = "modules.json"
PROMPTS_FILE = "config_sentence_transformers.json"
LIMITS_FILE = "sentence_bert_config.json"
"""What sentence-transformers adds."""
_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_FOREIGN = {".onnx": "an ONNX graph", ".gguf": "a GGUF file", ".bin": "a pickle", ".pt": "a pickle"}
"""What has a model's name but can't be opened, by its ending."""


def read_shards(index: Path) -> list[str]:
    """The names of the shards that a checkpoint's index lists, all beside it.

    Raises:
        ModelError: it can't be read, or names a file in another place.
    """
    try:
        weights = read_json(index).get("weight_map")
    except FileNotFoundError:
        raise ModelError(f"{index} is missing; copy or download it again.") from None
    if not isinstance(weights, dict) or not weights:
        raise ModelError(f"{index} can't be read (no weight_map); copy or download it again.")
    strange = [name for name in weights.values() if not isinstance(name, str)]
    if strange:
        raise ModelError(
            f"{index} can't be read ({quoted(strange[0])} is no file); copy or download it again."
        )
    names = sorted(set(weights.values()))
    strayed = [name for name in names if Path(name).name != name]
    if strayed:
        raise ModelError(
            f"{index} names {quoted(strayed[0])}, which does not lie beside it; copy or download "
            "it again from a source you trust."
        )
    return names


def checkpoint_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint: one, or the shards of its index.

    Raises:
        ModelError: there are none, or the index can't be read.
    """
    if os.path.lexists(folder / WEIGHTS_FILE):
        return [folder / WEIGHTS_FILE]
    if os.path.lexists(folder / INDEX_FILE):
        return [folder / name for name in read_shards(folder / INDEX_FILE)]
    for name in _PICKLES:
        if os.path.exists(folder / name):
            raise ModelError(
                f"{folder} has its weights only as a pickle ({name}), which could run any code "
                f"when opened; convert them to {WEIGHTS_FILE} with safetensors."
            )
    raise ModelError(
        f"{folder} has no {WEIGHTS_FILE}; name a folder that holds a ModernBERT checkpoint."
    )


def check_adapter(folder: Path, name: str) -> None:
    """Refuses a folder with an adapter (LoRA and its like) in it, alone or beside a model.

    transformers would put the adapter on the model; without it the numbers are another model's.

    Args:
        folder: of the model.
        name: what the sentence calls it.

    Raises:
        ModelError: there is an adapter.
    """
    if not os.path.lexists(folder / ADAPTER_FILE):
        return
    base = read_optional_json(folder / ADAPTER_FILE).get("base_model_name_or_path")
    merge = (
        f"merge it into its base model{f' {quoted(base)}' if isinstance(base, str) else ''} with "
        "peft (merge_and_unload, then save_pretrained)"
    )
    if os.path.lexists(folder / CONFIG_FILE):
        raise ModelError(
            f"{name} has an adapter beside its model ({ADAPTER_FILE}), which mbexplore does not "
            f"apply; {merge}, or take the adapter's files out of the folder."
        )
    raise ModelError(
        f"{name} is an adapter ({ADAPTER_FILE}) and no model; {merge}, and name the folder of the "
        "merged model."
    )


def explain_file(path: Path) -> str:
    """What a file is that was named in the place of a folder, in one sentence with the remedy."""
    folder = path.parent
    what = _FOREIGN.get(path.suffix.lower())
    if what:
        return (
            f"{path} is {what}, and mbexplore opens safetensors only; name a folder that holds "
            f"{CONFIG_FILE}, {TOKENIZER_FILE} and {WEIGHTS_FILE}."
        )
    if os.path.exists(folder / CONFIG_FILE):
        return f"{path} is one file of a model; name its folder, {folder}."
    return (
        f"{path} is a file and no folder; name a folder that holds {CONFIG_FILE}, "
        f"{TOKENIZER_FILE} and {WEIGHTS_FILE}."
    )


def sentence_files(folder: Path) -> Iterator[str]:
    """The files that modules.json asks for, by their names below the folder.

    Raises:
        ModelError: modules.json can't be used.
    """
    for kind, path in read_modules(folder):
        if path and kind in ("Pooling", "Dense"):
            yield f"{path}/config.json"
        if path and kind == "Dense":
            yield f"{path}/{WEIGHTS_FILE}"


def read_modules(folder: Path) -> list[tuple[str, str]]:
    """Kind and path of each module of sentence-transformers, in order; empty without modules.json.

    Raises:
        ModelError: the file can't be read, or a module lies outside the folder.
    """
    file = folder / MODULES_FILE
    try:
        values = read_any_json(file)
    except FileNotFoundError:
        return []
    found = []
    for value in values if isinstance(values, list) else [values]:
        value = value if isinstance(value, dict) else {}
        kind, path = value.get("type"), value.get("path")
        parts = PurePosixPath(path).parts if isinstance(path, str) else ("..",)
        if not isinstance(kind, str) or ".." in parts or "/" in parts or "\\" in str(path):
            raise ModelError(
                f"{file} names the module {quoted(value)}; it must have a type, and a path inside "
                "the folder."
            )
        found.append((kind.rpartition(".")[2], str(path)))
    if not found or found[0][0] != "Transformer" or found[0][1]:
        first = found[0] if found else None
        raise ModelError(
            f"{file} begins with {quoted(first)}, and mbexplore opens a Transformer that lies in "
            "the folder itself; choose a pooling yourself."
        )
    return found
