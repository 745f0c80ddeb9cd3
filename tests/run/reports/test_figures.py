"""Figures of a run: one file each, both formats, the same bytes for the same run."""

import sys

import pytest
from PIL import Image
from typer.testing import CliRunner

from ogacli.cli import app
from ogacli.errors import ConfigError, RunError
from ogacli.run.reports.figures import figures, write_figures
from synthetic_runs import Recipe, example

pytest.importorskip("matplotlib")


def test_each_figure_in_both_formats(tmp_path):
    recipe = example()
    recipe.gradient_map = [(i, float(i), float(-i)) for i in range(32)]
    found = write_figures(recipe.write(tmp_path / "run"), tmp_path / "figures")
    drawn = {"histogram", "classes", "confusion", "gradient_map", "precision_recall"}
    assert {path.name for path in found.files} == {
        f"{name}.{kind}" for name in drawn for kind in ("png", "svg")
    }
    assert found.left_out == {"benefit": "the scan had no `budget: benefit`"}
    assert drawn | set(found.left_out) == set(figures.names())
    for path in found.files:
        if path.suffix == ".png":
            with Image.open(path) as picture:
                assert len(picture.convert("RGB").getcolors(1 << 20)) > 10
        else:
            assert "<svg" in path.read_text()


def test_the_figures_tell_the_figures_of_the_report(tmp_path):
    write_figures(example().write(tmp_path / "run"), tmp_path)
    assert "8 of 31 samples flagged (25.8%)" in (tmp_path / "histogram.svg").read_text()
    assert "37.5%, 3 of 8" in (tmp_path / "classes.svg").read_text()
    assert "3 samples with another suggested label" in (tmp_path / "confusion.svg").read_text()


def test_the_same_run_gives_the_same_bytes(tmp_path):
    run = example().write(tmp_path / "run")
    first, again = (write_figures(run, tmp_path / name).files for name in "ab")
    assert [one.read_bytes() for one in first] == [one.read_bytes() for one in again]


def test_hostile_names_are_drawn_as_they_are(tmp_path):
    names = ("$\\frac{1$", "<b>a&b</b>", "$x$ ${y}", "a" * 300)
    recipe = Recipe(classes=names, suggested={19: 0, 6: 1}, truth=[i % 4 for i in range(32)])
    write_figures(recipe.write(tmp_path / "run"), tmp_path)
    assert "$x$ ${y}" in (tmp_path / "classes.svg").read_text()
    assert "<b>" not in (tmp_path / "classes.svg").read_text()


@pytest.mark.parametrize(
    "recipe", [Recipe(budget=0), Recipe(scores=[0.5] * 32), Recipe(n=1, classes=("a",), budget=1)]
)
def test_runs_with_little_to_draw(tmp_path, recipe):
    found = write_figures(recipe.write(tmp_path / "run"), tmp_path)
    assert {path.stem for path in found.files} == {"histogram", "classes"}


def test_a_figure_that_exists_is_kept(tmp_path):
    run = example().write(tmp_path / "run")
    done = CliRunner().invoke(app, ["report", str(run.path), "--figures", str(tmp_path)])
    assert done.exit_code == 0
    assert str(tmp_path / "histogram.png") in done.stdout
    with pytest.raises(RunError, match="already exists"):
        write_figures(run, tmp_path)
    write_figures(run, tmp_path, overwrite=True)


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"pip install 'ogacli\[figures\]'"):
        write_figures(example().write(tmp_path / "run"), tmp_path)


def test_a_figure_is_one_file(tmp_path, added_module):
    added_module(
        "ogacli.run.reports.figures.nothing",
        """
        from ogacli.run.reports.figures import figures


        @figures.register
        def nothing(run, figure):
            return "it is a test"
        """,
    )
    assert write_figures(example().write(tmp_path / "run"), tmp_path).left_out["nothing"] == "it is a test"
