"""The page as a file: what is on it, and what it does where not everything fits."""

import json
import re
import webbrowser

import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from ogacli.cli import app
from ogacli.config.commands import scan
from ogacli.errors import RunError
from ogacli.run.directory import Run
from ogacli.run.previews import SCHEMA
from ogacli.run.reports.review import embedded, review
from ogacli.run.review import review as write_page
from small_scans import make_place
from synthetic_runs import Recipe, example, png


def data_of(page: str) -> dict:
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])


def test_all_flagged_samples_are_on_the_page(tmp_path):
    run = Recipe(n=3000, budget=0.5).write(tmp_path / "run")
    data = review(run).data
    assert len(data["samples"]["id"]) == run.summary.flagged == 1500
    assert data["samples"]["rank"] == list(range(1, 1501))


def test_pictures_are_left_out_from_the_least_anomalous_on_where_the_page_becomes_too_large(tmp_path):
    recipe = Recipe(n=200, budget=0.5)
    picture = png(50)
    recipe.previews = [(i, "image", picture) for i in range(200)]
    run = recipe.write(tmp_path / "run")
    everything = review(run)
    assert everything.left_out == 0
    small = review(run, limit=400_000)
    assert 0 < small.left_out < 100
    assert len(embedded(small.data)) < 400_000
    shown = [
        position for position in small.data["samples"]["position"] if str(position) in small.data["looks"]
    ]
    assert shown == small.data["samples"]["position"][: len(shown)]
    assert len(shown) + small.left_out == 100


def test_a_page_stays_small_however_long_ids_are(tmp_path):
    n = 30_000
    recipe = Recipe(n=n, ids=[f"{'folder/' * 100}{i}" for i in range(n)], budget=0.9)
    found = review(recipe.write(tmp_path / "run"))
    assert found.rows < found.flagged == 27_000
    assert len(embedded(found.data)) < 12 << 20


def test_samples_without_preview_are_read_from_the_source(tmp_path):
    place = make_place(tmp_path, n=400)
    run = scan(place.config("budget=300", "protect=off"))
    none = SCHEMA.empty_table()
    pyarrow.parquet.write_table(none, run.path / "previews.parquet")
    page = write_page(Run.open(run.path))
    assert page.complete
    assert page.not_read is None
    assert len(data_of(page.path.read_text())["looks"]) >= 300
    (tmp_path / "data.npz").unlink()
    page = write_page(Run.open(run.path))
    assert page.without_look == 300
    assert "data.npz" in page.not_read


def test_nothing_flagged_is_nothing_to_decide_on(tmp_path):
    with pytest.raises(RunError, match="nothing is flagged"):
        write_page(Recipe(budget=0).write(tmp_path / "run"))


def test_the_command_writes_the_page_and_opens_it(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    run = example().write(tmp_path / "run")
    done = CliRunner().invoke(app, ["review", str(run.path)])
    assert done.exit_code == 0, done.output
    assert opened == [(run.path / "report.html").as_uri()]
    done = CliRunner().invoke(
        app, ["review", str(run.path), "--no-open", "--json", "--output", str(tmp_path / "p")]
    )
    assert json.loads(done.stdout)["flagged"] == 8
    assert len(opened) == 1
    assert (tmp_path / "p").read_text() == (run.path / "report.html").read_text()


@pytest.mark.parametrize(
    "options", [["--port", "8000"], ["--decisions", "d.json"], ["--serve", "--output", "p"]]
)
def test_options_without_use_are_refused(tmp_path, options):
    run = example().write(tmp_path / "run")
    done = CliRunner().invoke(app, ["review", str(run.path), "--no-open", *options])
    assert done.exit_code != 0
    assert "leave it out" in str(done.exception)


def test_data_in_the_page_ends_no_script():
    text = embedded({"a": "</script><!--\u2028&"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": "</script><!--\u2028&"}
