"""Gradients with respect to some of the selected layers, for a detector that is restricted to these.

In: batches of gradients with respect to all selected parameters. Out: the same for some of them; and the
places of their coordinates among all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Int64
from torch import Tensor

from ogacli.errors import ConfigError
from ogacli.gradients.batch import Columns, GradientBatch
from ogacli.gradients.capture import LayerGradients
from ogacli.gradients.pictures import PictureGradients
from ogacli.gradients.selection import selected


class View:
    """Restricts gradients to some of the parameters.

    Args:
        parameters: The size of each selected parameter, by name, in the order of the coordinates.
        names: The parameters to keep.
    """

    def __init__(self, parameters: Mapping[str, int], names: Sequence[str]) -> None:
        chosen = set(names)
        self._parts = [i for i, name in enumerate(parameters) if name in chosen]
        sizes = torch.tensor(list(parameters.values()))
        own = sizes[self._parts]
        self._ends = own.cumsum(0)
        self._shifts = (sizes.cumsum(0) - sizes)[self._parts] - (self._ends - own)
        self._columns = Columns(own.tolist())

    def of(self, batch: GradientBatch) -> GradientBatch:
        """The gradients with respect to these parameters; nothing is copied."""
        return replace(batch, parts=[batch.parts[i] for i in self._parts], columns=self._columns)

    def among_all(self, coords: Int64[Tensor, " f"]) -> Int64[Tensor, " f"]:
        """Coordinates of the view, as coordinates among all selected parameters."""
        found: Tensor = coords + self._shifts[torch.bucketize(coords, self._ends, right=True)]
        return found


def view(gradients: object, layers: str | Sequence[str]) -> View:
    """The view of the parameters that ``layers`` selects.

    Args:
        gradients: Computes the gradients of all selected layers.
        layers: Written like ``gradients.layers``.

    Raises:
        ConfigError: Only the head's gradient is computed, or none of the layers is among them.
        GradientError: The network has no such layers.
    """
    if not isinstance(gradients, LayerGradients | PictureGradients):
        raise ConfigError(
            "a detector cannot choose among layers where there is only the head",
            place="detector.layers",
            found=f"{layers!r} with gradients.layers head",
            hint="select in `gradients.layers` all that any detector looks at, such as `all`",
        )
    names = selected(gradients.network.module, layers)
    if not any(name in gradients.parameters for name in names):
        raise ConfigError(
            "none of the detector's layers is among those whose gradients are computed",
            place="detector.layers",
            found=f"{layers!r}: {', '.join(list(names)[:3])}",
            expected=f"some of gradients.layers: {', '.join(list(gradients.parameters)[:3])}, ..",
        )
    return View(gradients.parameters, list(names))
