"""A fitted linear model or MLP of scikit-learn as plain numbers, in a file and as a network.

In: an estimator, alone or behind a scaler. Out: its ``Coefficients``, checked on random inputs to give the
estimator's outputs; a safetensors file of them; a network that computes the same.

A classifier of two classes has one decision value in scikit-learn; here it has two logits, the first of which
is always 0, with the same probabilities.
"""

import io
import json
import warnings
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from ogacli.base.atomic import new_file
from ogacli.errors import CheckpointError
from ogacli.models.checkpoints.metadata import names_in, packed, read_metadata
from ogacli.models.checkpoints.scalers import Scale, flat, scale_of_all
from ogacli.models.perceptron import perceptron

_FORMAT = "ogacli scikit-learn 1"
_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "logistic": nn.Sigmoid, "identity": nn.Identity}
_BEFORE = ("center", "scale", "fill", "mix", "offset")
"""What the steps before the model do."""
_PROBES = 16
"""Random inputs on which an estimator and its network are compared."""


@dataclass(frozen=True, slots=True)
class Coefficients:
    """The coefficients of a fitted estimator."""

    center: Float[Tensor, " h"] | None
    """Subtracted from the inputs before they are multiplied by ``scale``; None without a scaler."""
    scale: Float[Tensor, " h"] | None
    weights: tuple[Float[Tensor, "to from"], ...]
    biases: tuple[Float[Tensor, " to"], ...]
    activation: str
    """After each layer but the last."""
    classes: tuple[str, ...] | None
    """The class of each output; None for a regression."""
    features: tuple[str, ...] | None
    """The names of the inputs, where the estimator knows them."""
    fill: Float[Tensor, " h"] | None = None
    """In place of missing inputs, before all else; NaN for inputs that are never filled."""
    mix: Float[Tensor, "from h"] | None = None
    """After the scaler: the features of the first layer as sums of the inputs; None: the inputs."""
    offset: Float[Tensor, " from"] | None = None
    """Added after the mix."""

    @property
    def width(self) -> int:
        """The number of inputs."""
        return self.weights[0].shape[1] if self.center is None else len(self.center)

    def network(self) -> nn.Module:
        """The network of these weights."""
        widths = [self.weights[0].shape[1], *(len(weight) for weight in self.weights)]
        inner = perceptron(widths, lambda: [_ACTIVATIONS[self.activation]()])
        linear = [layer for layer in inner.modules() if isinstance(layer, nn.Linear)]
        for layer, weight, bias in zip(linear, self.weights, self.biases, strict=True):
            layer.weight.data, layer.bias.data = weight.clone(), bias.clone()
        if self.center is None or self.scale is None:
            return inner
        scaler = Scaling(self.center, self.scale, self.fill, self.mix, self.offset)
        return nn.Sequential(OrderedDict(scaler=scaler, network=inner))


class Scaling(nn.Module):
    """Fills missing features, subtracts a number from each and multiplies it by another; then mixes them."""

    center: Tensor
    scale: Tensor
    fill: Tensor | None
    mix: Tensor | None
    offset: Tensor | None

    def __init__(
        self,
        center: Float[Tensor, " h"],
        scale: Float[Tensor, " h"],
        fill: Float[Tensor, " h"] | None = None,
        mix: Float[Tensor, "to h"] | None = None,
        offset: Float[Tensor, " to"] | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("center", center)
        self.register_buffer("scale", scale)
        self.register_buffer("fill", fill)
        self.register_buffer("mix", mix)
        self.register_buffer("offset", offset)

    def forward(self, inputs: Shaped[Tensor, "b ..."]) -> Float[Tensor, "b to"]:
        """One row a sample."""
        found = inputs.flatten(1)
        if self.fill is not None:
            found = torch.where(found.isnan(), self.fill, found)
        found = (found - self.center) * self.scale
        if self.mix is None or self.offset is None:
            return found
        return found @ self.mix.T + self.offset


# --- estimator -> numbers -----------------------------------------------------------------------------


def coefficients(estimator: Any) -> Coefficients:
    """The coefficients of a fitted estimator.

    Raises:
        CheckpointError: It is another kind of estimator, or not fitted.
    """
    estimator = getattr(estimator, "best_estimator_", estimator)  # of a hyperparameter search
    *before, model = flat([estimator])
    scale = scale_of_all(before)
    classes = getattr(model, "classes_", None)
    weights, biases = _layers(model)
    if classes is not None and len(classes) == 2 and len(weights[-1]) == 1:
        weights[-1] = np.concatenate([np.zeros_like(weights[-1]), weights[-1]])
        biases[-1] = np.append(0.0, biases[-1])
    if classes is not None and (np.ndim(classes[0]) or len(classes) != len(weights[-1])):
        raise _unknown(model, "one class a sample, or a regression")
    names = getattr(model, "feature_names_in_", None) if scale is None else scale.names
    alone = Coefficients(
        center=None,
        scale=None,
        weights=tuple(_tensor(weight) for weight in weights),
        biases=tuple(_tensor(bias) for bias in biases),
        activation=getattr(model, "activation", "identity"),
        classes=None if classes is None else tuple(_name(one) for one in classes),
        features=None if names is None else tuple(str(name) for name in names),
    )
    found = alone if scale is None else _behind(scale, alone)
    # A step that takes tables cannot be called with random numbers.
    takes_tables = any(hasattr(one, "transformers_") or hasattr(one, "categories_") for one in before)
    if not (_agree(alone, model) if takes_tables else _agree(found, estimator)):
        raise _unknown(model, "outputs that follow from its layers alone")
    return found


def _behind(scale: Scale, alone: Coefficients) -> Coefficients:
    """The coefficients of a model, with the steps before it."""
    return replace(
        alone,
        center=_tensor(scale.center),
        scale=_tensor(scale.scale),
        fill=None if scale.fill is None else _tensor(scale.fill),
        mix=None if scale.mix is None else _tensor(scale.mix),
        offset=None if scale.offset is None else _tensor(scale.offset),
    )


def _layers(model: Any) -> tuple[list[Any], list[Any]]:
    """The weights [to, from] and biases [to] of each layer."""
    if hasattr(model, "coefs_"):
        return [np.asarray(weight).T for weight in model.coefs_], list(model.intercepts_)
    if not hasattr(model, "coef_") or hasattr(model, "dual_coef_"):
        raise _unknown(model, "a fitted linear model or MLP, with `coef_` or `coefs_`")
    coef = model.coef_.toarray() if hasattr(model.coef_, "toarray") else np.asarray(model.coef_)
    weight = np.atleast_2d(coef)
    return [weight], [np.broadcast_to(np.ravel(model.intercept_), (len(weight),))]


def _agree(found: Coefficients, estimator: Any) -> bool:
    """Whether the network and the estimator give the same outputs on random inputs."""
    rows = np.random.default_rng(0).normal(size=(_PROBES, found.width))
    if found.center is not None and found.scale is not None:
        rows = rows / found.scale.numpy() + found.center.numpy()
    if found.fill is not None:
        rows[::3, ~found.fill.isnan().numpy()] = np.nan
    rows = rows.astype(np.float32)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # warnings that an array has no column names
        logits = found.network()(torch.from_numpy(rows)).double()
        if found.classes is None:
            theirs, ours = estimator.predict(rows), logits
        elif hasattr(estimator, "decision_function"):
            theirs, ours = estimator.decision_function(rows), logits
            ours = ours[:, 1:] if np.ndim(theirs) == 1 else ours
        else:
            theirs, ours = estimator.predict_proba(rows), torch.softmax(logits, 1)
            if not np.allclose(theirs.sum(1), 1):  # several classes a sample
                ours = torch.sigmoid(logits)
    theirs = np.asarray(theirs).reshape(ours.shape)
    return np.allclose(ours.numpy(), theirs, rtol=1e-3, atol=1e-3 * float(np.abs(theirs).max()))


def _tensor(values: Any) -> Tensor:
    return torch.tensor(np.asarray(values, dtype=np.float64)).float()


def _name(value: Any) -> str:
    """The name of a class, as in a column of a table."""
    value = getattr(value, "item", lambda: value)()
    return str(int(value)) if isinstance(value, float | bool) and value == int(value) else str(value)


def _unknown(model: Any, expected: str) -> CheckpointError:
    return CheckpointError(
        "not a model whose gradients are known",
        place=type(model).__name__,
        expected=expected,
        hint="export its probabilities for `model: {source: precomputed}` instead",
    )


# --- numbers <-> file ---------------------------------------------------------------------------------


def save_estimator(estimator: Any, path: str | Path) -> None:
    """Write the coefficients of a fitted estimator, for ``model: {source: sklearn}``.

    Args:
        estimator: A linear model or MLP of scikit-learn; or a pipeline of one behind scalers, imputers and
            one-hot encoders, also in a ``ColumnTransformer``.
        path: The safetensors file; replaced where there is one.

    Raises:
        CheckpointError: It is another kind of estimator, or not fitted.
    """
    found = coefficients(estimator)
    tensors = {name: getattr(found, name) for name in _BEFORE}
    tensors |= {f"weight{i}": weight for i, weight in enumerate(found.weights)}
    tensors |= {f"bias{i}": bias for i, bias in enumerate(found.biases)}
    about = {
        "format": _FORMAT,
        "activation": found.activation,
        "classes": json.dumps(found.classes),
        "features": json.dumps(found.features),
    }
    kept = {name: tensor.contiguous() for name, tensor in tensors.items() if tensor is not None}
    with new_file(Path(path), overwrite=True) as file:
        file.writelines(packed(kept, about))


def read_coefficients(content: bytes, path: str) -> Coefficients:
    """The coefficients in a file of ``save_estimator``.

    Raises:
        CheckpointError: It is another file, or is cut off.
    """
    try:
        tensors = load(content)
        about = read_metadata(io.BytesIO(content), path)
    except (SafetensorError, ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError("not a whole safetensors file", place=path, found=str(error)) from None
    if about.get("format") != _FORMAT:
        raise CheckpointError(
            "not the coefficients of an estimator",
            place=path,
            found=", ".join(list(tensors)[:6]),
            expected="a file that save_estimator wrote",
            hint="a network's checkpoint belongs to another `model.source`, such as mlp or torchvision",
        )
    layers = range(sum(name.startswith("weight") for name in tensors))
    try:
        found = Coefficients(
            **{name: tensors.get(name) for name in _BEFORE},
            weights=tuple(tensors[f"weight{i}"] for i in layers),
            biases=tuple(tensors[f"bias{i}"] for i in layers),
            activation=about["activation"],
            classes=names_in(about, "classes", path),
            features=names_in(about, "features", path),
        )
        with torch.no_grad():
            logits = found.network()(torch.zeros(1, found.width))
        fits = found.classes is None or logits.shape[1] == len(found.classes)
    except (LookupError, TypeError, RuntimeError, AttributeError, ValueError) as error:
        raise _not_whole(path, str(error).partition("\n")[0]) from None
    if not fits:
        raise _not_whole(path, f"{logits.shape[1]} outputs for {len(found.classes or ())} classes")
    return found


def _not_whole(path: str, found: str) -> CheckpointError:
    return CheckpointError(
        "the coefficients do not fit together",
        place=path,
        found=found,
        expected="a file that save_estimator wrote",
        hint="save the estimator again",
    )
