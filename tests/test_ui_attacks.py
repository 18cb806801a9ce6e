"""Attacks on the page's server over loopback: foreign names and sites, large requests, hoarding."""

import http.client
import json
import threading
import time
from contextlib import suppress
from urllib.parse import urlsplit

import numpy as np
import pytest

import mbexplore
from mbexplore.analysis.compare import RunComparison
from mbexplore.errors import UsageError
from mbexplore.session import KEPT_BYTES, Session, size_of_arrays
from tests.test_ui import PARIS, ask_view

pytestmark = pytest.mark.filterwarnings("default")  # what gradio leaves open is its own

from mbexplore_ui.guard import LARGEST, Guard  # noqa: E402
from mbexplore_ui.sessions import MOST_OF_ALL, MOST_WORK, Sessions, Work  # noqa: E402


@pytest.fixture(scope="module")
def explorer():
    return mbexplore.load("tiny", device="cpu")


def ask(address, method="GET", path="/", body=None, **headers):
    """Status and text of a request with the headers given; `_` stands for `-`."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, given)
    with connection.getresponse() as answer:
        found = answer.status, answer.read().decode()
    connection.close()
    return found


def tokens(text="It [MASK]."):
    """The body of a request that the server answers with a text's tokens."""
    return json.dumps({"data": ["tiny", text], "session_hash": "attack"})


TOKENS = {"method": "POST", "path": "/gradio_api/run/tokens", "Content_Type": "application/json"}


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "", "[::2]:{port}"]
)
def test_a_foreign_name_that_points_here_is_refused(served_page, host):
    """DNS rebinding: the browser thinks that it talks to its own site."""
    address, _ = served_page
    host = host.format(port=urlsplit(address).port)
    for given in ({}, TOKENS | {"body": tokens(), "Origin": f"http://{host}"}):
        status, sentence = ask(address, Host=host, **given)
        assert status == 403 and sentence.startswith("This server was asked for as")
        assert repr(host) in sentence and "--host" in sentence and "\n" not in sentence


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST", "[::1]:80"])
def test_its_own_names_are_answered(served_page, host):
    address, _ = served_page
    host = host.format(port=urlsplit(address).port)
    assert ask(address, Host=host)[0] == 200
    status, answer = ask(address, Host=host, Origin=f"http://{host}", body=tokens(), **TOKENS)
    assert status == 200 and json.loads(answer)["data"][0]["tokens"]


@pytest.mark.parametrize("origin", ["http://evil.example", "https://evil.example:1", "null", ""])
@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_a_page_of_another_site_can_not_ask(served_page, origin, kind):
    address, _ = served_page
    given = TOKENS | {"Content_Type": kind}
    status, sentence = ask(address, Origin=origin, body=tokens(), **given)
    assert status == 403 and repr(origin) in sentence
    status, _ = ask(address, "POST", "/gradio_api/upload", b"x", Origin=origin)
    assert status == 403


def test_behind_a_proxy_that_says_its_name_the_page_works(served_page):
    address, _ = served_page
    proxy = {"Origin": "https://lab.example", "X_Forwarded_Host": "lab.example"}
    assert ask(address, body=tokens(), **TOKENS, **proxy)[0] == 200


@pytest.mark.parametrize("path", ["/gradio_api/run/tokens", "/gradio_api/upload", "/nowhere"])
def test_a_large_request_is_refused_before_it_is_read(served_page, path):
    address, _ = served_page
    start = time.monotonic()
    # Says that it is large, and sends next to nothing.
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    connection.putrequest("POST", path)
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(LARGEST + 1))
    connection.endheaders(b"{")
    with connection.getresponse() as answer:
        assert answer.status == 413 and f"{LARGEST:,} bytes" in answer.read().decode()
    connection.close()
    assert time.monotonic() - start < 30


def test_a_large_request_of_unknown_length_is_cut_off(served_page):
    address, _ = served_page

    def endless():
        for _ in range(2 * LARGEST // 65536):
            yield b"x" * 65536

    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    with suppress(BrokenPipeError, ConnectionResetError):  # it may close before all was sent
        connection.request("POST", "/gradio_api/run/tokens", endless())
        with connection.getresponse() as answer:
            assert answer.status == 413 and "shorter" in answer.read().decode()
    connection.close()
    assert ask(address)[0] == 200  # the server goes on


def test_the_longest_text_that_the_model_takes_passes(served_page):
    address, _ = served_page
    status, answer = ask(address, body=tokens("river " * 5000), **TOKENS)
    assert status in (200, 500) and "tokens" in answer  # of the text, or that it is too long
    status, answer = ask(address, body=tokens("river " * 1500), **TOKENS)
    assert status == 200 and len(json.loads(answer)["data"][0]["tokens"]) > 1500


def test_a_server_for_others_takes_any_name_and_no_foreign_site():
    guard, post = Guard(None), {"type": "http", "method": "POST"}

    def refused(**headers):
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        return guard._refusal(post | {"headers": pairs})

    assert refused(host="lab.example") is None
    assert refused(host="lab.example", origin="https://lab.example") is None
    assert refused(host="lab.example", origin="https://evil.example")[0] == 403


def test_a_page_can_not_take_all_threads_of_the_server():
    everybody = set()
    greedy, other, more = (Work(everybody) for _ in range(3))
    gates, sentences = [threading.Event(), threading.Event()], []
    begun = threading.Semaphore(0)

    def run(work, gate):
        try:
            with work.begun():
                begun.release()
                gate.wait(60)
        except UsageError as error:
            sentences.append(str(error))
            begun.release()

    threads = []

    def start(work, count, gate):
        for _ in range(count):
            threads.append(threading.Thread(target=run, args=(work, gate)))
            threads[-1].start()
            assert begun.acquire(timeout=60)

    start(greedy, MOST_WORK + 3, gates[0])
    assert len(sentences) == 3 and f"{MOST_WORK} requests are at work" in sentences[0]
    start(other, MOST_WORK, gates[1])
    assert len(sentences) == 3  # another page has its own
    start(more, MOST_WORK, gates[1])
    assert len(sentences) == 3 + 3 * MOST_WORK - MOST_OF_ALL
    gates[0].set()
    for thread in threads[: MOST_WORK + 3]:
        thread.join(60)
    assert len(everybody) == MOST_OF_ALL - MOST_WORK
    start(greedy, 1, gates[1])
    assert len(everybody) == MOST_OF_ALL - MOST_WORK + 1
    gates[1].set()
    for thread in threads:
        thread.join(60)
    assert not everybody and not greedy._jobs


def test_results_count_towards_the_memory_of_a_page(explorer):
    sessions = Sessions({"tiny": explorer})
    session = sessions.session("a", "tiny", PARIS)
    answer = mbexplore.views.REGISTRY["compare"](other="The capital of Italy is [MASK].")
    first = answer.of(session)
    held = sessions.nbytes
    assert isinstance(first.data, RunComparison) and first.data.nbytes > 0
    own = [session, session.beside("The capital of Italy is [MASK].")]
    recorded = sum(value.nbytes for one in own for value in one.recording().values.values())
    assert held >= recorded + first.data.nbytes
    type(answer)(other="The capital of Italy is [MASK].", layer=2).of(session)
    assert sessions.nbytes >= held + first.data.nbytes


def test_large_results_of_a_text_are_forgotten_and_the_newest_stays(explorer, monkeypatch):
    monkeypatch.setattr("mbexplore.session.KEPT_BYTES", 1000)
    session, made = Session(explorer, PARIS), []

    def make(key, size):
        def now():
            made.append(key)
            return {"map": np.zeros(size, dtype=np.uint8)}

        return session.once(key, now)

    for key in "abc":
        make(key, 400)
    assert session.nbytes == 800
    make("c", 400)
    assert made == ["a", "b", "c"]  # still there
    make("a", 400)
    assert made == ["a", "b", "c", "a"]
    make("large", 5000)
    assert session.nbytes == 5000
    make("small", 10)
    assert session.nbytes == 10
    assert KEPT_BYTES >= 4 * 4096**2 * 4  # the largest maps, some of them


def test_a_page_makes_room_for_its_results_too(explorer, monkeypatch):
    sessions = Sessions({"tiny": explorer}, budget=10_000)
    first, second = (sessions.session(name, "tiny", PARIS) for name in "ab")
    for one in (first, second):
        one.once("map", lambda: np.zeros(6000, dtype=np.uint8))
    assert sessions.nbytes == 12_000
    assert sessions.session("b", "tiny", PARIS) is second
    assert sessions.nbytes == 6000  # the other page's went


def test_arrays_are_found_wherever_a_result_holds_them():
    import dataclasses

    import torch

    @dataclasses.dataclass
    class Inner:
        maps: list
        name: str = "x"

    array = np.zeros(10)
    inner = Inner([array, array, torch.zeros(3, dtype=torch.float64)])
    assert size_of_arrays({"a": (inner, "text"), "b": 5}) == 80 + 24
    inner.maps.append(inner)
    assert size_of_arrays(inner) == 80 + 24


SHORT = "It [MASK]."


def test_heavy_work_of_one_page_does_not_stop_another(served_page):
    """One person asks for every head of long texts, many at once; another for a short text."""
    address, sessions = served_page
    long = "the tide rises over the long [MASK] shore and falls again " * 45
    over = threading.Event()

    def greedy(number):
        turn = 0
        while not over.is_set():
            ask_view(address, "ablate", f"{long} {number} {turn}", "greedy")
            turn += 1

    crowd = [threading.Thread(target=greedy, args=(n,)) for n in range(8)]
    ask_view(address, "lens", SHORT, "modest")  # what is loaded once is loaded
    for one in crowd:
        one.start()
    try:
        while len(sessions.work("greedy")._jobs) < len(crowd):
            time.sleep(0.02)
        work = set(sessions.work("greedy")._jobs)
        for token in range(3):
            assert ask_view(address, "lens", SHORT, "modest", token=token)["line"]
        assert work & set(sessions.work("greedy")._jobs)  # answered while that went on
    finally:
        over.set()
        while any(one.is_alive() for one in crowd):
            sessions.work("greedy").stop()
            time.sleep(0.05)
    sessions.drop("greedy")
