"""``oga gate``: whether the dataset of a run may pass.

In: a run, a policy of limits and, optionally, an earlier run as the baseline. Out: a ``Gate``: every
condition with the found and the allowed value. Each condition is a file in ``conditions``, each format of a
gate a file in ``formats``.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ogacli.base.options import Options
from ogacli.run.directory import Run
from ogacli.run.gate.outcome import Gate
from ogacli.run.gate.policy import conditions_of, load_policy


def gate(
    run: Run | str | Path,
    *,
    policy: Options | Mapping[str, Any] | str | Path | None = None,
    max_flagged: object = None,
    require_useful: bool = False,
    baseline: Run | str | Path | None = None,
    reviewed: str | Path | Sequence[str] | None = None,
    overrides: Sequence[str] = (),
) -> Gate:
    """Compare a run with the limits of a policy.

    Args:
        run: The run to judge, or its folder.
        policy: A YAML file, or its keys and values; the default limits where left out.
        max_flagged: A share or a count in place of the policy's.
        require_useful: Only a checkpoint that is found to be useful passes.
        baseline: An earlier run; flagged samples that are new or changed since then do not pass.
        reviewed: Samples that may be flagged, in place of the policy's: ids, or a file of them.
        overrides: ``key=value``, which change single keys of the policy, if it is no ``Options`` already.

    Raises:
        ConfigError: The policy is wrong.
        RunError: A run directory cannot be read.
    """
    limits = load_policy(
        policy,
        max_flagged=max_flagged,
        require_useful=require_useful,
        reviewed=reviewed,
        overrides=overrides,
    )
    opened = Run.open(run)
    before = None if baseline is None else Run.open(baseline)
    outcomes = [condition.judge(opened, before) for condition in conditions_of(limits)]
    return Gate(
        tuple(outcome for outcome in outcomes if outcome is not None), opened.summary.diagnosis.warnings
    )
