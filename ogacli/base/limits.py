"""What a file may take in memory and time.

In: the key ``limits`` of a data section. Out: ``Limits``. A file may be small on disk and large once it is
unpacked; the limits are for what cannot be seen from its size.
"""

from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from ogacli.base.options import Options
from ogacli.base.wording import number
from ogacli.errors import OgaError, RunError

_RATIO = 100
"""What is packed may always unpack to this many times its size; data seldom does."""

Count = Annotated[int, Field(ge=1, lt=1 << 62)]


class Limits(Options):
    """What one dataset may hold."""

    unpacked: Count = 1 << 30
    """Bytes to which an archive, array or parquet file may unpack; or 100 times its size, if that is more."""
    pixels: Count = 100_000_000
    """Pixels of one picture."""
    files: Count = 1_000_000
    """Files that a pattern such as ``train-{000..999}.tar`` may name."""

    def check_unpacked(self, size: int, packed: int, place: str, error: type[OgaError]) -> None:
        """Check a size that a file states before it is unpacked.

        Args:
            size: Bytes once it is unpacked.
            packed: Bytes of the file.
            place: The file.
            error: The class of the error to raise.

        Raises:
            OgaError: An error of the class ``error``: it is above the limit.
        """
        if size > self.allowed(packed):
            raise error(
                "it unpacks to more than may be read",
                place=place,
                found=f"{number(size)} bytes, packed in {number(packed)}",
                expected=f"at most {number(self.allowed(packed))} bytes",
                hint=raise_limit("unpacked", size),
            )

    def allowed(self, packed: int) -> int:
        """Bytes to which a file of ``packed`` bytes may unpack."""
        return max(self.unpacked, _RATIO * packed)


def refuse_raised(limits: Limits, where: Callable[[str], str]) -> None:
    """Refuse limits above the usual ones, where only a run directory names them.

    Args:
        limits: Of its data section.
        where: From the name of a limit to its place.

    Raises:
        RunError: One is above.
    """
    for name in Limits.model_fields:
        found, usual = getattr(limits, name), getattr(USUAL, name)
        if found > usual:
            raise RunError(
                "this source of data raises a limit, and none is raised that only a run directory names",
                place=where(name),
                found=found,
                expected=f"at most {usual}",
                hint="add --config FILE, the config that was scanned, if you trust it",
            )


def raise_limit(name: str, value: int) -> str:
    """The next step where a limit was exceeded.

    Args:
        name: The key.
        value: What it would have to be.
    """
    return f"if you trust it, set `limits: {{{name}: {value}}}` in the data section"


USUAL = Limits()
"""The limits where none are given."""
