"""Every public fault of other implementations is seen, and told by its name."""

import pytest

from docs.numbers import differences
from tests.port_bugs import BUGS, Theirs, report_of, row_of, write_model
from tests.test_docs import DOCS

GALLERY = (DOCS / "explanation" / "port-bugs.md").read_text(encoding="utf-8")
ROWS = [line for line in GALLERY.splitlines() if line.startswith("|")][2:]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.fault)
def test_a_planted_bug_is_named_as_its_row_of_the_gallery_says(bug, tmp_path):
    found = report_of(bug, tmp_path)
    assert not found.passed
    assert found.diagnosis is not None
    assert not found.diagnosis.closest
    assert found.diagnosis.fault == bug.fault, found.diagnosis
    assert found.diagnosis.agrees_within < 1e-3
    assert differences(ROWS[BUGS.index(bug)], row_of(bug, found)) == []


def test_the_gallery_has_every_bug():
    assert len(ROWS) == len(BUGS) >= 20


def test_transformers_itself_passes(tmp_path):
    from mbexplore.reference.ports.compare import compare
    from mbexplore.reference.ports.implementations import _Called
    from mbexplore.reference.ports.suite import build_suite

    explorer = write_model(tmp_path)
    found = compare(
        explorer, _Called("transformers", Theirs(tmp_path)), build_suite(explorer, "full")
    )
    assert found.passed, found.first_mismatch
    assert found.diagnosis is None
