"""The positions of the samples that stay, as an npy file."""

from __future__ import annotations

from typing import IO

import numpy as np

from ogacli.run.trim import FileFormat, formats
from ogacli.run.trim.fates import KEPT, RELABELLED
from ogacli.run.trim.job import Job


@formats.register
class Indices(FileFormat):
    """Positions in the source, int64; ``ogacli.load_kept`` reads them.

    A second array in the same file, which ``numpy.load`` of a path leaves alone, is the number of rows of the
    source.
    """

    suffixes = (".npy",)
    own_rows = False

    def write(self, job: Job, file: IO[bytes]) -> None:
        """Write the positions in the order of the run, then the number of rows of the source if known."""
        counts = job.fates.counts()
        shape = (counts[KEPT] + counts[RELABELLED],)
        about = {"descr": "<i8", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, about)
        for part in job.fates.staying_positions():
            file.write(part.astype("<i8", copy=False).tobytes())
        if (rows := job.run.provenance["dataset"].get("source_rows")) is not None:
            np.lib.format.write_array(file, np.array([rows], dtype="<i8"), allow_pickle=False)
