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
from collections.abc import Sequence
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
from ogacli.models.checkpoints.metadata import packed, read_metadata
from ogacli.models.checkpoints.scalers import scale_of_all
from ogacli.models.perceptron import perceptron

_FORMAT = "ogacli scikit-learn 1"
_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "logistic": nn.Sigmoid, "identity": nn.Identity}
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

    @property
    def width(self) -> int:
        """The number of inputs."""
        return self.weights[0].shape[1]

    def network(self) -> nn.Module:
        """The network of these weights."""
        widths = [self.width, *(len(weight) for weight in self.weights)]
        inner = perceptron(widths, lambda: [_ACTIVATIONS[self.activation]()])
        linear = [layer for layer in inner.modules() if isinstance(layer, nn.Linear)]
        for layer, weight, bias in zip(linear, self.weights, self.biases, strict=True):
            layer.weight.data, layer.bias.data = weight.clone(), bias.clone()
        if self.center is None or self.scale is None:
            return inner
        return nn.Sequential(OrderedDict(scaler=Scaling(self.center, self.scale), network=inner))


class Scaling(nn.Module):
    """Subtracts a number from each feature and multiplies it by another."""

    center: Tensor
    scale: Tensor

    def __init__(self, center: Float[Tensor, " h"], scale: Float[Tensor, " h"]) -> None:
        super().__init__()
        self.register_buffer("center", center)
        self.register_buffer("scale", scale)

    def forward(self, inputs: Shaped[Tensor, "b ..."]) -> Float[Tensor, "b h"]:
        """One row a sample."""
        return (inputs.flatten(1) - self.center) * self.scale


# --- estimator -> numbers -----------------------------------------------------------------------------


def coefficients(estimator: Any) -> Coefficients:
    """The coefficients of a fitted estimator.

    Raises:
        CheckpointError: It is another kind of estimator, or not fitted.
    """
    estimator = getattr(estimator, "best_estimator_", estimator)  # of a hyperparameter search
    steps = [step for _, step in getattr(estimator, "steps", [("", estimator)])]
    *before, model = [step for step in steps if step not in (None, "passthrough")]
    scale = scale_of_all(before)
    classes = getattr(model, "classes_", None)
    weights, biases = _layers(model)
    if classes is not None and len(classes) == 2 and len(weights[-1]) == 1:
        weights[-1] = np.concatenate([np.zeros_like(weights[-1]), weights[-1]])
        biases[-1] = np.append(0.0, biases[-1])
    if classes is not None and (np.ndim(classes[0]) or len(classes) != len(weights[-1])):
        raise _unknown(model, "one class a sample, or a regression")
    names = getattr(model, "feature_names_in_", None) if scale is None else scale.names
    found = Coefficients(
        center=None if scale is None else _tensor(scale.center),
        scale=None if scale is None else _tensor(scale.scale),
        weights=tuple(_tensor(weight) for weight in weights),
        biases=tuple(_tensor(bias) for bias in biases),
        activation=getattr(model, "activation", "identity"),
        classes=None if classes is None else tuple(_name(one) for one in classes),
        features=None if names is None else tuple(str(name) for name in names),
    )
    if any(hasattr(step, "transformers_") for step in before):  # which takes tables, not arrays
        agrees = _agree(replace(found, center=None, scale=None), model)
    else:
        agrees = _agree(found, estimator)
    if not agrees:
        raise _unknown(model, "outputs that follow from its layers alone")
    return found


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
        estimator: A linear model or MLP of scikit-learn; or a pipeline of one behind scalers, or behind a
            ``ColumnTransformer`` of scalers and one-hot encoders.
        path: The safetensors file; replaced where there is one.

    Raises:
        CheckpointError: It is another kind of estimator, or not fitted.
    """
    found = coefficients(estimator)
    tensors = {"center": found.center, "scale": found.scale}
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
        about = read_metadata(io.BytesIO(content))
    except (SafetensorError, ValueError) as error:
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
    return Coefficients(
        center=tensors.get("center"),
        scale=tensors.get("scale"),
        weights=tuple(tensors[f"weight{i}"] for i in layers),
        biases=tuple(tensors[f"bias{i}"] for i in layers),
        activation=about["activation"],
        classes=_names(about["classes"]),
        features=_names(about["features"]),
    )


def _names(text: str) -> tuple[str, ...] | None:
    found: Sequence[str] | None = json.loads(text)
    return None if found is None else tuple(found)
