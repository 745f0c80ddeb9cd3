"""Per-sample gradients of any parameters of a network: one forward and one backward pass a batch.

In: a network, a task, the selected parameters. Out: a function from batches to ``GradientBatch``es.

On the first batch it finds the dimension of the samples in each activation, and checks the gradients of a few
samples, parameter by parameter, against one backward pass each. A parameter for which the rules fail that
check is left to the fallback; where the fallback fails as well, an error is raised.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from ogacli.base.device import out_of_memory
from ogacli.base.precision import Precision, computing_in, products
from ogacli.data import Batch
from ogacli.errors import GradientError
from ogacli.gradients.batch import Columns, GradientBatch
from ogacli.gradients.fallback import Fallback, indexed
from ogacli.gradients.forward_pass import ForwardPass, inputs_of
from ogacli.gradients.kept import Kept
from ogacli.gradients.layers.axis import SampleAxis, candidates
from ogacli.gradients.layers.combined import Zero, added_up, of_parameter
from ogacli.gradients.layers.part import Part
from ogacli.gradients.layers.plain import sums
from ogacli.gradients.loss_check import check_loss
from ogacli.gradients.neighbours import Neighbours
from ogacli.gradients.recording import CallPattern, RecordedCall, Recorder
from ogacli.gradients.recurrent import without_cudnn_for_recurrent
from ogacli.gradients.routing import called_in_one
from ogacli.gradients.self_check import mismatches
from ogacli.models.checks import check_outputs, in_evaluation
from ogacli.models.head import as_rows, find_head, recorded
from ogacli.models.network import Network
from ogacli.models.outputs import call, first_logits
from ogacli.models.tasks import Task

PROBED = 3
"""Number of samples that the gradients are checked on."""


class LayerGradients:
    """Computes per-sample gradients with respect to any parameters of a network."""

    def __init__(
        self,
        network: Network,
        task: Task,
        selection: Mapping[str, nn.Parameter],
        *,
        neighbours: Neighbours | None = None,
        precision: Precision = "float32",
    ) -> None:
        """Set up the computation; the network is first called with the first batch.

        Args:
            network: In evaluation mode, its parameters frozen.
            task: The loss.
            selection: The parameters, by name, in the order of ``named_parameters()``.
            neighbours: Replaces each sample's logits by the mean prediction of its nearest neighbours.
            precision: Of the forward and backward pass. The factors are float32 in any case, and the checks
                of the first batch run in the network's own precision.
        """
        self.network = network
        self.task = task
        self._select(selection)
        self._used: set[str] = set()
        """Parameters that the loss of some sample depends on, of those that rules cover."""
        self._neighbours = neighbours
        self._precision = precision
        self._pattern: CallPattern | None = None
        self._fallback = Fallback(network.module)
        self._head: nn.Linear | None = None
        self._channels_last = False
        self._reductions: dict[int, Callable[[Part], Part]] = {}
        """What each parameter's gradient is reduced to during backward, by the ``id`` of the parameter."""

    def _select(self, selection: Mapping[str, nn.Parameter]) -> None:
        self.selection = dict(selection)
        self.parameters = {name: parameter.numel() for name, parameter in selection.items()}
        self._columns = Columns(list(self.parameters.values()))

    @property
    def notes(self) -> list[str]:
        """For the user: the parameters whose gradient is zero or computed sample by sample."""
        if self._pattern is None:
            return []
        uncovered = self._pattern.uncovered
        return [
            *(f"{name} {why}; its gradient is computed sample by sample" for name, why in uncovered.items()),
            *(
                f"{name}: no sample's loss depends on it; its gradient is zero"
                for name in self.selection
                if name not in uncovered and name not in self._used
            ),
        ]

    def reduce_to(self, orders: Sequence[int], coords: Int64[Tensor, " f"]) -> None:
        """Reduce each layer during backward to these norms and coordinates; the batches have no others.

        The factors of a layer are freed as soon as it is reduced, so that those of all layers are never in
        memory together.

        Args:
            orders: 1, 2, both or none.
            coords: Ascending and each once, on the network's device.
        """
        local = {index: inside for index, _, inside in self._columns.split(coords)}
        self._reductions = {
            id(parameter): partial(Kept.of, orders=tuple(orders), coords=local.get(index, coords[:0]))
            for index, parameter in enumerate(self.selection.values())
        }

    def __call__(self, batch: Batch) -> GradientBatch:
        """The gradients of the samples of one batch, which lies on the network's device.

        Raises:
            GradientError: Per-sample gradients cannot be computed; raised on the first batch.
        """
        with torch.inference_mode(False), products(), without_cudnn_for_recurrent(self.network.module):
            if self._pattern is None:
                self._examine(batch)
            found = self._compute(batch, self._precision)
            if found is None:  # other calls than in earlier passes
                self._learn(batch)
                found = self._compute(batch, self._precision)
            while found is None:
                self._set_aside(batch)
                self._learn(batch)
                found = self._compute(batch, self._precision)
            return found

    def _set_aside(self, batch: Batch) -> None:
        """Leave parameters that are called for some batches only, such as those of experts, to the fallback.

        Raises:
            GradientError: The calls differ in something else.
        """
        assert self._pattern is not None
        calls = [recorded.key for recorded in self._forward(batch).recorder.calls]
        some = called_in_one(calls, self._pattern.calls)
        if not some:
            raise GradientError(
                f"the network calls other functions for {PROBED} samples than for {len(batch.labels)}",
                place=type(self.network.module).__name__,
                expected="the same calls for any number of samples",
            )
        for name, parameter in self.selection.items():
            if id(parameter) in some:
                self._pattern.uncovered[name] = "is read for some batches only"

    # --- one batch ------------------------------------------------------------------------------------

    def _compute(self, batch: Batch, precision: Precision = "float32") -> GradientBatch | None:
        assert self._pattern is not None
        for _ in range(2):
            changed = len(self._pattern.changed)
            with products(short=precision != "float32"):
                passed = self._forward(batch, precision)
                if [recorded.key for recorded in passed.recorder.calls] != self._pattern.calls:
                    return None
                passed.backward(passed.residual)
            if len(self._pattern.changed) == changed:
                break
        return self._gather(batch, passed)

    def _forward(self, batch: Batch, precision: Precision = "float32") -> ForwardPass:
        assert self._pattern is not None
        uses = Counter(key for recorded in self._pattern.calls for key in recorded[1:])
        # The norm of a parameter with several uses needs their sum.
        reductions = {key: reduce for key, reduce in self._reductions.items() if uses[key] <= 1}
        b, module = len(batch.labels), self.network.module
        recorder = Recorder(module, self.selection, self._pattern, b, reductions)
        computing = computing_in(precision, batch.labels.device)
        with torch.enable_grad(), computing, recorder, inputs_of(self._head) as read:
            output = call(module, self._laid_out(batch.inputs))
        logits = output.detach().float()
        features = as_rows(read[-1].detach().float(), b) if read else None
        with torch.no_grad():
            if self._neighbours is not None:
                logits = self._neighbours(batch.rows, features)
            residual = self.task.residual(logits, batch.labels)
        return ForwardPass(recorder, output, logits, features, residual)

    def _laid_out(self, inputs: Any) -> Any:
        if self._channels_last and isinstance(inputs, Tensor) and inputs.ndim == 4:
            return inputs.contiguous(memory_format=torch.channels_last)
        return inputs

    def _gather(self, batch: Batch, passed: ForwardPass) -> GradientBatch:
        assert self._pattern is not None
        recorder = passed.recorder
        parts: list[Part] = []
        uncovered = [name for name in self.selection if name in self._pattern.uncovered]
        computed = self._fallback(uncovered, batch.inputs, passed.residual)
        for name, parameter in self.selection.items():
            if name in computed:
                parts.append(computed[name])
                continue
            uses = list(recorder.parts.get(id(parameter), []))
            for key, tensor in recorder.derived.items():
                if key in recorder.parts and id(parameter) in recorder.origins(tensor):
                    trainable = recorder.trainable[id(parameter)]
                    uses += [of_parameter(part, tensor, trainable) for part in recorder.parts[key]]
            if uses:
                self._used.add(name)
            width = parameter.numel() // max(1, len(parameter)) if parameter.ndim else 1
            parts.append(added_up(uses, width) if uses else Zero(passed.residual, parameter.numel()))
        return GradientBatch(
            rows=batch.rows,
            labels=batch.labels,
            logits=passed.logits,
            residual=passed.residual,
            features=passed.features,
            parts=parts,
            columns=self._columns,
            losses=self.task.loss(passed.logits, batch.labels),
            returns_loss=self.task.returns_loss,
        )

    # --- the first batch ------------------------------------------------------------------------------

    def _examine(self, batch: Batch) -> None:
        """Check for what would make the gradients silently wrong, and find the head."""
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
        """Channels last on the CPU, where convolutions and the unfolding of their inputs are then faster."""
        kernels = [p for p in self.network.module.parameters() if p.ndim == 4]
        self._channels_last = bool(kernels) and kernels[0].device.type == "cpu"
        if self._channels_last:
            self.network.module.to(memory_format=torch.channels_last)

    def _learn(self, batch: Batch) -> None:
        """Find the dimension of the samples in each activation, and the parameters that the rules cover."""
        few = _few(batch)
        uncovered = dict(self._pattern.uncovered) if self._pattern else {}
        if isinstance(batch.inputs, list):  # a tensor made of texts looks the same as a constant
            uncovered |= dict.fromkeys(self.selection, "is in a network that takes texts")
        reductions, self._reductions = self._reductions, {}  # the checks need all factors
        while True:
            self._pattern = CallPattern(uncovered=uncovered)
            before = len(uncovered)
            self._probe(few)
            found = self._compute(few) if len(uncovered) == before else None
            if found is not None and len(uncovered) == before:
                self._check_used(found)
                self._check(few, found, uncovered)
                if len(uncovered) == before:
                    break
        if self._precision != "float32" and (found := self._compute(few, self._precision)):
            self._check_finite(found, self._precision)
        self._reductions = reductions

    def _check_used(self, found: GradientBatch) -> None:
        if all(isinstance(part, Zero) for part in found.parts):
            raise GradientError(
                "no sample's loss depends on any of the selected parameters",
                place=next(iter(self.selection)),
                hint="select layers that the network uses, in `gradients.layers`",
            )

    def _check(self, few: Batch, found: GradientBatch, uncovered: dict[str, str]) -> None:
        """Compare with one backward pass a sample; parameters that differ are added to ``uncovered``."""
        check_loss(self.task, found.logits, found.labels, self.network.classes)
        self._check_finite(found, "float32")
        assert self._pattern is not None
        try:
            wrong = mismatches(self.network.module, self.selection, few.inputs, found)
        except RuntimeError as error:
            if not self._pattern.changed or out_of_memory(error):
                raise
            read = {key for index in self._pattern.changed for key in self._pattern.calls[index][1:]}
            raise GradientError(
                "a layer's input is changed in place after the layer has read it",
                place=next((name for name, p in self.selection.items() if id(p) in read), "gradients.layers"),
                found=str(error).splitlines()[0],
                hint="write `x = x + y` for `x += y` in the network's code; training needs that as well",
            ) from None
        for name, how in wrong.items():
            if name in uncovered:
                raise GradientError(
                    "the per-sample gradient of this parameter cannot be computed",
                    place=name,
                    found=how,
                    expected="the same gradient as from a backward pass of one sample",
                    hint="leave it out of `gradients.layers`",
                )
            uncovered[name] = "is used in a way that is not recorded"

    def _check_finite(self, found: GradientBatch, precision: Precision) -> None:
        if not found.residual.isfinite().all():
            return
        for name, part in reversed(list(zip(self.selection, found.parts, strict=True))):
            if not sums([part], (2,))[2].isfinite().any():
                own = str(self.selection[name].dtype).removeprefix("torch.")
                raise GradientError(
                    "the gradients of all samples overflow",
                    place=name,
                    found=f"no finite gradient among {len(found)} samples, in "
                    + (own if precision == "float32" else precision),
                    hint="check the checkpoint, or compute in float32",
                )

    def _probe(self, batch: Batch) -> None:
        """One backward pass for each sample's residual alone: its gradients are zero at all other samples."""
        assert self._pattern is not None
        b = len(batch.labels)
        passed = self._forward(batch)
        possible: dict[int, list[SampleAxis]] = {}
        for sample in range(b):

            def narrow(recorded: RecordedCall, gradient: Tensor, sample: int = sample) -> None:
                axes = possible.setdefault(recorded.index, list(candidates(recorded.shape, b)))
                possible[recorded.index] = [axis for axis in axes if axis.holds(gradient, b, sample)]

            passed.recorder.on_gradient = narrow
            alone = torch.zeros_like(passed.residual)
            alone[sample] = passed.residual[sample]
            passed.backward(alone, keep=sample < b - 1)
        self._pattern.calls = [recorded.key for recorded in passed.recorder.calls]
        self._pattern.axes = {index: axes[0] for index, axes in possible.items() if axes}


def _few(batch: Batch) -> Batch:
    """The first samples of a batch. A single one is taken twice, to find the sample dimension."""
    index = torch.arange(min(PROBED, len(batch.labels))) if len(batch.labels) > 1 else torch.tensor([0, 0])
    return Batch(batch.rows[index], indexed(batch.inputs, index), batch.labels[index], {})
