"""Texts that are longer than a window."""

import itertools
from random import Random

import pytest
import torch

from ldnet.processing.pipeline_ldnet import LOOK_AHEAD, UniversalIEPipeline
from ldnet.processing.windows import paragraph_starts, plan_windows

SCHEMA = {
    "entities": ["person", "place"],
    "relations": ["works for"],
    "classes": {"topic": ["of", "the"], "tone": {"labels": ["in", "and"], "multi_label": True}},
}
LISTS = ("entities", "relations", "events", "answers")
RANDOM = Random(0)
WORDS = [RANDOM.choice(["person", "organization", "place", "works", "for", "the", "of"]) for _ in range(2200)]


def make_text(count, sentence=12, paragraph=None):
    """So many words in sentences and paragraphs, all but full stops a token."""
    text = ""
    for i, word in enumerate(WORDS[:count], 1):
        text += ("A" if i % sentence == 1 else word) + ("." if i % sentence == 0 else "")
        text += "\n\n" if paragraph and i % paragraph == 0 else " "
    return text


@pytest.fixture(scope="session")
def make_pipe(make_model, make_processor):
    """`make_pipe(**config)`: a pipeline that finds little, as a trained one does."""

    def make(bias=-4.0, **config):
        model = make_model(**config)
        with torch.no_grad():
            model.relevance_head.projection.bias.fill_(bias)
        return UniversalIEPipeline(model=model, processor=make_processor(model.config), device="cpu")

    return make


@pytest.fixture(scope="session")
def pipe(make_pipe):
    return make_pipe()


def structures(result):
    return [item for key in LISTS for item in result.get(key, ())]


def mentions(result):
    for item in structures(result):
        yield from [item[end] for end in ("head", "tail") if end in item] or [item.get("trigger", item)]
        yield from item.get("arguments", ())


def scores(*results, shifts=(0,)):
    """Entities and relations of results with their scores, moved by so many characters."""
    found = {}
    for result, shift in zip(results, shifts, strict=True):
        for item in (*result["entities"], *result["relations"]):
            ends = [item] if "head" not in item else [item["head"], item["tail"]]
            places = tuple((end["start"] + shift, end["end"] + shift) for end in ends)
            assert (item["type"], places) not in found
            found[item["type"], places] = item["score"]
    return found


# ---- long texts


@pytest.mark.parametrize("attention", ["prefix", "full"])
@pytest.mark.parametrize(("schema", "window"), [(["person", "place"], None), (SCHEMA, 64)])
def test_text_of_10000_characters_is_read_in_windows_with_offsets_of_the_whole(
    make_pipe, attention, schema, window
):
    pipe = make_pipe(-6.0, schema_attention=attention)
    text = make_text(2200)[:10_000]
    assert len(text) == 10_000
    result = pipe(text, schema=schema, window=window)
    assert result["windows"] >= (4 if window is None else 30)
    assert (result["rows"], result["truncated"]) == (1, False)
    starts = [mention["start"] for mention in mentions(result)]
    assert min(starts) < 3000
    assert max(starts) > 7000
    for mention in mentions(result):
        assert text[mention["start"] : mention["end"]] == mention["text"] != ""
    assert scores({"relations": []} | result)  # nothing is found twice


def test_windows_without_overlap_find_what_their_texts_find_alone(pipe):
    text = make_text(400, sentence=500)  # windows overlap where they start at sentences
    options = {"schema": SCHEMA, "window": 50, "window_overlap": 0}
    whole = pipe(text, **options)
    (tokens,) = pipe.processor.tokenize_texts([text])
    windows = plan_windows(text, tokens, 510, 50, 0)
    assert whole["windows"] == len(windows) > 5
    places = [tokens.chars_of(window.start, window.stop - 1) for window in windows]
    parts = [pipe(text[start:end], schema=SCHEMA) for start, end in places]
    assert {part["windows"] for part in parts} == {1}
    expected = scores(*parts, shifts=[start for start, _ in places])
    assert scores(whole) == pytest.approx(expected, abs=1e-4)
    assert len({len(places) for _, places in expected}) == 2  # entities and relations


def test_class_of_a_long_text_has_the_mean_score_of_its_windows(pipe):
    text = make_text(120, sentence=12, paragraph=40)
    schema = {"classes": {"tone": {"labels": ["in", "and"], "multi_label": True}, "topic": ["of", "the"]}}
    options = {"schema": schema, "threshold": 0.01}
    whole = pipe(text, window=45, **options)
    assert whole["windows"] == 3
    parts = [pipe(part, **options) for part in text.strip().split("\n\n")]
    for label in ("in", "and"):
        of_parts = [{item["label"]: item["score"] for item in part["classes"]["tone"]} for part in parts]
        mean = {item["label"]: item["score"] for item in whole["classes"]["tone"]}
        # What is below the threshold is not shown.
        expected = sum(found.get(label, 0.0) for found in of_parts) / 3
        assert mean.get(label, 0.0) == pytest.approx(expected, abs=0.011)
    assert any(part["classes"]["tone"] for part in parts)
    assert [len(part["classes"]["topic"]) for part in (whole, *parts)] == [1] * 4


def test_windows_never_read_beyond_their_unit(pipe):
    text = make_text(240, sentence=10, paragraph=60)
    (tokens,) = pipe.processor.tokenize_texts([text])
    assert len(paragraph_starts(text, tokens)) == 3
    for window, expected in ((100, (4, 4)), (50, (8, 24))):
        counts = [
            pipe(text, schema=SCHEMA, window=window, window_unit=unit)["windows"]
            for unit in ("paragraph", "sentence")
        ]
        assert tuple(counts) == expected


def test_windows_of_the_processor_hold_where_the_call_has_none(make_pipe):
    pipe = make_pipe()
    text = make_text(100, sentence=10)
    assert pipe(text, schema=SCHEMA)["windows"] == 1
    pipe.processor.window_length = 30
    assert pipe(text, schema=SCHEMA)["windows"] > 3
    assert pipe(text, schema=SCHEMA, window=200)["windows"] == 1
    pipe.processor.window_unit = "sentence"
    assert pipe(text, schema=SCHEMA)["windows"] == 10
    assert pipe(text, schema=SCHEMA, window_unit="paragraph")["windows"] < 10


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_long_and_short_texts_mix_in_any_batch(pipe, batch_size):
    texts = [make_text(n) for n in (3, 90, 0, 40, 130, 1)]
    options = {"schema": SCHEMA, "window": 32}
    expected = [pipe(text, **options) for text in texts]
    found = pipe(texts, batch_size=batch_size, **options)
    assert [result["windows"] for result in found] == [result["windows"] for result in expected]
    assert [result["windows"] > 1 for result in found] == [False, True, False, True, True, False]
    assert [result["text"] for result in found] == texts
    assert list(map(scores, found)) == [pytest.approx(scores(result), abs=1e-4) for result in expected]
    assert any(map(structures, found))


# ---- refusing


@pytest.mark.parametrize("attention", ["prefix", "full"])
def test_truncation_error_refuses_a_long_text_by_its_place(make_pipe, attention):
    pipe = make_pipe(-6.0, schema_attention=attention)
    schema = ["person"]
    texts = ["of", "of the", make_text(600, sentence=1000), "of"]
    assert [result["windows"] for result in pipe(texts, schema=schema)] == [1, 1, 2, 1]
    with pytest.raises(
        ValueError, match="^text 2: it has 600 tokens, but the encoder has room for .*'window'"
    ):
        pipe(texts, schema=schema, truncation="error")
    found = pipe(iter(texts), schema=schema, truncation="error", batch_size=1)
    with pytest.raises(ValueError, match="^text 2: it has 600 tokens"):
        list(found)


def test_truncation_error_reads_at_once_what_fits(pipe):
    text = make_text(100)
    assert pipe(text, schema=SCHEMA, window=32)["windows"] > 1
    assert pipe(text, schema=SCHEMA, window=32, truncation="error")["windows"] == 1


@pytest.mark.parametrize("options", [{"window": 8, "window_overlap": 8}, {"window": 0}, {"window": -1}])
def test_impossible_windows_are_named(pipe, options):
    with pytest.raises(ValueError, match=r"text \d: windows: size .* is not possible"):
        pipe(["", "of " * 20], schema=SCHEMA, **options)


# ---- streams


def test_order_of_a_stream_is_kept_where_texts_have_many_windows(pipe):
    texts = [make_text(5 * (i * 7 % 11) + 1) for i in range(LOOK_AHEAD + 9)]
    found = pipe(iter(texts), schema=["person"], window=10, batch_size=1)
    assert [result["text"] for result in found] == texts


def test_endless_stream_of_long_texts_is_read_a_bounded_number_of_windows_ahead(pipe):
    read = 0

    def endless():
        nonlocal read
        while True:
            read += 1
            yield make_text(40)  # eight windows at least

    found = pipe(endless(), schema=["person"], window=8, window_overlap=0, batch_size=2)
    first = list(itertools.islice(found, 3))
    assert all(result["windows"] >= 5 for result in first)
    assert read <= 2 * LOOK_AHEAD // 5 + 3


def test_text_of_more_windows_than_are_read_ahead_is_read_whole(pipe):
    text = make_text(3 * LOOK_AHEAD)
    result = pipe(text, schema=SCHEMA, window=2, window_overlap=0, batch_size=1)
    assert result["windows"] > 1.5 * LOOK_AHEAD
    other = pipe(text, schema=SCHEMA, window=2, window_overlap=0, batch_size=16)
    assert scores(result) == pytest.approx(scores(other), abs=1e-4)
