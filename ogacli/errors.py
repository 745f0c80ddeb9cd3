"""Errors that the user can correct, and the form of their messages.

    OgaError
    ├── ConfigError       the YAML file, a --set, an option
    ├── DataError         samples, labels, files of the dataset
    ├── CheckpointError   weights that cannot be loaded into the model
    ├── GradientError     per-sample gradients of this model or loss cannot be computed
    └── RunError          a run directory that cannot be read or written

Everything else is a bug and shows its traceback.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_LINE, _PROBLEMS = 2_000, 100
"""Characters of a line of a message, and problems that one error tells, at most."""


class OgaError(Exception):
    """An error that the user can correct.

    Args:
        problem: What is wrong, one sentence.
        place: Where: ``file:line: key``, a sample's id, a layer's name.
        found: The value or state that is wrong.
        expected: What is right instead.
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
        parts = [f"{place}: {problem}" if place else problem]
        if found is not None:
            parts.append(f"  found: {found}")
        if expected is not None:
            parts.append(f"  expected: {expected}")
        if hint is not None:
            parts.append(f"  next: {hint}")
        lines = "\n".join(parts).split("\n")
        self.messages: tuple[str, ...] = ("\n".join(map(_short, lines)),)
        super().__init__(*self.messages)

    @classmethod
    def all_of(cls, problems: Sequence["OgaError"]) -> "OgaError":
        """One error with the messages of all, in the given order and each once."""
        messages = _first(tuple(dict.fromkeys(message for one in problems for message in one.messages)))
        if len(messages) == 1:
            return problems[0]
        found = cls("\n".join(messages))
        found.messages = messages
        return found


def _short(line: str) -> str:
    """A line of a message without its middle, where a value of a file makes it too long."""
    return line if len(line) <= _LINE else f"{line[: _LINE // 2]} … {line[-_LINE // 2 :]}"


def _first(messages: tuple[str, ...]) -> tuple[str, ...]:
    """The first messages, and how many more there are."""
    more = len(messages) - _PROBLEMS
    return (*messages[:_PROBLEMS], f"and {more:,} more problems") if more > 0 else messages


@contextmanager
def collecting(problems: list[OgaError]) -> Iterator[None]:
    """Within the block, an ``OgaError`` ends the block and is added to the list."""
    try:
        yield
    except OgaError as error:
        problems.append(error)


class ConfigError(OgaError):
    """The config or an option is not valid."""

    def at(self, place: str) -> "ConfigError":
        """The same error at another place."""
        return ConfigError(
            self.problem, place=place, found=self.found, expected=self.expected, hint=self.hint
        )

    @classmethod
    def of(cls, problems: Sequence["ConfigError"]) -> "ConfigError":
        """One error with the messages of all, in the given order."""
        return problems[0] if len(problems) == 1 else cls("\n".join(_first(tuple(map(str, problems)))))


class DataError(OgaError):
    """The dataset cannot be read as the config describes it."""

    @classmethod
    @contextmanager
    def within(cls, place: str) -> Iterator[None]:
        """While it is open, the message of a ``DataError`` is put behind the name of a place."""
        try:
            yield
        except DataError as error:
            raise cls(str(error), place=place) from None


class CheckpointError(OgaError):
    """Weights cannot be loaded into the model."""


class GradientError(OgaError):
    """Per-sample gradients of this model, loss or selection of layers cannot be computed."""


class RunError(OgaError):
    """A run directory cannot be read or written."""
