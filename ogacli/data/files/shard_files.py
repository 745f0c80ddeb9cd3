"""Members of tar files, read by their place.

In: tar files, and the place of a member of each sample. Out: its bytes. No tar file stays open.
"""

import hashlib
from collections.abc import Iterator, Sequence

import fsspec
import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from ogacli.data.copies import Copies
from ogacli.data.files import Content, Files, contents
from ogacli.data.unreadable import Unreadable


class Shards(Files):
    """One member of each sample, as files named by their row."""

    def __init__(
        self, paths: Sequence[str], places: Int64[np.ndarray, "n 3"], copies: Copies | None = None
    ) -> None:
        """Keep the places.

        Args:
            paths: The tar files.
            places: Index of the tar file, offset, number of bytes; -1 where the sample has no such member.
            copies: Of some of the tar files, which are read in their place.
        """
        self.paths = list(paths)
        self.places = places
        self._copies = copies or Copies()

    def fetch(self, names: Sequence[str]) -> Iterator[Content]:
        """One read a member; from URLs without a copy all members in one request."""
        places = [tuple(self.places[int(name)].tolist()) for name in names]
        chunks = iter(self._read([place for place in places if place[1] >= 0]))
        for _, start, size in places:
            found = next(chunks) if start >= 0 else Unreadable("no such file in the sample")
            short = isinstance(found, bytes) and len(found) < size
            yield Unreadable("the shard ends early") if short else found

    def signature(self, names: pa.StringArray) -> str:
        """A hash of the names of the shards and the place of each member."""
        digest = hashlib.sha256(np.ascontiguousarray(self.places).tobytes())
        digest.update("\0".join(path.rpartition("/")[2] for path in self.paths).encode())
        return digest.hexdigest()

    def _read(self, places: Sequence[tuple[int, int, int]]) -> Iterator[Content]:
        remote = self._ranges([place for place in places if self._is_remote(place[0])])
        for shard, start, size in places:
            path = self.paths[shard]
            if path in self._copies:
                yield self._copies.read(path, start, size)
            elif self._is_remote(shard):
                yield next(remote)
            else:
                try:
                    with open(path, "rb", buffering=0) as file:
                        file.seek(start)
                        yield file.read(size)
                except OSError as error:
                    yield Unreadable((error.strerror or str(error)).lower())

    def _is_remote(self, shard: int) -> bool:
        return "://" in self.paths[shard] and self.paths[shard] not in self._copies

    def _ranges(self, places: Sequence[tuple[int, int, int]]) -> Iterator[Content]:
        if not places:
            return
        fs, _ = fsspec.core.url_to_fs(self.paths[0])
        where = [fs._strip_protocol(self.paths[shard]) for shard, _, _ in places]
        starts, ends = [start for _, start, _ in places], [start + size for _, start, size in places]
        yield from contents(fs.cat_ranges(where, starts, ends, on_error="return"))
