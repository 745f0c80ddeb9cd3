"""Attribution: the training samples, or groups of them, that influence the prediction for a query most.

In: training samples, queries, and the trained model. Out: the folder of an ``Attribution``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import nn

from ogacli.base.atomic import check_free, new_folder
from ogacli.base.progress import SILENT, Progress
from ogacli.base.registry import described, resolve, resolve_all
from ogacli.data import Samples
from ogacli.data.samples import check_samples
from ogacli.detectors import ATTRIBUTING, detectors
from ogacli.gradients import GradientOptions
from ogacli.models.sources import ModelSource
from ogacli.models.sources.in_memory import settings_of, source_of
from ogacli.models.tasks import Task, tasks
from ogacli.scan.attribution.comparison import Comparison, Setup
from ogacli.scan.attribution.folder import is_attribution, write_attribution
from ogacli.scan.attribution.options import AttributeOptions
from ogacli.scan.attribution.result import Attribution

__all__ = ["Attribution", "Setup", "attribute", "attribute_samples", "is_attribution"]


def attribute_samples(
    setup: Setup, output: Path, *, overwrite: bool = False, progress: Progress = SILENT
) -> Attribution:
    """Relate each query to the training samples, and write the result.

    Args:
        setup: What is related, and how.
        output: The folder to write.
        overwrite: Replace earlier attributions there.
        progress: Shows the progress.

    Raises:
        OgaError: An argument, the data or the model is not usable; nothing is written then.
    """
    comparison = Comparison(setup, progress)
    relation = comparison.relation()
    found = comparison.attribution(output, relation)
    with new_folder(output, overwrite=overwrite, ours=is_attribution) as work:
        write_attribution(
            work,
            found,
            relation,
            comparison.training,
            comparison.queries,
            top=setup.options.top,
            settings=setup.settings,
        )
    return found


def attribute(
    samples: Samples,
    queries: Samples,
    model: nn.Module | ModelSource,
    *,
    output: str | Path,
    loss: str | Mapping[str, Any] | Task = "cross_entropy",
    gradients: Mapping[str, Any] | GradientOptions | None = None,
    detector: Any = ATTRIBUTING,
    options: Mapping[str, Any] | AttributeOptions | None = None,
    workers: int | Literal["auto"] = "auto",
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Attribution:
    """Relate the prediction of each query to the training samples; the function ``ogacli.attribute``.

    Args:
        samples: The training samples, by ``Samples.of``.
        queries: The samples whose predictions are explained, of the same classes.
        model: The trained network, which is not changed; or the options of a model source.
        output: The folder to write.
        loss: The loss of a sample.
        gradients: The keys of the ``gradients:`` section.
        detector: One or several methods, by name or with options.
        options: The keys of the ``attribute:`` section.
        workers: Processes that read samples.
        overwrite: Replace earlier attributions there.
        progress: Shows the progress.

    Raises:
        OgaError: An argument, the data or the model is not usable; nothing is written then.
    """
    check_samples(samples, "samples")
    check_samples(queries, "queries")
    task, source = resolve(tasks, loss, by="name", place="loss"), source_of(model)
    chosen = resolve_all(detectors, detector, by="name", place="detector")
    how, which = GradientOptions.given(gradients, "gradients"), AttributeOptions.given(options, "attribute")
    folder = Path(output).absolute()
    check_free(folder, overwrite=overwrite, ours=is_attribution)
    setup = Setup(
        samples=samples,
        queries=queries,
        source=source,
        task=task,
        gradients=how,
        detectors=chosen,
        options=which,
        settings=settings_of(
            samples,
            model,
            task,
            query=queries,
            detector=[described(one, "name") for one in chosen],
            gradients=how,
            attribute=which,
        ),
        workers=workers,
    )
    return attribute_samples(setup, folder, overwrite=overwrite, progress=progress)
