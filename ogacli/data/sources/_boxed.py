"""The samples of a source of pictures with boxes.

In: their reader and the class names. Out: ``Samples``, whose labels are the number of boxes of each class.
"""

from collections.abc import Sequence

from ogacli.data.images.boxes import BoxCounts, BoxedReader, box_targets
from ogacli.data.samples import Samples


def boxed_samples(reader: BoxedReader, classes: Sequence[str], signature: str) -> Samples:
    """The samples of a source, whose ids are the names of the files.

    Args:
        reader: Of all pictures.
        classes: The class names.
        signature: A text that differs when the pictures do.

    Raises:
        DataError: Two samples have the same file, or there is none.
    """
    targets = box_targets(reader.lists, classes, reader.truth)
    signature = reader.lists.signature(signature)
    return Samples.from_targets(reader.names, targets, reader, signature, label_type=BoxCounts())
