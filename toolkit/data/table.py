"""Regression targets from a `targets.csv`: a column `file`, then one column per output."""

from __future__ import annotations

import csv
from pathlib import Path, PurePosixPath

import numpy as np

from jetson.errors import DataError
from jetson.files import storage
from toolkit.data.arrays import as_values
from toolkit.data.dataset import Part
from toolkit.data.images import FileImages
from toolkit.data.wording import one_line

TABLE = "targets.csv"


def read_table(folder: Path) -> tuple[Part, tuple[str, ...]]:
    """The images that `folder`/targets.csv names, in its order, with their targets and the names of the outputs.

    Raises:
        DataError: the table is not as above, names a file that is not there, names one twice, or has a target that is
            not a finite number. The message gives the line.
        StorageError: the table cannot be read.
    """
    table = folder / TABLE
    rows = _rows(table)
    if not rows:
        raise DataError(f"{table}: empty; its first line is file,target and every further one names an image")
    outputs = tuple(name.strip() for name in rows[0][1][1:])
    if rows[0][1][0].strip() != "file" or not outputs:
        raise DataError(f"{table}: its first line must be file,target with one column per target")
    paths: list[Path] = []
    values = np.empty((len(rows) - 1, len(outputs)))
    seen: set[str] = set()
    for i, (line, cells) in enumerate(rows[1:]):
        where = f"{table}, line {line}"
        if len(cells) != len(outputs) + 1:
            raise DataError(f"{where}: {len(cells)} columns where the first line has {len(outputs) + 1}")
        paths.append(_file(folder, cells[0].strip(), seen, where))
        try:
            values[i] = [float(cell) for cell in cells[1:]]
        except ValueError:
            raise DataError(f"{where}: {one_line(', '.join(cells[1:]))} is not a number for each target") from None
        as_values(values[i : i + 1], 1, where)
    if not paths:
        raise DataError(f"{table}: names no images; add a line per image")
    return Part(FileImages(paths), as_values(values, len(paths), str(table))), outputs


def _rows(table: Path) -> list[tuple[int, list[str]]]:
    """Every line that is not blank, with its number."""
    try:
        with storage(table, "read"), table.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            return [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{table}: not a CSV file in UTF-8 ({one_line(error)})") from None


def _file(folder: Path, name: str, seen: set[str], where: str) -> Path:
    inside = PurePosixPath(name)
    if not name or inside.is_absolute() or ".." in inside.parts:
        raise DataError(f"{where}: {name!r} is not a file inside the folder")
    if str(inside) in seen:
        raise DataError(f"{where}: {one_line(name)} is named twice")
    seen.add(str(inside))
    path = folder / inside
    if not path.is_file():
        raise DataError(f"{where}: {one_line(name)} is not there")
    return path
