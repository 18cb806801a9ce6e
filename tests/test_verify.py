"""`verify` passes on the real thing, and names the layer of every planted fault."""

import copy
import csv
import dataclasses
import io
import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import mbexplore
from mbexplore.checkpoints.hub import ModelFiles, locate
from mbexplore.checkpoints.model import save_model
from mbexplore.cli.options import sample_text
from mbexplore.display.blocks import Lines, Table, walk
from mbexplore.explorer import Explorer
from mbexplore.network.activations import ACTIVATIONS
from mbexplore.reference import verify as verify_module
from mbexplore.reference.batches import LONG, long_batch, padded_batch
from mbexplore.reference.forward import pad
from mbexplore.reference.huggingface import Reference
from mbexplore.reference.paths import PATHS
from mbexplore.reference.published import PublishedValues, add_published, check_published
from mbexplore.reference.verify import Verification, verify
from tests.cli_runner import run_cli
from tests.harsh import KINDS, make_harsh
from tests.parity import CASES, build_ours, build_theirs


@pytest.fixture
def explorer():
    """A copy of the model of its own: each test plants a fault in it."""
    return mbexplore.load("tiny", device="cpu")


def batch_of(explorer):
    return [explorer.encode(sample_text()).ids[:90]]


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_the_real_model_passes(dtype):
    explorer = mbexplore.load("tiny", device="cpu", dtype=dtype)
    result = verify(explorer, batch_of(explorer))
    assert result.passed, result.first_mismatch
    layers = explorer.model.config.num_hidden_layers
    assert [check.what for check in result.checks[2 * layers + 1 :]] == [
        "final norm", "head", "logits", *PATHS,
    ]  # fmt: skip


def test_a_padded_batch_passes(explorer):
    ids = batch_of(explorer)[0]
    result = verify(explorer, padded_batch(ids))
    assert result.passed, result.first_mismatch
    assert result.tokens == (len(ids), (len(ids) - 2) // 2 + 2)
    assert [len(row) for row in padded_batch(explorer.encode("a").ids)] == [3, 2]
    wide = mbexplore.load("tiny", device="cpu", dtype="float64")
    assert verify(wide, padded_batch(ids)).passed


def replace_config(explorer, **changes):
    explorer.model.encoder.config = dataclasses.replace(explorer.model.config, **changes)


def wrong_theta_on_local_layers(explorer, monkeypatch):
    replace_config(explorer, local_rope_theta=160_000.0)


def window_off_by_one(explorer, monkeypatch):
    replace_config(explorer, local_attention=explorer.model.config.local_attention + 2)


def halves_of_geglu_swapped(explorer, monkeypatch):
    weight = explorer.model.encoder.layers[4].mlp.Wi.weight
    weight.data = torch.cat(weight.data.chunk(2)[::-1])


def tanh_gelu(explorer, monkeypatch):
    explorer.model.encoder.layers[2].mlp.Wi.act = ACTIVATIONS["gelu_pytorch_tanh"]


def interleaved_rope(explorer, monkeypatch):
    def interleave(x, cos, sin):
        even, odd = x[..., ::2], x[..., 1::2]
        return torch.stack((even * cos - odd * sin, odd * cos + even * sin), -1).flatten(-2).to(x)

    monkeypatch.setattr("mbexplore.network.model.apply_rope", interleave)


def norm_on_layer_0(explorer, monkeypatch):
    explorer.model.encoder.layers[0].attn_norm = nn.LayerNorm(256, bias=False)


def bias_in_layer_7(explorer, monkeypatch):
    explorer.model.encoder.layers[7].attn.Wo.bias = nn.Parameter(torch.full((256,), 1e-3))


def wrong_final_norm(explorer, monkeypatch):
    explorer.model.encoder.final_norm.eps = 1e-2


def attention_norm_eps(explorer, monkeypatch):
    explorer.model.encoder.layers[3].attn_norm.eps = 1e-7


def embedding_norm_eps(explorer, monkeypatch):
    explorer.model.encoder.embeddings.norm.eps = 1e-6


def mlp_norm_eps(explorer, monkeypatch):
    explorer.model.encoder.layers[4].mlp_norm.eps = 1e-4


def theta_by_a_thousandth(explorer, monkeypatch):
    replace_config(explorer, local_rope_theta=10_010.0)


def one_weight(explorer, monkeypatch):
    explorer.model.encoder.layers[6].attn.Wo.weight.data[3, 4] += 0.01


def tanh_gelu_in_the_head(explorer, monkeypatch):
    explorer.model.head.act = ACTIVATIONS["gelu_pytorch_tanh"]


class RmsNorm(nn.Module):
    """A norm that forgets to subtract the mean."""

    def __init__(self, norm):
        super().__init__()
        self.weight, self.eps = norm.weight, norm.eps

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


def no_mean_subtracted(explorer, monkeypatch):
    layer = explorer.model.encoder.layers[2]
    layer.attn_norm = RmsNorm(layer.attn_norm)


# Where each fault first shows. A window that is too wide shows in what the layer adds, and in its
# map only if the map is derived with the wrong window too; here it is derived with the right one.
FAULTS = [
    (wrong_theta_on_local_layers, 1, "attention map"),
    (window_off_by_one, 1, "hidden state"),
    (halves_of_geglu_swapped, 4, "hidden state"),
    (tanh_gelu, 2, "hidden state"),
    (interleaved_rope, 0, "attention map"),
    (norm_on_layer_0, 0, "attention map"),
    (bias_in_layer_7, 7, "hidden state"),
    (wrong_final_norm, None, "final norm"),
    (embedding_norm_eps, None, "hidden state"),
    (mlp_norm_eps, 4, "hidden state"),
    (theta_by_a_thousandth, 1, "attention map"),
    (one_weight, 6, "hidden state"),
    (tanh_gelu_in_the_head, None, "head"),
    (no_mean_subtracted, 2, "attention map"),
]


@pytest.mark.parametrize(
    ("plant", "layer", "what"), FAULTS, ids=[plant.__name__ for plant, _, _ in FAULTS]
)
def test_a_planted_fault_is_caught_and_its_layer_named(plant, layer, what, explorer, monkeypatch):
    plant(explorer, monkeypatch)
    result = verify(explorer, batch_of(explorer))
    assert not result.passed
    assert (result.first_mismatch.layer, result.first_mismatch.what) == (layer, what)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(
    ("plant", "layer", "what"), FAULTS[1:], ids=[plant.__name__ for plant, _, _ in FAULTS[1:]]
)
def test_half_precision_hides_no_fault(plant, layer, what, dtype, monkeypatch):
    explorer = mbexplore.load("tiny", device="cpu", dtype=dtype)
    plant(explorer, monkeypatch)
    explorer.model.to(explorer.model.dtype)
    result = verify(explorer, batch_of(explorer))
    assert (result.first_mismatch.layer, result.first_mismatch.what) == (layer, what)


def test_an_eps_too_small_to_matter_changes_nothing_that_is_reported(explorer, monkeypatch):
    """A variance of a hundred or so hides 1e-5: this fault is below what transformers rounds."""
    explorer.model.encoder.layers[4].mlp_norm.eps = 1e-12
    result = verify(explorer, batch_of(explorer))
    assert result.passed and any("would not be seen" in note for note in result.notes)


def rows_one_off(explorer, monkeypatch):
    real = type(explorer.model.encoder).forward

    def forward(self, input_ids, *args, query_positions=None, **kwargs):
        moved = None if query_positions is None else (query_positions + 1) % input_ids.shape[1]
        return real(self, input_ids, *args, query_positions=moved, **kwargs)

    monkeypatch.setattr(type(explorer.model.encoder), "forward", forward)


def band_one_off(explorer, monkeypatch):
    from mbexplore import recording

    real = recording.attention_band
    monkeypatch.setattr(recording, "attention_band", lambda *args: real(*args).roll(1, -1))


def packed_without_segments(explorer, monkeypatch):
    monkeypatch.setattr("mbexplore.network.model.find_segments", lambda *_: None)


def map_scaled(explorer, monkeypatch):
    from mbexplore import recording

    real = recording.attention_weights
    monkeypatch.setattr(recording, "attention_weights", lambda *a, **k: real(*a, **k) * 1.001)


@pytest.mark.parametrize(
    ("plant", "path"),
    [
        (rows_one_off, "chosen rows"), (band_one_off, "band of a map"),
        (packed_without_segments, "packed texts"), (map_scaled, "part of a map"),
    ],
)  # fmt: skip
def test_a_fault_in_another_path_is_caught_and_the_path_named(plant, path, explorer, monkeypatch):
    plant(explorer, monkeypatch)
    assert verify(explorer, batch_of(explorer)).first_mismatch.what == path


class InMemory(SimpleNamespace):
    """What `verify` asks of an explorer, for weights that lie in no folder."""

    def pad(self, batch):
        return pad(batch, 0)

    def load_reference(self, attention, dtype=None):
        return Reference(build_theirs(self.model, self.config, attention).to(dtype), "in memory")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [1, 5, 6])
def test_healthy_models_pass_however_harsh_their_weights(kind, dtype, seed):
    model = build_ours(CASES[seed])
    make_harsh(model, kind)
    one = InMemory(model=model.to(dtype), config=CASES[seed].config)
    generator = torch.Generator().manual_seed(seed)
    batch = [
        tuple(torch.randint(1, 61, (length,), generator=generator).tolist()) for length in (97, 33)
    ]
    result = verify(one, batch)
    assert result.passed, result.first_mismatch


def test_a_cosine_near_one_is_no_pass(explorer, monkeypatch):
    """Logits that point the same way to the eye, and are another model's."""
    ids = torch.tensor(batch_of(explorer))
    with torch.no_grad():
        right = explorer.model(ids)
        tanh_gelu(explorer, monkeypatch)
        wrong = explorer.model(ids)
    assert torch.cosine_similarity(right, wrong, dim=-1).min() > 0.9999
    assert not verify(explorer, batch_of(explorer)).passed


def test_ignored_padding_is_caught(explorer, monkeypatch):
    monkeypatch.setattr("mbexplore.network.model.find_segments", lambda *_: None)
    result = verify(explorer, padded_batch(batch_of(explorer)[0]))
    assert (result.first_mismatch.layer, result.first_mismatch.what) == (0, "hidden state")


def test_a_nan_is_no_pass(explorer):
    explorer.model.encoder.layers[5].mlp.Wo.weight.data = torch.full((256, 384), torch.nan)
    assert verify(explorer, batch_of(explorer)).first_mismatch.layer == 5


def test_a_long_text_spans_several_windows(explorer):
    config = explorer.model.config
    [ids] = long_batch(explorer.encode("Hello there.").ids, config)
    assert len(ids) == LONG > 6 * config.local_attention
    assert (ids[0], ids[-1]) == (config.cls_token_id, config.sep_token_id)
    longer = explorer.encode("Hello there. " * 400).ids
    assert long_batch(longer, config) == [longer]


def test_the_command_tells_and_exits_accordingly(tmp_path, monkeypatch):
    picture = tmp_path / "curve.png"
    result = run_cli("verify", "The tide rises.", "--plot", "-o", picture)
    assert result.code == 0 and "PASS: every value" in result.out
    assert picture.read_bytes().startswith(b"\x89PNG")
    answer = json.loads(run_cli("verify", "The tide rises.", "--padded", "--json").out)
    assert answer["passed"] and answer["first_mismatch"] is None
    assert answer["tokens"][1] < answer["tokens"][0]
    assert {"layer", "kind", "theta", "half_window", "max_abs", "mean_abs", "tolerance"} <= set(
        answer["checks"][1]
    )
    monkeypatch.setattr(verify_module, "RMS_RATIO", 1e-6)
    failed = run_cli("verify", "The tide rises.")
    assert failed.code == 1 and "FAIL: the two part" in failed.out


def test_the_bundled_paragraph_is_cut_for_a_model_of_short_texts(tmp_path):
    explorer = mbexplore.load("tiny", device="cpu")
    save_model(tmp_path, explorer.model)
    config = json.loads((tmp_path / "config.json").read_text()) | {"max_position_embeddings": 32}
    (tmp_path / "config.json").write_text(json.dumps(config))
    tokenizer = explorer.files.folder / "tokenizer.json"
    (tmp_path / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    done = run_cli("verify", "-m", tmp_path)
    assert done.code == 0 and "on 32 tokens" in done.out


def test_a_null_local_theta_is_the_global_one_on_both_sides(tmp_path):
    """As transformers 4 wrote it; transformers 5 fails on it."""
    shutil.copytree(locate("tiny").folder, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    for key in ("rope_parameters", "layer_types"):
        config.pop(key, None)
    config |= {"global_rope_theta": 5e4, "local_rope_theta": None}
    (tmp_path / "config.json").write_text(json.dumps(config))
    explorer = mbexplore.load(str(tmp_path), device="cpu")
    result = verify(explorer, batch_of(explorer))
    assert result.passed, result.first_mismatch
    assert {check.theta for check in result.checks} == {5e4, None}


def test_every_form_holds_every_check(explorer):
    view = explorer.verify("The tide rises.", padded=True)
    names = [check.what for check in view.data.checks]
    header, *rows = csv.reader(io.StringIO(view.content("csv").decode()))
    assert [row[0] for row in rows] == names and header[-1] == "passed"
    assert [float(row[header.index("max_abs")]) for row in rows] == [
        check.max_abs for check in view.data.checks
    ]
    hidden, maps = (block for block in walk(view.blocks) if isinstance(block, Lines))
    for lines, what in ((hidden, "hidden state"), (maps, "attention map")):
        found, allowed = lines.series
        checks = [c for c in view.data.checks if c.what == what and c.layer is not None]
        assert list(found.y) == [max(check.error, 1e-10) for check in checks]
        assert all(a <= b for a, b in zip(found.y, allowed.y, strict=True))
    [table] = [block for block in walk(view.blocks) if isinstance(block, Table)]
    assert [row[0] for row in table.rows[::-1]] == ["embeddings", *names[1:]]
    assert view.content("png").startswith(b"\x89PNG")


@pytest.fixture(scope="module")
def small_base():
    """ModernBERT-base's vocabulary on a few narrow layers, and the same model in transformers."""
    from transformers import ModernBertConfig as TheirConfig
    from transformers import ModernBertForMaskedLM as Theirs

    from mbexplore.network.config import ModernBertConfig, regular_layer_kinds
    from mbexplore.network.model import ModernBertForMaskedLM

    torch.manual_seed(0)
    config = ModernBertConfig.base(
        hidden_size=32, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2,
        layer_kinds=regular_layer_kinds(3, 3),
    )  # fmt: skip
    ours = ModernBertForMaskedLM(config).eval()
    theirs = Theirs(TheirConfig(**copy.deepcopy(config.to_dict()))).eval()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def test_the_published_values_fail_on_other_weights(small_base):
    checks = check_published(small_base[0], str)
    assert len(checks) == 10
    assert not any(check.passed for check in checks)


@pytest.mark.parametrize(
    ("source", "dtype", "count"),
    [
        ("answerdotai/ModernBERT-base", torch.float32, 10),
        ("answerdotai/ModernBERT-base@main", torch.float32, 10),
        ("answerdotai/ModernBERT-base", torch.bfloat16, 1),  # the others are of float32
        ("answerdotai/ModernBERT-large", torch.float32, 0),
        ("bundled", torch.float32, 0),
    ],
)
def test_they_are_checked_on_base_alone_and_fail_it(small_base, source, dtype, count, tmp_path):
    model = copy.deepcopy(small_base[0]).to(dtype)
    explorer = Explorer(model, SimpleNamespace(token=str), ModelFiles("base", source, tmp_path))
    result = add_published(explorer, Verification((), (), ""))
    assert len(result.checks) == count
    assert result.passed == (count == 0)


@torch.no_grad()
def test_the_published_values_pass_on_the_weights_they_were_taken_from(small_base):
    """The figures transformers gives for these weights, put in the place of the published ones."""
    ours, theirs = small_base
    known = PublishedValues()

    def run(ids):
        return theirs(torch.tensor([ids]), output_hidden_states=True)

    def best(ids, count):
        return tuple(map(str, run(ids).logits[0, ids.index(50284)].topk(count).indices.tolist()))

    hello, lower = run(known.hello_ids), run(known.lower_ids).hidden_states
    third = theirs.model.layers[2].register_forward_hook(lambda *a: stream.append(a[2]))
    stream = []
    run(known.lower_ids)
    third.remove()
    after = [*(lower[i][0, 0, :5].tolist() for i in range(3)), stream[0][0, 0, :5].tolist()]
    half = copy.deepcopy(theirs).to(torch.bfloat16)
    logits = half(torch.tensor([known.walked_ids])).logits[0, known.walked_ids.index(50284)]
    shares = logits.double().softmax(0)
    taken = PublishedValues(
        embedding=tuple(
            theirs.model.embeddings.tok_embeddings.weight[known.lower_ids[0], :5].tolist()
        ),
        walked=tuple((i, float(shares[i])) for i, _ in known.walked),
        logits=tuple(map(tuple, hello.logits[0, :3, :3].tolist())),
        last_hidden_state=tuple(map(tuple, hello.hidden_states[-1][0, :3, :3].tolist())),
        after=tuple((name, tuple(row)) for (name, _), row in zip(known.after, after, strict=True)),
        worked=best(known.worked_ids, 5),
        capital=best(known.capital_ids, 1),
    )
    assert all(check.passed for check in check_published(ours, str, taken))
    for wrong in (
        dataclasses.replace(taken, worked=taken.worked[::-1]),
        dataclasses.replace(taken, embedding=taken.embedding[::-1]),
        dataclasses.replace(taken, walked=((7, 0.5), *taken.walked)),
    ):
        assert [check.passed for check in check_published(ours, str, wrong)].count(False) == 1
