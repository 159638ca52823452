"""Text files that list samples: cells separated by commas, semicolons, tabs or blanks, read line by line."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from labelspace.errors import UserError, reason

_SEPARATORS = ",;\t"


def read(file: Path, separator: str = "") -> Iterator[tuple[int, list[str]]]:
    """The lines of a list that are not empty: their numbers, counted from 1, and their cells without blanks around them.

    A byte order mark, Windows line ends and a first line ``sep=;`` are not content.

    Args:
        file: the list, as UTF-8 text.
        separator: what separates cells; " " is any number of blanks; by default :func:`separator_of` tells.

    Raises:
        UserError: the file is absent or not such text; the line is named where it is known.
    """
    separator = separator or separator_of(file)
    try:
        with file.open(newline="", encoding="utf-8-sig") as handle:
            if separator == " ":
                for number, line in enumerate(handle, 1):
                    if cells := line.split():
                        yield number, cells
                return
            reader = csv.reader(handle, delimiter=separator, strict=True)
            try:
                for row in reader:
                    if any(cell.strip() for cell in row) and not (
                        reader.line_num == 1 and _says_separator(separator.join(row))
                    ):
                        yield reader.line_num, [cell.strip() for cell in row]
            except csv.Error as error:
                raise UserError(f"{file}, line {reader.line_num}: not a line of a table: {error}") from None
    except FileNotFoundError:
        raise UserError(f"no such file: {file}") from None
    except UnicodeDecodeError:
        raise UserError(f"{file} cannot be read: it is not UTF-8 text; save it as CSV UTF-8") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read: {reason(error)}") from None


def separator_of(file: Path) -> str:
    """What separates the cells of a table: the one of comma, semicolon and tab that its first line has most of."""
    try:
        with file.open(newline="", encoding="utf-8-sig", errors="replace") as handle:
            first = handle.readline(100_000)
    except FileNotFoundError:
        raise UserError(f"no such file: {file}") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read: {reason(error)}") from None
    return _says_separator(first) or max(_SEPARATORS, key=first.count)


def _says_separator(line: str) -> str:
    """The separator that a first line of a spreadsheet's CSV file may name, such as ``sep=;``."""
    match = re.fullmatch(rf"sep=([{_SEPARATORS}])", line.strip("\r\n "))
    return match[1] if match else ""
