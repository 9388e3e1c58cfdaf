"""The tidy frames as files, each in two formats: CSV for people and their spreadsheets, parquet for
programs.

A parquet file holds the texts as they were recorded. In CSV a text can neither be run as a formula
nor drive a terminal.
"""

import io

import pandas as pd
import pyarrow
from pyarrow import parquet

from pipeline.cells import inert
from pipeline.report import frames
from pipeline.report.compose import Findings


def files(findings: Findings) -> dict[str, bytes]:
    """frames/NAME.csv and frames/NAME.parquet of every frame; the same frames give the same
    bytes.
    """
    found = {}
    for name, frame in frames.read(findings).items():
        found[f"frames/{name}.csv"] = csv(frame).encode()
        found[f"frames/{name}.parquet"] = packed(frame)
    return found


def csv(frame: pd.DataFrame) -> str:
    """Missing values are empty cells."""
    shown = frame.copy(deep=False)
    for name in shown.columns:
        if shown[name].dtype == "string":  # few of them differ, many repeat
            shown_as = {text: inert(text) for text in shown[name].dropna().unique()}
            shown[name] = shown[name].map(shown_as)
    shown.columns = [inert(name) for name in shown.columns]
    text: str = shown.to_csv(index=False, lineterminator="\n")
    return text


def packed(frame: pd.DataFrame) -> bytes:
    """As parquet."""
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pandas(frame, preserve_index=False), buffer)
    return buffer.getvalue()
