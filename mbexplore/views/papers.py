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


def paper(cited: str, title: str, url: str) -> Paper:
    """A paper that is cited as "Warner et al. 2024"."""
    authors, _, year = cited.rpartition(" ")
    return Paper(authors, int(year), title, url)


def arxiv(cited: str, title: str, number: str) -> Paper:
    """A paper on arXiv."""
    return paper(cited, title, f"https://arxiv.org/abs/{number}")


MODERNBERT = arxiv(
    "Warner et al. 2024",
    "Smarter, Better, Faster, Longer: A Modern Bidirectional Encoder",
    "2412.13663",
)
ROFORMER = arxiv(
    "Su et al. 2021", "RoFormer: Enhanced Transformer with Rotary Position Embedding", "2104.09864"
)
LOGIT_LENS = paper(
    "nostalgebraist 2020",
    "interpreting GPT: the logit lens",
    "https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru/interpreting-gpt-the-logit-lens",
)
TUNED_LENS = arxiv(
    "Belrose et al. 2023",
    "Eliciting Latent Predictions from Transformers with the Tuned Lens",
    "2303.08112",
)
CIRCUITS = paper(
    "Elhage et al. 2021",
    "A Mathematical Framework for Transformer Circuits",
    "https://transformer-circuits.pub/2021/framework/index.html",
)
SIXTEEN_HEADS = arxiv(
    "Michel et al. 2019", "Are Sixteen Heads Really Better than One?", "1905.10650"
)
ATTENTION_KNOCKOUT = arxiv(
    "Geva et al. 2023",
    "Dissecting Recall of Factual Associations in Auto-Regressive Language Models",
    "2304.14767",
)
ROME = arxiv("Meng et al. 2022", "Locating and Editing Factual Associations in GPT", "2202.05262")
PATCHING = arxiv(
    "Zhang and Nanda 2024",
    "Towards Best Practices of Activation Patching in Language Models: Metrics and Methods",
    "2309.16042",
)
INTEGRATED_GRADIENTS = arxiv(
    "Sundararajan et al. 2017", "Axiomatic Attribution for Deep Networks", "1703.01365"
)
GRADIENT_INPUT = arxiv(
    "Shrikumar et al. 2016",
    "Not Just a Black Box: Learning Important Features Through Propagating Activation Differences",
    "1605.01713",
)
SENTENCE_BERT = arxiv(
    "Reimers and Gurevych 2019",
    "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks",
    "1908.10084",
)
CKA = arxiv(
    "Kornblith et al. 2019", "Similarity of Neural Network Representations Revisited", "1905.00414"
)
FEED_FORWARD = arxiv(
    "Geva et al. 2021", "Transformer Feed-Forward Layers Are Key-Value Memories", "2012.14913"
)
BERT_LOOKS = arxiv(
    "Clark et al. 2019", "What Does BERT Look At? An Analysis of BERT's Attention", "1906.04341"
)
NORMS = arxiv(
    "Kobayashi et al. 2020",
    "Attention is Not Only a Weight: Analyzing Transformers with Vector Norms",
    "2004.10102",
)
ROLLOUT = arxiv(
    "Abnar and Zuidema 2020", "Quantifying Attention Flow in Transformers", "2005.00928"
)
VALUE_ZEROING = arxiv(
    "Mohebbi et al. 2023", "Quantifying Context Mixing in Transformers", "2301.12971"
)
ANISOTROPY = arxiv(
    "Ethayarajh 2019",
    "How Contextual are Contextualized Word Representations? Comparing the Geometry of BERT, ELMo, "
    "and GPT-2 Embeddings",
    "1909.00512",
)
BERTVIZ = arxiv(
    "Vig 2019", "A Multiscale Visualization of Attention in the Transformer Model", "1906.05714"
)
NOT_EXPLANATION = arxiv("Jain and Wallace 2019", "Attention is not Explanation", "1902.10186")
X_FACTR = arxiv(
    "Jiang et al. 2020",
    "X-FACTR: Multilingual Factual Knowledge Retrieval from Pretrained Language Models",
    "2010.06189",
)
LITTLE_MODELS = arxiv(
    "Schick and Schütze 2021",
    "It's Not Just Size That Matters: Small Language Models Are Also Few-Shot Learners",
    "2009.07118",
)
MLM_SCORING = arxiv("Salazar et al. 2020", "Masked Language Model Scoring", "1910.14659")
WITHIN_WORD = arxiv(
    "Kauf and Ivanova 2023", "A Better Way to Do Masked Language Model Scoring", "2305.10588"
)
BLIMP = arxiv(
    "Warstadt et al. 2020",
    "BLiMP: The Benchmark of Linguistic Minimal Pairs for English",
    "1912.00582",
)
BABYBERTA = paper(
    "Huebner et al. 2021",
    "BabyBERTa: Learning More Grammar With Small-Scale Child-Directed Language",
    "https://aclanthology.org/2021.conll-1.49",
)
ACDC = arxiv(
    "Conmy et al. 2023",
    "Towards Automated Circuit Discovery for Mechanistic Interpretability",
    "2304.14997",
)
ERASER = arxiv(
    "DeYoung et al. 2020", "ERASER: A Benchmark to Evaluate Rationalized NLP Models", "1911.03429"
)
LINEAR_PROBES = arxiv(
    "Alain and Bengio 2016",
    "Understanding intermediate layers using linear classifier probes",
    "1610.01644",
)
CONTROL_TASKS = arxiv(
    "Hewitt and Liang 2019", "Designing and Interpreting Probes with Control Tasks", "1909.03368"
)
ACTIVATION_ADDITION = arxiv(
    "Turner et al. 2023",
    "Activation Addition: Steering Language Models Without Optimization",
    "2308.10248",
)
CONTRASTIVE_ADDITION = arxiv(
    "Rimsky et al. 2023", "Steering Llama 2 via Contrastive Activation Addition", "2312.06681"
)
SINGLE_DIRECTION = arxiv(
    "Arditi et al. 2024",
    "Refusal in Language Models Is Mediated by a Single Direction",
    "2406.11717",
)
