"""What came of a run: data for machines, a sheet, and texts for people. Pure."""

from batchgen.report.book import Book
from batchgen.report.ending import Ending, exit_code
from batchgen.report.lines import Level, Line, Narrator, alive
from batchgen.report.sheet import Part, Sheet, joined_csv, kept_columns, results_csv
from batchgen.report.standing import (
    Standing,
    joined_text,
    runs_text,
    standing,
    status_text,
)
from batchgen.report.summary import (
    Failure,
    Listed,
    Row,
    Runs,
    Status,
    Summary,
    known,
    runs,
    status,
    summarise,
    to_json,
    total,
)
from batchgen.report.text import end_text

__all__ = [
    "Book",
    "Ending",
    "Failure",
    "Level",
    "Line",
    "Listed",
    "Narrator",
    "Part",
    "Row",
    "Runs",
    "Sheet",
    "Standing",
    "Status",
    "Summary",
    "alive",
    "end_text",
    "exit_code",
    "joined_csv",
    "joined_text",
    "kept_columns",
    "known",
    "results_csv",
    "runs",
    "runs_text",
    "standing",
    "status",
    "status_text",
    "summarise",
    "to_json",
    "total",
]
