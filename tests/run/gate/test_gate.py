from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogacli.errors import ConfigError
from ogacli.run.counts import Counts
from ogacli.run.gate import gate
from ogacli.run.gate.formats import formats
from ogacli.run.gate.outcome import Gate, Outcome
from ogacli.run.gate.policy import load_policy, policy_class
from ogacli.verdict.budget import Budget
from synthetic_runs import Recipe, check_golden, example

GatePolicy = policy_class()
junit_xml = formats.get("junit")


def found(gate: Gate, name: str) -> Outcome:
    return next(condition for condition in gate.conditions if condition.name == name)


def policy(**limits) -> GatePolicy:
    """No condition but the ones named."""
    off = [name for name in GatePolicy.model_fields if name[:4] == "max_"] + ["min_left_per_class", "min_cut"]
    return GatePolicy.model_validate(dict.fromkeys(off) | limits)


def wrong_in_one_class(flagged: int, **options) -> Recipe:
    """40 cats and 40 dogs; as many cats as asked for have the highest scores, and are flagged."""
    labels = [0] * 40 + [1] * 40
    scores = [1 + i / 64 if i < flagged else i / 128 for i in range(80)]
    options = {"n": 80, "classes": ("cat", "dog"), "labels": labels, "scores": scores} | options
    return Recipe(budget=flagged, **options)


@pytest.fixture
def trouble(tmp_path):
    """A run and its baseline, with something of every kind to tell."""
    run = example().write(tmp_path / "run")
    classes = ("cat", "dog", "frog", "boat")
    baseline = Recipe(budget=2, classes=classes, detector={"name": "l2"}).write(tmp_path / "old")
    limits = policy(
        max_flagged="25%",
        max_flagged_per_class="10%",
        min_class_samples=8,
        max_quarantined=0,
        max_flagged_increase=0.02,
        max_class_increase=0.0,
        max_above_cut_increase=0.02,
    )
    return gate(run, policy=limits, baseline=baseline)


def test_golden_markdown(trouble):
    check_golden("gate.md", formats.get("markdown")(trouble))


def test_golden_junit(trouble):
    check_golden("gate.xml", junit_xml(trouble))


def test_the_default_policy_lets_a_calm_run_through(tmp_path):
    verdict = gate(Recipe(n=200, budget=0.05).write(tmp_path / "run"))
    assert verdict.passed
    assert [(one.name, one.status) for one in verdict.conditions] == [
        ("consistent", "passed"),
        ("require_estimate", "passed"),
        ("min_samples", "passed"),
        ("max_flagged", "passed"),
        ("max_flagged_per_class", "passed"),
        ("min_left_per_class", "passed"),
        ("min_cut", "skipped"),
        ("max_quarantined", "passed"),
    ]


@pytest.mark.parametrize(
    ("limit", "passes"),
    [(10, True), (9, False), (0.125, True), (0.12, True), (0.11, False), ("12.5%", True), (0, False)],
)
def test_exactly_at_the_limit_passes(tmp_path, limit, passes):
    verdict = gate(wrong_in_one_class(10).write(tmp_path / "run"), policy=policy(max_flagged=limit))
    assert verdict.passed is passes
    assert found(verdict, "max_flagged").found == "10 of 80 (12.5%)"


@settings(deadline=None)
@given(st.integers(1, 400), st.floats(0, 1))
def test_a_budget_passes_a_limit_of_its_own_size(tmp_path_factory, n, share):
    """Whatever the rounding; and a limit of one sample less does not."""
    flagged = Budget(share).count(n, 0)
    run = Recipe(n=4).write(tmp_path_factory.mktemp("runs") / "run")
    run.__dict__["counts"] = Counts(samples=n, flagged=flagged)
    assert gate(run, policy=policy(max_flagged=share)).passed
    if flagged:
        assert not gate(run, policy=policy(max_flagged=flagged - 1)).passed


def test_says_so_where_a_limit_was_rounded_up(tmp_path):
    run = wrong_in_one_class(10).write(tmp_path / "run")
    limits = policy(max_flagged=0.12, max_flagged_per_class=0.2499)
    verdict = gate(run, policy=limits)
    overall, classes = (found(verdict, name) for name in ("max_flagged", "max_flagged_per_class"))
    assert (overall.found, overall.allowed) == ("10 of 80 (12.5%)", "at most 10 (12%, rounded up)")
    assert classes.allowed == "at most 10 (24.99%, rounded up)"
    assert found(gate(run, policy=policy(max_flagged=0.125)), "max_flagged").allowed == "at most 10 (12.5%)"


def test_one_class_above_its_limit(tmp_path):
    run = wrong_in_one_class(10).write(tmp_path / "run")
    condition = found(gate(run, policy=policy(max_flagged_per_class=0.2)), "max_flagged_per_class")
    assert condition.status == "failed"
    assert condition.found == "'cat': 10 of 40 (25.0%)"
    assert condition.allowed == "at most 8 (20%)"
    assert gate(run, policy=policy(max_flagged_per_class=0.25)).passed
    assert gate(run, policy=policy(max_flagged_per_class=10)).passed
    assert not gate(run, policy=policy(max_flagged_per_class=9)).passed


def test_names_the_other_classes_above_their_limit(tmp_path):
    run = Recipe(n=160, classes=tuple("abcdefgh"), budget=1.0).write(tmp_path / "run")
    condition = found(gate(run, policy=policy(max_flagged_per_class=0.5)), "max_flagged_per_class")
    assert condition.found == "'a': 20 of 20 (100.0%)"
    assert condition.detail.startswith("also 'b': 20 of 20 (100.0%), 'c'")
    assert condition.detail.endswith("'f': 20 of 20 (100.0%), and 2 more")


def test_small_classes_are_left_out_and_said_to_be(tmp_path):
    labels = [0] * 77 + [1] * 3
    run = wrong_in_one_class(3, labels=labels, scores=[i / 64 for i in range(80)]).write(tmp_path / "run")
    condition = found(gate(run, policy=policy(max_flagged_per_class=0.3)), "max_flagged_per_class")
    assert condition.passed
    assert condition.detail == "classes of fewer than 10 samples left out: 1"
    assert not gate(run, policy=policy(max_flagged_per_class=0.3, min_class_samples=3)).passed
    alone = gate(run, policy=policy(max_flagged_per_class=0.3, min_class_samples=100))
    assert found(alone, "max_flagged_per_class").status == "skipped"


def test_quarantined_samples_count_of_all_and_not_as_scored(tmp_path):
    quarantined = dict.fromkeys(range(40, 60), "broken")
    run = wrong_in_one_class(10, quarantined=quarantined).write(tmp_path / "run")
    verdict = gate(run, policy=policy(max_quarantined=0.2, max_flagged="10 %"))
    assert found(verdict, "max_quarantined").found == "20 of 80 (25.0%)"
    assert found(verdict, "max_quarantined").status == "failed"
    assert found(verdict, "max_flagged").found == "10 of 60 (16.7%)"
    assert gate(run, policy=policy(max_quarantined=0.25)).passed
    assert gate(run, policy=policy(max_quarantined=20)).passed


def test_too_few_samples(tmp_path):
    run = Recipe(n=32).write(tmp_path / "run")
    assert gate(run, policy=policy(min_samples=32)).passed
    condition = found(gate(run, policy=policy(min_samples=33)), "min_samples")
    assert (condition.status, condition.found, condition.allowed) == ("failed", "32 scored", "at least 33")


def test_the_same_run_as_its_own_baseline_passes_with_no_tolerance(tmp_path):
    run = example().write(tmp_path / "run")
    limits = policy(
        max_flagged_increase=0, max_class_increase=0, max_above_cut_increase=0, min_class_samples=1
    )
    verdict = gate(run, policy=limits, baseline=run)
    names = ("consistent", "max_flagged_increase", "max_class_increase", "max_above_cut_increase")
    assert [found(verdict, name).status for name in names] == ["passed"] * 4


def test_worse_than_the_baseline(tmp_path):
    before = wrong_in_one_class(4).write(tmp_path / "before")
    now = wrong_in_one_class(10).write(tmp_path / "now")
    verdict = gate(now, policy=policy(max_flagged_increase=0.05, max_class_increase="10%"), baseline=before)
    overall, classes = (found(verdict, name) for name in ("max_flagged_increase", "max_class_increase"))
    assert (overall.status, overall.allowed) == ("failed", "at most 8 (baseline 5.0% + 5%)")
    assert (classes.status, classes.found) == ("failed", "'cat': 10 of 40 (25.0%)")
    assert classes.allowed == "at most 8 (the baseline's share + 10%)"
    looser = policy(max_flagged_increase=0.075, max_class_increase=0.15)
    assert gate(now, policy=looser, baseline=before).passed


def test_drift_shows_above_the_baselines_cut_though_the_budget_is_the_same(tmp_path):
    before = Recipe(n=64, budget=8).write(tmp_path / "before")
    higher = [(i * 37 % 64) / 64 + 0.25 for i in range(64)]
    now = Recipe(n=64, budget=8, scores=higher).write(tmp_path / "now")
    limits = policy(max_flagged_increase=0.0, max_above_cut_increase=0.1)
    verdict = gate(now, policy=limits, baseline=before)
    assert found(verdict, "max_flagged_increase").passed
    condition = found(verdict, "max_above_cut_increase")
    # the baseline's cut is 56/64; 24 of the scores that moved up by 16/64 reach it
    assert condition.found == "24 of 64 (37.5%)"
    assert condition.allowed == "at most 14 (baseline 12.5% + 10%)"
    assert condition.status == "failed"


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"detector": {"name": "l2"}}, "scores cannot be compared: other detector"),
        (
            {"detector": {"name": "isolation_forest", "trees": 50}},
            "scores cannot be compared: other detector",
        ),
        (
            {"parameters": {"layer4.weight": 9}},
            "scores cannot be compared: other layers and number of parameters",
        ),
        ({"budget": 0}, "the baseline flagged nothing, so it has no cut"),
    ],
)
def test_scores_that_cannot_be_compared_are_skipped(tmp_path, other, told):
    run = Recipe().write(tmp_path / "run")
    baseline = Recipe(**other).write(tmp_path / "baseline")
    verdict = gate(run, policy=policy(max_above_cut_increase=0), baseline=baseline)
    condition = found(verdict, "max_above_cut_increase")
    assert (condition.status, condition.detail) == ("skipped", told)
    assert verdict.passed


def test_other_checkpoints_are_compared_and_said_to_differ(tmp_path):
    run = Recipe().write(tmp_path / "run")
    baseline = Recipe(checkpoint="other").write(tmp_path / "baseline")
    limits = policy(max_above_cut_increase=0.02)
    condition = found(gate(run, policy=limits, baseline=baseline), "max_above_cut_increase")
    assert (condition.status, condition.detail) == (
        "passed",
        "the checkpoints differ, which may move all scores",
    )


def test_classes_that_the_baseline_does_not_have(tmp_path):
    before = wrong_in_one_class(4, classes=("cat", "wolf")).write(tmp_path / "before")
    now = wrong_in_one_class(4).write(tmp_path / "now")
    condition = found(gate(now, policy=policy(max_class_increase=0), baseline=before), "max_class_increase")
    assert (condition.status, condition.detail) == ("passed", "too few in the baseline: 'dog'")
    strangers = wrong_in_one_class(4, classes=("ant", "wolf")).write(tmp_path / "strangers")
    condition = found(
        gate(now, policy=policy(max_class_increase=0), baseline=strangers), "max_class_increase"
    )
    assert condition.status == "skipped"
    assert condition.detail == "no class to judge; too few in the baseline: 'cat', 'dog'"


def test_regressions_have_no_classes_to_judge(tmp_path):
    labels = [i / 4 for i in range(32)]
    run = Recipe(classes=(), labels=labels, budget=2).write(tmp_path / "run")
    verdict = gate(run, policy={"max_class_increase": 0}, baseline=run)
    assert verdict.passed
    assert found(verdict, "max_flagged_per_class").status == "skipped"
    assert found(verdict, "min_left_per_class").status == "skipped"
    assert found(verdict, "max_class_increase").status == "skipped"


def test_document(tmp_path):
    recipe = wrong_in_one_class(10, warnings=("careful",))
    verdict = gate(recipe.write(tmp_path / "run"), policy=policy(max_flagged=3))
    document = verdict.document()
    assert [one["name"] for one in document["conditions"]] == [one.name for one in verdict.conditions]
    some = [one for one in document["conditions"] if one["name"] in ("min_samples", "max_flagged")]
    assert document | {"conditions": some} == {
        "schema_version": 1,
        "passed": False,
        "conditions": [
            {
                "name": "min_samples",
                "found": "80 scored",
                "allowed": "at least 1",
                "status": "passed",
                "detail": "",
                "samples": (),
            },
            {
                "name": "max_flagged",
                "found": "10 of 80 (12.5%)",
                "allowed": "at most 3",
                "status": "failed",
                "detail": "",
                "samples": (),
            },
        ],
        "warnings": ["careful"],
    }


def test_junit_has_one_case_a_condition(trouble):
    root = ElementTree.fromstring(junit_xml(trouble))
    suite = root[0]
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == [one.name for one in trouble.conditions]
    assert int(suite.get("tests")) == len(cases)
    assert int(suite.get("failures")) == len(suite.findall("testcase/failure")) == 4
    assert int(suite.get("skipped")) == len(suite.findall("testcase/skipped")) == 1
    assert [one.status for one in trouble.conditions].count("failed") == 4


@given(st.text(min_size=1, max_size=30))
def test_junit_holds_any_text(text):
    condition = Outcome("max_flagged", text, text, "failed", text)
    skipped = Outcome("max_class_increase", text, text, "skipped", text)
    root = ElementTree.fromstring(junit_xml(Gate((condition, skipped), (text,))).encode("utf-8"))
    assert root.find("testsuite/testcase/failure") is not None
    printable = text.isprintable()
    if printable:
        assert text in root.find("testsuite/testcase/failure").get("message")


# --- Policies -----------------------------------------------------------------------------------------


def written(folder: Path, text: str) -> Path:
    path = folder / "policy.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_policy_file(tmp_path):
    path = written(
        tmp_path, "max_flagged: 12%\nmax_quarantined: 5\nmax_class_increase: null\nmin_samples: 100\n"
    )
    policy = load_policy(path)
    assert policy.max_flagged == Budget(0.12)
    assert policy.max_quarantined == Budget(5)
    assert policy.max_class_increase is None
    assert policy.min_samples == 100
    assert policy.max_flagged_per_class == GatePolicy().max_flagged_per_class
    assert load_policy(path, max_flagged="3").max_flagged == Budget(3)
    assert load_policy(max_flagged="3").max_quarantined == GatePolicy().max_quarantined


def test_an_empty_policy_file_is_the_default_policy(tmp_path):
    assert load_policy(written(tmp_path, "# nothing yet\n")) == load_policy() == GatePolicy()


def test_every_mistake_in_a_policy_is_told_with_its_line(tmp_path):
    path = written(
        tmp_path, "max_flaged: 5%\nmax_quarantined: auto\nmax_class_increase: 4\nmin_samples: few\n"
    )
    with pytest.raises(ConfigError) as error:
        load_policy(path)
    for told in (
        f"{path}:1: max_flaged: unknown key; did you mean 'max_flagged'?",
        f"{path}:2: max_quarantined: not a limit: a fraction such as 0.05 (or 5%), a count such as 200",
        f"{path}:3: max_class_increase: not a share: a fraction such as 0.02 (or 2%), or null",
        f"{path}:4: min_samples: not a valid value",
    ):
        assert told in str(error.value)


@pytest.mark.parametrize(
    ("text", "told"), [("- 1\n", "not a policy"), ("max_flagged: [\n", "not valid YAML")]
)
def test_files_that_are_no_policy(tmp_path, text, told):
    with pytest.raises(ConfigError, match=told):
        load_policy(written(tmp_path, text))


def test_missing_policy_file(tmp_path):
    with pytest.raises(ConfigError, match="no such policy file"):
        load_policy(tmp_path / "policy.yaml")


@pytest.mark.parametrize("text", ["auto", "1.5", "-1", "many", "105%"])
def test_limits_that_are_none(text):
    with pytest.raises(ConfigError, match=r"--max-flagged: not a limit: .*\n  found: "):
        load_policy(max_flagged=text)


# --- the checkpoint ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suggested", "status", "told"),
    [({}, "failed", "memorised checkpoint"), ({3: 0, 9: 2, 12: 1}, "failed", "uncertain checkpoint")],
)
def test_a_checkpoint_that_is_not_found_to_be_useful(tmp_path, suggested, status, told):
    run = Recipe(suggested=suggested).write(tmp_path / "run")
    condition = found(gate(run, policy=policy(require_useful=True)), "require_useful")
    assert (condition.status, condition.found, condition.allowed) == (status, told, "useful")
    assert condition.detail.startswith("the model predicts ")
    assert not [one for one in gate(run, policy=policy()).conditions if one.name == "require_useful"]


def test_a_regression_has_no_checkpoint_to_diagnose(tmp_path):
    run = Recipe(classes=(), labels=[i / 4 for i in range(32)]).write(tmp_path / "run")
    condition = found(gate(run, policy=policy(require_useful=True)), "require_useful")
    assert (condition.status, condition.detail) == (
        "skipped",
        "there are no classes to diagnose the checkpoint by",
    )


def test_the_option_switches_the_condition_on(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text("max_flagged: 12%\n")
    asked = load_policy(path, require_useful=True)
    assert (asked.require_useful, asked.max_flagged) == (True, Budget(0.12))
    path.write_text("require_useful: true\n")
    assert load_policy(path).require_useful
    assert not load_policy().require_useful


# --- what is added is one file -----------------------------------------------------------------------------


def test_a_condition_is_one_file(tmp_path, added_module):
    added_module(
        "ogacli.run.gate.conditions.max_duplicates",
        '''
        from ogacli.run.gate.conditions import Condition, conditions
        from ogacli.run.gate.limits import Limit, at_most


        @conditions.register
        class MaxDuplicates(Condition):
            """A limit on duplicates with another label."""

            max_duplicates: Limit = None

            def judge(self, run, baseline):
                """By the number of duplicates."""
                if self.max_duplicates is None:
                    return None
                summary = run.summary
                return at_most("max_duplicates", summary.duplicates, summary.samples, self.max_duplicates)
        ''',
    )
    run = Recipe().write(tmp_path / "run")
    path = written(tmp_path, "max_duplicates: 0\n")
    assert found(gate(run, policy=path), "max_duplicates").found == "0 of 32 (0.0%)"
    assert "max_duplicates" not in [one.name for one in gate(run).conditions], "off unless asked for"
    with pytest.raises(ConfigError, match="did you mean 'max_duplicates'"):
        gate(run, policy={"max_duplicate": 0})


def test_a_format_is_one_file(added_module, trouble):
    added_module(
        "ogacli.run.gate.formats.words",
        """
        from ogacli.run.gate.formats import formats


        @formats.register
        def render(gate):
            return " ".join(outcome.status for outcome in gate.conditions)
        """,
    )
    assert "words" in formats.names()
    assert formats.get("words")(trouble).split().count("failed") == 4


def test_plain_arguments(tmp_path):
    run = Recipe().write(tmp_path / "run")
    file = written(tmp_path, "max_flagged: 3\n")
    found = [
        gate(given, policy=limits) for given in (run, str(run.path)) for limits in (file, {"max_flagged": 3})
    ]
    assert all(one == found[0] and not one.passed for one in found)
    assert gate(run.path, policy=file, max_flagged=8, baseline=run.path).passed
    with pytest.raises(ConfigError, match=r"policy: max_flagged: not a limit"):
        gate(run, policy={"max_flagged": "auto"})


def test_a_useful_checkpoint_passes(tmp_path):
    run = Recipe().write(tmp_path / "run")
    diagnosis = run.summary.diagnosis.model_copy(update={"verdict": "useful"})
    run.__dict__["summary"] = run.summary.model_copy(update={"diagnosis": diagnosis})
    assert found(gate(run, policy=policy(require_useful=True)), "require_useful").passed
