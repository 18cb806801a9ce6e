"""What a release is made of: its version, promised names, completion, manual, Space and image."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
import warnings
from importlib.metadata import version
from pathlib import Path
from time import monotonic, sleep

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

import mbexplore
from mbexplore import renamed
from mbexplore.renamed import RENAMED, Renamed
from tests import public
from tests.cli_runner import run_cli
from tests.test_structure import ROOT

PROJECT = pytest.importorskip("tomllib").loads(
    (ROOT / "pyproject.toml").read_text(encoding="utf-8")
)
OLD = (
    Renamed("command", "focus", "lens", "9.0.0"),
    Renamed("option", "--best", "--top-k", "9.0.0", "lens"),
    Renamed("keyword", "best", "top_k", "9.0.0", "lens"),
    Renamed("name", "Look", "View", "9.0.0"),
)
TEXT = "The capital of France is [MASK]."


def read(*path):
    return ROOT.joinpath(*path).read_text(encoding="utf-8")


def test_the_version_is_written_in_one_place():
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "mbexplore.__version__"}
    assert "version" not in PROJECT["project"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", mbexplore.__version__)
    assert f"mbexplore=={mbexplore.__version__}" in read("space", "requirements.txt")
    assert run_cli("--version").out == f"mbexplore {mbexplore.__version__}\n"


# ---- promised names


def test_no_promised_name_is_gone():
    """Enter what is renamed into mbexplore/renamed.py; what is new: python -m tests.public."""
    promised, there = public.promised(), public.names_of_now()
    for part in ("commands", "python"):
        assert public.missing(promised[part], there[part]) == []
    assert public.missing({"lens": ["--gone"], "past": []}, there["commands"]) == [
        "past", "lens --gone",
    ]  # fmt: skip


def test_old_names_end_with_their_version():
    now = Version(mbexplore.__version__)
    assert [one for one in RENAMED if Version(one.gone) <= now] == []


@pytest.fixture
def old_names(monkeypatch):
    monkeypatch.setattr(renamed, "RENAMED", OLD)


def test_an_old_command_and_option_work_and_say_so(old_names):
    plain = run_cli("lens", TEXT, "--top-k", "2", "--json")
    old = run_cli("focus", TEXT, "--best=2", "--json")
    assert (old.code, old.out) == (0, plain.out)
    said = "focus is now lens, and gone in mbexplore 9.0.0; use lens."
    assert said in old.err and "--best is now --top-k" in old.err
    assert "is now" not in plain.err
    assert run_cli("attention", "--best", "2").code == 2  # it never was an option of that one


def test_an_old_keyword_and_name_work_and_warn(old_names):
    explorer = mbexplore.load("tiny", device="cpu")
    with pytest.warns(FutureWarning, match="best is now top_k, and gone in mbexplore 9.0.0"):
        assert explorer.lens(TEXT, best=2).view.top_k == 2
    with pytest.warns(FutureWarning, match="Look is now View"):
        assert mbexplore.Look is mbexplore.View
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert explorer.lens(TEXT, top_k=2).view.top_k == 2
    with pytest.raises(AttributeError):
        _ = mbexplore.Nothing


# ---- completion and the manual


COMPLETIONS = {
    "bash": """
        source "$1"; COMP_WORDS=($2); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _mbexplore_completion mbexplore; echo "${COMPREPLY[@]}" """,
    "zsh": """
        compdef() { :; }; _arguments() { print -r -- "$@"; }
        source "$1"; words=(${(s: :)2}); CURRENT=$#words; _mbexplore_completion""",
    "fish": """source $argv[1]; complete --do-complete $argv[2]""",
}
"""How each shell is asked, without a terminal, what it offers after its script for a line."""


@pytest.mark.parametrize("shell", COMPLETIONS)
def test_a_shell_completes_commands_options_and_choices(shell, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} isn't installed")
    from typer._completion_shared import get_completion_script

    script = tmp_path / "script"
    script.write_text(get_completion_script(
        prog_name="mbexplore", complete_var="_MBEXPLORE_COMPLETE", shell=shell
    ))  # fmt: skip
    beside = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{beside}{os.pathsep}{os.environ['PATH']}"}

    def offered(line):
        arguments = [script, line] if shell == "fish" else [shell, script, line]
        done = subprocess.run([shell, "-c", COMPLETIONS[shell], *arguments], env=environment,
                              text=True, capture_output=True, check=True)  # fmt: skip
        return done.stdout

    assert "lens" in offered("mbexplore le")
    assert "--top-k" in offered("mbexplore lens --top")
    found = offered("mbexplore attention --picture a")
    assert "arcs" in found and "band" not in found
    assert "slides" in offered("mbexplore lens --style s")


def test_the_manual_has_every_command_and_option():
    page = run_cli("man").out
    assert page.startswith('.TH MBEXPLORE 1 "" "mbexplore ')
    for name, flags in public.commands().items():
        section = re.search(rf'^\.SS "mbexplore {re.escape(name)} .*?(?=^\.SS|\Z)',
                            page.replace(r"\-", "-"), re.DOTALL | re.MULTILINE)  # fmt: skip
        assert section, name
        for flag in flags:
            assert not flag.startswith("-") or flag in section[0], (name, flag)
    assert not [line for line in page.splitlines() if re.match(r"[.'](?![A-Z]{2})", line)]
    if shutil.which("groff"):
        done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-Wbreak"], input=page, text=True,
                              capture_output=True)  # fmt: skip
        assert done.stderr == "" and "MBEXPLORE(1)" in done.stdout


# ---- packaging


def test_requirements_have_a_lowest_version():
    requirements = map(Requirement, PROJECT["project"]["dependencies"])
    assert [str(one) for one in requirements if ">=" not in str(one.specifier)] == []


WORKFLOWS = ROOT / ".github" / "workflows"


def jobs_of(name):
    return yaml.safe_load((WORKFLOWS / name).read_text(encoding="utf-8"))["jobs"]


def checker(name):
    """A program that [dev] installs, beside Python or on the path."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name)


def test_every_python_is_checked_with_the_lowest_and_the_highest_versions():
    matrix = jobs_of("checks.yml")["smoke"]["strategy"]["matrix"]
    named = re.findall(r"Python :: (3\.\d+)", str(PROJECT["project"]["classifiers"]))
    assert matrix == {"python": named, "resolution": ["lowest-direct", "highest"]}


def test_what_the_workflows_run_is_there():
    steps = [step for job in jobs_of("checks.yml").values() for step in job["steps"]]
    scripts = {step["run"].split()[0] for step in steps if ".ci/" in step.get("run", "")}
    assert scripts == {".ci/run", ".ci/package", ".ci/smoke"}
    for script in scripts:
        assert os.access(ROOT / script, os.X_OK)
        subprocess.run(["bash", "-n", str(ROOT / script)], check=True)


def test_a_release_is_checked_and_published_without_a_token():
    jobs = jobs_of("release.yml")
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert (jobs["publish"]["needs"], jobs["checks"]["needs"]) == ("checks", "tag")
    assert jobs["checks"]["uses"].endswith("/checks.yml")
    if zizmor := checker("zizmor"):  # actions by their commits, no token, nothing from the outside
        subprocess.run(
            [zizmor, "--offline", "--quiet", "--min-severity=medium", str(WORKFLOWS)], check=True
        )


@pytest.mark.parametrize("tag,passes", [(f"v{mbexplore.__version__}", True), ("v9.9.9", False)])
def test_a_tag_must_be_the_version(tag, passes, tmp_path):
    """As the workflow runs it: before anything is installed."""
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -E "$@"\n')
    python.chmod(0o755)
    [script] = [step["run"] for step in jobs_of("release.yml")["tag"]["steps"] if "run" in step]
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "GITHUB_REF_NAME": tag}
    done = subprocess.run(["bash", "-e", "-c", script], cwd=ROOT, env=environment,
                          capture_output=True)  # fmt: skip
    assert (done.returncode == 0) is passes, done.stderr.decode()


# ---- the Space


ZERO_GPU = """
import pickle

def GPU(function):
    def on_gpu(*given):
        print('on the GPU', flush=True)
        return pickle.loads(pickle.dumps(function(*pickle.loads(pickle.dumps(given)))))
    return on_gpu

def gradio_auto_wrap(function):
    return function
"""
"""The package of ZeroGPU, whose functions run in another process."""


def front_matter():
    _, matter, _ = read("space", "README.md").split("---\n", 2)
    return yaml.safe_load(matter)


def test_the_space_pins_what_is_tested():
    matter = front_matter()
    assert (matter["sdk"], matter["app_file"]) == ("gradio", "app.py")
    [gradio] = (Requirement(one) for one in PROJECT["project"]["dependencies"] if "gradio" in one)
    assert matter["sdk_version"] in gradio.specifier
    assert Version(matter["sdk_version"]) <= Version(version("gradio"))


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("has_gpu", [False, True], ids=["cpu", "zerogpu"])
def test_the_space_starts_and_answers(tmp_path, has_gpu):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    given = {"GRADIO_SERVER_PORT": port, "GRADIO_SERVER_NAME": "127.0.0.1", "SPACE_ID": "me/it",
             "SYSTEM": "spaces", "PYTHONPATH": str(tmp_path)}  # fmt: skip
    if has_gpu:
        (tmp_path / "spaces.py").write_text(ZERO_GPU)
    log = tmp_path / "log"
    with log.open("w") as output:
        space = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT / "space", stdout=output,
                                 stderr=output, env=os.environ | given)  # fmt: skip
    try:
        page = wait_for(f"http://127.0.0.1:{port}/", space, log)
        assert "mbexplore" in page
        assert "Paris" in ask_space(port)
    finally:
        space.terminate()
        assert space.wait(20) == 0
    said = log.read_text()
    hot = said.count("required to run hot-reloading")  # only Spaces have Gradio's package for it
    assert said.count("Traceback") == hot, said
    assert ("on the GPU" in said) is has_gpu


def wait_for(address, process, log):
    """The first page that a server gives."""
    end = monotonic() + 60
    while monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return answer.read().decode()
        except OSError:
            sleep(0.2)
    raise AssertionError(log.read_text())


def ask_space(port):
    """What the Space's endpoint says of the text."""
    from gradio_client import Client

    client = Client(f"http://127.0.0.1:{port}", verbose=False)
    return str(client.predict("tiny", TEXT, api_name="/lens"))


# ---- the image


def instructions():
    """The Dockerfile, one instruction a line, as (name, rest)."""
    lines = re.sub(r"\\\n\s*", " ", read("Dockerfile")).splitlines()
    return [tuple(one.split(maxsplit=1)) for one in lines if one and not one.startswith("#")]


def test_the_image_is_slim_and_its_process_no_root():
    found = instructions()
    last = max(i for i, (name, _) in enumerate(found) if name == "FROM")
    final = dict(found[last:])
    bases = [rest.split()[0] for name, rest in found if name == "FROM"]
    assert all(re.search(r":3\.\d+-slim", base) for base in bases)
    assert final["USER"] not in ("root", "0") and "HEALTHCHECK" in final
    assert "HF_HUB_OFFLINE=1" in final["ENV"]
    for name, rest in found:
        if name in ("ENTRYPOINT", "CMD"):
            json.loads(rest)  # a list, so that signals arrive
        if name == "RUN" and "pip install" in rest:
            assert "--no-cache-dir" in rest
        assert name != "ADD" and "sudo" not in rest and ":latest" not in rest
    arguments = json.loads(final["ENTRYPOINT"])[1:] + json.loads(final["CMD"])
    assert arguments[0] in public.commands()
    if hadolint := checker("hadolint"):
        subprocess.run([hadolint, str(ROOT / "Dockerfile")], check=True)


def test_what_the_image_copies_is_enough_to_build_the_package(tmp_path):
    copied = [
        rest.split() for name, rest in instructions() if name == "COPY" and "--from" not in rest
    ]
    for *sources, to in copied:
        for source in sources:
            target = tmp_path / to / ("" if (ROOT / source).is_dir() else source)
            copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
            copy(ROOT / source, target)
    ignored = read(".dockerignore").split()
    assert {f"!{one}" for sources in copied for one in sources[:-1]} <= set(ignored)
    command = [
        sys.executable,
        "-c",
        "from setuptools.build_meta import build_wheel; print(build_wheel('.'))",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    from zipfile import ZipFile

    [wheel] = tmp_path.glob("*.whl")
    names = ZipFile(wheel).namelist()
    assert {"mbexplore/cli/__init__.py", "mbexplore_ui/static/page.js",
            "mbexplore_assets/tiny/model.safetensors"} <= set(names)  # fmt: skip
    assert wheel.stat().st_size < 25 * 2**20
