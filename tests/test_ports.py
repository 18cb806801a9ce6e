"""`verify --against`: each kind of other side, right and with faults, and what can go wrong."""

import json
import shlex
import sys
import threading
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import mbexplore
from mbexplore.errors import ModelError, UsageError
from mbexplore.network.config import regular_layer_kinds
from mbexplore.reference.ports.compare import compare
from mbexplore.reference.ports.implementations import open_implementation
from mbexplore.reference.ports.suite import build_suite
from mbexplore.views.port_report import diagnosis_of
from tests.cli_runner import run_cli
from tests.port_bugs import Theirs, thetas, write_model

FAULTS = {
    "": {},
    "no window": {"local_attention": 4_000},
    "local theta": {"rope_parameters": thetas(90_000.0, 90_000.0)},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    write_model(folder, num_hidden_layers=3, layer_kinds=regular_layer_kinds(3, 3))
    return folder


@pytest.fixture(scope="module")
def explorer(folder):
    return mbexplore.load(str(folder), device="cpu")


class Exported(torch.nn.Module):
    """What people export: logits and last hidden states of ids and mask."""

    def __init__(self, theirs):
        super().__init__()
        self.inner = theirs.model

    def forward(self, input_ids, attention_mask):
        states = self.inner.model(input_ids, attention_mask).last_hidden_state
        return self.inner.decoder(self.inner.head(states)), states


@pytest.fixture(scope="module")
def exported(folder, tmp_path_factory):
    """ONNX files by the fault in them."""
    pytest.importorskip("onnxscript", reason="needs pip install 'mbexplore[bench]'")
    place, files = tmp_path_factory.mktemp("onnx"), {}
    for number, (fault, changes) in enumerate(FAULTS.items()):
        files[fault] = place / f"{number}.onnx"
        ids = torch.arange(24).view(2, 12) + 9
        shape, named = {0: "batch", 1: "seq"}, ("input_ids", "attention_mask")
        outputs = ("logits", "last_hidden_state")
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's own
            torch.onnx.export(
                Exported(Theirs(folder, **changes)).eval(),
                (ids, torch.ones_like(ids)),
                files[fault],
                dynamo=False,  # in a tenth of the time; `bench` exports with dynamo
                dynamic_axes=dict.fromkeys((*named, *outputs), shape),
                input_names=list(named),
                output_names=list(outputs),
            )
    return files


def check(explorer, name, fault):
    other = open_implementation(str(name), explorer.model.config)
    found = compare(explorer, other, build_suite(explorer))
    assert found.passed is (not fault), found.first_mismatch
    assert (found.diagnosis.fault if found.diagnosis else "") == fault
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_an_onnx_file(fault, explorer, exported):
    pytest.importorskip("onnxruntime")
    found = check(explorer, exported[fault], fault)
    assert found.precision == "float32"
    assert {value.name for value in found.compared} == {"hidden_states.3", "logits"}
    assert any(line.startswith("attention maps:") for line in found.not_compared)


@pytest.mark.parametrize("fault", FAULTS)
def test_an_onnx_file_in_int8(fault, explorer, exported, tmp_path):
    pytest.importorskip("onnxruntime")
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(exported[fault], tmp_path / "int8.onnx")
    assert check(explorer, tmp_path / "int8.onnx", fault).precision == "int8"


@pytest.mark.parametrize("fault", FAULTS)
def test_an_openvino_model(fault, explorer, exported, tmp_path):
    openvino = pytest.importorskip("openvino")
    model = openvino.convert_model(exported[fault])
    openvino.save_model(model, tmp_path / "model.xml", compress_to_fp16=False)
    assert check(explorer, tmp_path / "model.xml", fault).precision == "float32"


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_saved_tensors(fault, suffix, explorer, folder, tmp_path):
    ids = np.array([explorer.encode("The tide rises and falls. " * 9).ids])
    found = Theirs(folder, **FAULTS[fault])(ids, np.ones_like(ids))
    arrays = {name: x.numpy().copy() for name, x in found.items()} | {"input_ids": ids}
    path = tmp_path / f"saved.{suffix}"
    if suffix == "npz":
        np.savez(path, **arrays)
    else:
        save_file(arrays, path)
    assert {value.case for value in check(explorer, path, fault).compared} == {"the ids saved"}


class Handler(BaseHTTPRequestHandler):
    """Sentence vectors in the forms of TEI, of OpenAI's API and of Gradio."""

    events: ClassVar = {}

    def vectors(self, texts):
        for text in texts:
            ids = np.array([self.server.explorer.encode(text).ids])
            vector = self.server.theirs(ids, np.ones_like(ids))["pooled"][0]
            yield (vector / vector.norm()).tolist()  # as TEI does by default

    def do_POST(self):
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "data" in given:  # Gradio
            [row] = self.vectors(given["data"])
            self.events[str(len(self.events))] = row
            self.reply(json.dumps({"event_id": str(len(self.events) - 1)}))
        elif "inputs" in given:  # TEI
            self.reply(json.dumps(list(self.vectors(given["inputs"]))))
        else:
            rows = enumerate(self.vectors(given["input"]))
            data = [{"index": i, "embedding": row} for i, row in rows]
            self.reply(json.dumps({"data": data[::-1]}))

    def do_GET(self):
        row = self.events[self.path.rpartition("/")[2]]
        self.reply(f"event: complete\ndata: {json.dumps([{'embedding': row}])}\n\n")

    def reply(self, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("path", ["/embed", "/v1/embeddings", "/gradio_api/call/embed"])
def test_a_server(fault, path, explorer, folder):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.explorer, server.theirs = explorer, Theirs(folder, **FAULTS[fault])
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        found = check(explorer, f"http://127.0.0.1:{server.server_port}{path}", fault)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert {value.name for value in found.compared} == {"pooled"}
    assert any("length 1" in note for note in found.notes)
    assert any("padding" in line and "takes texts" in line for line in found.not_compared)


PROGRAM = """
import json, sys
from pathlib import Path
given = json.load(sys.stdin)
[ids], [mask] = given["input_ids"], given["attention_mask"]
assert len(ids) == len(mask) == sum(mask)
sys.stdout.buffer.write(Path(sys.argv[1], f"{len(ids)}.safetensors").read_bytes())
"""
"""Answers with what the test has computed and saved: a program that opens a model takes seconds."""


@pytest.mark.parametrize(
    ("fault", "changes"),
    [*list(FAULTS.items())[:2], ("ReLU for GELU", {"hidden_activation": "relu"})],
)
def test_a_command(fault, changes, folder, explorer, tmp_path):
    cases = [case for case in build_suite(explorer) if case.name in ("10 tokens", "3 tokens")]
    theirs = Theirs(folder, **changes)
    for case in cases:
        found = theirs(case.ids.numpy(), case.mask.numpy())
        saved = {name: x.numpy().copy() for name, x in found.items()}
        save_file(saved, tmp_path / f"{case.tokens}.safetensors")
    (tmp_path / "run.py").write_text(PROGRAM)
    line = shlex.join([sys.executable, str(tmp_path / "run.py"), str(tmp_path)])
    other = open_implementation(f"command:{line}", explorer.model.config)
    found = compare(explorer, other, cases)
    assert found.passed is (not fault)
    assert (found.diagnosis.fault if found.diagnosis else "") == fault


def test_a_function_on_the_command_line(folder, tmp_path, monkeypatch):
    (tmp_path / "port_of_mine.py").write_text(
        "from pathlib import Path\nfrom tests.port_bugs import Theirs\n"
        f"run = Theirs(Path({str(folder)!r}), local_attention=4_000)\n"
    )
    monkeypatch.chdir(tmp_path)
    line = ["verify", "-m", str(folder), "--against", "python:port_of_mine.run", "--json"]
    found = run_cli(*line)
    assert found.code == 1
    said = json.loads(found.out)
    assert said["pass"] is False
    assert said["diagnosis"]["fault"] == "no window"
    assert said["diagnosis"]["agrees_within"] < 1e-3
    assert said["first_mismatch"]["name"]
    assert said["not_compared"]
    worst = max(said["compared"], key=lambda one: one["error"])
    assert worst["first_token"] is not None and 0 < worst["tokens_beyond"] <= 1
    assert {"case", "name", "max_abs", "error", "tolerance", "passed"} <= said["compared"][0].keys()
    shown = run_cli(*line[:-1])
    assert "behaves as if local layers had no window" in " ".join(shown.out.split())


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nothing", "nothing to compare with"),
        ("missing.onnx", "no file"),
        ("python:json.nothing", "no function"),
        ("python:nothing.at_all", "no function"),
        ("command:false", "ended with 1"),
        ("command:no-such-program", "can't be run"),
        ("command:echo no", "no safetensors"),
        ("http://127.0.0.1:9/embed", "gives no answer"),
    ],
)
def test_what_is_not_there_is_one_sentence(name, sentence, explorer):
    with pytest.raises((ModelError, UsageError), match=sentence):
        compare(
            explorer,
            open_implementation(name, explorer.model.config),
            build_suite(explorer)[:1] if "http" not in name else build_suite(explorer)[1:2],
        )


def test_files_that_are_broken_are_one_sentence(explorer, tmp_path):
    for suffix in ("onnx", "xml", "npz", "safetensors"):
        path = tmp_path / f"broken.{suffix}"
        path.write_bytes(b"no model")
        with pytest.raises(ModelError, match=r"can't be read|needs the package"):
            open_implementation(str(path), explorer.model.config)
    for ids, mask in (
        (np.array(["x"]), None),
        (np.zeros((0, 0), int), None),
        (np.array([[1, 5, 2]]), np.zeros((1, 3), int)),
        (np.array([[1, 5, 2]]), np.ones((1, 2), int)),
        (np.array([[1.5, 5, 2]]), None),
    ):
        given = {"input_ids": ids} | ({} if mask is None else {"attention_mask": mask})
        np.savez(tmp_path / "ids.npz", **given)
        with pytest.raises(ModelError, match="whole numbers"):
            open_implementation(str(tmp_path / "ids.npz"), explorer.model.config)
    np.savez(tmp_path / "bare.npz", logits=np.zeros((1, 3, 5)))
    with pytest.raises(ModelError, match="no input_ids"):
        open_implementation(str(tmp_path / "bare.npz"), explorer.model.config)


def test_a_function_that_gives_the_wrong_shape_is_one_sentence(explorer):
    from mbexplore.reference.ports.implementations import _Called

    cases = build_suite(explorer)[:2]
    with pytest.raises(ModelError, match="has the shape"):
        compare(explorer, _Called("f", lambda i, m: {"logits": np.zeros((1, 99, 5))}), cases)
    for name, shape in (
        ("logits", (1, 1, 5)), ("hidden_states.2", (1, 1, 4)), ("attention.0", (1, 9, 1, 1)),
    ):  # fmt: skip
        found = _Called("f", lambda i, m, name=name, shape=shape: {name: np.zeros(shape)})
        with pytest.raises(ModelError, match="the same checkpoint"):
            compare(explorer, found, cases[:1])
    with pytest.raises(ModelError, match="has the shape"):
        compare(explorer, _Called("f", lambda i, m: {"attention.0": np.zeros((1, 1))}), cases[:1])
    with pytest.raises(ModelError, match="nothing that can be compared"):
        compare(explorer, _Called("f", lambda i, m: {}), cases)
    with pytest.raises(ModelError, match="return a dict"):
        compare(explorer, _Called("f", lambda i, m: 3), cases)
    with pytest.raises(ModelError, match="fails on"):
        compare(explorer, _Called("f", lambda i, m: 1 / 0), cases)
    with pytest.raises(ModelError, match="fails on"):
        compare(explorer, _Called("f", lambda i, m: sys.exit(7)), cases)
    with pytest.raises(ModelError, match="holds no numbers"):
        compare(explorer, _Called("f", lambda i, m: {"logits": np.array(["a"])}), cases)


def test_what_a_function_prints_is_not_the_answer(folder, explorer, capsys):
    def run(ids, mask):
        print("hello")
        return {name: x.half().numpy() for name, x in theirs(ids, mask).items()}

    from mbexplore.reference.ports.implementations import _Called

    theirs = Theirs(folder)
    found = compare(explorer, _Called("f", run), build_suite(explorer)[:3])
    assert capsys.readouterr().out == ""
    assert (found.passed, found.precision) == (True, "float16")  # known by its arrays
    assert any("smaller faults pass" in note for note in found.notes)


def test_a_model_of_one_shape_says_so(explorer):
    from mbexplore.reference.ports.implementation import Implementation, Unable

    class Fixed(Implementation):
        name = "fixed.onnx"

        def run(self, case):
            raise Unable("its length is fixed at 10")

    with pytest.raises(ModelError, match="its length is fixed at 10"):
        compare(explorer, Fixed(), build_suite(explorer)[:2])


def test_values_that_are_not_numbers_fail(explorer):
    from mbexplore.reference.ports.implementations import _Called

    def broken(ids, mask):
        return {"hidden_states.2": np.full((*ids.shape, 32), np.nan)}

    def more(ids, mask):
        return broken(ids, mask) | {"hidden_states.77": np.zeros((*ids.shape, 32))}

    found = compare(explorer, _Called("f", more), build_suite(explorer)[:2])
    assert any(line.startswith("hidden_states.77:") for line in found.not_compared)
    assert not found.passed
    assert found.diagnosis is None
    assert "not finite, first at state 2 of one token" in diagnosis_of(found)


def test_a_visitor_of_the_page_can_name_no_other_side():
    from mbexplore_ui.controls import arguments_of, build_view, controls_of

    from mbexplore.views import REGISTRY

    verify = REGISTRY["verify"]
    assert "against" not in {one.name for one in arguments_of(verify)}
    assert "against" not in {one["name"] for one in controls_of(verify)}
    with pytest.raises(UsageError, match="no parameter 'against'"):
        build_view(verify, {"against": "command:true"})
