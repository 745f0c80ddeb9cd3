"""Networks on the features of a table: missing values are filled in, and features are scaled.

In: the training samples, or a checkpoint. Out: a network whose first layer does both, with the statistics of
the training samples, which are kept in its checkpoint.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from ogacli.data import Samples
from ogacli.errors import CheckpointError, ConfigError
from ogacli.models.perceptron import Impute, Standardized
from ogacli.models.sources import Fit, NetworkSource

_READ = 4096
"""Samples that are read at a time."""
_CENTER, _SCALE, _FILL = (f"inputs.{name}" for name in ("center", "scale", "fill"))
"""The layer's tensors in a checkpoint."""


class StandardizedSource(NetworkSource):
    """The keys of sources that standardise their inputs."""

    standardize: bool | None = None
    """Scale each feature to mean 0 and standard deviation 1, by statistics of the training samples that are
    kept in the checkpoint. By default ``true`` for the features of a table, and for a checkpoint as in its
    training."""
    impute: Impute | None = None
    """Fill in missing values of features: by their ``mean`` or ``median`` over the training samples, or by
    ``zero``; by default samples with missing values are quarantined."""

    def prepare(self, samples: Samples) -> Samples:
        """With ``impute``, samples with missing values are not quarantined.

        Raises:
            ConfigError: The samples are not rows of a table or array.
        """
        if self.impute is None:
            return samples
        reader = samples.reader.with_missing()
        if reader is None:
            raise ConfigError(
                "only features of tables and arrays have missing values",
                place="model.impute",
                found=type(samples.reader).__name__,
                hint="leave out `impute`",
            )
        return replace(samples, reader=reader)

    def standardizes(self, fit: Fit) -> bool:
        """Whether a network for these samples has the layer."""
        if fit.standardized is not None:
            return fit.standardized
        return self.impute is not None or (fit.table if self.standardize is None else self.standardize)

    def as_saved(self, fit: Fit, weights: Mapping[str, Tensor], path: str) -> Fit:
        """The samples, with the layer where the checkpoint has it.

        Raises:
            CheckpointError: The options differ from those of the training.
        """
        center, scale, fill = (_ending(weights, name) for name in (_CENTER, _SCALE, _FILL))
        saved = fill is not None
        filled = fill is not None and not fill.isnan().all()
        scaled = center is not None and scale is not None and bool((center != 0).any() | (scale != 1).any())
        if filled and self.impute is None:
            found, hint = (
                "with `impute`",
                "set `impute: mean`, or median or zero as in training, under `model:`",
            )
            raise _mismatch(path, found, "without it", hint)
        if self.impute is not None and not filled:
            hint = "leave out `impute` under `model:`, or train again"
            raise _mismatch(path, "without `impute`", f"with `impute: {self.impute}`", hint)
        if self.standardize is not None and self.standardize != (saved and scaled):
            known = str(saved and scaled).lower()
            hint = f"set `standardize: {known}` under `model:`, as in training, or train again"
            given = str(self.standardize).lower()
            raise _mismatch(path, f"with `standardize: {known}`", f"with `standardize: {given}`", hint)
        return fit if saved == self.standardizes(fit) else replace(fit, standardized=saved)

    def fit_inputs(self, module: nn.Module, samples: Samples) -> None:
        """Take the statistics of the training samples, of which those that cannot be read are left out."""
        layers = [layer for layer in module.modules() if isinstance(layer, Standardized)]
        if not layers:
            return
        rows = range(len(samples))
        read = [samples.read(rows[start : start + _READ]) for start in range(0, len(rows), _READ)]
        inputs = torch.cat([batch.inputs.flatten(1).float() for batch in read if len(batch.rows)])
        fit = Fit.of(samples)
        scale = fit.table if self.standardize is None else self.standardize
        layers[0].fit(inputs.to(layers[0].center.device), scale=scale, impute=self.impute)


def _ending(weights: Mapping[str, Tensor], name: str) -> Tensor | None:
    """The tensor of that name, with or without a prefix of a wrapper."""
    return next((tensor for key, tensor in weights.items() if key == name or key.endswith(f".{name}")), None)


def _mismatch(path: str, trained: str, given: str, hint: str) -> CheckpointError:
    return CheckpointError(
        "the checkpoint was trained on other inputs than the config describes",
        place=path,
        found=f"trained {trained}",
        expected=given,
        hint=hint,
    )
