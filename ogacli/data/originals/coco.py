"""Annotations in the form of COCO, and the pictures that they name."""

import os
from collections.abc import Sequence

from ogacli.base.options import Location
from ogacli.data.originals import Original, originals


@originals.register
class Coco(Original):
    """A JSON file and a folder of pictures."""

    annotations: Location
    """As in the source."""
    root: Location
    """As in the source."""

    def files(self) -> Sequence[str]:
        """The JSON file, and all files below the folder."""
        if os.path.isdir(self.root):
            below = (os.path.join(folder, name) for folder, _, names in os.walk(self.root) for name in names)
            return [self.annotations, *sorted(below)]
        return [self.annotations, self.root]

    @property
    def own_format(self) -> str:
        """A JSON file of the same form."""
        return "coco"
