"""The papers that the methods come from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Paper:
    """A paper, as it is cited.

    Attributes:
        authors: "Warner et al.".
        year: of publication.
        title: in full.
        url: where it can be read.
    """

    authors: str
    year: int
    title: str
    url: str

    def __str__(self) -> str:
        """Authors, year, title and address."""
        return f'{self.authors} {self.year}, "{self.title}" ({self.url})'


def arxiv(authors: str, year: int, title: str, number: str) -> Paper:
    """A paper on arXiv."""
    return Paper(authors, year, title, f"https://arxiv.org/abs/{number}")


MODERNBERT = arxiv(
    "Warner et al.",
    2024,
    "Smarter, Better, Faster, Longer: A Modern Bidirectional Encoder",
    "2412.13663",
)
ROFORMER = arxiv(
    "Su et al.",
    2021,
    "RoFormer: Enhanced Transformer with Rotary Position Embedding",
    "2104.09864",
)
LOGIT_LENS = Paper(
    "nostalgebraist",
    2020,
    "interpreting GPT: the logit lens",
    "https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru/interpreting-gpt-the-logit-lens",
)
TUNED_LENS = arxiv(
    "Belrose et al.",
    2023,
    "Eliciting Latent Predictions from Transformers with the Tuned Lens",
    "2303.08112",
)
NORMS = arxiv(
    "Kobayashi et al.",
    2020,
    "Attention is Not Only a Weight: Analyzing Transformers with Vector Norms",
    "2004.10102",
)
ROLLOUT = arxiv(
    "Abnar and Zuidema", 2020, "Quantifying Attention Flow in Transformers", "2005.00928"
)
VALUE_ZEROING = arxiv(
    "Mohebbi et al.", 2023, "Quantifying Context Mixing in Transformers", "2301.12971"
)
CLARK = arxiv(
    "Clark et al.", 2019, "What Does BERT Look At? An Analysis of BERT's Attention", "1906.04341"
)
BERTVIZ = arxiv(
    "Vig", 2019, "A Multiscale Visualization of Attention in the Transformer Model", "1906.05714"
)
NOT_EXPLANATION = arxiv("Jain and Wallace", 2019, "Attention is not Explanation", "1902.10186")
