"""The command line: answers, JSON, files, and one sentence for every mistake."""

import gc
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import typer.testing
from typer import rich_utils

import mbexplore
from docs.generated import every_command
from docs.numbers import NOISE
from mbexplore.cli import _app_of, app
from tests.cli_runner import run_cli

PARIS = "The capital of France is [MASK]."


def test_predict_prints_both_sides():
    result = run_cli("predict", PARIS)
    assert result.code == 0
    assert "mbexplore" in result.out and "Hugging Face" in result.out
    assert "Model: tiny (bundled)" in result.out
    assert "Largest logit difference" in result.out and "same top 5 as Hugging Face" in result.out
    assert "599 MB" in result.err and "599 MB" not in result.out


def test_predict_without_hugging_face_never_imports_it():
    code = (
        "import sys\nfrom mbexplore.cli import main\n"
        f"try: main(['predict', '--no-hf', {PARIS!r}])\n"
        "except SystemExit: assert not {'transformers', 'gradio'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert b"Hugging Face" not in done.stdout


def test_predict_json_has_the_promised_form():
    result = run_cli("predict", PARIS, "--json", "--top-k", 3)
    answer = json.loads(result.out)
    assert set(answer) == {"model", "text", "tokens", "masks", "hf"}
    assert set(answer["model"]) == {"name", "source", "parameters", "dtype", "device"}
    assert answer["text"] == PARIS
    [mask] = answer["masks"]
    assert set(mask) == {"position", "predictions", "hf_predictions"}
    assert answer["tokens"][mask["position"]].strip() == "[MASK]"
    assert [set(p) for p in mask["predictions"]] == [
        {"token", "token_id", "probability", "logit"}
    ] * 3
    ours, theirs = ([p["token_id"] for p in mask[k]] for k in ("predictions", "hf_predictions"))
    assert ours == theirs
    assert set(answer["hf"]) == {"version", "max_abs_logit_difference", "same_top_k"}
    assert answer["hf"]["max_abs_logit_difference"] < 4e-5  # of logits four times 1

    alone = json.loads(run_cli("predict", PARIS, "--json", "--no-hf").out)
    assert "hf" not in alone and "hf_predictions" not in alone["masks"][0]


def test_predict_takes_one_text_a_line(tmp_path):
    lines = "The [MASK] is red.\n\nA [MASK] and a [MASK].\n"
    (tmp_path / "texts.txt").write_text(lines)
    from_file = run_cli("predict", "--json", "--no-hf", "--lines", tmp_path / "texts.txt")
    from_stdin = run_cli("predict", "--json", "--no-hf", "--lines", "-", stdin=lines.encode())
    assert from_file.out == from_stdin.out
    whole = run_cli("predict", "--json", "--no-hf", "--file", tmp_path / "texts.txt")
    assert json.loads(whole.out)["text"] == lines.removesuffix("\n")
    answers = [json.loads(line) for line in from_file.out.splitlines()]
    assert [len(answer["masks"]) for answer in answers] == [1, 2]


def test_attention_says_what_is_strongest():
    result = run_cli("attention", "--layer", 4, "--top", 3)
    assert result.code == 0
    best = "time 19 \N{RIGHTWARDS ARROW} for 16 is strongest in layer 4 head 2: 0.974."
    assert best in result.out
    assert result.out.count(" 0.9") == 4  # and three links


def test_attention_json_has_the_promised_form():
    answer = json.loads(run_cli("attention", "--json", "--layer", 4, "--head", 1).out)
    assert list(answer) == [
        "model", "picture", "tokens", "layer", "kind", "theta", "half_window", "heads",
        "mean", "token", "queries", "keys", "pool", "weights", "links", "limits",
    ]  # fmt: skip
    assert (answer["kind"], answer["half_window"], answer["heads"]) == ("local", 16, [1])
    weights = [link["weight"] for link in answer["links"]]
    assert len(weights) == 12 and weights == sorted(weights, reverse=True)
    assert set(answer["links"][0]) == {"head", "query", "key", "weight"}
    everywhere = json.loads(run_cli("attention", "--json", "--layer", 0, "--top", 2).out)
    assert everywhere["half_window"] is None and len(everywhere["links"]) == 2


@pytest.mark.parametrize(
    ("ending", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_attention_saves_a_picture_and_tells_its_path(tmp_path, ending, magic):
    path = tmp_path / f"map.{ending}"
    result = run_cli("attention", PARIS, "--layer", 4, "--plot", "-o", path)
    assert result.code == 0
    assert path.read_bytes().startswith(magic)
    assert str(path) in result.err and str(path) not in result.out


def test_plot_names_its_own_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_cli("attention", PARIS, "--layer", 3, "--head", 2, "--plot").code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["attention-layer3-head2.png"]


def test_arrays_are_the_maps(tmp_path):
    recording = mbexplore.load("tiny", device="cpu").record(PARIS)
    assert run_cli("attention", PARIS, "--layer", 3, "-o", tmp_path / "global.npz").code == 0
    saved = np.load(tmp_path / "global.npz")
    np.testing.assert_allclose(saved["weights"], recording.attention(3).numpy(), atol=1e-7)
    assert saved["weights"].dtype == np.float32
    assert tuple(saved["tokens"]) == recording.encoding.tokens
    assert run_cli("attention", PARIS, "--layer", 4, "-o", tmp_path / "local.npz").code == 0
    saved = np.load(tmp_path / "local.npz")
    np.testing.assert_allclose(saved["band"], recording.attention_band(4).numpy(), atol=1e-7)
    assert list(saved["offsets"]) == list(range(-16, 17))


def test_a_long_text_is_cut_only_on_request(tmp_path):
    (tmp_path / "long.txt").write_text("The [MASK] " + "river runs on " * 900)
    refused = run_cli("predict", "--no-hf", "--file", tmp_path / "long.txt")
    assert refused.code == 1 and "2,048" in refused.err and "--truncate" in refused.err
    cut = run_cli("predict", "--no-hf", "--truncate", "--file", tmp_path / "long.txt")
    assert cut.code == 0 and "was cut from" in cut.err


def test_escape_sequences_do_not_reach_the_terminal():
    result = run_cli("predict", "--no-hf", "Red \x1b[31m[MASK]\x07 \u202eword.")
    assert result.code == 0
    assert not any(character in result.out for character in "\x1b\x07\u202e")
    assert r"\x1b" in result.out


BAD = {
    "no mask": (["predict", "No mask."], 1, "has no [MASK]"),
    "empty": (["predict", ""], 1, "empty"),
    "no text": (["predict"], 2, "No text was given"),
    "two texts": (["predict", PARIS, "--file", "x"], 2, "was given in two ways"),
    "missing file": (["predict", "--file", "/no/such"], 1, "/no/such can't be read"),
    "model": (["predict", "-m", "nonsense", PARIS], 1, "no model 'nonsense'"),
    "device": (["predict", "--device", "tpu", PARIS], 1, "no device 'tpu'"),
    "dtype": (["predict", "--dtype", "int8", PARIS], 1, "no dtype 'int8'"),
    "top-k": (["predict", "-k", "0", PARIS], 1, "top_k is 0; choose 1 or more"),
    "layer": (["attention", "--layer", "9"], 1, "no layer 9; choose 0 to 8"),
    "negative layer": (["attention", "--layer", "-10"], 1, "no layer -10; choose 0 to 8"),
    "head": (["attention", "--head", "4"], 1, "no head 4; choose 0 to 3"),
    "ending": (["attention", "-o", "map.xyz"], 1, "'.xyz'; choose one of .png, .svg, .pdf, .html,"),
    "ending once": (["info", "-o", "map.xyz"], 1, ".json, .csv, .npz, .jsonl, .parquet."),
    "folder": (["attention", "-o", "/no/such/map.png"], 1, "no folder /no/such"),
    "usage": (["attention", "--layer", "three"], 2, "--layer"),
    "unknown option": (["predict", "--nonsense"], 2, "--nonsense"),
    "links": (["attention", "--top", "-2"], 1, "top is -2; choose 0 or more."),
}


@pytest.mark.parametrize("arguments,code,sentence", BAD.values(), ids=BAD)
def test_mistakes(arguments, code, sentence):
    result = run_cli(*arguments)
    assert result.code == code
    assert sentence in result.err
    assert result.out == ""
    assert "Traceback" not in result.err
    if code == 1:
        assert result.err.startswith("Error: ") and len(result.err.strip().splitlines()) == 1


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_file_gives_what_its_words_typed_give(tmp_path, end):
    """An editor closes the last line; that is no token of the text."""
    file = tmp_path / "text.txt"
    file.write_bytes(f"Two lines\nto [MASK].{end}".encode())
    typed = run_cli("residual", "Two lines\nto [MASK].", "--json").out
    assert run_cli("residual", "--file", file, "--json").out == typed
    assert run_cli("residual", "-", "--json", stdin=file.read_bytes()).out == typed


def test_stdin_that_is_not_utf8():
    result = run_cli("predict", "-", stdin=b"The \xff [MASK].")
    assert result.code == 1 and result.out == ""
    assert "byte 0xFF at position 4" in result.err


def test_a_file_is_never_half_written(tmp_path, monkeypatch):
    path = tmp_path / "map.json"
    path.write_text("before")

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    result = run_cli("attention", PARIS, "-o", path)
    assert result.code == 1 and "No space left" in result.err
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_not_writable(tmp_path):
    tmp_path.chmod(0o500)
    result = run_cli("attention", PARIS, "-o", tmp_path / "map.png")
    assert result.code == 1 and "not writable" in result.err


def script(*arguments):
    return [sys.executable, "-m", "mbexplore", *arguments]


def test_a_closed_pipe_ends_quietly():
    many = "\n".join([PARIS] * 200)
    with subprocess.Popen(
        script("predict", "--no-hf", "--json", "--lines", "-"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        process.stdin.write(many.encode())
        process.stdin.close()
        process.stdout.readline()
        process.stdout.close()
        error = process.stderr.read().decode()
    assert "Traceback" not in error and "Broken" not in error and "Exception" not in error


def test_ctrl_c_ends_quietly():
    with subprocess.Popen(
        script("predict", "--no-hf", "-"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        time.sleep(2.0)  # it waits for its standard input
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=20)
    assert process.returncode == 130
    assert out == b"" and error == b""


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["predict", "The", "cat"], ["(cat)", "in quotes", "see mbexplore predict --help."]),
        (["attention", "--lair", "3"], ["--lair", "--layer", "see mbexplore attention --help."]),
        (["predic"], ["'predic'", "Did you mean 'predict'?"]),
        (["download"], ["'name'", "see mbexplore download --help."]),
        (["--threads", "0", "info"], ["--threads", "'0'", "1"]),
        (["ui", "--port", "abc"], ["--port", "'abc'", "whole number"]),
        (["attention", "a", "--layer", "abc"], ["--layer is 'abc'; give a whole number;"]),
        (["train"], ["--corpus"]),
    ],
)
def test_a_command_line_that_can_not_be_taken_is_one_sentence(arguments, parts):
    result = run_cli(*arguments)
    assert result.code == 2 and not result.out
    assert result.err.startswith("Error: ") and result.err.count("\n") == 1
    assert all(part in result.err for part in parts), result.err


def test_help_and_version():
    assert "Example: mbexplore predict" in run_cli("predict", "--help").out
    assert "Example: mbexplore attention" in run_cli("attention", "-h").out
    assert mbexplore.__version__ in run_cli("--version").out


def test_help_shows_what_is_written_in_brackets_too(monkeypatch):
    """To rich, "[bench]" in "mbexplore[bench]" is a style."""
    monkeypatch.setattr(rich_utils, "MAX_WIDTH", 5_000)
    seen = ""
    for name, command in [("", typer.main.get_command(app)), *every_command()]:
        seen += (shown := " ".join(run_cli(*name.split(), "--help").out.split()))
        texts = [*(command.help or "").split("\n\n"), *(one.help or "" for one in command.params)]
        for text in texts:
            assert " ".join(text.replace("\b", "").split()) in shown, name
    assert "pip install 'mbexplore[bench]'" in seen and "[MASK]" in seen


def test_a_path_with_brackets_is_named_as_it_is(tmp_path):
    (tmp_path / "corpus.txt").write_text("The tide rises and the tide falls.\n" * 60)
    out = tmp_path / "a[bold]b"
    done = run_cli("train", "--corpus", tmp_path / "corpus.txt", "--out", out, "--preset", "micro",
                   "--steps", "2")  # fmt: skip
    assert done.code == 0 and f"Saved in {out}" in done.err.replace("\n", "")


def test_only_a_process_of_its_own_looks_for_garbage_seldom():
    code = (
        "import atexit, gc, sys\n"
        "atexit.register(lambda: print(gc.get_threshold()[0], gc.get_freeze_count() > 0))\n"
        "from mbexplore.cli import main\n"
        "sys.argv[1:] = ['--version']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1:] == ["50000 True"]
    before = gc.get_threshold()
    run_cli("--version")
    assert gc.get_threshold() == before


def test_demo_agrees_with_hugging_face_as_the_readme_says():
    """What is rounded differs from one processor to the next, and stays of that size."""
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, root / "demo.py", "tiny"], capture_output=True)
    last = done.stdout.decode().splitlines()[-1]
    assert done.returncode == 0, done.stderr.decode()
    printed = re.search(r"with tiny: (\S+)\. .* is (\S+) times .*, within 2\.", last)
    said = " ".join((root / "README.md").read_text(encoding="utf-8").split())
    read = re.search(r"it has (\S+) times that error, .*? differ by at most (\S+)\. ", said)
    (difference, times), (their, ours) = printed.groups(), read.groups()
    assert 1 / 1.5 < float(times) / float(their) < 1.5
    assert 1 / NOISE < float(difference) / float(ours) < NOISE


@pytest.mark.parametrize("words", ["", "lens", "corpus", "corpus build", "corpus show", "train"])
def test_help_is_the_same_where_only_what_is_asked_for_is_built(words):
    """Building every command with its options is half of the time that --help takes."""
    whole = typer.testing.CliRunner().invoke(app, [*words.split(), "--help"], prog_name="mbexplore")
    assert run_cli(*words.split(), "--help").out.strip() == whole.output.strip()


def test_a_command_is_built_alone():
    assert [one.name for one in _app_of(["lens", "--help"]).registered_commands] == ["lens"]
    assert _app_of(["--threads", "2", "lens"]) is _app_of([]) is _app_of(["lense"]) is app
    assert run_cli("lense").err.strip().endswith("?")  # the rest is known to be near it
    assert run_cli("corpus", "sho").err.strip().endswith("?")


@pytest.mark.parametrize("words", ["", "why", "corpus build"])
def test_help_takes_little_time(words):
    """At most 0.25 s where nothing else runs; twice that here, of the processor's own time.

    From the second time on, as for anyone: the first one compiles what it imports.
    """
    code = (
        "import atexit, sys, time\n"
        "atexit.register(lambda: print(time.process_time(), 'pydantic' in sys.modules))\n"
        "from mbexplore.cli import main\n"
        f"sys.argv[1:] = {[*words.split(), '--help']}\n"
        "main()\n"
    )
    given = {name: x for name, x in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    lines = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                       env=given).stdout.splitlines()[-1].split()
        for _ in range(3)
    ]  # fmt: skip
    assert min(float(seconds) for seconds, _ in lines) < 0.45
    assert {imported for _, imported in lines} == {"False"}


def test_options_that_need_no_reading_import_no_pydantic():
    """As long as typer makes an option's reader where its name is `_runtime_param`."""
    code = (
        "import sys\nfrom mbexplore.cli import main\n"
        "try: main(['predict', 'a [MASK]', '--no-hf', '-m', './none'])\n"
        "except SystemExit as end: assert end.code and 'pydantic' not in sys.modules\n"
        "try: main(['predict', 'a [MASK]', '--top-k', '-1'])\n"
        "except SystemExit as end: assert end.code and 'pydantic' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("closed", "code"), [("<&-", 1), (">&-", 0), ("2>&-", 0), ("<&- >&- 2>&-", 1)]
)
def test_a_process_without_standard_streams_ends_as_with_them(closed, code):
    words = "--lines - --no-hf" if "<" in closed else "--help"
    done = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m mbexplore predict {words} {closed}"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert ("The text is empty" in done.stderr) == (closed == "<&-")
