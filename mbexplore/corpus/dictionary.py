"""A dictionary of features of what passes at a tap: a sparse autoencoder that somebody trained.

Read as SAELens writes it: W_enc (width, features), b_enc, W_dec (features, width) and b_dec, of
JumpReLU also threshold, and a cfg.json beside them. Without one a feature is ReLU((x - b_dec) W_enc
+ b_enc) (Bricken et al. 2023, "Towards Monosemanticity").
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from typing_extensions import Self

from mbexplore.errors import ModelError, RangeError
from mbexplore.files import write_beside
from mbexplore.hooks import find_tap, hooked
from mbexplore.network.model import PretrainedModel
from mbexplore.network.packing import no_gradients

FILE = "dictionary.safetensors"
"""Where a store keeps it: what a feature does on its examples is computed again."""
ARCHITECTURES = ("standard", "jumprelu", "topk")
PLACES = ("embed", "resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "mlp_post")
"""Taps with one vector a token."""
_NEEDED, _MORE = ("W_enc", "b_enc", "W_dec", "b_dec"), ("threshold",)


@dataclass(frozen=True, eq=False)
class Dictionary:
    """Features of what passes at one tap.

    Attributes:
        tap: its name.
        tensors: as the file has them, in float32.
        settings: of cfg.json, what features depend on: `architecture`, `apply_b_dec_to_input`, `k`.
    """

    tap: str
    tensors: Mapping[str, Tensor]
    settings: Mapping[str, Any]

    @property
    def features(self) -> int:
        """How many there are."""
        return len(self.tensors["b_enc"])

    @classmethod
    def load(cls, path: Path, tap: str | None = None) -> Self:
        """Opens a file of SAELens, or that of a store.

        Args:
            path: of the tensors.
            tap: what it was trained on; None where the file says so.

        Raises:
            ModelError: it is no dictionary, or of a kind that isn't known here.
        """
        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads((file.metadata() or {}).get("dictionary", "{}"))
                names = list(file.keys())
                tensors = {name: file.get_tensor(name).float() for name in names}
        except (OSError, SafetensorError, ValueError) as error:
            raise ModelError(
                f"{path} can't be read ({error}); name a dictionary's safetensors file."
            ) from None
        if set(names) - {*_NEEDED, *_MORE} or set(_NEEDED) - set(names):
            raise ModelError(
                f"{path} holds {', '.join(sorted(names)) or 'nothing'}; give a dictionary as "
                "W_enc, b_enc, W_dec, b_dec and, for JumpReLU, threshold."
            )
        found = cls(str(about.get("tap", tap)), tensors, about.get("settings") or _settings(path))
        found._check(path)
        return found

    def _check(self, path: Path) -> None:
        width, features = self.tensors["W_enc"].shape
        wanted = {"b_enc": (features,), "W_dec": (features, width), "b_dec": (width,),
                  "threshold": (features,)}  # fmt: skip
        for name, size in wanted.items():
            if name in self.tensors and self.tensors[name].shape != size:
                raise ModelError(
                    f"{name} of {path} is {tuple(self.tensors[name].shape)} and not {size}, as "
                    f"W_enc {width, features} asks; name another file."
                )
        kind = self.settings.get("architecture", "standard")
        scaled = self.settings.get("normalize_activations") or "none"
        if kind not in ARCHITECTURES or scaled != "none":
            raise ModelError(
                f"{path} is a {kind} dictionary with activations normalised by {scaled!r}; give "
                f"one of {', '.join(ARCHITECTURES)}, without that."
            )

    def check_model(self, model: PretrainedModel) -> None:
        """Refuses a model that has no such tap, or one of another width.

        Raises:
            RangeError: it has.
        """
        find_tap(model, self.tap)
        place = self.tap.rpartition(".")[2]
        if place not in PLACES:
            raise RangeError(
                f"{self.tap!r} has no single vector a token; choose one of {', '.join(PLACES)}."
            )
        config, width = model.config, len(self.tensors["W_enc"])
        there = config.intermediate_size if place == "mlp_post" else config.hidden_size
        if width != there:
            raise RangeError(
                f"The dictionary takes {width} numbers a token and {self.tap!r} has {there}; name "
                "the tap and the model that it was trained on."
            )

    def to(self, device: torch.device) -> Self:
        """The same on a device."""
        return type(self)(
            self.tap, {name: one.to(device) for name, one in self.tensors.items()}, self.settings
        )

    def encode(self, values: Tensor) -> Tensor:
        """Activations (seq, features) of what passes at the tap, (seq, width)."""
        x, tensors = values.float(), self.tensors
        if self.settings.get("apply_b_dec_to_input", True):
            x = x - tensors["b_dec"]
        found = torch.addmm(tensors["b_enc"], x, tensors["W_enc"]).relu_()
        if "threshold" in tensors:
            return found * (found > tensors["threshold"])
        if (most := self.settings.get("k")) is not None:
            best = found.topk(min(int(most), self.features), dim=-1)
            return torch.zeros_like(found).scatter_(-1, best.indices, best.values)
        return found

    def run(self, model: PretrainedModel, ids: tuple[int, ...]) -> Tensor:
        """Activations (seq, features) over one text."""
        found: list[Tensor] = []
        actions = {self.tap: lambda value: found.append(self.encode(value[0]))}
        with no_gradients(), hooked(model, actions):
            model.encoder(input_ids=torch.tensor([ids], device=model.device))
        return found[0]

    def save(self, path: Path) -> None:
        """Writes it as a store keeps it.

        Raises:
            OSError: it can't be written.
        """
        about = json.dumps({"tap": self.tap, "settings": dict(self.settings)}, sort_keys=True)
        tensors = {name: one.cpu().contiguous() for name, one in self.tensors.items()}
        write_beside(path, lambda beside: save_file(tensors, beside, {"dictionary": about}))


def _settings(path: Path) -> dict[str, Any]:
    """What cfg.json beside the file says; nothing where there is none.

    Raises:
        ModelError: it can't be read.
    """
    file = path.parent / "cfg.json"
    try:
        about = json.loads(file.read_bytes()) if file.exists() else {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} can't be read ({error}); write it again.") from None
    names = ("architecture", "apply_b_dec_to_input", "normalize_activations", "k")
    return {name: about[name] for name in names if name in about}
