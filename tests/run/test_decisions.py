"""What people decided on samples: the document of the review page, and tables."""

import json

import pyarrow as pa
import pytest

from ogacli.errors import DataError
from ogacli.run.decisions import Decision, document, read_decisions
from ogacli.run.trim.manifest import manifest_table
from synthetic_runs import Recipe


@pytest.fixture
def run(tmp_path):
    return Recipe(n=8, suggested={2: 3}).write(tmp_path / "run")


def written(tmp_path, entries, **others):
    path = tmp_path / "decisions.json"
    path.write_text(json.dumps({"schema_version": 1, "run": "runs/x", "decisions": entries} | others))
    return path


DECIDED = (
    Decision("img-000", "keep"),
    Decision("img-001", "drop"),
    Decision("img-002", "relabel"),
    Decision("img-005", "relabel", "cat"),
)


def test_a_document_is_read_as_it_was_written(run, tmp_path):
    path = tmp_path / "decisions.json"
    path.write_text(json.dumps(document(run, DECIDED[::-1])))
    found = read_decisions(path, run)
    assert found.rows.tolist() == [0, 1, 2, 5]
    assert found.decided == (*DECIDED[:2], Decision("img-002", "relabel", "ship"), DECIDED[3]), "as suggested"
    table = manifest_table(run, decisions=path)
    assert [table["fate"][row].as_py() for row in (0, 1, 2, 5)] == [
        "kept",
        "dropped",
        "relabelled",
        "relabelled",
    ]
    assert [table["new_label"][row].as_py() for row in (1, 2, 5)] == [None, "ship", "cat"]


def test_all_mistakes_are_told_at_once(run, tmp_path):
    entries = [
        {"id": "img-000", "action": "keep"},
        {"id": "img-000", "action": "drop"},
        {"id": "nobody", "action": "keep"},
        {"id": "img-001", "action": "relable"},
        {"id": "img-003", "action": "relabel", "label": "doge"},
        {"id": "img-004", "action": "relabel"},
        {"action": "keep"},
        {"id": "img-005", "action": "relabel", "label": 1.5},
        {"id": "img-006", "action": "drop"},
        {"id": "img-006", "action": "drop"},
        {"id": "img-007", "action": "relabel", "label": {"class": "dog"}},
    ]
    with pytest.raises(DataError) as caught:
        read_decisions(written(tmp_path, entries), run)
    text = str(caught.value)
    for message in (
        "decisions[1]: sample 'img-000': two decisions on one sample\n  found: drop, but keep in",
        "decisions[2]: sample 'nobody': not a sample of the run",
        "decisions[3]: sample 'img-001': not an action; did you mean 'relabel'?",
        "decisions[4]: sample 'img-003': unknown class; did you mean 'dog'?",
        "decisions[5]: sample 'img-004': no new label",
        "decisions[6]: sample None: no id of a sample",
        "decisions[7]: sample 'img-005': unknown class\n  found: '1.5'",
        "decisions[10]: sample 'img-007': not a label\n  found: {'class': 'dog'}",
    ):
        assert message in text
    assert len(caught.value.messages) == 8


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"decisions": 3, "schema_version": 1}', "[" * 100_000])
def test_what_is_no_document(run, tmp_path, text):
    (tmp_path / "decisions.json").write_text(text)
    with pytest.raises(DataError, match=r"decisions\.json: not (JSON|a document of decisions)"):
        read_decisions(tmp_path / "decisions.json", run)


def test_a_document_of_another_version(run, tmp_path):
    with pytest.raises(DataError, match="schema version 2"):
        read_decisions(written(tmp_path, [], schema_version=2), run)
    with pytest.raises(DataError, match="no such file"):
        read_decisions(tmp_path / "nowhere.json", run)


def test_samples_of_several_classes_get_several(tmp_path):
    run = Recipe(n=3, labels=[[1.0, 0, 0, 0], [0, 1.0, 1.0, 0], [0, 0, 0, 1.0]]).write(tmp_path / "run")
    assert pa.types.is_list(run.schema.field("label").type)
    given = [{"id": "img-001", "action": "relabel", "label": ["cat", "ship"]}]
    found = read_decisions(written(tmp_path, given), run)
    assert found.decided == (Decision("img-001", "relabel", "cat|ship"),)
    given[0]["label"] = "cat|cow"
    with pytest.raises(DataError, match="found: 'cow'"):
        read_decisions(written(tmp_path, given), run)


def test_no_class_at_all_is_a_set_of_classes_and_no_label_is_the_suggested_one(tmp_path):
    run = Recipe(n=3, labels=[[1.0, 0, 0, 0], [0, 1.0, 1.0, 0], [0, 0, 0, 1.0]]).write(tmp_path / "run")
    for label in ("", []):
        given = [{"id": "img-001", "action": "relabel", "label": label}]
        assert read_decisions(written(tmp_path, given), run).decided[0].label == ""
    with pytest.raises(DataError, match="no new label"):
        read_decisions(written(tmp_path, [{"id": "img-001", "action": "relabel"}]), run)


@pytest.mark.parametrize("targets", [1, 2])
def test_numbers_get_numbers(tmp_path, targets):
    labels = [[i + 0.5] * targets for i in range(3)]
    run = Recipe(n=3, classes=(), labels=labels).write(tmp_path / "run")
    right = 7.25 if targets == 1 else [7.25, "-1e-3"]
    given = [{"id": "img-001", "action": "relabel", "label": right}]
    found = read_decisions(written(tmp_path, given), run)
    assert found.decided[0].label == ("7.25" if targets == 1 else "7.25|-1e-3")
    for wrong in ("many", "nan", "1_0", [1.0, 2.0, 3.0]):
        given[0]["label"] = wrong
        with pytest.raises(DataError, match="not a target"):
            read_decisions(written(tmp_path, given), run)
