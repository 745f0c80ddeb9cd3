"""The rows of a dataset of the library ``datasets``."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from ogacli.base.options import Location
from ogacli.data.originals import originals
from ogacli.data.originals._labelled import Labelled


@originals.register
class HuggingFace(Labelled):
    """A saved dataset, or files that the library reads."""

    path: Location | None = None
    """As in the source."""

    def files(self) -> Sequence[str]:
        """All files on this machine; none of a dataset on the hub."""
        if self.path is None or "://" in self.path:
            return ()
        if not Path(self.path).is_dir():
            return sorted(glob.glob(self.path))
        found = [os.path.join(folder, name) for folder, _, names in os.walk(self.path) for name in names]
        return sorted(found)

    @property
    def own_format(self) -> str:
        """A saved dataset."""
        return "hf"
