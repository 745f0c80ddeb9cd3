"""The rows of a dataset of the library ``datasets`` that stay, as ``save_to_disk`` writes them.

In: a run and its manifest. Out: a folder for ``datasets.load_from_disk``, with the manifest beside the rows.
The dataset itself is never touched.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from ogacli.base.registry import type_name
from ogacli.errors import RunError
from ogacli.run.directory import Run
from ogacli.run.trim.image_folder import check_apart, folder_with, reopened, source_of


def write_rows(
    run: Run,
    manifest: pa.Table,
    stays: pa.Table,
    destination: Path,
    *,
    config: str | Path | None,
    overwrite: bool,
) -> None:
    """Write the rows of the samples that stay, relabelled ones with their new label.

    Args:
        run: The run of the manifest.
        manifest: Every sample and its fate; written beside the rows.
        stays: The rows of it that are kept or relabelled.
        destination: The folder to be.
        config: The config whose data section is taken in place of that of the run.
        overwrite: Replace an earlier one.

    Raises:
        OgaError: The run is of another kind of data, or the dataset has changed or lies there.
    """
    from ogacli.data.sources.huggingface import HuggingFace, silent

    source = source_of(run, config)
    if not isinstance(source, HuggingFace):
        raise RunError(
            "only a dataset of the library `datasets` can be written as one",
            place=str(run.path),
            found=f"data.source {type_name(source)}",
            expected="huggingface",
            hint="take another --format",
        )
    check_apart(source, destination)
    reopened(run, source)
    with folder_with(manifest, destination, overwrite=overwrite) as work, silent():
        kept = source.dataset().select(stays.column("position").to_pylist())
        new = stays.column("new_label").to_pylist()
        if any(label is not None for label in new):
            kept = _relabelled(kept, source.label, new)
        kept.save_to_disk(str(work))


def _relabelled(kept: Any, column: Any, new: list[str | None]) -> Any:
    """The rows with some labels replaced, in the column's own type."""
    if not isinstance(column, str):
        raise RunError("labels of several columns cannot be replaced", place="--decisions", found="relabel")
    feature, old = kept.features[column], kept[column]
    names = getattr(feature, "names", None)

    def typed(label: str) -> Any:
        if names is not None:
            return feature.str2int(label)
        return pa.scalar(label).cast(feature.pa_type).as_py()

    values = [before if label is None else typed(label) for before, label in zip(old, new, strict=True)]
    place = kept.column_names.index(column)
    changed = kept.remove_columns(column).add_column(column, values, feature=feature)
    order = [name for name in kept.column_names if name != column]
    return changed.select_columns([*order[:place], column, *order[place:]])
