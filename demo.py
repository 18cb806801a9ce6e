"""A dozen prompts through mbexplore and through Hugging Face, side by side.

`python demo.py [MODEL]` ends in one line that says the largest logit difference seen. What is
allowed comes from rounding itself: the same model in float64 gives the exact logits, and it exits
with 1 if our float32 error is more than twice that of transformers.
"""

from __future__ import annotations

import sys

import torch

import mbexplore
from mbexplore.process import tune_process

LIMIT = 2.0
"""How many times transformers' rounding error ours may be, as root mean squares."""

PROMPTS = (
    "The capital of France is [MASK].",
    "The largest city in Japan is [MASK].",
    "A sparrow is a small [MASK].",
    "Water is made of hydrogen and [MASK].",
    "The children [MASK] playing in the garden.",
    "She put on [MASK] coat and went out.",
    "The book is [MASK] the table.",
    "He has [MASK] to London twice.",
    "In spring the days grow [MASK] and warmer.",
    "The heart pumps [MASK] through the body.",
    "He opened the [MASK] and walked into the [MASK].",
    "The Earth moves around the [MASK].",
)


def main(model: str | None = None) -> int:
    """Prints every prompt's answers; returns the exit status."""
    explorer = mbexplore.load(model, dtype="float32", device="cpu")
    wide = mbexplore.load(model, dtype="float64", device="cpu")
    largest, errors = 0.0, torch.zeros(2, dtype=torch.float64)
    for prompt in PROMPTS:
        answer = explorer.fill_masks(prompt)
        theirs = explorer.compare_with_transformers(answer)
        largest = max(largest, theirs.max_abs_logit_difference)
        exact = wide.fill_masks(prompt).logits
        encoding = answer.encoding
        hf_logits = explorer.reference.logits(encoding.ids, encoding.mask_positions)
        for i, logits in enumerate((answer.logits, hf_logits)):
            errors[i] += (logits.double() - exact).square().mean()
        print(prompt)
        for ours, hf in zip(answer.masks, theirs.masks, strict=True):
            for name, mask in (("mbexplore", ours), ("Hugging Face", hf)):
                best = ", ".join(f"{p.token.strip()} {p.probability:.1%}" for p in mask.predictions)
                print(f"  {name:>12}: {best}")
    ratio = float((errors[0] / errors[1]).sqrt())
    verdict = "within" if ratio <= LIMIT else "OVER"
    print(
        f"Largest logit difference over {len(PROMPTS)} prompts with {explorer.info.name}: "
        f"{largest:.1e}. Our rounding error against float64 is {ratio:.2f} times that of "
        f"transformers, {verdict} {LIMIT:g}."
    )
    return 0 if ratio <= LIMIT else 1


if __name__ == "__main__":
    tune_process()
    sys.exit(main(*sys.argv[1:2]))
