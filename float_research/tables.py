"""Tables of numbers in Parquet files, read as data."""

from pathlib import Path

import pandas as pd

from float_research.errors import UserError, named, reading
from float_research.files import require_file

MAX_ROWS, MAX_COLUMNS, MAX_VALUES = 10_000_000, 10_000, 100_000_000
"""A trace has one row per frame: ten hours are about a million."""

RENAMED = {"chunk": "window"}
"""Columns of older files, and their names now."""


def read_table(path: Path, *, what: str = "table", remedy: str = "measure the run again") -> pd.DataFrame:
    """Reads the numeric columns of a Parquet file. Raises a UserError for any other file."""
    from pyarrow import parquet, types

    require_file(path, what, remedy)
    with reading(f"{what} {path}", remedy), path.open("rb") as opened, parquet.ParquetFile(opened) as file:
        schema, num_rows = file.schema_arrow, file.metadata.num_rows
        kinds = (types.is_integer, types.is_floating, types.is_boolean)
        numbers = [field.name for field in schema if any(kind(field.type) for kind in kinds)]
        if num_rows > MAX_ROWS or len(schema) > MAX_COLUMNS or num_rows * len(numbers) > MAX_VALUES:
            raise UserError(f"{named(what, path)} claims {num_rows:,} rows of {len(schema):,} columns; {remedy}")
        if len(set(numbers)) < len(numbers):
            raise ValueError("it has a column twice")
        table = file.read(columns=numbers, use_threads=False).replace_schema_metadata(None)
        held = table.to_pandas()
    return held.rename(columns={old: name for old, name in RENAMED.items() if name not in held})
