"""What is seen of a corpus: every number against the tables themselves, or computed anew."""

import json
import re
import shutil
import sys
import unicodedata

import duckdb
import numpy as np
import pytest

from mbexplore.corpus import VARIABLE
from mbexplore.corpus.profile import bundled_folder, find_store, known_lines
from mbexplore.corpus.reader import Store
from mbexplore.corpus.store import METRICS, TABLES
from mbexplore.corpus.summary import SHARED, head_summaries, unit_summary
from mbexplore.corpus.token_classes import CLASSES
from mbexplore.display.blocks import Bars, Headline, Lines, Table, walk
from mbexplore.display.scatter_blocks import Scatter
from mbexplore.errors import ModelError, RangeError
from tests.cli_runner import run_cli

parquet = pytest.importorskip("pyarrow.parquet")
STORE = bundled_folder()


@pytest.fixture(scope="module")
def tables():
    """The bundled corpus, read by pyarrow and not by what is tested."""
    return {name: parquet.read_table(STORE / f"{name}.parquet").to_pylist() for name in TABLES}


@pytest.fixture(scope="module")
def shown(tiny):
    return tiny.corpus(layer=5, head=2, examples=3)


def of_kind(result, kind):
    return [one for one in walk(result.blocks) if isinstance(one, kind)]


def rows_of(tables, name, **where):
    return [one for one in tables[name] if all(one[key] == value for key, value in where.items())]


def test_duckdb_reads_what_pyarrow_reads(tables, tmp_path):
    odd = tmp_path / "it's [a]*?"
    shutil.copytree(STORE, odd)
    store = Store(odd)
    for name, rows in tables.items():
        assert store.rows(name) == rows
    assert store.rows("neurons", layer=3, neuron=[7, 5]) == [
        one for one in tables["neurons"] if one["layer"] == 3 and one["neuron"] in (5, 7)
    ]


def test_a_broken_table_is_a_sentence(tmp_path):
    shutil.copytree(STORE, tmp_path / "store")
    (tmp_path / "store" / "heads.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "store" / "states.parquet").unlink()
    with pytest.raises(ModelError, match="can't be read"):
        Store(tmp_path / "store").rows("heads")
    (tmp_path / "store" / "heads.parquet").unlink()
    with pytest.raises(ModelError, match="can't be read"):
        Store(tmp_path / "store").rows("heads")


def test_it_is_shown_and_searched_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "Head 5.2" in run_cli("corpus", "show", "--layer", 5, "--head", 2).out
    assert "5.2" in run_cli("corpus", "search", "--metric", "previous>0.5").out


def test_a_head_shows_what_its_rows_hold(shown, tables):
    [row] = rows_of(tables, "heads", layer=5, head=2)
    found = shown.data
    assert (found.distances, found.largest) == (tuple(row["distances"]), tuple(row["largest"]))
    assert found.control_distances == tuple(row["control_distances"])
    assert found.control_largest == tuple(row["control_largest"])
    for one in found.metrics:
        assert one.queries == row.get(f"queries_{one.name}", row["queries"])
        values = [each[one.name] for each in tables["heads"] if each[one.name] is not None]
        assert one.value == row[one.name] and one.control == row[f"control_{one.name}"]
        assert one.rank == sorted(values, reverse=True).index(one.value) + 1
        assert one.median == pytest.approx(np.median(values)) and one.heads == len(values)
    assert {one.name for one in found.metrics} == {n for n in METRICS if row[n] is not None}
    bars = next(one for one in of_kind(shown, Bars) if "largest weight" in one.title)
    sizes = [int(label.rpartition("n = ")[2].replace(",", "")) for label in bars.labels]
    assert sum(sizes) == row["queries"]
    assert sizes == [round(share * row["queries"]) for share in row["largest"]]
    chart = of_kind(shown, Lines)[0]
    assert sum(chart.series[0].y) == pytest.approx(1, abs=1e-6)
    window = found.half_window
    edges = {chart.ticks[int(at)] for at in chart.marks.values()}
    assert edges == {str(-window), str(window)}


def test_similar_heads_are_the_nearest_of_all(shown, tables):
    heads = tables["heads"]
    names = [n for n in METRICS if all(one[n] is not None for one in heads)]
    table = np.array([[one[n] for n in names] for one in heads])
    table = table[:, table.std(axis=0) > 0]
    scaled = table / table.std(axis=0)
    own = next(i for i, one in enumerate(heads) if (one["layer"], one["head"]) == (5, 2))
    apart = np.sqrt(((scaled - scaled[own]) ** 2).mean(axis=1))
    nearest = [int(i) for i in np.argsort(apart, kind="stable") if i != own][:6]
    found = [(one.layer, one.head) for one in shown.data.similar]
    assert found == [(heads[i]["layer"], heads[i]["head"]) for i in nearest]
    assert [one.distance for one in shown.data.similar] == pytest.approx(apart[nearest].tolist())


def test_the_scatter_has_every_head_and_a_click_opens_it(shown, tables):
    [block] = of_kind(shown, Scatter)
    for i, one in enumerate(tables["heads"]):
        assert block.names[i] == f"{one['layer']}.{one['head']}"
        assert block.select[i] == {
            "view": "corpus", "layer": one["layer"], "head": one["head"], "neuron": None,
            "feature": None,
        }  # fmt: skip
        for name, values in block.measures.items():
            assert values[i] == one[name] and block.theirs[name][i] == one[f"control_{name}"]
    assert block.names[block.mark] == "5.2" and (block.x, block.y) == ("entropy", "previous")
    assert f"{tables['heads'][0]['queries']:,} queries" in block.title


# What a line says, read by other means than those that wrote it.


def letters(token):
    return token.removeprefix(" ")


def begins(kind):
    return lambda token: unicodedata.category((letters(token) or "1")[0]) == kind


WORDS = {
    "a preposition": """about above across after against along among around at before behind below
    between beyond by during for from in into near of off on onto over per since than through to
    toward towards under until upon via with within without""",
    "a conjunction": """although and because but if nor or so that though unless when where whereas
    whether while yet""",
    "an article": "a an the",
}
SAYS = {
    "a capitalised word": begins("Lu"),
    "a lower-case word": lambda token: token.startswith(" ") and begins("Ll")(token),
    "a piece inside a word": lambda token: not token.startswith(" ") and begins("Ll")(token),
    "a number": lambda token: letters(token)[:1].isnumeric(),
    "punctuation": lambda token: token.strip() != "" and not any(c.isalnum() for c in token),
    "a special token": lambda token: token in ("[CLS]", "[SEP]", "[MASK]"),
}


LINE = re.compile(
    r"On (\d+)% of its (\d+) strongest uses it attends(?: from (?P<query>.+?))? to "
    r"(?P<key>itself|'.+?'|a piece inside a word|an? \S+(?: word| token)?|the token|punctuation)"
    r"(?: after (?!it\.)(?P<before>[^,.]+?|'.+?'))?"
    r"(?:,? (?P<way>just before it|just after it|before it|"
    r"after it|\d+ tokens (?:before|after) it))?\."
)


def lines_of(store, places):
    return {place: one.line for place, one in head_summaries(store, places).items()}


def fits(phrase, token):
    if phrase in (None, "a token", "the token"):
        return True
    if phrase.startswith("'"):
        return letters(token) == phrase[1:-1]
    if phrase in WORDS:
        return letters(token).lower() in WORDS[phrase].split()
    return token == phrase if phrase.startswith("[") else SAYS[phrase](token)


def goes(way, distance):
    if way is None:
        return True
    side = -1 if "before" in way else 1
    size = 1 if way.startswith("just") else int(way.split()[0]) if way[0].isdigit() else None
    return distance * side > 0 if size is None else distance == side * size


def test_lines_say_what_is_true_of_the_strongest_uses(tables, tiny):
    texts = {one["text"]: one["tokens"] for one in tables["texts"]}
    places = [(one["layer"], one["head"]) for one in tables["heads"]]
    lines = lines_of(Store(STORE), places)
    said = 0
    for (layer, head), line in lines.items():
        rows = rows_of(tables, "head_examples", layer=layer, head=head, interval="strongest")
        if line.startswith("No "):
            continue
        found = LINE.fullmatch(line)
        assert found, line
        true = 0
        for one in rows:
            tokens, key = texts[one["text"]], one["key"]
            hit = fits(found["query"], one["query_token"]) and goes(
                found["way"], key - one["query"]
            )
            if found["key"] == "itself":
                hit = hit and key == one["query"]
            else:
                before = tokens[key - 1] if key else ""
                hit = hit and fits(found["key"], one["key_token"])
                hit = hit and (found["before"] is None or fits(found["before"], before))
            true += hit
        assert (int(found[1]), int(found[2])) == (round(100 * true / len(rows)), len(rows)), line
        assert true / len(rows) >= SHARED
        said += 1
    assert said > len(lines) / 2
    assert known_lines(tiny, [(5, 2)])[1] == {(5, 2): lines[5, 2]}


class Kept:
    """A store of made-up uses, tokens equally common."""

    def __init__(self, rows):
        self.found = rows
        self.token_shares = dict.fromkeys((" Paris", " of", "[MASK]", " sea", ".", " the"), 1 / 6)
        self.class_shares = {
            name: sum(map(kind.has, self.token_shares)) / 6 for name, kind in CLASSES.items()
        }

    def query(self, sql, values):
        return self.found


def test_a_line_from_a_mask_to_what_stands_after_of():
    mask = {"layer": 0, "head": 0, "query_token": "[MASK]", "length": 12}
    rows = [
        mask | {"key_token": " Paris", "distance": -2 - i % 5, "before": " of"} for i in range(15)
    ]
    rows.append(mask | {"key_token": ".", "distance": 3, "before": " sea"})
    assert lines_of(Kept(rows), [(0, 0)])[0, 0] == (
        "On 94% of its 16 strongest uses it attends from a mask to 'Paris' after 'of', before it."
    )
    same = [mask | {"query_token": " sea", "key_token": " the", "distance": -1, "before": "."}] * 8
    assert "to 'the' after '.', just before it." in lines_of(Kept(same), [(0, 0)])[0, 0]
    assert lines_of(Kept([]), [(2, 1)])[2, 1] == "It attends to no token of a text."
    assert (
        unit_summary(Kept([]), {"layer": 0, "neuron": 0}).line
        == "It fires on no token of the corpus."
    )


def test_classes_are_the_same_for_duckdb_and_python(tiny, tables):
    tokens = [tiny.tokenizer.token(i) for i in range(tiny.model.config.vocab_size)]
    for name, kind in CLASSES.items():
        sql = "SELECT list_filter(?, lambda one: regexp_full_match(one, ?))"
        [(found,)] = duckdb.execute(sql, [tokens, kind.pattern]).fetchall()
        assert found == [one for one in tokens if kind.has(one)], name
        assert found
    kept = [token for one in tables["texts"] for token in one["tokens"]]
    store = Store(STORE)
    for name, kind in CLASSES.items():
        assert store.class_shares[name] == pytest.approx(sum(map(kind.has, kept)) / len(kept))
    assert store.token_shares[" sea"] == pytest.approx(kept.count(" sea") / len(kept))


def match_uses(tables, hit, kind=None):
    """Heads by how many of their kept uses match, counted use by use."""
    texts = {one["text"]: one["tokens"] for one in tables["texts"]}
    kinds = {(one["layer"], one["head"]): one["kind"] for one in tables["heads"]}
    kept = {}
    for one in tables["head_examples"]:
        place = one["layer"], one["head"]
        if kind in (None, kinds[place]):
            use = one["text"], one["query"]
            kept.setdefault(place, {})[use] = hit(one, texts[one["text"]])
    return {
        place: (sum(uses.values()), len(uses)) for place, uses in kept.items() if any(uses.values())
    }


@pytest.mark.parametrize(
    ("pattern", "hit"),
    [
        ("query is a number", lambda one, _: letters(one["query_token"])[:1].isnumeric()),
        (
            "key is an article, distance < 0",
            lambda one, _: letters(one["key_token"]).lower() in ("a", "an", "the")
            and one["key"] < one["query"],
        ),
        (
            'before key is "of", query is not punctuation',
            lambda one, tokens: one["key"] > 0
            and letters(tokens[one["key"] - 1]) == "of"
            and not SAYS["punctuation"](one["query_token"]),
        ),
        ("after query is [SEP]", lambda one, tokens: tokens[one["query"] + 1] == "[SEP]"),
        ("weight >= 0.9, distance = -1",
         lambda one, _: one["weight"] >= 0.9 and one["key"] - one["query"] == -1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [None, "local"])
def test_a_pattern_finds_the_heads_whose_uses_fit(tables, tiny, pattern, hit, kind):
    found = tiny.corpus_search(pattern=pattern, kind=kind or "any", limit=99).data
    counted = {(one["layer"], one["head"]): (one["uses"], one["kept"]) for one in found.heads}
    assert counted == match_uses(tables, hit, kind) != {}
    assert found.neurons == ()
    places = [one["uses"] for one in found.heads]
    assert places == sorted(places, reverse=True)
    texts = {one["id"]: one["tokens"] for one in tables["texts"]}
    for one in found.uses:
        assert hit(one, texts[one["id"]])
    assert [one["weight"] for one in found.uses] == sorted(
        (one["weight"] for one in found.uses), reverse=True
    )


def test_a_token_finds_heads_and_neurons(tables, tiny):
    found = tiny.corpus_search(word="sea", limit=9999).data
    spelt = ("sea", " sea")
    wanted = match_uses(
        tables, lambda one, _: one["query_token"] in spelt or one["key_token"] in spelt
    )
    assert {
        (one["layer"], one["head"]): (one["uses"], one["kept"]) for one in found.heads
    } == wanted
    neurons = {}
    for one in tables["neuron_examples"]:
        use = one["text"], one["position"]
        uses = neurons.setdefault((one["layer"], one["neuron"]), {})
        uses[use] = one["token"] in spelt, abs(one["activation"])
    wanted = {
        place: (
            sum(hit for hit, _ in uses.values()),
            len(uses),
            max(x for hit, x in uses.values() if hit),
        )
        for place, uses in neurons.items()
        if any(hit for hit, _ in uses.values())
    }
    assert (
        {
            (one["layer"], one["neuron"]): (one["uses"], one["kept"], one["strongest"])
            for one in found.neurons
        }
        == wanted
        != {}
    )
    by_class = tiny.corpus_search(pattern="token is a number", limit=9).data
    assert by_class.heads == () and len(by_class.neurons) == 9


def test_metrics_and_kinds_narrow_it(tables, tiny):
    found = tiny.corpus_search(metrics=("previous > 0.1", "entropy<=0.6"), kind="local").data
    local = rows_of(tables, "heads", kind="local")
    wanted = [one for one in local if one["previous"] > 0.1 and one["entropy"] <= 0.6]
    wanted.sort(key=lambda one: -one["previous"])
    assert [(one["layer"], one["head"]) for one in found.heads] == [
        (one["layer"], one["head"]) for one in wanted
    ]
    assert found.uses == () and found.heads[0]["previous"] == wanted[0]["previous"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--pattern", "query is verb"), "Nothing tags parts of speech"),
        (("--pattern", "query is a"), "no class of tokens"),
        (("--pattern", "the key"), "is no condition"),
        (("--pattern", "query is number, token is number"), "ask for one of them"),
        (("--pattern", "size > 3"), "There is no number of a use 'size'"),
    ],
)
def test_a_pattern_that_makes_no_sense_is_a_sentence(options, words):
    done = run_cli("corpus", "search", *options)
    assert done.code in (1, 2) and words in done.err and done.err.count("\n") == 1


def test_a_neuron_shows_what_its_row_holds(tiny, tables):
    result = tiny.corpus(layer=4, neuron=117, examples=2)
    [row] = rows_of(tables, "neurons", layer=4, neuron=117)
    assert result.data.row == row
    bars = of_kind(result, Bars)[0]
    assert bars.values == tuple(row["firing"])
    sizes = [int(label.rpartition("n = ")[2].replace(",", "")) for label in bars.labels]
    assert sizes == [round(share * row["tokens"]) for share in row["firing"]]
    [block] = of_kind(result, Scatter)
    layer = rows_of(tables, "neurons", layer=4)
    assert block.measures["firing_rate"] == tuple(one["firing_rate"] for one in layer)
    assert block.names[block.mark] == "4.117" and block.select[3] == {"neuron": 3}
    words = next(one for one in of_kind(result, Table) if "promoted" in one.columns)
    assert len(words.rows) == len(result.data.promoted) == len(result.data.suppressed) > 0
    assert str(
        len(rows_of(tables, "neuron_examples", layer=4, neuron=117, interval="strongest"))
    ) in (of_kind(result, Headline)[0].text)


def test_the_promoted_words_are_those_of_the_logits(tiny, tables):
    import torch

    row = rows_of(tables, "neuron_examples", layer=8, neuron=5, interval="strongest")[0]
    text = next(one["content"] for one in tables["texts"] if one["text"] == row["text"])

    def without(value):
        value = value.clone()
        value[..., row["position"], 5] = 0
        return value

    encoding = tiny.encode(text)
    ids = torch.tensor([encoding.ids])
    with torch.inference_mode():
        whole = tiny.model(input_ids=ids)[0, row["position"]]
        with tiny.edit({"layers.8.mlp_post": without}):
            less = tiny.model(input_ids=ids)[0, row["position"]]
    change = whole - less
    shown = tiny.corpus(layer=8, neuron=5, examples=1).data
    tokens = [tiny.tokenizer.token(int(i)) for i in change.topk(len(shown.promoted)).indices]
    assert list(shown.promoted) == tokens


def test_a_head_and_a_neuron_are_not_both_shown(tiny):
    done = run_cli("corpus", "show", "--head", 2, "--neuron", 5)
    assert done.code == 2 and "head 2 has no effect beside neuron 5" in done.err
    with pytest.raises(RangeError):
        tiny.corpus(layer=99, head=0)


CONFIG = {
    "model_name": str, "heads": list, "n_layers": int, "n_heads": int, "n_intervals": int,
    "metrics": list, "metric_descriptions": dict, "head_data_pattern": str, "has_umap": bool,
    "umap_heads": list, "custom_plots": list, "custom_tables": list, "statistics_display": dict,
}  # fmt: skip
SEQUENCE = {
    "sequence_id": int, "interval": int, "tokens": list, "attention_indices": list,
    "attention_values": list, "seq_len": int, "max_activation": float,
}  # fmt: skip
"""What the docstrings of data_pipeline.py in anthropics/headvis ask of config.json and of each
sequence of a head."""


def test_headvis_gets_its_tree(tmp_path, tiny, tables):
    done = run_cli("corpus", "export", "--headvis", tmp_path / "data")
    assert done.code == 0, done.err
    read = lambda name: json.loads((tmp_path / "data" / name).read_text())  # noqa: E731
    config, scatter = read("config.json"), read("scatter_data.json")
    assert config["heads"] == [[one["layer"], one["head"]] for one in tables["heads"]]
    assert (config["n_layers"], config["n_heads"], config["n_intervals"]) == (9, 4, 5)
    assert {"self_attention_score", "prev_token_score", "pattern_entropy", "qk_distance",
            "qk_distance_variance", "induction_score"} <= set(config["metrics"])  # fmt: skip
    assert set(config["metrics"]) == set(config["metric_descriptions"]) == set(scatter[0]) - {
        "layer", "head"
    }  # fmt: skip
    by_head = {(one["layer"], one["head"]): one for one in scatter}
    for one in tables["heads"]:
        row = by_head[one["layer"], one["head"]]
        assert row["prev_token_score"] == pytest.approx(one["previous"], abs=6e-5)
    # HeadVis's Index.svelte offers as axes what the first row has as numbers.
    assert all(isinstance(value, int | float) for one in scatter for value in one.values())
    assert "mask" not in config["metrics"] and {"edge", "far"} <= set(config["metrics"])
    assert [isinstance(config[name], kind) for name, kind in CONFIG.items()] == [True] * len(CONFIG)
    assert {path.name for path in (tmp_path / "data" / "heads").iterdir()} == {
        f"L{one['layer']}H{one['head']}.json" for one in tables["heads"]
    }
    head = read("heads/L4H1.json")
    [row] = rows_of(tables, "heads", layer=4, head=1)
    examples = rows_of(tables, "head_examples", layer=4, head=1)
    assert {one["sequence_id"] for one in head["sequences"]} == {one["text"] for one in examples}
    assert sum(head["histogram"]["bin_values"]) == row["queries"]
    assert sum(head["qk_distance_histogram"]["bin_values"]) == pytest.approx(1, abs=1e-2)
    texts = {one["text"]: one["content"] for one in tables["texts"]}
    assert set(head) == {
        "sequences", "qk_distance_histogram", "top_query_tokens", "top_key_tokens", "histogram",
        "statistics",
    }  # fmt: skip
    for plot in config["custom_plots"]:
        assert len(head[plot["key"]]["bin_edges"]) == len(head[plot["key"]]["bin_values"]) + 1
    for named in config["custom_tables"]:
        assert all(set(one) == {"token", "weight"} for one in head[named["key"]])
    assert set(config["statistics_display"]) == set(head["statistics"])
    for one in head["sequences"]:
        assert [type(one[name]) for name in SEQUENCE] == list(SEQUENCE.values())
        assert len(one["attention_indices"]) == len(one["attention_values"])
    for one in head["sequences"][::5]:
        weights = tiny.record(texts[one["sequence_id"]]).attention(4, 1)[0].numpy()
        length = one["seq_len"]
        assert len(one["tokens"]) == length == len(weights)
        sparse = np.zeros(length * length)
        sparse[one["attention_indices"]] = one["attention_values"]
        sparse = sparse.reshape(length, length)
        kept = sparse > 0
        np.testing.assert_allclose(sparse[kept], weights[kept], atol=1e-4)
        least = np.where(kept, weights, np.inf).min(axis=1, initial=np.inf)
        left = np.where(kept, 0, weights).max(axis=1)
        assert (kept.sum(axis=1) <= 8).all()
        assert ((left <= least + 1e-6) & ((left < 0.005) | (kept.sum(axis=1) == 8))).all()
        largest = max(x["weight"] for x in examples if x["text"] == one["sequence_id"])
        assert one["max_activation"] == pytest.approx(largest, abs=1e-4)
        assert one["interval"] == 1 + sum(largest >= edge for edge in (0.2, 0.4, 0.6, 0.8))


def test_the_folder_in_the_environment_is_of_the_model_that_is_open(tmp_path, tiny, monkeypatch):
    other = tmp_path / "other"
    shutil.copytree(STORE, other)
    about = json.loads((other / "manifest.json").read_text())
    about["model"] |= {"sha256": "0", "name": "base"}
    (other / "manifest.json").write_text(json.dumps(about))
    mine = tmp_path / "mine"
    shutil.copytree(STORE, mine)
    monkeypatch.setenv(VARIABLE, f"{other}:{mine}")
    assert find_store(tiny).folder == mine
    monkeypatch.setenv(VARIABLE, str(other))
    assert find_store(tiny).folder == STORE
    with pytest.raises(ModelError, match="is of base and not of tiny"):
        find_store(tiny, str(other))
    from mbexplore.cli.options import use_corpora

    use_corpora([mine, other])
    assert find_store(tiny).folder == mine
    done = run_cli("explore", "--corpus", tmp_path)
    assert done.code == 1 and "holds no finished corpus" in done.err


def test_why_says_what_its_heads_do_in_the_corpus(tiny):
    result = tiny.why(
        "The capital of France is [MASK].", counterfactual="The capital of Italy is [MASK].",
        answer="Paris", rival="Rome",
    )  # fmt: skip
    route = result.data.why.route
    places = dict.fromkeys((one.layer, one.head) for one in (*route.steps, *route.backups))
    lines = lines_of(Store(STORE), list(places))
    table = next(one for one in of_kind(result, Table) if "in the corpus" in one.columns)
    assert [row[1] for row in table.rows] == [lines[place] for place in places]
    assert [row[0].select["head"] for row in table.rows] == [head for _, head in places]
    assert "2,000 texts" in table.title
