"""Reading a file that a test writes, and checking what comes out of it."""

import json

import pytest

from ldnet.processing.converters.report import AlignmentReport
from ldnet.train.validation import validate_records


@pytest.fixture
def read(tmp_path):
    """`read(reader, content, name, **options)`: records and report; the records pass `ldnet validate`.

    Content is text, bytes, a list of rows (JSON lines) or anything else that JSON can hold.
    """

    def run(reader, content, name="file.jsonl", **options):
        path = tmp_path / name
        if isinstance(content, list):
            content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content)
        elif not isinstance(content, str | bytes):
            content = json.dumps(content, ensure_ascii=False)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        report = AlignmentReport(name)
        records = list(reader(path, report, **options))
        assert validate_records(records) == []
        assert report.records == len(records)
        return records, report

    return run


@pytest.fixture
def counts():
    """`counts(report)`: what was lost and repaired, as cause -> number."""

    def run(report):
        found = (
            {cause: tally.count for cause, tally in part.items()} for part in (report.lost, report.repaired)
        )
        return tuple(found)

    return run


@pytest.fixture
def marked():
    """`marked(record)`: its entities as (type, words)."""

    def run(record):
        return [(item["type"], record["text"][item["start"] : item["end"]]) for item in record["entities"]]

    return run
