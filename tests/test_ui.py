"""The page without a browser: parameters, texts and masks, sessions, endpoints, the command."""

import base64
import dataclasses
import gc
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
import warnings
import weakref

import numpy as np
import pytest

import mbexplore
from mbexplore.errors import MbexploreError, ModelError, UsageError
from mbexplore.jobs import report
from mbexplore.text import word
from mbexplore.views import REGISTRY
from tests.cli_runner import run_cli

PARIS = "The capital of France is [MASK]."
pytestmark = pytest.mark.filterwarnings("default")  # what gradio leaves open is its own

from mbexplore_ui.component import describe  # noqa: E402 - after it
from mbexplore_ui.controls import arguments_of, build_view, controls_of  # noqa: E402
from mbexplore_ui.endpoints import PUBLIC, Endpoints, chips  # noqa: E402
from mbexplore_ui.sessions import Sessions, Work  # noqa: E402


@pytest.fixture(scope="module")
def explorer():
    return mbexplore.load("tiny", device="cpu")


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


def ask_view(address, name, text, session="plain", model="tiny", **given):
    """A view's endpoint with the parameters given, all others as they are by default."""
    values = [given.get(one.name, one.default) for one in arguments_of(REGISTRY[name])]
    return call(address, name.replace("-", "_"), model, text, *values, session=session)


# ---- texts


def test_nothing_in_a_label_is_invisible(explorer):
    assert word(" Paris") == "Paris"
    assert word("\u200b") == "\\u200b" and word("\u202e") == "\\u202e"
    assert word(" ") == word("") == "\N{OPEN BOX}"
    assert word("\n") == "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}"
    pieces = chips(explorer.encode("The fishermen wait."))
    assert [(chip["text"], chip["joined"]) for chip in pieces[1:-1]] == [
        ("The", False), ("f", False), ("isher", True), ("men", True), ("wait", False), (".", False),
    ]  # fmt: skip
    kinds = chips(explorer.encode(PARIS))
    assert [i for i, chip in enumerate(kinds) if chip["mask"]] == [6]
    assert [i for i, chip in enumerate(kinds) if chip["special"]] == [0, 8]


def test_a_text_that_is_too_long_is_cut_and_the_page_is_told(explorer):
    text = "river " * 5000
    found = Endpoints(Sessions({"tiny": explorer})).call("tokens", "a", "tiny", text)
    assert len(found["tokens"]) == explorer.model.config.max_position_embeddings
    assert found["full_length"] == len(explorer.tokenizer.encode(text))


# ---- parameters


def test_parameters_become_controls_and_arguments():
    lens = REGISTRY["lens"]
    kinds = {one["name"]: one["kind"] for one in controls_of(lens)}
    assert kinds["token"] == "held" and kinds["all_tokens"] == "switch"
    assert kinds["colour"] == "choice" and kinds["answer"] == "text"
    assert [one.name for one in arguments_of(lens)][-1] == "first"
    assert build_view(lens, {"token": -1, "answer": " ", "top_k": 2}) == lens(top_k=2)
    assert build_view(lens, {"colour": "kl"}) == lens()  # a hidden control has no effect
    for wrong in ({"top_k": "3"}, {"top_k": 0}, {"all_tokens": 1}, {"unknown": 1}):
        with pytest.raises(MbexploreError):
            build_view(lens, wrong)


def test_every_control_has_a_default_that_its_view_takes():
    for view in REGISTRY.values():
        controls = controls_of(view)
        assert all(control["default"] is not None for control in controls), view.name
        required = [one.name for one in view.parameters if one.default is dataclasses.MISSING]
        given = {one["name"]: one["default"] for one in controls}
        if not required:
            assert build_view(view, given) == view(), view.name


# ---- sessions


def test_the_model_runs_once_for_a_text(explorer, monkeypatch):
    runs = []
    record = type(explorer).record
    monkeypatch.setattr(
        type(explorer), "record", lambda *a, **k: (runs.append(1), record(*a, **k))[1]
    )
    endpoints = Endpoints(Sessions({"tiny": explorer}))
    for token in (1, 2, 3):
        assert "error" not in endpoints.call("lens", "a", "tiny", PARIS, token)
    assert len(runs) == 1
    sessions = endpoints.sessions
    session = sessions.session("a", "tiny", PARIS)
    assert sessions.session("a", "tiny", PARIS) is session
    assert sessions.session("b", "tiny", PARIS) is not session


def test_sessions_are_dropped_when_closed_idle_or_too_many(explorer):
    now = [0.0]
    sessions = Sessions({"tiny": explorer}, idle=60, clock=lambda: now[0])
    assert sessions.session("a", "tiny", PARIS).recording()
    size = sessions.nbytes
    assert size > 0
    sessions.drop("a")
    assert len(sessions) == sessions.nbytes == 0
    sessions.session("a", "tiny", PARIS)
    now[0] = 61.0
    sessions.session("b", "tiny", PARIS)
    assert len(sessions) == 1
    now[0] = 200.0
    sessions.sweep()
    assert len(sessions) == 0
    small = Sessions({"tiny": explorer}, budget=2 * size)
    for name in "abcd":
        assert small.session(name, "tiny", PARIS).recording()
        assert small.nbytes <= 2 * size
    large = Sessions({"tiny": explorer}, budget=1)
    session = large.session("a", "tiny", PARIS)
    recording = session.recording()
    assert session.recording() is recording  # one person's text is shown, however long


def test_the_size_of_a_recording_is_known_before_it_is_made(explorer):
    from mbexplore_ui.sessions import KEEP

    from mbexplore.recorder import recording_size

    recording = explorer.record(PARIS, keep=KEEP)
    held = sum(value.nbytes for value in recording.values.values())
    assert recording_size(explorer.model, len(recording), KEEP) == held


def test_the_budget_holds_while_recordings_are_made(explorer):
    """Twelve pages record at once under a budget of two: never more is held or being made."""
    text = "the river runs on to the [MASK] " * 20
    size = Sessions({"tiny": explorer})
    size.session("x", "tiny", text).recording()
    budget = 2 * size.nbytes
    sessions, seen, sentences = Sessions({"tiny": explorer}, budget=budget), [], []

    def person(name):
        session = sessions.session(name, "tiny", text)
        session.progress = lambda done, total: seen.append(sessions.nbytes)
        try:
            session.recording()
        except UsageError as error:
            sentences.append(str(error))

    people = [threading.Thread(target=person, args=(str(n),)) for n in range(12)]
    for thread in people:
        thread.start()
    for thread in people:
        thread.join()
    assert max(seen) <= budget and sessions.nbytes <= budget
    assert all("try again in a moment" in sentence for sentence in sentences)


def test_who_waits_for_an_answer_is_not_idle(explorer):
    now = [0.0]
    sessions = Sessions({"tiny": explorer}, idle=60, clock=lambda: now[0])
    for name in "ab":
        sessions.session(name, "tiny", PARIS)
    for now[0] in (50.0, 100.0):
        sessions.work("a")
        sessions.sweep()
    assert len(sessions) == 1 and sessions.work("a") is sessions.work("a")
    assert sessions.work("b") is not sessions.work("b")  # nobody's


def test_a_closed_page_ends_its_work(explorer):
    sessions, begun, sentences = Sessions({"tiny": explorer}), threading.Semaphore(0), []
    held = threading.Event()

    def person(name, step):
        sessions.session(name, "tiny", PARIS)
        work = sessions.work(name)
        try:
            with work.begun():
                begun.release()
                while True:
                    step()
                    report(1, 2)
        except UsageError as error:
            sentences.append((name, str(error)))

    def start(name, step):
        thread = threading.Thread(target=person, args=(name, step))
        thread.start()
        assert begun.acquire(timeout=30)
        return thread

    first = start("a", lambda: time.sleep(0.01))
    sessions.drop("a")
    first.join(30)
    assert not first.is_alive() and sentences == [("a", "Stopped; Run starts it again.")]
    second, third = start("b", lambda: time.sleep(0.01)), start("c", lambda: held.wait(30))
    assert not sessions.close(patience=0.2)  # one is in the middle of a step
    assert len(sessions) == 0
    held.set()
    assert sessions.close(patience=30)
    for thread in (second, third):
        thread.join(30)
    assert {name for name, _ in sentences} == {"a", "b", "c"}


def test_a_text_that_makes_room_gives_its_memory_back(explorer, monkeypatch):
    sessions, held = Sessions({"tiny": explorer}), []
    first = weakref.ref(sessions.session("a", "tiny", PARIS))
    monkeypatch.setattr("mbexplore_ui.sessions.release", lambda: held.append(first()))
    sessions.session("a", "tiny", "One more.")
    assert held == []
    sessions.session("a", "tiny", "And another.")
    assert held == [None]  # gone by then


def test_only_models_opened_at_the_start_are_used(explorer, tmp_path):
    with pytest.raises(ModelError, match="tiny"):
        Sessions({"tiny": explorer}).session("a", str(tmp_path), PARIS)


def test_a_stop_ends_what_has_begun_and_nothing_else():
    work = Work()
    with work.begun():
        report(1, 4)
        assert work.progress == (1, 4)
        work.stop()
        for _ in range(2):
            with pytest.raises(UsageError, match="Stopped"):
                report(2, 4)
    assert work.progress == (0, 0)
    work.stop()
    with work.begun():
        report(1, 4)
        assert work.progress == (1, 4)


def test_a_recording_reports_its_layers_and_can_be_stopped(explorer):
    sessions = Sessions({"tiny": explorer})
    session, work = sessions.session("a", "tiny", PARIS), sessions.work("a")
    whole, seen, move = explorer.record(PARIS), [], session.progress

    def stop_at_four(done, total):
        seen.append((done, total))
        if done == 4:
            work.stop()
        move(done, total)

    session.progress = stop_at_four
    with work.begun(), pytest.raises(UsageError, match="Stopped"):
        session.recording()
    assert seen == [(layer + 1, 9) for layer in range(4)]
    assert session.nbytes == sessions.nbytes == 0
    session.progress = move
    with work.begun():
        again = session.recording()
    np.testing.assert_array_equal(again.attention(8).numpy(), whole.attention(8).numpy())


# ---- endpoints


def test_every_view_is_a_named_endpoint(served_page):
    from gradio_client import Client

    address, _ = served_page
    client = Client(address, verbose=False)
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    views = {name.replace("-", "_") for name, view in REGISTRY.items() if not view.needs_file()}
    assert named.keys() == {f"/{name}" for name in ("start", *PUBLIC, *views)}
    described = named["/lens"]["description"]
    assert REGISTRY["lens"].question in described
    for one in REGISTRY["lens"].parameters:
        assert f"{one.name}: {one.option.help}" in described
    assert "api" in client.config["footer_links"]  # or Gradio has no page of them
    answer = client.predict(model="tiny", text=PARIS, token=4, api_name="/lens")
    assert answer["command"].startswith("mbexplore lens") and "--token 4" in answer["command"]
    assert answer["line"] and answer["parts"]
    client.close()


def test_several_texts_are_compared_on_the_page(served_page, explorer):
    address, _ = served_page
    others = "The sea comes in.\n\n He paid the bill. "
    shown = ask_view(address, "embed", "The tide rises.", others=others)
    assert shlex.split(shown["command"])[2:] == [
        "The tide rises.", "The sea comes in.", "He paid the bill.",
    ]  # fmt: skip
    [heat] = [part for part in shown["parts"] if part["kind"] == "heat"]
    cosine = explorer.embed(
        ["The tide rises.", "The sea comes in.", "He paid the bill."]
    ).data.cosine
    np.testing.assert_allclose(heat["values"], cosine.tolist(), atol=1e-4)
    saved = call(address, "save", "embed", "npz", "tiny", "The tide.", {"others": others}, {})
    assert np.load(io.BytesIO(base64.b64decode(saved["data"])))["cosine"].shape == (3, 3)
    alone = ask_view(address, "embed", "The tide rises.", others="")
    assert alone["line"].startswith("One text")


def test_the_mean_of_heads_takes_the_place_of_the_selected_one(served_page):
    address, _ = served_page
    given = {"other": "The capital of Italy is [MASK].", "layer": 3, "head": 2}
    one = ask_view(address, "compare", PARIS, **given)
    mean = ask_view(address, "compare", PARIS, **given, mean=True)
    titles = [str(answer["parts"]) for answer in (one, mean)]
    assert "layer 3, head 2" in titles[0] and "layer 3, mean of heads" in titles[1]
    assert "--head" not in mean["command"]
    again = json.loads(run_cli(*shlex.split(mean["command"])[1:], "--json").out)
    plain = json.loads(run_cli("compare", PARIS, given["other"], "--layer", "3", "--json").out)
    assert again == plain


def test_a_saved_file_is_the_views_own(served_page, explorer):
    address, _ = served_page
    file = call(address, "save", "lens", "npz", "tiny", PARIS, {"all_tokens": True}, {})
    arrays = np.load(io.BytesIO(base64.b64decode(file["data"])))
    np.testing.assert_array_equal(arrays["rank"], explorer.lens(PARIS, all_tokens=True).data.rank)
    assert file["name"] == "lens.npz"


def test_a_saved_file_is_what_its_command_makes(served_page):
    address, _ = served_page
    shown = ask_view(address, "lens", PARIS, token=4, top_k=2)
    file = call(address, "save", "lens", "json", "tiny", PARIS, {"token": 4, "top_k": 2}, {})
    arguments = shlex.split(shown["command"])[1:]
    again = json.loads(run_cli(*arguments, "--json").out)
    assert json.loads(base64.b64decode(file["data"])) == again


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"name": "lens", "text": "No mask."}, "has no [MASK]"),
        ({"name": "lens", "text": "  "}, "The text is empty"),
        ({"name": "lens", "text": "Half \ud800 a [MASK]"}, "U+D800"),
        ({"name": "lens", "text": PARIS, "answer": "\udc00"}, "U+DC00"),
        ({"name": "lens", "text": PARIS, "model": "/etc"}, "was not opened at the start"),
        ({"name": "lens", "text": PARIS, "top_k": "five"}, "top_k of lens is 'five'"),
        ({"name": "lens", "text": PARIS, "token": 99}, "There is no token 99"),
    ],
)
def test_a_mistake_is_one_sentence(served_page, given, sentence):
    """For programs as a refusal; for the page in the answer, so that its console stays clean."""
    address, sessions = served_page
    answer = ask_view(address, **given)
    assert sentence in answer and "\n" not in answer
    name, text, model = given.pop("name"), given.pop("text"), given.pop("model", "tiny")
    values = [given.get(one.name, one.default) for one in arguments_of(REGISTRY[name])]
    assert Endpoints(sessions).call(name, "p", model, text, *values) == {"error": answer}


def test_a_picture_is_made_for_its_place(served_page):
    """The page's own options of a picture are those of the command."""
    from PIL import Image

    address, _ = served_page

    def size(**picture):
        saved = call(address, "save", "lens", "png", "tiny", PARIS, {}, picture)
        return Image.open(io.BytesIO(base64.b64decode(saved["data"]))).size

    assert size(width="4in", dpi=100)[0] == 400
    assert size(style="paper", width="4in", dpi=-1, title="", font="")[0] == 1200
    names = [one["name"] for one in describe({})["picture"]]
    assert names == ["style", "width", "dpi", "title", "font"]
    for wrong, said in (
        ({"style": "loud"}, "There is no style 'loud'"), ({"dpi": "9"}, "can't have dpi '9'"),
        ({"ink": "red"}, "can't have ink 'red'"),
        ({"width": "60in", "dpi": 1200}, "million pixels"),
    ):  # fmt: skip
        assert said in call(address, "save", "lens", "png", "tiny", PARIS, {}, wrong)


def test_what_cannot_be_saved_is_one_sentence(served_page):
    address, _ = served_page
    answer = call(address, "save", "nothing", "png", "tiny", PARIS, {}, {})
    assert "There is no view 'nothing'" in answer
    answer = call(address, "save", "lens", "exe", "tiny", PARIS, {}, {})
    assert "can't be saved as .exe" in answer


def test_many_people_at_once(served_page):
    """Eight people, each with a text and a head of their own, meet no error and no other's text."""
    address, sessions = served_page
    wrong = []

    def person(number):
        text = f"Person {number} likes the [MASK]."
        for token in range(4):
            answer = ask_view(address, "lens", text, f"person {number}", token=token)
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
    from mbexplore_ui.component import script, style

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
    assert "Ctrl-C ends it." in err
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
    def launched(app, host, port, **settings):
        asked.append({"host": host, **settings})
        yield f"http://{host}:7860", "https://far.example" if settings["share"] else None
        assert signal.SIGINT in handlers

    def build(sessions):
        handlers[signal.SIGINT]()

    monkeypatch.setattr("mbexplore_ui.serve.launched", launched)
    monkeypatch.setattr("mbexplore_ui.app.build_app", build)
    return asked


@pytest.mark.parametrize(
    ("arguments", "warning"),
    [
        ((), ""),
        (("--host", "localhost"), ""),
        (("--host", "0.0.0.0"), "Everybody who can reach 0.0.0.0 can use this page; --auth"),
        (("--host", "0.0.0.0", "--auth", "ada:right"), ""),
        (("--share",), "Everybody who knows the public address can use this page; --auth"),
        (("--share", "--auth", "ada:right"), ""),
    ],
)
def test_a_page_that_others_reach_without_a_password_is_warned_of(launches, arguments, warning):
    result = run_cli("ui", *arguments)
    assert result.code == 0
    assert (warning in result.err) if warning else (result.err == "Ctrl-C ends it.\n")
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
        def launch(self, **settings):
            told.append(settings)
            return None, "http://127.0.0.1:7860/", None

        def close(self, verbose):
            pass

    for share in (False, True):
        with launched(App(), "127.0.0.1", 7860, share=share):
            pass
    with launched(App(), "127.0.0.1", 7860):
        pass
    assert [settings["share"] for settings in told] == [False, True, False]
    assert {settings["server_name"] for settings in told} == {"127.0.0.1"}
    assert not any(settings["enable_monitoring"] or settings["mcp_server"] for settings in told)


def test_a_port_or_host_that_cannot_be_listened_on_is_one_sentence(explorer):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"Port {port} is taken"):
            mbexplore.ui(explorer, port=port)
    with pytest.raises(UsageError, match="no port 0"):
        mbexplore.ui(explorer, port=0)
    done = run_cli("ui", "--host", "no.such.host.invalid")
    assert done.code == 2 and "There is no host 'no.such.host.invalid'" in done.err
    with warnings.catch_warnings():  # Gradio leaves what it tried to the collector
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def test_auth_is_a_user_and_a_password():
    result = run_cli("ui", "--auth", "nobody")
    assert result.code == 2 and "USER:PASS" in result.err


def test_the_page_opens_from_python(explorer):
    app = mbexplore.ui(explorer)
    try:
        assert urllib.request.urlopen(app.local_url, timeout=60).status == 200
    finally:
        app.close(verbose=False)


def test_blocks_are_components_of_anybodys_page(explorer):
    import gradio as gr
    from mbexplore_ui.app import inside_a_loop
    from mbexplore_ui.component import Arcs, AttentionMap, LayerChart

    def build():
        with gr.Blocks() as app:
            found = AttentionMap(explorer.attention(PARIS, layer=3, head=0))
            arcs = Arcs(explorer.attention(PARIS, layer=3, head=0, picture="arcs"))
            chart = LayerChart(explorer.lens(PARIS))
            found.select(lambda: None)
        return app, found, arcs, chart

    _, *parts = inside_a_loop(build)
    kinds = [{part["kind"] for part in one.value["parts"]} for one in parts]
    assert all(kinds) and "arcs" in kinds[1] and "lines" in kinds[2]
