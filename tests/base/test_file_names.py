"""Names of files from ids and labels, as each system accepts them."""

import ntpath
import os
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ogacli.base import file_names
from ogacli.base.file_names import Names, safe_name

SYSTEMS = pytest.mark.parametrize("windows", [False, True])


def _is_reserved(path: PureWindowsPath) -> bool:
    """By the function of Python 3.13 where there is one, as it deprecates the method."""
    found = getattr(ntpath, "isreserved", None)
    return bool(path.is_reserved() if found is None else found(str(path)))


@SYSTEMS
@given(name=st.text(max_size=300), suffix=st.sampled_from(["", ".png", ".jpg", ".p:g", ". "]))
@example(name="..", suffix="")
@example(name="con", suffix=".png")
@example(name="NUL.tar", suffix=".gz")
@example(name="com¹", suffix="")
@example(name="a" * 300, suffix=".png")
@example(name="ü" * 300, suffix=".png")
@example(name="a: *?<>|. ", suffix="")
@example(name="\ud800", suffix="")
@example(name="C:\\x", suffix="")
def test_any_text_is_one_name_inside_its_folder(windows: bool, name: str, suffix: str) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(file_names, "WINDOWS", windows)
        found = safe_name(name, suffix)
    assert 0 < len(os.fsencode(found)) <= 255
    assert found.isprintable()
    assert not found.startswith(".") or not found.strip(".")
    assert PurePosixPath("x", found).parts == ("x", found)
    assert found not in (".", "..")
    if windows:
        path = PureWindowsPath("x", found)
        assert path.parts == ("x", found)
        assert not _is_reserved(path)
        assert not set(found) & set('<>:"/\\|?*')
        assert found == found.rstrip(". ")


@SYSTEMS
def test_names_differ_if_case_is_ignored(monkeypatch: pytest.MonkeyPatch, windows: bool) -> None:
    monkeypatch.setattr(file_names, "WINDOWS", windows)
    names = Names(["manifest.csv"])
    wanted = ["a", "A", "a.", "a ", "con", "CON", "x" * 300, "x" * 301, "manifest", "a:b", "a?b"]
    found = [names.new([one], ".csv") for one in wanted]
    assert len({one.casefold() for one in found} | {"manifest.csv"}) == len(wanted) + 1
    assert all(len(one) <= 255 for one in found)


def test_other_systems_keep_what_windows_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    for windows, names in ((False, ["a:b", "con.png", "a."]), (True, ["a-b", "_con.png", "a"])):
        monkeypatch.setattr(file_names, "WINDOWS", windows)
        assert [safe_name(one) for one in ("a:b", "con.png", "a.")] == names
