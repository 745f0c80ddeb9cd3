"""Csv files as text: records and cells with the quotes, blanks and line ends that they have.

In: the lines of a csv file. Out: its records, one after the other, where a cell in quotes may hold line ends.
Quotes are read as pyarrow and Python's ``csv`` read them: they count only at the beginning of a cell.
"""

from collections.abc import Iterable, Iterator

QUOTE = '"'
_ENDS = "\r\n"


def records(lines: Iterable[str], delimiter: str) -> Iterator[str]:
    """The records of a file, each with its line end; empty lines are records of their own.

    Args:
        lines: With their line ends.
        delimiter: The sign between cells.
    """
    waiting: list[str] = []
    for line in lines:
        if not waiting:
            if QUOTE not in line or spans(line, delimiter) is not None:
                yield line
            else:
                waiting.append(line)
            continue
        waiting.append(line)
        if QUOTE in line and spans("".join(waiting), delimiter) is not None:
            yield "".join(waiting)
            waiting.clear()
    if waiting:
        yield "".join(waiting)


def parted(record: str) -> tuple[str, str]:
    """A record, and its line end."""
    body = record.rstrip(_ENDS)
    return body, record[len(body) :]


def spans(record: str, delimiter: str) -> list[tuple[int, int]] | None:
    """The beginning and end of each cell of a record; None where a quoted cell is not closed."""
    body, place, found = parted(record)[0], 0, []
    while True:
        after = place
        if record.startswith(QUOTE, place):
            closed = _closed(record, place + 1)
            if closed is None:
                return None
            after = closed
        end = body.find(delimiter, after)
        if end < 0:
            found.append((place, len(body)))
            return found
        found.append((place, end))
        place = end + 1


def _closed(record: str, place: int) -> int | None:
    """The place after the quote that closes a cell; two quotes in a row are one of the text."""
    while (end := record.find(QUOTE, place)) >= 0:
        if not record.startswith(QUOTE, end + 1):
            return end + 1
        place = end + 2
    return None


def cells(record: str, delimiter: str) -> list[str]:
    """The cells of a record as they are written, with quotes."""
    if QUOTE not in record:
        return parted(record)[0].split(delimiter)
    return [record[start:end] for start, end in spans(record, delimiter) or [(0, len(parted(record)[0]))]]


def value(cell: str) -> str:
    """The text that a cell stands for."""
    if not cell.startswith(QUOTE):
        return cell
    end = _closed(cell, 1) or len(cell) + 1
    return cell[1 : end - 1].replace(QUOTE * 2, QUOTE) + cell[end:]


def cell(text: str, delimiter: str, *, quoted: bool = False) -> str:
    """A text as a cell, in quotes where it needs them or ``quoted`` asks for them."""
    special = quoted or delimiter in text or QUOTE in text or "\n" in text or "\r" in text
    return f'"{text.replace(QUOTE, QUOTE * 2)}"' if special else text
