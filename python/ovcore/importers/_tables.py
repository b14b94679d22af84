"""Columns of CSV and parquet files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["TABLES", "Table"]

TABLES = (".csv", ".parquet")
"""Endings of the files that hold tables."""


class Table:
    """A CSV or parquet file, of which columns are read when they are asked for.

    Attributes:
        path: the file.
        columns: names of its columns.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, empty, or has a column twice.
        ImportError: pyarrow is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns: list[str] = []
        with self._reading():
            from pyarrow import csv, parquet

            if path.suffix == ".parquet":
                self.columns = parquet.read_schema(path).names
            else:
                with csv.open_csv(path, parse_options=_quoted()) as rows:
                    self.columns = rows.schema.names
        for name in self.columns:
            if self.columns.count(name) > 1:
                raise ValueError(f"{path} has column {name!r} twice")

    def texts(self, column: str) -> list[str]:
        """One column as it is written.

        Raises:
            ValueError: the file is damaged, or an entry of a parquet file is null.
        """
        values = self._read([column], "string")[column].to_pylist()
        if None in values:
            raise ValueError(f"{self.path}, column {column!r}: row {values.index(None)} is null")
        return [str(value) for value in values]

    def numbers(self, columns: Sequence[str]) -> NDArray[np.floating[Any]]:
        """(N, K) floating numbers of K columns, to the last bit as they are written.

        Raises:
            ValueError: an entry is no number, by name of its column.
        """
        table = self._read(columns, "float64")
        arrays = [table[name].to_numpy() for name in columns]
        for name, array in zip(columns, arrays, strict=True):
            if array.dtype.kind not in "fiu":
                raise ValueError(f"{self.path}, column {name!r} holds no numbers")
            if array.dtype.kind == "f" and np.isnan(array).any():
                row = int(np.isnan(array).argmax())
                raise ValueError(f"{self.path}, column {name!r}: row {row} is no number (NaN)")
        types = {array.dtype for array in arrays}
        dtype = types.pop() if len(types) == 1 else np.dtype(np.float64)
        if dtype.kind != "f":
            dtype = np.dtype(np.float64)
        values = np.empty((table.num_rows, len(arrays)), dtype)
        for i, array in enumerate(arrays):
            values[:, i] = array
        return values

    def _read(self, columns: Sequence[str], kind: str) -> Any:
        """Columns; those of a CSV file as one type, "string" or "float64"."""
        with self._reading():
            from pyarrow import csv, parquet

            if self.path.suffix == ".parquet":
                return parquet.read_table(self.path, columns=list(columns))
            convert = csv.ConvertOptions(
                include_columns=list(columns), column_types=dict.fromkeys(columns, kind)
            )
            return csv.read_csv(self.path, parse_options=_quoted(), convert_options=convert)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            import pyarrow as pa
        except ImportError as error:
            raise ImportError(
                f"{self.path} is read with pyarrow: pip install 'ovcore[import]'", name="pyarrow"
            ) from error
        try:
            yield
        except pa.ArrowException as error:
            place = re.search(r"CSV column #(\d+)", str(error))
            of = f", column {self.columns[int(place[1])]!r}," if place and self.columns else ""
            raise ValueError(f"{self.path}{of} cannot be read: {error}") from error


def _quoted() -> Any:
    from pyarrow import csv

    return csv.ParseOptions(newlines_in_values=True)  # such as prompts have
