"""The page without a browser: wishes, texts and masks, sessions, endpoints, the command."""

import base64
import io
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mbexplore
from mbexplore.errors import MbexploreError, ModelError, TextError, UsageError
from tests.cli_runner import run_cli

PARIS = "The capital of France is [MASK]."
pytestmark = pytest.mark.filterwarnings("default")  # what gradio leaves open is its own

from mbexplore_ui.protocol import PageView, Shown  # noqa: E402 - after the filter
from mbexplore_ui.sessions import Progress, Sessions, kept_beginning  # noqa: E402
from mbexplore_ui.text import chips, label, toggled  # noqa: E402
from mbexplore_ui.views import VIEWS  # noqa: E402


@pytest.fixture(scope="module")
def explorer():
    return mbexplore.load("tiny", device="cpu")


@pytest.fixture(scope="module")
def served_page(explorer):
    from tests.browser import served

    with served({"tiny": explorer}) as (address, sessions):
        yield address, sessions


def call(address, name, *data, session="plain"):
    """One endpoint, as the page calls it: its answer, or the sentence it refuses with."""
    body = json.dumps({"data": data, "session_hash": session}).encode()
    request = urllib.request.Request(
        f"{address}/gradio_api/run/{name}", body, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as reply:
            return json.load(reply)["data"][0]
    except urllib.error.HTTPError as error:
        if error.code == 401:
            raise
        with error:
            return json.load(error)["error"]


def ask_view(address, name, text, session="plain", model="tiny", **wishes):
    """A view's endpoint with the wishes given, all others as they are by default."""
    view = next(view for view in VIEWS if view.name == name)
    values = [wishes.get(wish, parameter.default) for wish, parameter in view.wishes.items()]
    return call(address, name, model, text, *values, session=session)


# ---- texts


def test_a_range_of_tokens_becomes_masks_and_comes_back(explorer):
    encoding = explorer.encode("The capital of France is Paris.")
    text, hidden = toggled(encoding, 4, 6, [], [])
    assert text == "The capital of [MASK] [MASK] [MASK]."
    assert hidden == ["France", "is", "Paris"]
    back, none = toggled(explorer.encode(text), 6, 4, hidden, [""] * 3)
    assert (back, none) == ("The capital of France is Paris.", [])


def test_a_mask_that_nobody_hid_becomes_the_answer(explorer):
    text, hidden = toggled(explorer.encode(PARIS), 6, 6, [], ["Rome"])
    assert (text, hidden) == ("The capital of France is Rome.", [])


@given(st.text(alphabet="ab [MASK]é\N{THUMBS UP SIGN}.\n", min_size=1, max_size=40), st.data())
def test_toggling_twice_gives_the_text_again(explorer, text, data):
    try:
        encoding = explorer.encode(text)
    except TextError:
        return
    place = data.draw(st.integers(0, len(encoding) - 1))
    start, stop = encoding.offsets[place]
    if stop == start or place in encoding.mask_positions:
        return
    changed, hidden = toggled(encoding, place, place, ["x"] * len(encoding.mask_positions), [])
    again = explorer.encode(changed)
    piece = text[start:stop]
    if len(again.mask_positions) != len(encoding.mask_positions) + 1 or not piece.strip():
        return  # half a character, or white space: not a token of its own in the new text
    order = next(m for m in again.mask_positions if again.offsets[m][1] > start)
    back, _ = toggled(again, order, order, hidden, [""] * len(hidden))
    assert back == text


def test_nothing_in_a_label_is_invisible(explorer):
    assert label(" Paris") == "Paris"
    assert label("\u200b") == "\\u200b" and label("\u202e") == "\\u202e"
    assert label(" ") == label("") == "\N{OPEN BOX}"
    assert label("\n") == "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}"
    pieces = chips(explorer.encode("The fishermen wait."))
    assert [(chip["text"], chip["joined"]) for chip in pieces[1:-1]] == [
        ("The", False), ("f", False), ("isher", True), ("men", True), ("wait", False), (".", False),
    ]  # fmt: skip
    kinds = chips(explorer.encode(PARIS))
    assert [i for i, chip in enumerate(kinds) if chip["mask"]] == [6]
    assert [i for i, chip in enumerate(kinds) if chip["special"]] == [0, 8]


def test_the_beginning_is_what_the_model_takes(explorer):
    kept = kept_beginning(explorer, "river " * 5000)
    assert len(explorer.encode(kept)) == explorer.model.config.max_position_embeddings
    assert kept_beginning(explorer, PARIS) == PARIS


# ---- wishes


def test_a_views_wishes_are_its_functions_parameters():
    def show(desk, layer: int = 0, words: bool = False, other_model: str = "") -> Shown:
        """A view."""
        return Shown([])

    view = PageView("x", "X", show, labels={"words": "words"})
    assert [c["kind"] for c in view.controls()] == ["held", "switch", "model"]
    assert view.check({"layer": 3}) == {"layer": 3}
    for wrong in ({"layer": "3"}, {"layer": True}, {"words": 1}, {"unknown": 1}):
        with pytest.raises(UsageError):
            view.check(wrong)


def test_views_have_names_and_labels_that_fit():
    names = [view.name for view in VIEWS]
    assert len(set(names)) == len(names)
    for view in VIEWS:
        assert view.labels.keys() <= view.wishes.keys()
        assert view.quick.keys() <= view.wishes.keys()
        assert all(control["default"] is not None for control in view.controls()), view.name


# ---- sessions


def test_the_model_runs_once_for_a_text(explorer):
    sessions = Sessions({"tiny": explorer})
    desk = sessions.desk("a", "tiny", PARIS)
    for view in (next(v for v in VIEWS if v.name == "attention"),) * 3:
        view.run(desk, {"layer": desk.runs})
    assert desk.runs == 1
    assert sessions.desk("a", "tiny", PARIS) is desk
    assert sessions.desk("b", "tiny", PARIS) is not desk


def test_sessions_are_dropped_when_closed_idle_or_too_many(explorer):
    now = [0.0]
    sessions = Sessions({"tiny": explorer}, idle=60, clock=lambda: now[0])
    assert sessions.desk("a", "tiny", PARIS).recording
    size = sessions.nbytes
    assert size > 0
    sessions.drop("a")
    assert len(sessions) == sessions.nbytes == 0
    sessions.desk("a", "tiny", PARIS)
    now[0] = 61.0
    sessions.desk("b", "tiny", PARIS)
    assert len(sessions) == 1
    now[0] = 200.0
    sessions.sweep()
    assert len(sessions) == 0
    small = Sessions({"tiny": explorer}, budget=2 * size)
    for name in "abcd":
        assert small.desk(name, "tiny", PARIS).recording
    small.sweep()
    assert small.nbytes <= 2 * size
    large = Sessions({"tiny": explorer}, budget=1)
    desk = large.desk("a", "tiny", PARIS)
    assert desk.recording and large.desk("a", "tiny", PARIS) is desk  # not run again


def test_who_waits_for_an_answer_is_not_idle(explorer):
    now = [0.0]
    sessions = Sessions({"tiny": explorer}, idle=60, clock=lambda: now[0])
    for name in "ab":
        sessions.desk(name, "tiny", PARIS)
    for now[0] in (50.0, 100.0):
        sessions.progress("a")
        sessions.sweep()
    assert len(sessions) == 1 and sessions.progress("a") is sessions.progress("a")
    assert sessions.progress("b") is not sessions.progress("b")  # nobody's


def test_a_closed_page_ends_its_work(explorer):
    sessions, begun, sentences = Sessions({"tiny": explorer}), threading.Semaphore(0), []
    held = threading.Event()

    def person(name, step):
        desk = sessions.desk(name, "tiny", PARIS)
        try:
            with desk.progress.work():
                begun.release()
                while True:
                    step()
                    desk.progress.move(1, 2)
        except UsageError as error:
            sentences.append((name, str(error)))

    def work(name, step):
        thread = threading.Thread(target=person, args=(name, step))
        thread.start()
        assert begun.acquire(timeout=30)
        return thread

    first = work("a", lambda: time.sleep(0.01))
    sessions.drop("a")
    first.join(30)
    assert not first.is_alive() and sentences == [("a", "Stopped; Run starts it again.")]
    second, third = work("b", lambda: time.sleep(0.01)), work("c", lambda: held.wait(30))
    assert not sessions.close(patience=0.2)  # one is in the middle of a step
    assert len(sessions) == 0
    held.set()
    assert sessions.close(patience=30)
    for thread in (second, third):
        thread.join(30)
    assert {name for name, _ in sentences} == {"a", "b", "c"}


def test_a_text_that_makes_room_gives_its_memory_back(explorer, monkeypatch):
    sessions, held = Sessions({"tiny": explorer}), []
    first = weakref.ref(sessions.desk("a", "tiny", PARIS))
    monkeypatch.setattr("mbexplore_ui.sessions.release", lambda: held.append(first()))
    sessions.desk("a", "tiny", "One more.")
    assert held == []
    sessions.desk("a", "tiny", "And another.")
    assert held == [None]  # gone by then


def test_only_models_opened_at_the_start_are_used(explorer, tmp_path):
    with pytest.raises(ModelError, match="tiny"):
        Sessions({"tiny": explorer}).desk("a", str(tmp_path), PARIS)


def test_a_stop_ends_what_has_begun_and_nothing_else():
    progress = Progress()
    with progress.work():
        progress.move(1, 4)
        progress.stop()
        for _ in range(2):
            with pytest.raises(UsageError, match="Stopped"):
                progress.move(2, 4)
    assert (progress.done, progress.total) == (0, 0)
    progress.stop()
    with progress.work():
        progress.move(1, 4)
    assert (progress.done, progress.total) == (1, 4)


def test_a_recording_tells_its_layers_and_can_be_stopped(explorer, monkeypatch):
    desk = Sessions({"tiny": explorer}).desk("a", "tiny", PARIS)
    whole, seen, move = explorer.record(PARIS), [], desk.progress.move

    def stop_at_four(done, total):
        seen.append((done, total))
        if done == 4:
            desk.progress.stop()
        move(done, total)

    monkeypatch.setattr(desk.progress, "move", stop_at_four)
    with desk.progress.work(), pytest.raises(UsageError, match="Stopped"):
        desk.recording  # noqa: B018 - it is made when looked at
    assert seen == [(layer + 1, 9) for layer in range(4)]
    assert desk.nbytes == 0
    monkeypatch.undo()
    with desk.progress.work():
        again = desk.recording
    np.testing.assert_array_equal(again.attention(8).numpy(), whole.attention(8).numpy())


def test_who_waits_for_stopped_work_does_not_begin_it_again(explorer):
    desk = Sessions({"tiny": explorer}).desk("a", "tiny", PARIS)
    begun, ended, tries, sentences = threading.Event(), threading.Event(), [], []

    def make():
        tries.append(1)
        begun.set()
        assert ended.wait(30)
        desk.progress.check()

    def person(waits_for):
        assert waits_for is None or waits_for.wait(30)
        try:
            with desk.progress.work():
                if waits_for:
                    threading.Timer(0.2, lambda: (desk.progress.stop(), ended.set())).start()
                desk.once("slow", make)
        except UsageError as error:
            sentences.append(str(error))

    people = [threading.Thread(target=person, args=(which,)) for which in (None, begun)]
    for thread in people:
        thread.start()
    for thread in people:
        thread.join()
    assert len(tries) == 1 and sentences == ["Stopped; Run starts it again."] * 2


# ---- endpoints


def test_every_handler_is_a_named_endpoint(served_page):
    from gradio_client import Client

    address, _ = served_page
    client = Client(address, verbose=False)
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    wanted = {"start", "tokens", "toggle", "beginning", "progress", "stop", "save"}
    assert named.keys() == {f"/{name}" for name in (*wanted, *(view.name for view in VIEWS))}
    answer = client.predict(model="tiny", text=PARIS, layer=4, head=1, api_name="/attention")
    assert answer["command"].startswith("mbexplore attention")
    assert answer["parts"][0]["parts"][0]["shape"] == [9, 9]
    client.close()


def test_a_saved_file_is_the_views_own(served_page, explorer):
    address, _ = served_page
    wishes = {"layer": 4, "head": 1}
    file = call(address, "save", "attention", "npz", "tiny", PARIS, wishes)
    arrays = np.load(io.BytesIO(base64.b64decode(file["data"])))
    band = explorer.record(PARIS).attention_band(4, 1).numpy()
    np.testing.assert_allclose(arrays["band"], band, atol=1e-6)
    assert file["name"].endswith(".npz")


def test_a_zoomed_map_is_saved_as_it_is_shown(served_page, explorer, tmp_path):
    """Unequal rows and columns: the file holds them alone, and so does its command's."""
    address, _ = served_page
    wishes = {"layer": 4, "head": 1, "queries": "1:7", "keys": "2:5"}
    shown = ask_view(address, "attention", PARIS, **wishes)
    assert "--queries 1:7 --keys 2:5" in shown["command"]
    picture, links = shown["parts"][0]["parts"]
    assert picture["shape"] == [6, 3]
    places = [int(row[0]["text"].split()[-1]) for row in links["rows"]]
    assert places and set(places) <= set(range(1, 7))
    arguments = shlex.split(shown["command"])[1:]
    for ending in ("npz", "json", "png", "svg", "html", "csv"):
        file = call(address, "save", "attention", ending, "tiny", PARIS, wishes)
        content = base64.b64decode(file["data"])
        assert file["name"] == f"attention-layer4-head1.{ending}"
        if ending == "npz":
            weights = explorer.record(PARIS).attention(4, 1)[:, 1:7, 2:5].numpy()
            np.testing.assert_allclose(np.load(io.BytesIO(content))["weights"], weights, atol=1e-6)
            run_cli(*arguments, "-o", tmp_path / "again.npz")
            again = np.load(tmp_path / "again.npz")
            np.testing.assert_array_equal(np.load(io.BytesIO(content))["weights"], again["weights"])
        if ending == "json":
            assert json.loads(content) == json.loads(run_cli(*arguments, "--json").out)


@pytest.mark.parametrize(
    ("wishes", "sentence"),
    [
        ({"name": "predict", "text": "No mask."}, "has no [MASK]"),
        ({"name": "predict", "text": "  "}, "The text is empty"),
        ({"name": "predict", "text": "Half \ud800 a [MASK]"}, "half of a character in it (U+D800)"),
        ({"name": "lens", "text": PARIS, "answer": "\udc00"}, "half of a character in it (U+DC00)"),
        ({"name": "compare", "text": PARIS, "other": "\udc00 [MASK]"}, "half of a character"),
        ({"name": "attention", "text": PARIS, "queries": "\ud800"}, "'\\ud800' is no token range"),
        ({"name": "predict", "text": PARIS, "model": "/etc"}, "was not opened at the start"),
        ({"name": "predict", "text": PARIS, "top_k": "five"}, "can't be 'five'"),
        ({"name": "attention", "text": PARIS, "layer": 99}, "There is no layer 99"),
        ({"name": "attention", "text": PARIS, "queries": "7"}, "no token range"),
    ],
)
def test_a_mistake_is_one_sentence(served_page, wishes, sentence):
    answer = ask_view(served_page[0], **wishes)
    assert sentence in answer and "\n" not in answer


def test_what_cannot_be_saved_is_one_sentence(served_page):
    address, _ = served_page
    answer = call(address, "save", "nothing", "png", "tiny", PARIS, {})
    assert "There is no view 'nothing'" in answer
    wishes = {"hf": False}
    answer = call(address, "save", "predict", "exe", "tiny", PARIS, wishes)
    assert "can't be saved as .exe" in answer


def test_many_people_at_once(served_page):
    """Eight people, each with a text and a head of their own, meet no error and no other's text."""
    address, sessions = served_page
    wrong = []

    def person(number):
        text = f"Person {number} likes the [MASK]."
        for layer in range(4):
            answer = ask_view(address, "attention", text, f"person {number}", layer=layer)
            if f"Person {number} likes" not in answer["command"]:
                wrong.append(answer)

    people = [threading.Thread(target=person, args=(n,)) for n in range(8)]
    for thread in people:
        thread.start()
    for thread in people:
        thread.join()
    assert wrong == []
    for number in range(8):
        sessions.drop(f"person {number}")


def test_the_page_names_no_other_address(served_page):
    """Neither our own files nor the theme ask for anything from elsewhere."""
    from mbexplore_ui.app import script, style

    with urllib.request.urlopen(served_page[0], timeout=60) as reply:
        page = reply.read().decode()
    assert "Content-Security-Policy" in page
    assert "fonts.googleapis" not in page and "fonts.gstatic" not in page
    own = script() + style()
    assert set(re.findall(r"https?://[\w./]+", own)) <= {"http://www.w3.org/2000/svg"}


# ---- the command


def test_the_command_says_where_the_page_is_and_stops_cleanly():
    code = "import sys; from mbexplore.cli import main; main(['ui'])"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    try:
        address = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", address), process.stderr.read()
        assert urllib.request.urlopen(address, timeout=60).status == 200
        answers = []  # somebody is still waiting for one
        long = "the river runs on " * 300 + PARIS
        asking = threading.Thread(
            target=lambda: answers.append(ask_view(address, "attribute", long, steps=200))
        )
        asking.start()
        while asking.is_alive() and call(address, "progress")["total"] != 200:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0 and "Traceback" not in err and out == ""
    asking.join(60)
    assert answers == ["Stopped; Run starts it again."]


def test_the_environment_is_set_before_torch_is_loaded():
    """MKL reads it once, as it is loaded with torch."""
    code = (
        "import os, sys\n"
        "from mbexplore.cli import main\n"
        "from mbexplore.cli.ui import ENVIRONMENT\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'torch':\n"
        "            print(*(os.environ.get(each) for each in ENVIRONMENT), flush=True)\n"
        "            os._exit(0)\n"
        "assert 'torch' not in sys.modules and ENVIRONMENT\n"
        "sys.meta_path.insert(0, Watch())\n"
        "main(['ui'])\n"
    )
    from mbexplore.cli.ui import ENVIRONMENT

    environ = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environ, timeout=120
    )
    assert process.stdout.split() == list(ENVIRONMENT.values()), process.stderr


@pytest.fixture
def launches(monkeypatch):
    """`mbexplore ui` without a server: what it would be launched with; Ctrl-C follows at once."""
    from contextlib import contextmanager

    handlers, asked = {}, []
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)

    @contextmanager
    def launched(app, host, port, **wishes):
        asked.append({"host": host, **wishes})
        yield f"http://{host}:{port}", "https://far.example" if wishes["share"] else None
        assert signal.SIGINT in handlers

    def build(sessions):
        handlers[signal.SIGINT]()

    monkeypatch.setattr("mbexplore_ui.serve.launched", launched)
    monkeypatch.setattr("mbexplore_ui.app.build_app", build)
    monkeypatch.setattr("mbexplore_ui.serve.choose_port", lambda host, port: port or 7860)
    return asked


@pytest.mark.parametrize(
    ("arguments", "warning"),
    [
        ((), ""),
        (("--host", "localhost"), ""),
        (("--host", "0.0.0.0"), "Everybody who can reach 0.0.0.0 can use this page; --auth"),
        (("--host", "0.0.0.0", "--auth", "ada:right"), ""),
        (("--share",), "Everybody who is told the public address can use this page; --auth"),
        (("--share", "--auth", "ada:right"), ""),
    ],
)
def test_a_page_that_others_reach_without_a_password_is_warned_of(launches, arguments, warning):
    result = run_cli("ui", *arguments)
    assert result.code == 0
    assert (warning in result.err) if warning else (result.err == "")
    [asked] = launches
    assert asked["share"] == ("--share" in arguments)
    assert ("https://far.example" in result.out) == ("--share" in arguments)
    assert asked["auth"] == (("ada", "right") if "--auth" in arguments else None)


def test_nothing_is_shared_or_listens_elsewhere_unless_it_is_said(monkeypatch):
    """What Gradio itself is told; no variable of the environment changes it."""
    from mbexplore_ui.serve import launched

    monkeypatch.setenv("GRADIO_SHARE", "true")
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    told = []

    class App:
        def launch(self, **wishes):
            told.append(wishes)
            return None, "http://127.0.0.1:7860/", None

        def close(self, verbose):
            pass

    for share in (False, True):
        with launched(App(), "127.0.0.1", 7860, share=share):
            pass
    with launched(App(), "127.0.0.1", 7860):
        pass
    assert [wishes["share"] for wishes in told] == [False, True, False]
    assert {wishes["server_name"] for wishes in told} == {"127.0.0.1"}
    assert not any(wishes["enable_monitoring"] or wishes["mcp_server"] for wishes in told)


def test_a_taken_port_offers_the_next_free_one():
    from mbexplore_ui.serve import choose_port

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"Port {port} is taken; \\d+ is free"):
            choose_port("127.0.0.1", port)
    with pytest.raises(MbexploreError, match="no port"):
        choose_port("127.0.0.1", 0)


def test_auth_is_a_user_and_a_password():
    result = run_cli("ui", "--auth", "nobody")
    assert result.code == 2 and "USER:PASS" in result.err


def redraw_seconds(explorer, tokens=200, layer=4):
    """Server time of each drawing of a held head, once the text is recorded: for measuring."""
    text = "The river runs on to the [MASK] and " + "what it carries shapes the land " * tokens
    text = text[: explorer.encode(text, truncate=True).offsets[tokens - 2][1]]
    desk = Sessions({explorer.info.name: explorer}).desk("me", explorer.info.name, text)
    assert len(desk.encoding) == tokens and desk.recording
    views = {view.name: view for view in VIEWS}
    asked = {p: ("attention", {"layer": layer, "picture": p}) for p in ("map", "band", "arcs")}
    times = {}
    for name, (view, wishes) in (asked | {"thumbnails": ("model-view", {})}).items():
        start = time.perf_counter()
        views[view].run(desk, wishes)
        times[name] = time.perf_counter() - start
    return times


def test_redraws_are_measured(explorer):
    assert redraw_seconds(explorer, tokens=40).keys() == {"map", "band", "arcs", "thumbnails"}
