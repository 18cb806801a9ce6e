"""`mbexplore examples`."""

from __future__ import annotations

import shlex

import typer

from mbexplore.cli import options
from mbexplore.cli.output import print_json

FRANCE = "The capital of France is [MASK]."
EXAMPLES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("predict", FRANCE), "a fact the small model knows, beside Hugging Face"),
    (("why", FRANCE), "from which word, by which heads, and how well that is tested"),
    (("why", "The keys to the cabinet [MASK] old."), "agreement with a noun that is not the last"),
    (("lens", FRANCE), "after which layer the answer is decided"),
    (("attention", FRANCE, "--layer", "6", "--top", "5"), "the strongest links of a global layer"),
    (("attention", "--layer", "4", "--picture", "band"), "the window of a local layer"),
    (("heads",), "what each head does, on a bundled paragraph"),
    (("ablate", FRANCE), "which heads the answer can't do without"),
    (("model-view", FRANCE, "--part", "6.3"), "the answer and every map without one head"),
    (("reach", FRANCE), "how far the mask can see, layer by layer"),
    (
        ("patch", FRANCE, "The capital of Italy is [MASK]."),
        "where the two texts become two answers",
    ),
    (("rope",), "how far rotary pairs can tell positions apart, local and global"),
    (("score", "[MASK] went home.", "--targets", "He,She,They"), "candidates side by side"),
    (("likelihood", "The cat sat on the mat."), "which words are a surprise"),
    (("verify",), "every layer against transformers"),
    (("ui",), "all of this on one page"),
)
"""Arguments, and what is worth seeing."""

FIRST = (("predict", FRANCE), ("why", FRANCE), ("ui",))


def examples(json: options.Json = False) -> None:
    """List commands worth trying, with a line why.

    Example: mbexplore examples
    """
    if json:
        print_json({"examples": [{"command": command_of(a), "why": why} for a, why in EXAMPLES]})
        return
    for arguments, why in EXAMPLES:
        typer.echo(f"# {why}\n{command_of(arguments)}")


def welcome() -> str:
    """What `mbexplore` alone prints: three commands to try."""
    lines = ["Look inside ModernBERT: what it predicts, and why. Try:", ""]
    lines += [f"  {command_of(arguments)}" for arguments in FIRST]
    lines += ["", "mbexplore examples lists more, mbexplore --help every command."]
    return "\n".join(lines)


def command_of(arguments: tuple[str, ...]) -> str:
    """A command line to paste, texts in quotes."""
    words = (f'"{one}"' if " " in one else shlex.quote(one) for one in arguments)
    return " ".join(("mbexplore", *words))
