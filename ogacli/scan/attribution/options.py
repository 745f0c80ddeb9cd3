"""The ``attribute:`` section: how training samples are related to queries."""

from typing import Annotated, Literal

from pydantic import Field

from ogacli.base.options import Location, Options


class AttributeOptions(Options):
    """The ``attribute:`` section: what training samples are held against the queries, and how."""

    group: Literal["label", "truth"] | None = None
    """What groups the training samples: the given labels or the true ones. Left out, single samples are
    looked for."""
    top: Annotated[int, Field(ge=1)] = 20
    """Most related training samples that are kept of each query."""
    projection: Annotated[int, Field(ge=1)] = 1024
    """Dimensions in which the cosine of all training samples is estimated."""
    candidates: Annotated[int, Field(ge=1)] = 100
    """Training samples with the highest estimates, of each query, whose cosine is then computed exactly."""
    seed: int = 0
    """Of the projection."""
    output: Location | None = None
    """The folder to write; where left out, the config's ``output`` with ``-attributions`` added."""
