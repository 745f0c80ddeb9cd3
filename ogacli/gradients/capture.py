"""Per-sample gradients of any parameters of a network: one forward and one backward pass a batch.

In: a network, a task, the selected parameters. Out: a function from batches to ``GradientBatch``es.

On the first batch the engine finds out where the samples are in each tensor, and checks itself: the
gradient of a few samples, parameter by parameter, against one backward pass each. A parameter whose
gradient no rule gets right is left to the fallback; one that the fallback cannot do is an error.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from ogacli.base.device import Precision, computing_in
from ogacli.data import Batch
from ogacli.errors import GradientError
from ogacli.gradients.batch import Columns, GradientBatch
from ogacli.gradients.fallback import Fallback
from ogacli.gradients.kept import Asked
from ogacli.gradients.layers.axis import SampleAxis, candidates
from ogacli.gradients.layers.combined import Zero, through, together
from ogacli.gradients.layers.part import Part
from ogacli.gradients.neighbours import Neighbours
from ogacli.gradients.passes import Pass, Reads
from ogacli.gradients.self_check import mismatches
from ogacli.gradients.tracing import Known, Tapped, Watch
from ogacli.models.checks import check_outputs, in_evaluation
from ogacli.models.head import as_rows, find_head, recorded
from ogacli.models.network import Network
from ogacli.models.outputs import call, first_logits
from ogacli.models.tasks import Task

PROBED = 3
"""Samples that the engine checks itself on."""


class LayerGradients:
    """Computes ``GradientBatch``es with respect to any parameters of a network."""

    def __init__(
        self,
        network: Network,
        task: Task,
        selection: Mapping[str, nn.Parameter],
        *,
        neighbours: Neighbours | None = None,
        precision: Precision = "float32",
    ) -> None:
        """Take a network.

        Args:
            network: In evaluation mode, its parameters frozen.
            task: Of whose loss.
            selection: The parameters, by name, in the order of ``named_parameters()``.
            neighbours: Whose mean prediction the residual is taken at, in place of the sample's own.
            precision: Of the forward and backward pass; what is captured is float32 in any case, and the
                first batch's checks are made in the network's own precision.
        """
        self.network = network
        self.task = task
        self.selection = dict(selection)
        self.parameters = {name: parameter.numel() for name, parameter in selection.items()}
        self.notes: list[str] = []
        """What the user should know about how some of the parameters are treated."""
        self._neighbours = neighbours
        self._precision = precision
        self._known: Known | None = None
        self._columns = Columns(list(self.parameters.values()))
        self._places = {id(parameter): index for index, parameter in enumerate(selection.values())}
        self._fallback = Fallback(network.module)
        self._head: nn.Linear | None = None
        self._format = torch.preserve_format
        self._asked: Asked | None = None

    def ask(self, orders: Sequence[int], coords: Int64[Tensor, " f"]) -> None:
        """From now on batches are asked for these norms and coordinates alone, and answer nothing else.

        Each layer is asked on the way back through the network and its factors are dropped, so that they
        never are in memory all at once.

        Args:
            orders: 1, 2, both or none.
            coords: Ascending and each once, on the network's device.
        """
        self._asked = Asked(orders, coords, self._columns)

    def __call__(self, batch: Batch) -> GradientBatch:
        """The gradients of the samples of one batch, which lies on the network's device.

        Raises:
            GradientError: Per-sample gradients cannot be had; found out on the first batch.
        """
        with torch.inference_mode(False):
            if self._known is None:
                self._examine(batch)
            found = self._compute(batch, self._precision)
            if found is None:  # the network went another way this time
                self._learn(batch)
                found = self._compute(batch, self._precision)
            if found is None:
                raise GradientError(
                    f"the network takes one way for {PROBED} samples and another for {len(batch.labels)}",
                    place=type(self.network.module).__name__,
                    expected="the same steps for any number of samples",
                )
            return found

    # --- one batch ------------------------------------------------------------------------------------

    def _compute(self, batch: Batch, precision: Precision = "float32") -> GradientBatch | None:
        assert self._known is not None
        for _ in range(2):
            changed = len(self._known.changed)
            passed = self._forward(batch, precision)
            if [tapped.key for tapped in passed.watch.calls] != self._known.calls:
                return None
            passed.backward(passed.residual)
            if len(self._known.changed) == changed:
                break
        return self._gather(batch, passed)

    def _forward(self, batch: Batch, precision: Precision = "float32") -> Pass:
        assert self._known is not None
        watch = Watch(self.network.module, self.selection, self._known, len(batch.labels))
        if self._asked is not None:
            times = Counter(key for call in self._known.calls for key in call[1:])
            watch.settle = partial(self._settle, self._asked, times)
        computing = computing_in(precision, batch.labels.device)
        with torch.enable_grad(), computing, watch, Reads(self._head) as read:
            output = call(self.network.module, self._laid_out(batch.inputs))
        logits = output.detach().float()
        features = as_rows(read[-1].detach().float(), len(logits)) if read else None
        with torch.no_grad():
            if self._neighbours is not None:
                logits = self._neighbours(batch.rows, features)
            residual = self.task.residual(logits, batch.labels)
        return Pass(watch, output, logits, features, residual)

    def _settle(self, asked: Asked, times: Mapping[int, int], parameter: int, part: Part) -> Part:
        """Ask the part of a parameter, unless it was read more than once."""
        return part if times[parameter] > 1 else asked.answered(self._places[parameter], part)

    def _laid_out(self, inputs: Any) -> Any:
        pictures = isinstance(inputs, Tensor) and inputs.ndim == 4
        return (
            inputs.contiguous(memory_format=self._format)
            if pictures and self._format is torch.channels_last
            else inputs
        )

    def _gather(self, batch: Batch, passed: Pass) -> GradientBatch:
        assert self._known is not None
        watch = passed.watch
        parts: list[Part] = []
        lost = [name for name in self.selection if name in self._known.lost]
        instead = self._fallback(lost, batch.inputs, passed.residual)
        for name, parameter in self.selection.items():
            if name in instead:
                parts.append(instead[name])
                continue
            own = list(watch.parts.get(id(parameter), []))
            for key, made in watch.made.items():
                if key in watch.parts and id(parameter) in watch.origins(made):
                    live = watch.live[id(parameter)]
                    own += [through(part, made, live) for part in watch.parts[key]]
            width = parameter.numel() // max(1, len(parameter)) if parameter.ndim else 1
            parts.append(together(own, width) if own else Zero(passed.residual, parameter.numel()))
        return GradientBatch(
            rows=batch.rows,
            labels=batch.labels,
            logits=passed.logits,
            residual=passed.residual,
            features=passed.features,
            parts=parts,
            columns=self._columns,
            losses=self.task.loss(passed.logits, batch.labels),
        )

    # --- the first batch ------------------------------------------------------------------------------

    def _examine(self, batch: Batch) -> None:
        """Look for what would make the gradients wrong in silence."""
        module = self.network.module
        with torch.no_grad():
            with in_evaluation(module), recorded(module) as calls:
                outputs = 0 if self.task.returns_loss else self.network.classes
                logits = first_logits(module, batch, outputs)
            check_outputs(lambda inputs: call(module, inputs), batch.inputs, type(module).__name__)
            self._arrange()
            try:
                self._head = find_head(module, calls, logits, None)
            except GradientError:
                self._head = None
        self._learn(batch)

    def _arrange(self) -> None:
        """Channels last on the CPU, where convolutions and the windows of their inputs are faster so."""
        kernels = [p for p in self.network.module.parameters() if p.ndim == 4]
        if kernels and kernels[0].device.type == "cpu":
            self.network.module.to(memory_format=torch.channels_last)
            self._format = torch.channels_last

    def _learn(self, batch: Batch) -> None:
        """Find out where the samples are, and which parameters the rules get right."""
        few = _few(batch)
        lost = dict(self._known.lost) if self._known else {}
        asked, self._asked = self._asked, None  # the checks ask for everything
        while True:
            self._known = Known(lost=lost)
            before = len(lost)
            self._probe(few)
            found = self._compute(few) if len(lost) == before else None
            if found is not None and len(lost) == before:
                unused = self._unused(found)
                self._judge(few, found, lost)
                if len(lost) == before:
                    break
        if self._precision != "float32" and (found := self._compute(few, self._precision)):
            self._check_finite(found, self._precision)
        self._asked = asked
        self.notes = [
            f"{name} {why}; its gradient is computed sample by sample" for name, why in lost.items()
        ]
        self.notes += [f"{name}: no sample's loss depends on it; its gradient is zero" for name in unused]

    def _unused(self, found: GradientBatch) -> list[str]:
        unused = [
            name for name, part in zip(self.selection, found.parts, strict=True) if isinstance(part, Zero)
        ]
        if len(unused) == len(self.selection):
            raise GradientError(
                "no sample's loss depends on any of the selected parameters",
                place=unused[0],
                hint="select layers that the network uses, in `gradients.layers`",
            )
        return unused

    def _judge(self, few: Batch, found: GradientBatch, lost: dict[str, str]) -> None:
        """Compare with one backward pass a sample; parameters that differ are lost to the rules."""
        self._check_loss(found)
        self._check_finite(found, "float32")
        assert self._known is not None
        try:
            wrong = mismatches(self.network.module, self.selection, few.inputs, found)
        except RuntimeError as error:
            changed = [self._known.calls[index] for index in self._known.changed]
            if not changed:
                raise
            read = {key for call in changed for key in call[1:]}
            raise GradientError(
                "a layer's input is changed in place after the layer has read it",
                place=next((name for name, p in self.selection.items() if id(p) in read), "gradients.layers"),
                found=str(error).splitlines()[0],
                hint="write `x = x + y` for `x += y` in the network's code, as training would ask for too",
            ) from None
        for name, how in wrong.items():
            if name in lost:
                raise GradientError(
                    "the per-sample gradient of this parameter cannot be had",
                    place=name,
                    found=how,
                    expected="the same gradient as from a backward pass of one sample",
                    hint="leave it out of `gradients.layers`",
                )
            lost[name] = "is read in a way that is not seen"

    def _check_finite(self, found: GradientBatch, precision: Precision) -> None:
        if not found.residual.isfinite().all():
            return
        for name, part in reversed(list(zip(self.selection, found.parts, strict=True))):
            if not part.sums((2,))[2].isfinite().any():
                own = str(self.selection[name].dtype).removeprefix("torch.")
                raise GradientError(
                    "the gradients of all samples overflow",
                    place=name,
                    found=f"no finite gradient among {len(found)} samples, in "
                    + (own if precision == "float32" else precision),
                    hint="check the checkpoint, or compute in float32",
                )

    def _check_loss(self, found: GradientBatch) -> None:
        logits, labels = found.logits, found.labels
        together = self.task.residual(logits, labels)
        alone = [self.task.residual(logits[i : i + 1], labels[i : i + 1]) for i in range(len(found))]
        if not torch.allclose(torch.cat(alone), together, rtol=1e-3, atol=1e-5, equal_nan=True):
            raise GradientError(
                "the loss of a sample depends on the other samples of its batch",
                place=self.task.place,
                expected="one loss a sample, from that sample's logits and label alone",
            )

    def _probe(self, batch: Batch) -> None:
        """Send back one sample's residual at a time, and see where it arrives."""
        assert self._known is not None
        b = len(batch.labels)
        passed = self._forward(batch)
        watch = passed.watch
        possible: dict[int, list[SampleAxis]] = {}
        for sample in range(b):

            def note(tapped: Tapped, gradient: Tensor, sample: int = sample) -> None:
                axes = possible.setdefault(tapped.index, list(candidates(tapped.shape, b)))
                possible[tapped.index] = [axis for axis in axes if axis.holds(gradient, b, sample)]

            watch.arrived = note
            alone = torch.zeros_like(passed.residual)
            alone[sample] = passed.residual[sample]
            passed.backward(alone, keep=sample < b - 1)
        self._known.calls = [tapped.key for tapped in watch.calls]
        self._known.axes = {index: axes[0] for index, axes in possible.items() if axes}


def _few(batch: Batch) -> Batch:
    """The first samples of a batch; a single one twice, as the samples must be told apart."""
    index = torch.arange(min(PROBED, len(batch.labels))) if len(batch.labels) > 1 else torch.tensor([0, 0])

    def some(value: Any) -> Any:
        return (
            {name: item[index] for name, item in value.items()} if isinstance(value, dict) else value[index]
        )

    return replace(
        batch, rows=batch.rows[index], inputs=some(batch.inputs), labels=batch.labels[index], quarantined={}
    )
