"""The positions of the samples that stay, as an npy file."""

from typing import IO

import numpy as np
import pyarrow as pa

from ogacli.run.trim import FileFormat, formats
from ogacli.run.trim.manifest import kept_positions


@formats.register
class Indices(FileFormat):
    """Positions in the source, int64; ``ogacli.load_kept`` reads them."""

    suffixes = (".npy",)

    def write(self, manifest: pa.Table, file: IO[bytes]) -> None:
        """Write the positions in the order of the dataset."""
        np.save(file, kept_positions(manifest))
