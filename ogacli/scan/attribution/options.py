"""The ``attribute:`` section: how training samples are related to queries."""

from typing import Annotated, Literal

from pydantic import Field

from ogacli.base.options import Location, Options


class AttributeOptions(Options):
    """The ``attribute:`` section: how training samples are compared with queries."""

    group: Literal["label", "truth"] | None = None
    """Compare groups of training samples: by given or by true label. Left out, single samples are
    compared."""
    top: Annotated[int, Field(ge=1)] = 20
    """Number of most related training samples that are listed for each query."""
    projection: Annotated[int, Field(ge=1)] = 1024
    """Dimensions of the random projection in which the cosine with all training samples is estimated."""
    candidates: Annotated[int, Field(ge=1)] = 100
    """Number of training samples with the highest estimates, for each query, whose cosine is computed
    exactly."""
    seed: int = 0
    """Seed of the projection."""
    output: Location | None = None
    """The folder to write; where left out, the config's ``output`` with ``-attributions`` added."""
