"""Works whose sides are whole processes, from start to end."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from mbexplore.bench import corpus
from mbexplore.bench.equal import TOLERANCE, Model, check_equal
from mbexplore.bench.lines import SCRIPT, make_lines, read_answers
from mbexplore.bench.processes import PIPELINE, Done, run_command, temporary_folder
from mbexplore.bench.result import Row, Side
from mbexplore.errors import ModelError

OURS, THEIRS = "mbexplore", "transformers"
Progress = Callable[[str], None]
_OWN = [sys.executable, "-c", "import mbexplore.cli; mbexplore.cli.run()"]


def read_probabilities(printed: str) -> dict[int, float]:
    """Probability by token id at the one mask of what `predict --json` prints."""
    [mask] = json.loads(printed)["masks"]
    return {one["token_id"]: one["probability"] for one in mask["predictions"]}


def predict_rows(
    model: Model, lengths: Sequence[int], repeats: int, progress: Progress
) -> Iterator[Row]:
    """One sentence, from the command line to the answer."""
    progress("one sentence, whole process")
    text = f"The capital of France is {model.mask}."
    own = [*_OWN, "predict", text, "--no-hf", "--json", "-m", str(model.folder)]
    their = [sys.executable, "-c", PIPELINE, str(model.their_folder), text]
    ours = read_probabilities(run_command(own).printed)
    theirs = dict(json.loads(run_command(their).printed))
    if ours.keys() != theirs.keys():
        raise ModelError(
            f"mbexplore answers with the tokens {list(ours)} and transformers with {list(theirs)}, "
            "so their times would compare unequal work; run `mbexplore verify` on this model."
        )
    pairs = np.array([[ours[token], theirs[token]] for token in ours])
    difference = check_equal(pairs[:, 0], pairs[:, 1], "one sentence")
    yield _processes("one sentence, whole process", own, their, repeats, difference)


def lines_rows(model: Model, repeats: int, progress: Progress, lines: int) -> Iterator[Row]:
    """Many short texts to a table."""
    written = "\n".join(make_lines(model.mask, lines))
    work = f"{lines:,} short texts to a table, whole process"
    progress(work)
    with temporary_folder() as folder:
        texts, ours, theirs = (folder / name for name in ("lines.txt", "ours.csv", "theirs.csv"))
        texts.write_text(written)
        own = [*_OWN, "predict", "--lines", str(texts), "-o", str(ours), "-m", str(model.folder)]
        their = [sys.executable, "-c", SCRIPT, str(model.their_folder), str(texts), str(theirs)]
        run_command(own)
        run_command(their)
        difference = check_equal(read_answers(ours), read_answers(theirs), work)
        yield _processes(work, own, their, repeats, difference, is_warm=True)


def import_rows(
    model: Model, lengths: Sequence[int], repeats: int, progress: Progress
) -> Iterator[Row]:
    """What a process pays before it does anything."""
    progress("imports")
    yield _processes("mbexplore --help", [*_OWN, "--help"], None, repeats)
    own = [sys.executable, "-c", "import mbexplore; mbexplore.load"]
    their = [sys.executable, "-c", "import transformers; transformers.ModernBertForMaskedLM"]
    yield _processes("import, ready to load a model", own, their, repeats)


def corpus_rows(
    model: Model, lengths: Sequence[int], repeats: int, progress: Progress
) -> Iterator[Row]:
    """What every head does over a corpus, to files: `corpus build`, and a script of eager maps."""
    for tokens in lengths:
        work = f"{corpus.TEXTS} texts, what every head does, whole process"
        progress(f"{work}, about {tokens:,} tokens each")
        with temporary_folder() as folder:
            texts, ours, theirs = (folder / name for name in ("texts.txt", "ours", "theirs"))
            texts.write_text("\n".join(corpus.make_texts(tokens)))
            build = ["corpus", "build", str(texts), "-o", str(ours), "-m", str(model.folder)]
            own = [sys.executable, "-c", corpus.FRESH, str(ours), *build]
            their = [sys.executable, "-c", corpus.SCRIPT, str(model.their_folder), str(texts)]
            their.append(str(theirs))
            run_command(own)
            run_command(their)
            found = corpus.read_ours(ours), corpus.read_theirs(theirs)
            difference = check_equal(*found, work, TOLERANCE["float32"])
            yield _processes(work, own, their, repeats, difference, tokens=tokens, is_warm=True)


def _processes(
    work: str,
    own: list[str],
    their: list[str] | None,
    repeats: int,
    difference: float | None = None,
    *,
    tokens: int | None = None,
    is_warm: bool = False,
) -> Row:
    """A row of whole processes, in turn; the first of each warms the disk's cache alone."""
    commands = [(OURS, own)] + ([(THEIRS, their)] if their is not None else [])
    runs: dict[str, list[Done]] = {name: [] for name, _ in commands}
    for number in range(is_warm, repeats + 1):
        for name, command in commands if number % 2 == 0 else commands[::-1]:
            done = run_command(command)
            if number > 0:
                runs[name].append(done)
    sides = []
    for name, measured in runs.items():
        peak = max((one.peak for one in measured if one.peak is not None), default=None)
        cpu = tuple(one.cpu for one in measured if one.cpu is not None)
        sides.append(Side(name, tuple(one.seconds for one in measured), peak, cpu=cpu))
    return Row(work, tokens, sides[0], sides[1] if len(sides) > 1 else None, difference)
