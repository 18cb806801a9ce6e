"""Tables of samples: explanations of the bundled model, and the faults of other implementations."""

import tempfile
from pathlib import Path

import mbexplore
from mbexplore.explorer import Explorer

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


def why() -> str:
    """The explanations of every prompt."""
    explorer = mbexplore.load("tiny", device="cpu")
    return "\n".join((*HEADER, *(line(text, explorer) for text in PROMPTS)))


def port_bugs() -> str:
    """Every planted fault: the text that shows it, and what `verify --against` says."""
    from tests.port_bugs import BUGS, report_of, row_of

    header = ("| fault | report | shown by | cosine | verify says |",
              "| --- | --- | --- | ---: | --- |")  # fmt: skip
    rows = []
    for bug in BUGS:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(row_of(bug, report_of(bug, Path(folder))))
    return "\n".join((*header, *rows))


def faults() -> tuple[int, int]:
    """How many faults there are, and how many have a public report."""
    from tests.port_bugs import BUGS

    return len(BUGS), sum(bool(bug.link) for bug in BUGS)
