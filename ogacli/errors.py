"""What can go wrong by the user's hand, and how it is told.

    OgaError
    ├── ConfigError       the YAML file, a --set, an option
    ├── DataError         samples, labels, files of the dataset
    ├── CheckpointError   weights that cannot be loaded into the model
    ├── GradientError     a model or loss whose per-sample gradients cannot be had
    └── RunError          a run directory that cannot be read or written

Everything else is a bug and shows its traceback.
"""

from collections.abc import Sequence


class OgaError(Exception):
    """A mistake that the user can mend.

    Args:
        problem: What is wrong, one sentence.
        place: Where: ``file:line: key``, a sample's id, a layer's name.
        found: What was there.
        expected: What should have been there.
        hint: The next step.
    """

    def __init__(
        self,
        problem: str,
        *,
        place: str | None = None,
        found: object = None,
        expected: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.problem = problem
        self.place = place
        self.found = found
        self.expected = expected
        self.hint = hint
        lines = [f"{place}: {problem}" if place else problem]
        if found is not None:
            lines.append(f"  found: {found}")
        if expected is not None:
            lines.append(f"  expected: {expected}")
        if hint is not None:
            lines.append(f"  next: {hint}")
        super().__init__("\n".join(lines))


class ConfigError(OgaError):
    """The config or an option says something that cannot be done."""

    def at(self, place: str) -> "ConfigError":
        """The same mistake, at another place."""
        return ConfigError(
            self.problem, place=place, found=self.found, expected=self.expected, hint=self.hint
        )

    @classmethod
    def of(cls, problems: Sequence["ConfigError"]) -> "ConfigError":
        """One error that tells all the problems, in the order given."""
        return problems[0] if len(problems) == 1 else cls("\n".join(str(problem) for problem in problems))


class DataError(OgaError):
    """The dataset cannot be read as the config says."""


class CheckpointError(OgaError):
    """A checkpoint does not hold the weights of the model."""


class GradientError(OgaError):
    """Per-sample gradients cannot be had from this model, loss or selection of layers."""


class RunError(OgaError):
    """A run directory is missing, of another version, or in the way."""
