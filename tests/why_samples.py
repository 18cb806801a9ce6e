"""The samples of docs/why.md: `python -m tests.why_samples` explains them all and writes it."""

from pathlib import Path

import mbexplore
from mbexplore.explorer import Explorer

FILE = Path(__file__).parents[1] / "docs" / "why.md"
COUNTRIES = [
    "France", "Italy", "Spain", "Germany", "England", "Russia", "Japan", "China", "Egypt", "Greece",
    "Austria", "Portugal", "Sweden", "Norway", "Denmark", "Poland", "Hungary", "Ireland",
    "Scotland", "Turkey", "Canada",
]  # fmt: skip
PROMPTS = [
    *(f"The capital of {country} is [MASK]." for country in COUNTRIES),
    "The keys to the cabinet [MASK] old.",
    "The woman said that [MASK] was tired.",
]
HEADER = (
    "| text | answer | changed text | its answer | heads | sufficiency | necessity | random | "
    "other changes | verdict |",
    "| --- | --- | --- | --- | --- | ---: | ---: | ---: | ---: | --- |",
)


def line(text: str, explorer: Explorer) -> str:
    """A text's row of the table."""
    found = explorer.why(text).data.why
    change, route = found.counterfactual, found.route
    trust = route.trust
    mean = round(trust.random.mean, 2) + 0.0  # never minus zero
    spread = f"{mean:.0%} ± {trust.random.std:.0%}".replace("-", "\N{MINUS SIGN}")
    cells = (
        text,
        f"{found.answer.token.strip()} {found.answer.probability:.0%}",
        "; ".join(f"{new} for {old}" for old, new in change.swaps),
        f"{change.answer.token.strip()} {change.answer.probability:.0%}",
        " ".join(dict.fromkeys(step.name for step in route.steps)),
        f"{trust.sufficiency:.0%}",
        f"{trust.necessity:.0%}",
        spread,
        " ".join(f"{one.sufficiency:.0%}" for one in trust.other_changes),
        found.verdict,
    )
    return f"| {' | '.join(cells)} |"


def table(page: str) -> list[str]:
    """The rows of the table on the page, without its header."""
    rows = [one for one in page.splitlines() if one.startswith("|")]
    return rows[2:]


def rewrite() -> None:
    """Puts the table of today's model into the page."""
    page = FILE.read_text(encoding="utf-8")
    before, after = page.split(HEADER[0])[0], page.rsplit("|\n", 1)[1]
    explorer = mbexplore.load("tiny", device="cpu")
    rows = [line(text, explorer) for text in PROMPTS]
    FILE.write_text("\n".join((before + HEADER[0], HEADER[1], *rows)) + "\n" + after, "utf-8")


if __name__ == "__main__":
    rewrite()
