"""`python -m mbexplore.training.measure`: the figures of a model's card, as a table or JSON.

Example:
    python -m mbexplore.training.measure assets/tiny --heldout heldout.txt.xz \
        --cloze tests/data/cloze.jsonl --corpus books.txt.xz
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from mbexplore.errors import MbexploreError


def measure(
    model: Annotated[Path, typer.Argument(help="Folder of the model.")],
    heldout: Annotated[
        Path | None, typer.Option(help="Text the model has not seen; 15% is hidden.")
    ] = None,
    cloze: Annotated[Path | None, typer.Option(help="Questions as JSON lines.")] = None,
    corpus: Annotated[
        list[str] | None, typer.Option(help="Training text for the n-gram baselines.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    answers: Annotated[bool, typer.Option(help="Print every cloze answer too.")] = False,
) -> None:
    """Measures a model on held-out text and on cloze questions."""
    import torch
    from tokenizers import Tokenizer

    from mbexplore.checkpoints.model import load_model
    from mbexplore.network.model import ModernBertForMaskedLM
    from mbexplore.training import evaluate
    from mbexplore.training.corpus import CorpusSpec, parse_corpus_spec, read_documents

    try:
        lm = load_model(model, ModernBertForMaskedLM, dtype=torch.float32)
        tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        figures: dict[str, Any] = {}
        if heldout:
            rows = evaluate.heldout_rows(tokenizer, read_documents(CorpusSpec(heldout)))
            figures["heldout"] = {"model": asdict(evaluate.measure_heldout(lm, rows))}
            if corpus:
                texts = [(read_documents(parse_corpus_spec(name)), 1.0) for name in corpus]
                figures["heldout"] |= _baselines(tokenizer, rows, texts)
        if cloze:
            results = evaluate.answer_cloze(lm, tokenizer, evaluate.load_cloze(cloze))
            figures["cloze"] = {
                name: {"top1": first, "top5": five, "count": count}
                for name, (first, five, count) in evaluate.cloze_table(results).items()
            }
            if answers:
                for result in results:
                    mark = "+" if result.first else "5" if result.among_five else "-"
                    typer.echo(f"{mark} {result.cloze.prompt} {' | '.join(result.answers)}")
    except MbexploreError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_code) from None
    if as_json:
        typer.echo(json.dumps(figures, indent=2))
        return
    for suite, table in figures.items():
        for name, values in table.items():
            typer.echo(
                f"{suite:8} {name:18} top-1 {values['top1']:6.1%}  top-5 {values['top5']:6.1%}"
                f"  of {values['count']:,}"
            )


def _baselines(tokenizer: Any, rows: Any, texts: Any) -> dict[str, Any]:
    from mbexplore.training.ngrams import NgramModel, measure_ngrams
    from mbexplore.training.packing import tokenize_corpora

    tokens = tokenize_corpora(tokenizer, texts).tokens
    size, mask_id = tokenizer.get_vocab_size(), tokenizer.token_to_id("[MASK]")
    return {
        name: asdict(measure_ngrams(NgramModel(tokens, size, order), rows, mask_id))
        for name, order in (("unigram", 1), ("bigram", 2), ("4-gram", 4))
    }


if __name__ == "__main__":
    typer.run(measure)
