"""A pipeline that needs no model: capital words are persons, the first two of a text know each other."""

import json
import re

import pytest

from ldnet.train import loading
from ldnet.train.cli import main

SCHEMA = {"entities": ["person"], "relations": ["knows"]}


class FakeProcessor:
    """Words are tokens; a text may have eight of them."""

    max_fragments = 1

    def room_for(self, schema):
        return 8

    def tokenize_texts(self, texts):
        return [text.split() for text in texts]


def extract(text):
    persons = [
        {"type": "person", "start": m.start(), "end": m.end(), "text": m.group(), "score": 0.9}
        for m in re.finditer(r"\b[A-Z]\w+", text)
    ]
    pairs = (
        [{"type": "knows", "head": persons[0], "tail": persons[1], "score": 0.8}] if len(persons) > 1 else []
    )
    return {"text": text, "entities": persons, "relations": pairs, "truncated": False}


class FakePipeline:
    """Remembers how it was called and how far its texts were read when the first result was taken."""

    def __init__(self):
        self.processor = FakeProcessor()
        self.options = None
        self.names = []

    def __call__(self, texts, **options):
        self.options = options
        return map(extract, texts)


@pytest.fixture
def fake_pipeline(monkeypatch):
    pipe = FakePipeline()

    def load_pipeline(name, device=None):
        pipe.names.append(name)
        return pipe

    monkeypatch.setattr(loading, "load_pipeline", load_pipeline)
    return pipe


@pytest.fixture
def run_ldnet(capsys):
    """`run_ldnet("extract", ...)`: exit code, stdout and stderr lines of a verb."""

    def run(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err.splitlines()

    return run


@pytest.fixture
def write_lines(tmp_path):
    """`write_lines(name, lines)`: a file with a record (or text, or bytes) a line."""

    def write(name, lines):
        path = tmp_path / name
        rows = [
            x if isinstance(x, bytes) else (x if isinstance(x, str) else json.dumps(x)).encode()
            for x in lines
        ]
        path.write_bytes(b"".join(row + b"\n" for row in rows))
        return path

    return write


@pytest.fixture
def schema_json():
    return json.dumps(SCHEMA)


@pytest.fixture
def ann_and_bob():
    """A record that the fake pipeline gets right but for one entity and the place of the relation."""
    ann, bob = {"type": "person", "start": 0, "end": 3}, {"type": "person", "start": 9, "end": 12}
    return {
        "id": "a-1",
        "text": "Ann sees Bob . He left",
        "entities": [ann, bob],
        "relations": [{"type": "knows", "head": ann, "tail": bob}],
    }
