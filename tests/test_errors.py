"""The form of messages: however long a value of a file is, and however many problems there are."""

from ogacli.errors import ConfigError, DataError, OgaError


def test_a_long_value_is_cut_in_its_middle():
    told = str(DataError("not a number", place="a.csv:1", found="x" * 5_000_000 + "end", hint="mend it"))
    assert len(told) < 3_000
    assert told.startswith("a.csv:1: not a number\n  found: xxx")
    assert "xxx … xxx" in told
    assert told.endswith("end\n  next: mend it")


def test_lines_of_a_message_are_cut_each():
    told = str(DataError("\n".join(["short", "y" * 10_000, "last"])))
    assert told.startswith("short\nyyy")
    assert told.endswith("yyy\nlast")


def test_many_problems_are_counted():
    problems = [ConfigError("wrong", place=f"c.yaml:{i}") for i in range(1_000)]
    for told in (str(ConfigError.of(problems)), str(OgaError.all_of(problems))):
        assert told.count("\n") == 100
        assert told.endswith("c.yaml:99: wrong\nand 900 more problems")
    assert str(ConfigError.of(problems[:100])).count("more problems") == 0
