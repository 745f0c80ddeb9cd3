"""The positions of the samples that stay, as an npy file."""

from __future__ import annotations

from typing import IO

import numpy as np

from ogacli.run.trim import FileFormat, formats
from ogacli.run.trim.job import Job


@formats.register
class Indices(FileFormat):
    """Positions in the source, int64; ``ogacli.load_kept`` reads them."""

    suffixes = (".npy",)
    own_rows = False

    def write(self, job: Job, file: IO[bytes]) -> None:
        """Write the positions in the order of the run."""
        np.save(file, job.fates.position[job.fates.staying].astype(np.int64, copy=False))
