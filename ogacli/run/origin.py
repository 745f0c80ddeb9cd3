"""The form of ``provenance.json``: what a run was computed from.

In: the document, which may come from anybody. Out: nothing, or one error that names the key. Keys that no
command reads are not looked at.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ogacli.errors import RunError


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class _Stamp(_Part):
    files: str
    content: str | None = None


class _Dataset(_Part):
    samples: int
    fingerprint: str
    source_rows: int | None = None
    inputs: str | None = None
    stamp: _Stamp | None = None


class _Validation(_Part):
    fingerprint: str


class _Provenance(_Part):
    versions: dict[str, str]
    dataset: _Dataset
    validation: _Validation | None = None
    checkpoints: dict[str, str]
    parameters: dict[str, int]


def check_provenance(document: dict[str, Any], place: str) -> dict[str, Any]:
    """The document, if a scan may have written it.

    Args:
        document: The values of the file.
        place: The file.

    Raises:
        RunError: A key is missing, or its value is of another type.
    """
    try:
        _Provenance.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        raise RunError(
            "not a provenance that oga wrote",
            place=place,
            found=f"{'.'.join(map(str, first['loc']))}: {first['msg']}",
        ) from None
    return document
