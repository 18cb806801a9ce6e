"""The site of the docs: `python -m docs` runs every page and builds it into build/docs/site.

Nothing is fetched. The build fails where a command fails, where a number of the prose is in no
output of its page, where an output that stands in a page is no longer what the command prints, and
where a link leads nowhere. `python -m docs --write` puts the outputs of today into the README and
the pages that hold some.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from argparse import ArgumentParser
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

from docs import blocks, generated, llms, notebooks, numbers
from docs.blocks import Filled, PageError
from mbexplore.views import REGISTRY

HERE = Path(__file__).parent
ROOT = HERE.parent
BUILT = ROOT / "build" / "docs"
PAGES = sorted(HERE.rglob("*.md"))
PROCESSES = 2
SLOW = ("explanation/why", "explanation/port-bugs")
"""Pages that are begun first: each takes as long as many others."""


def jobs() -> list[tuple[str, str]]:
    """What there is to run, as kind and name, what takes long first."""
    found = [("notebook", path.stem) for path in sorted(notebooks.FOLDER.glob("*.ipynb"))]
    found += [("page", path.relative_to(HERE).with_suffix("").as_posix()) for path in PAGES]
    found += [("view", name) for name in REGISTRY]
    return sorted(found, key=lambda job: job[1] not in SLOW)


def run(job: tuple[str, str]) -> tuple[str, Filled, float]:
    """One page, filled and checked: its place in the site, and the seconds it took.

    Raises:
        PageError: its prose has a number that nothing on the page prints.
    """
    kind, name = job
    start = time.perf_counter()
    if kind == "view":
        place, prose = f"reference/views/{name}", ""
        with blocks.working_folder():
            filled = generated.view_page(name)
    elif kind == "notebook":
        place = f"tutorials/{name}"
        filled = notebooks.fill_notebook(notebooks.FOLDER / f"{name}.ipynb")
        prose = filled.markdown
    else:
        place, prose = name, (HERE / f"{name}.md").read_text(encoding="utf-8")
        filled = blocks.fill(prose, name)
    if wrong := unproved(prose, filled.proofs):
        raise PageError(f"{place}: nothing on the page prints " + "; nor ".join(wrong))
    return place, filled, time.perf_counter() - start


def unproved(prose: str, proofs: list[str]) -> list[str]:
    """Numbers of a page that nothing proves: no output, and no fact that the page names.

    A line `<!-- facts: 8,192 PACKAGE.MODULE:NAME -->` has numbers that come from elsewhere, and
    constants of the code. On a page with `<!-- measured -->` are times and memory of one machine.
    """
    if "<!-- measured -->" in prose:
        return []
    facts = blocks.FACTS.search(prose)
    stated = facts[1].split() if facts else []
    constants = [one.partition(":") for one in stated if ":" in one]
    values = [getattr(import_module(module), name) for module, _, name in constants]
    shares = [f"{value:.0%}" for value in values if isinstance(value, float)]
    return numbers.unproved(prose, [*proofs, *map(str, values), *shares], stated)


def write(place: str, filled: Filled) -> None:
    """Puts a filled page and its files where the site is built from."""
    path = BUILT / "pages" / f"{place}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(filled.markdown, encoding="utf-8")
    for name, content in filled.files.items():
        (path.parent / "files").mkdir(exist_ok=True)
        (path.parent / "files" / name).write_bytes(content)


def build() -> None:
    """Runs every page in two processes, then builds the site.

    Raises:
        PageError: pages are wrong; it names all of them.
    """
    shutil.rmtree(BUILT, ignore_errors=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of each process, and of what it starts
    wrong = []
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        for page in [pool.submit(run, job) for job in jobs()]:
            try:
                place, filled, seconds = page.result()
            except PageError as error:
                wrong.append(str(error))
                print(error, file=sys.stderr)
                continue
            write(place, filled)
            print(f"{seconds:6.1f} s  {place}", file=sys.stderr)
    if wrong:
        raise PageError("\n".join(wrong))
    build_site()


def build_site() -> None:
    """The site from filled pages, with llms.txt beside it."""
    shutil.copy(HERE / "site.css", BUILT / "pages")
    config = (HERE / "zensical.toml").read_text(encoding="utf-8")
    each = ", ".join(
        f'{{ "{view.title}" = "reference/views/{name}.md" }}' for name, view in REGISTRY.items()
    )
    config = config.replace('{ "Each view" = [] }', f'{{ "Each view" = [{each}] }}')
    (BUILT / "zensical.toml").write_text(config, encoding="utf-8")
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    subprocess.run(command, cwd=BUILT, check=True)
    (BUILT / "site" / "llms.txt").write_text(llms.index(BUILT / "pages", config), encoding="utf-8")
    check_site(BUILT / "site")


def check_site(site: Path) -> None:
    """Refuses a site that would fetch something from elsewhere when it is opened.

    Raises:
        PageError: a page names a script, style, font or picture of another machine.
    """
    kinds = "stylesheet|preconnect|preload"
    fetched = re.compile(
        r'<(?:script|img|iframe|source)[^>]*\ssrc="?(?:https?:)?//'
        rf'|<link[^>]*rel="?(?:{kinds})[^>]*href="?(?:https?:)?//'
    )
    for page in site.rglob("*.html"):
        if found := fetched.search(page.read_text(encoding="utf-8")):
            raise PageError(f"{page.relative_to(site)} fetches {found[0]!r} from elsewhere.")


def main(arguments: list[str]) -> None:
    """Builds the site; with `--write`, puts the outputs of today into the pages instead."""
    parser = ArgumentParser("python -m docs", description=__doc__)
    parser.add_argument("--write", action="store_true", help="Renew the outputs in the pages.")
    if parser.parse_args(arguments).write:
        for source in (ROOT / "README.md", *PAGES):
            blocks.rewrite(source)
    else:
        build()
