"""Some of the selected layers: what a detector sees that is to look at these alone.

In: batches of gradients by all selected parameters. Out: the same by some of them; and where their
coordinates lie among all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Int64
from torch import Tensor

from ogacli.errors import ConfigError
from ogacli.gradients.batch import Columns, GradientBatch
from ogacli.gradients.capture import LayerGradients
from ogacli.gradients.selection import selected


class View:
    """Some of the parameters.

    Args:
        parameters: The size of each selected parameter, by name, in the order of the coordinates.
        names: Those to look at.
    """

    def __init__(self, parameters: Mapping[str, int], names: Sequence[str]) -> None:
        chosen = set(names)
        self._parts = [i for i, name in enumerate(parameters) if name in chosen]
        sizes = torch.tensor(list(parameters.values()))
        self._first = (sizes.cumsum(0) - sizes)[self._parts]
        self._ends = sizes[self._parts].cumsum(0)
        self._columns = Columns(sizes[self._parts].tolist())

    def of(self, batch: GradientBatch) -> GradientBatch:
        """The gradients by these parameters; nothing is copied."""
        return replace(batch, parts=[batch.parts[i] for i in self._parts], columns=self._columns)

    def among_all(self, coords: Int64[Tensor, " f"]) -> Int64[Tensor, " f"]:
        """Where coordinates of the view lie among those of all selected parameters."""
        owner = torch.bucketize(coords, self._ends, right=True)
        begins = torch.cat([self._ends.new_zeros(1), self._ends[:-1]])
        place: Tensor = self._first[owner] + coords - begins[owner]
        return place


def view(gradients: object, layers: str | Sequence[str]) -> View:
    """What ``layers`` means among the parameters whose gradients are computed.

    Raises:
        ConfigError: Only the head's gradient is computed, or none of the layers is among them.
        GradientError: The network has no such layers.
    """
    if not isinstance(gradients, LayerGradients):
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
