"""The README's console blocks: `python -m tests.readme` writes their real output into it."""

import re
import shlex
from pathlib import Path

from tests.cli_runner import run_cli

README = Path(__file__).parents[1] / "README.md"


def commands():
    """Every command shown with its output, as (arguments, shown output)."""
    found = re.findall(
        r"```console\n\$ mbexplore ([^\n]*)\n(.*?)```", README.read_text(), re.DOTALL
    )
    return [(shlex.split(command), output) for command, output in found]


def real_output(arguments):
    """What the command prints, without trailing blanks; its beginning where it ends in a pipe."""
    most = None
    if "|" in arguments:  # | head -N
        arguments, most = arguments[: arguments.index("|")], int(arguments[-1].lstrip("-"))
    result = run_cli(*arguments)
    assert result.code == 0, result.err
    lines = result.out.strip("\n").splitlines()[:most]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def rewrite():
    """Puts the real output of every command into the README."""

    def renewed(match):
        return f"```console\n$ mbexplore {match[1]}\n{real_output(shlex.split(match[1]))}```"

    pattern = r"```console\n\$ mbexplore ([^\n]*)\n(.*?)```"
    README.write_text(re.sub(pattern, renewed, README.read_text(), flags=re.DOTALL))


if __name__ == "__main__":
    rewrite()
