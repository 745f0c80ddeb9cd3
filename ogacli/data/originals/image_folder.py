"""Image files in one folder a class: which of them are samples, and in which order."""

import os
from collections.abc import Sequence
from pathlib import Path

from ogacli.base.options import Location
from ogacli.data.files import Tree, open_files
from ogacli.data.files.listing import Listing
from ogacli.data.originals import Original, originals

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Suffixes of image files."""


@originals.register
class ImageFolder(Original):
    """A folder, zip archive or URL with a folder a class."""

    root: Location
    """As in the source."""

    def files(self) -> Sequence[str]:
        """All files below the folder, or the archive."""
        if "://" in self.root:
            return (self.root,)
        archive = next(
            (str(one) for one in (Path(self.root), *Path(self.root).parents) if one.is_file()), None
        )
        if archive is not None:
            return (archive,)
        return sorted(os.path.join(folder, name) for folder, _, names in os.walk(self.root) for name in names)

    @property
    def own_format(self) -> str:
        """A folder a class."""
        return "image_folder"

    def tree(self) -> Tree:
        """The files.

        Raises:
            DataError: There are none.
        """
        return open_files(self.root, self.bounds)


def sample_names(found: Listing) -> list[str]:
    """The names of the samples, by class, folder and file, in the order of torchvision's ImageFolder."""
    return sorted((name for name in found.names if "/" in name and _is_image(name)), key=_order)


def other_names(found: Listing) -> list[str]:
    """The names of files in the folder of a class that are no samples."""
    return sorted(
        name for name in found.names if "/" in name and not name.endswith("/") and not _is_image(name)
    )


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _order(name: str) -> tuple[str, str, str]:
    folder, _, file = name.rpartition("/")
    return name.partition("/")[0], folder, file
