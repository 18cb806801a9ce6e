"""What views' files are called: known before anything heavy is imported."""

from __future__ import annotations


def attention_name(view: str, layer: int | None, head: int | None) -> str:
    """Such as "attention-layer3-head1" or "attention-band-layer4"; None is every layer or head."""
    kind = "" if view == "map" else f"-{view}"
    where = "-layers" if layer is None else f"-layer{layer}"
    return f"attention{kind}{where}{'' if head is None else f'-head{head}'}"
