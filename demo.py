"""A dozen prompts through mbexplore and through Hugging Face, side by side.

`python demo.py [MODEL]` ends in one line that says the largest logit difference seen, and exits
with 1 if that is over 1e-5. Where a mask's logits are larger than 1 (root mean square), so are
float32's own rounding errors, on both sides: the limit is then 1e-5 times their size.
"""

from __future__ import annotations

import sys

import mbexplore
from mbexplore.process import tune_process

LIMIT = 1e-5

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
    explorer = mbexplore.load(model, dtype="float32")
    largest, relative = 0.0, 0.0
    for prompt in PROMPTS:
        answer = explorer.fill_masks(prompt)
        theirs = explorer.compare_with_transformers(answer)
        largest = max(largest, theirs.max_abs_logit_difference)
        sizes = answer.logits.square().mean(-1).sqrt()  # (mask,)
        relative = max(relative, theirs.max_abs_logit_difference / max(1.0, float(sizes.min())))
        print(prompt)
        for ours, hf in zip(answer.masks, theirs.masks, strict=True):
            for name, mask in (("mbexplore", ours), ("Hugging Face", hf)):
                best = ", ".join(f"{p.token.strip()} {p.probability:.1%}" for p in mask.predictions)
                print(f"  {name:>12}: {best}")
    verdict = "within" if relative <= LIMIT else "OVER"
    print(
        f"Largest logit difference over {len(PROMPTS)} prompts with {explorer.info.name}: "
        f"{largest:.1e}; {relative:.1e} of the logits' size, {verdict} {LIMIT:.0e}."
    )
    return 0 if relative <= LIMIT else 1


if __name__ == "__main__":
    tune_process()
    sys.exit(main(*sys.argv[1:2]))
