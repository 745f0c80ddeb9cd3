"""The samples of tar shards."""

from collections.abc import Sequence

from ogacli.base.options import Location
from ogacli.data.files.shards import shard_paths
from ogacli.data.originals import originals
from ogacli.data.originals._labelled import Labelled


@originals.register
class WebDataset(Labelled):
    """Tar shards, of which all members with one key are a sample."""

    path: Location
    """As in the source."""

    def files(self) -> Sequence[str]:
        """The shards."""
        return shard_paths(self.path, self.bounds)

    @property
    def own_format(self) -> str:
        """Tar shards."""
        return "webdataset"
