"""Pictures with a text file each, in the form of YOLO."""

from collections.abc import Sequence
from pathlib import PurePath, PurePosixPath

from ogacli.base.options import Location
from ogacli.data.originals import originals
from ogacli.data.originals.image_folder import SUFFIXES, ImageFolder


@originals.register
class Yolo(ImageFolder):
    """A folder of pictures and one of text files."""

    labels: Location | None = None
    """As in the source."""

    def files(self) -> Sequence[str]:
        """All files below both folders."""
        texts = ImageFolder.model_construct(root=self.text_root).files()
        return list(dict.fromkeys([*super().files(), *texts]))

    @property
    def own_format(self) -> str:
        """Folders of pictures and of text files."""
        return "yolo"

    @property
    def text_root(self) -> str:
        """The folder of the text files."""
        return text_root(self.root, self.labels)


def text_root(root: str, labels: str | None) -> str:
    """The folder of the text files: by default the last ``images`` in the path of the pictures is ``labels``.

    Args:
        root: The folder of the pictures.
        labels: The folder that is named by the config.
    """
    if labels is not None:
        return labels
    parts = list(PurePath(root).parts) if "://" not in root else root.split("/")
    places = [i for i, part in enumerate(parts) if part == "images"]
    if not places:
        return root
    parts[places[-1]] = "labels"
    return "/".join(parts) if "://" in root else str(PurePath(*parts))


def text_name(picture: str) -> str:
    """The name of the text file of a picture."""
    return str(PurePosixPath(picture).with_suffix(".txt"))


def picture_names(names: Sequence[str]) -> list[str]:
    """The names of the pictures among all names below a root, sorted."""
    return sorted(name for name in names if name.lower().endswith(SUFFIXES))
