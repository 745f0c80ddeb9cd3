"""The samples that stay, as tar shards: each shard under its name, with every member of a sample.

Members that are not changed keep their bytes and headers. Shards that lose all samples stay as empty tar
files, so that patterns such as ``train-{000..009}.tar`` still fit.
"""

from __future__ import annotations

import copy
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ogacli.base.file_names import WINDOWS, Names, safe_name
from ogacli.base.tables.json_text import text, value_in, with_keys
from ogacli.data.files.shards import opened_shard, read_shards, shard_members, short_names
from ogacli.data.originals.webdataset import WebDataset as Original
from ogacli.run.trim import FolderFormat, formats
from ogacli.run.trim._labels import NewLabels, label_columns
from ogacli.run.trim.chosen import WEIGHT, Chosen, check_rows
from ogacli.run.trim.folder import MANIFEST, MARK
from ogacli.run.trim.job import Job

_END = bytes(2 * tarfile.BLOCKSIZE)


@dataclass(slots=True)
class _Sample:
    """The members of one sample in a shard: kind, header, and the bytes of header and content."""

    members: list[tuple[str, tarfile.TarInfo, bytes]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name of the first member."""
        return self.members[0][1].name

    def content(self, kind: str) -> bytes | None:
        """The content of a member; None where the sample has none of the kind."""
        for name, member, raw in self.members:
            if name == kind:
                begin = member.offset_data - member.offset
                return raw[begin : begin + member.size]
        return None

    def put(self, kind: str, content: bytes) -> None:
        """Replace the content of the member of a kind, or add such a member."""
        for i, (name, member, _) in enumerate(self.members):
            if name == kind:
                self.members[i] = _member(kind, member, member.name, content)
                return
        first = self.members[0][1]
        folder, slash, file = first.name.rpartition("/")
        name = f"{folder}{slash}{file.partition('.')[0]}.{kind}"
        self.members.append(_member(kind, first, name, content))


def _member(
    kind: str, like: tarfile.TarInfo, name: str, content: bytes
) -> tuple[str, tarfile.TarInfo, bytes]:
    """A member with the owner, mode and time of another one."""
    head = copy.copy(like)
    head.name, head.size, head.type, head.pax_headers = name, len(content), tarfile.REGTYPE, {}
    padding = bytes(-len(content) % tarfile.BLOCKSIZE)
    block = head.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    head.offset, head.offset_data = 0, len(block)
    return kind, head, block + content + padding


@formats.register
class WebDataset(FolderFormat):
    """Tar shards."""

    def check(self, job: Job) -> None:
        """Refuse samples that are in no shards."""
        if not isinstance(job.original, Original):
            raise job.without_rows("webdataset")

    def write(self, job: Job, folder: Path) -> None:
        """Write one shard after the other.

        Raises:
            DataError: A shard cannot be read, or there are more or fewer samples than before.
        """
        original, chosen = job.original, job.chosen
        assert isinstance(original, Original)
        paths = original.files()
        editor = _Editor(original, chosen)
        position, empty, index = -1, 0, 0
        with job.progress.bar("writing samples", len(chosen.positions)) as advance:
            for path, target in zip(paths, _targets(paths, folder), strict=True):
                target.parent.mkdir(parents=True, exist_ok=True)
                written = 0
                with opened_shard(path) as source, target.open("xb") as out:
                    for sample in _samples(source, path):
                        position += 1
                        if index == len(chosen.positions) or chosen.positions[index] != position:
                            continue
                        editor.edit(sample, position, index)
                        for _, _, raw in sample.members:
                            out.write(raw)
                        index, written = index + 1, written + 1
                        advance(1)
                    _close(out)
                empty += not written
        check_rows(original.path, position + 1, chosen)
        if empty:
            job.notes.append(f"{empty:,} shard{'s' * (empty != 1)} without any sample that stays")
        if editor.added:
            job.notes.append(f"added the members {', '.join(f'`{name}`' for name in editor.added)}")


def _targets(paths: Sequence[str], folder: Path) -> Iterator[Path]:
    """Where each shard is written: below the folder, whatever its path is."""
    names: dict[str, Names] = {}
    for path in short_names([path.replace("\\", "/") if WINDOWS else path for path in paths]):
        *above, last = filter(None, path.split("/"))
        parts = list(map(safe_name, above))
        stem, dot, suffix = last.rpartition(".")
        known = names.setdefault("/".join(parts).casefold(), Names(() if above else [MANIFEST, MARK]))
        yield folder.joinpath(*parts, known.new([stem or last], dot + suffix if stem else ""))


def _samples(file: Any, path: str) -> Iterator[_Sample]:
    """The samples of a shard with the bytes of their members, one at a time."""
    current, sample = None, _Sample()
    for key, kind, member in shard_members(file, path):
        if key != current and sample.members:
            yield sample
            sample = _Sample()
        current = key
        end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        file.seek(member.offset)
        sample.members.append((kind, member, file.read(end - member.offset)))
    if sample.members:
        yield sample


def _close(out: IO[bytes]) -> None:
    """Write the end mark, and zeros up to a whole record, as tar does."""
    out.write(_END)
    out.write(bytes(-out.tell() % tarfile.RECORDSIZE))


class _Editor:
    """New labels and weights in the members of samples."""

    def __init__(self, original: Original, chosen: Chosen) -> None:
        self.chosen = chosen
        self.columns = label_columns(original, chosen)
        self.labels = NewLabels(original, chosen, self._known(original))
        weight = [f"{WEIGHT}.json"] if chosen.weights is not None else []
        self.added = [f"{name}_before" for name in self.columns if chosen.labels] + weight

    def _known(self, original: Original) -> dict[str, Any]:
        """The value of each class in the examples."""
        at = {position: name for name, position in self.chosen.examples.items()}
        if not at or len(self.columns) != 1:
            return {}
        name, found = self.columns[0], {}
        for position, one in enumerate(read_shards(original.files(), lambda kind: kind in (name, "json"))):
            if position in at:
                found[at.pop(position)] = _value(one.texts.get, name, one.key)
                if not at:
                    break
        return found

    def edit(self, sample: _Sample, position: int, index: int) -> None:
        """Put the new label and the weight of a sample into its members."""
        label = self.chosen.labels.get(position)
        if label is not None:
            old = [_value(sample.content, name, sample.name) for name in self.columns]
            for name, before, new in zip(self.columns, old, self.labels.of(label, old), strict=True):
                self._replace(sample, name, before, new)
        if self.chosen.weights is not None:
            sample.put(f"{WEIGHT}.json", text(self.chosen.weight_of(index)).encode())

    def _replace(self, sample: _Sample, name: str, old: Any, new: Any) -> None:
        content = sample.content(name)
        if content is not None:
            sample.put(name, _bytes(_text(content).replace(str(old), str(new), 1)))
            sample.put(f"{name}_before", content)
            return
        line = _text(sample.content("json") or b"{}")
        _, begin, end = value_in(line, name, sample.name)
        line = line[:begin] + text(new) + line[end:]
        sample.put("json", _bytes(with_keys(line, {f"{name}_before": old}, sample.name)))


def _value(content: Callable[[str], bytes | None], name: str, sample: str) -> Any:
    """The label of a sample: the text of a member, or the value of a key in ``json``.

    Raises:
        DataError: It has neither.
    """
    found = content(name)
    if found is not None:
        return _text(found).strip()
    return value_in(_text(content("json") or b"{}"), name, f"sample {sample!r}")[0]


def _text(content: bytes) -> str:
    """The text of a member; bytes that are not UTF-8 come through ``_bytes`` as they are."""
    return content.decode(errors="surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
