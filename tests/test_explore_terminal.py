"""The explorer in a real pseudo-terminal: what reaches it, and in which state it is left."""

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

import pyte
import pytest

from mbexplore.explore.panes import pane_names
from tests.cli_runner import run_cli

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")
WHY, ATTENTION = "1 why", str(pane_names().index("attention") + 1)
TEXT = "The capital of France is [MASK]."


class Terminal:
    """A command in a pseudo-terminal of a given size, and the screen it draws."""

    def __init__(self, *arguments, columns=80, lines=24, home, **environ):
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.status = None
        drawn = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "COLORFGBG": "15;0"}
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            own = {**os.environ, **drawn, "XDG_DATA_HOME": str(home), **environ}
            command = [sys.executable, "-m", "mbexplore", *arguments]
            os.execve(sys.executable, command, own)
        self.resize(columns, lines)
        self.before = termios.tcgetattr(self.master)

    def resize(self, columns, lines):
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)
        self.screen.resize(lines, columns)

    def read(self, wait=0.05):
        """Takes what has come; False once the other side is closed."""
        while select.select([self.master], [], [], wait)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return False
            if not data:
                return False
            self.raw += data
            # pyte does not know private modes with a final "u", "p" or "$p"; it would print them.
            self.stream.feed(_known(data))
        return True

    def until(self, seen, seconds=90):
        """Waits until `seen(screen text)` holds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            there = self.read()
            if seen(self.text()):
                return
            assert there or seen(self.text()), self.text()
        raise AssertionError(self.text())

    def text(self):
        return "\n".join(self.screen.display)

    def type(self, keys):
        os.write(self.master, keys.encode())

    def wait(self, options=0, seconds=60):
        """The status of the process once it ends (or stops, with WUNTRACED)."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.read()
            pid, status = os.waitpid(self.pid, options | os.WNOHANG)
            if pid:
                self.read()
                return status
        raise AssertionError("it does not end\n" + self.text())

    def is_given_back(self):
        """Line mode and echo, main screen, cursor; no mouse, no paste mode, no keyboard mode."""
        switched = ("?1049h ?1049l", "?25l ?25h", "?1000h ?1000l", "?1003h ?1003l",
                    "?2004h ?2004l", "[>25u [<u")  # fmt: skip
        for on, off in (pair.encode().split() for pair in switched):
            assert self.raw.rfind(off) > self.raw.rfind(on) >= 0, on
        return termios.tcgetattr(self.master)[:4] == self.before[:4]


def _known(data):
    import re

    return re.sub(rb"\x1b\[[<>=?][\d;]*\$?[up]", b"", data)


@pytest.fixture
def home(tmp_path):
    return tmp_path / "data"


def test_a_tour_and_ctrl_z_and_ctrl_c(home):
    there = Terminal("explore", TEXT, home=home)
    there.until(lambda text: WHY in text and TEXT in text)
    there.until(lambda text: "Paris because of France" in text)  # recorded and drawn
    panes = [(str(n), f"{n} {name}") for n, name in enumerate(pane_names()[:9], 1)]
    for key, sign in [("]", "head 1"), ("l", "local"), *panes]:
        there.type(key)
        there.until(lambda text, sign=sign: sign in text)
    there.resize(200, 60)
    there.until(lambda text: len(text.splitlines()) == 60 and " quit" in text.splitlines()[-1])
    there.type("?")
    there.until(lambda text: "nearest global layer" in text)
    there.type("\x1b")
    there.until(lambda text: "nearest global layer" not in text)
    there.type("\r")  # runs it, and so keeps the text

    there.type("\x1a")
    assert os.WIFSTOPPED(there.wait(os.WUNTRACED))
    assert there.is_given_back()
    os.kill(there.pid, signal.SIGCONT)
    there.read(1.0)
    there.type(ATTENTION)
    there.until(lambda text: "attends most" in text and " quit" in text)

    there.type("\x03")
    assert os.waitstatus_to_exitcode(there.wait()) == 130
    assert there.is_given_back()
    assert (home / "mbexplore" / "history.jsonl").read_text() == f'"{TEXT}"\n'


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_killed_explorer_gives_the_terminal_back(home, number):
    there = Terminal("explore", "a \x1b]0;owned\x07\x1b[31m[MASK]", "--no-history", home=home)
    there.until(lambda text: WHY in text)
    os.kill(there.pid, number)
    assert os.waitstatus_to_exitcode(there.wait()) == 128 + number
    assert there.is_given_back()
    assert b"owned\x07" not in there.raw and not home.exists()


def test_a_closed_terminal_ends_it(home):
    there = Terminal("explore", TEXT, "--no-history", home=home)
    there.until(lambda text: WHY in text)
    os.close(there.master)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        pid, _ = os.waitpid(there.pid, os.WNOHANG)
        if pid:
            return
        time.sleep(0.05)
    os.kill(there.pid, signal.SIGKILL)
    raise AssertionError("it runs on without a terminal")


def test_256_colours_and_none(home):
    plain = Terminal("explore", TEXT, home=home, COLORTERM="", NO_COLOR="1")
    plain.until(lambda text: WHY in text)
    plain.type("q")
    plain.wait()
    assert not {b"38;2;", b"48;2;", b"38;5;", b"48;5;"} & {
        plain.raw[i : i + 5] for i in range(len(plain.raw))
    }
    few = Terminal("explore", TEXT, home=home, COLORTERM="")
    few.until(lambda text: WHY in text)
    few.type("q")
    few.wait()
    assert b"38;5;" in few.raw and b"38;2;" not in few.raw and b"48;2;" not in few.raw


def test_without_a_terminal_it_says_what_to_use():
    done = run_cli("explore", TEXT)
    assert done.code == 2 and not done.out
    assert done.err.count("\n") == 1
    assert "`mbexplore predict`" in done.err and "`mbexplore attention`" in done.err


def test_a_look_that_is_none():
    assert (
        "There is no look 'pink'; choose auto, dark, light."
        in run_cli("explore", "--look", "pink").err
    )
