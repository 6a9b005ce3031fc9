import pytest

from ldnet.processing.converters.doccano import read_doccano
from ldnet.processing.converters.report import ConversionError

TEXT = "《🙂告别了》是孙耀威的歌"


def test_read_doccano_relation_export(read, counts):
    row = {
        "id": 38,
        "text": TEXT,
        "entities": [
            {"id": 51, "label": "作品名", "start_offset": 1, "end_offset": 5},
            {"id": 53, "label": "人物名", "start_offset": 7, "end_offset": 10},
            {"id": 54, "label": "人物名", "start_offset": 7, "end_offset": 99},
        ],
        "relations": [
            {"id": 20, "from_id": 51, "to_id": 53, "type": "歌手"},
            {"id": 21, "from_id": 51, "to_id": 54, "type": "歌手"},
            {"id": 22, "from_id": 51, "to_id": 53},
        ],
        "Comments": ["sure?"],
    }
    records, report = read(read_doccano, [row, {"id": 39, "text": "nothing here", "entities": []}])
    song, singer = {"type": "作品名", "start": 1, "end": 5}, {"type": "人物名", "start": 7, "end": 10}
    assert records == [
        {
            "id": 38,
            "text": TEXT,
            "entities": [song, singer],
            "relations": [{"type": "歌手", "head": song, "tail": singer}],
        },
        {"id": 39, "text": "nothing here", "entities": [], "relations": []},
    ]
    assert counts(report) == (
        {
            "label without a name or outside the text": 1,
            "relation without a type or an end": 2,
            "comment": 1,
        },
        {},
    )


@pytest.mark.parametrize("key", ["label", "labels"])
def test_read_doccano_sequence_labels_and_classes(read, key, counts):
    rows = [
        {"id": 1, "text": TEXT, key: [[1, 5, "song"], [0, 2, ""], [1]]},
        {"id": 2, "data": "fine", key: []},
    ]
    records, report = read(read_doccano, rows)
    assert [record["entities"] for record in records] == [[{"type": "song", "start": 1, "end": 5}], []]
    assert counts(report)[0] == {
        "label without a name or outside the text": 1,
        "label that is not [start, end, label]": 1,
    }
    (record,), _ = read(read_doccano, [{"text": "fine", key: ["good", "good"]}])
    assert record == {"text": "fine", "classes": {"class": ["good"]}}


def test_read_doccano_reads_both_kinds_of_labels_in_one_row(read):
    row = {"text": "fine", "cats": ["good"], "entities": [[0, 4, "word"]]}
    (record,), _ = read(read_doccano, [row])
    assert record["classes"] == {"class": ["good"]}
    assert record["entities"] == [{"type": "word", "start": 0, "end": 4}]


def test_read_doccano_offsets_behind_the_text_are_utf16_units(read, counts):
    row = {"text": "🙂🙂 Bonn", "label": [[5, 9, "city"], [0, 2, "face"]]}
    (record,), report = read(read_doccano, [row])
    assert record["entities"] == [
        {"type": "city", "start": 3, "end": 7},
        {"type": "face", "start": 0, "end": 1},
    ]
    assert counts(report) == ({}, {"offsets in UTF-16 units": 2})


def test_read_doccano_without_a_text_is_an_error(read):
    with pytest.raises(ConversionError, match="text: missing"):
        read(read_doccano, [{"id": 1, "label": []}])
