"""A calibration inside processor and pipeline."""

import json

import pytest
from transformers.dynamic_module_utils import get_class_from_dynamic_module

from ldnet.processing.calibration import Calibration, CalibrationError, TaskCalibration
from ldnet.processing.processing_ldnet import LDNetProcessor
from ldnet.processing.schema import Schema

SCHEMA = {
    "entities": ["person", "organization"],
    "relations": [{"type": "works for", "head": ["person"], "tail": ["person", "organization"]}],
    "classes": {"topic": ["place", "person"]},
}
TEXTS = ["Ann works for the organization of Bob in London.", "A person in the place: Åse, Émile.", ""]
THRESHOLD = 0.6


def curves(**fields):
    tasks = ("entities", "relations", "single_label_classes")
    return Calibration({task: TaskCalibration(**fields) for task in tasks}).to_dict()


@pytest.fixture
def pipe(tiny_pipeline):
    tiny_pipeline.processor.threshold = THRESHOLD
    return tiny_pipeline


def bare(results):
    """What was found, without scores and the types of relations' ends."""
    entities = [[(e["type"], e["start"], e["end"]) for e in result["entities"]] for result in results]
    relations = [
        [(r["type"], *(r[end][key] for end in ("head", "tail") for key in ("type", "start", "end")))]
        for result in results
        for r in result["relations"]
    ]
    return entities, relations


def test_checkpoint_without_calibration_answers_bit_by_bit_as_before_one_was_there(pipe):
    before = pipe(TEXTS, schema=SCHEMA)
    pipe.processor.calibration = curves(scale=0.3, bias=-1.0)
    assert pipe(TEXTS, schema=SCHEMA) != before
    pipe.processor.calibration = None
    assert pipe(TEXTS, schema=SCHEMA) == before
    assert not any("calibrated" in result for result in before)


def test_links_cut_as_ever_keep_the_same_structures_with_calibrated_scores(pipe):
    before = pipe(TEXTS, schema=SCHEMA)
    curve = TaskCalibration(scale=0.5, bias=-1.0, link_threshold=THRESHOLD)
    pipe.processor.calibration = Calibration({"entities": curve, "relations": curve}).to_dict()
    after = pipe(TEXTS, schema=SCHEMA)
    assert bare(after) == bare(before)
    assert bare(before)[1] != []
    for old, new in zip(before, after, strict=True):
        assert new["calibrated"] is True
        for key in ("entities", "relations"):
            expected = [pytest.approx(curve.probability(item["score"])) for item in old[key]]
            assert [item["score"] for item in new[key]] == expected
        assert new["classes"] == old["classes"]


def test_low_links_with_a_score_threshold_keep_all_that_score_above_it(pipe):
    low = pipe(TEXTS, schema=SCHEMA | {"relations": []}, threshold=0.2)
    curve = TaskCalibration(link_threshold=0.2, threshold=0.7)
    pipe.processor.calibration = Calibration({"entities": curve}).to_dict()
    after = pipe(TEXTS, schema=SCHEMA | {"relations": []})
    kept = [[e["start"] for e in result["entities"] if e["score"] > 0.7] for result in low]
    assert [[e["start"] for e in result["entities"]] for result in after] == kept
    assert 0 < sum(map(len, kept)) < sum(len(result["entities"]) for result in low)


def test_entities_that_are_left_out_neither_type_nor_forbid_a_relation(pipe):
    ends = {"head": ["organization"], "tail": ["organization"]}
    strict = {"entities": SCHEMA["entities"], "relations": [{"type": "works for", **ends}]}

    def places(schema):
        results = pipe(TEXTS, schema=schema)
        return [[(r["head"]["start"], r["tail"]["start"]) for r in found["relations"]] for found in results]

    anywhere = places(strict | {"relations": ["works for"]})
    assert places(strict) != anywhere
    as_ever = TaskCalibration(link_threshold=THRESHOLD)
    nothing = TaskCalibration(bias=-50.0, link_threshold=THRESHOLD, threshold=0.99)
    pipe.processor.calibration = Calibration({"entities": nothing, "relations": as_ever}).to_dict()
    assert places(strict) == anywhere
    found = pipe(TEXTS, schema=strict)
    assert [result["entities"] for result in found] == [[]] * len(TEXTS)
    assert {r[end]["type"] for result in found for r in result["relations"] for end in ends} == {None}


def test_threshold_of_the_call_decides_on_calibrated_scores(pipe):
    pipe.processor.calibration = curves(scale=0.5, link_threshold=0.1, threshold=0.9)
    results = pipe(TEXTS, schema=SCHEMA, threshold=0.55)
    scores = [
        item["score"] for result in results for key in ("entities", "relations") for item in result[key]
    ]
    assert scores
    assert 0.55 < min(scores) < 0.6
    assert all(result["classes"]["topic"] for result in results)


def test_post_process_extraction_calibrates_as_the_pipeline_does(pipe):
    processor = pipe.processor
    processor.calibration = curves(scale=0.5, link_threshold=0.2, threshold=0.4)
    thresholds = processor.label_thresholds(Schema.from_any(SCHEMA))
    assert thresholds == [0.2] * 5
    outputs = pipe.model(**processor(TEXTS, SCHEMA), threshold=min(thresholds))
    found = processor.post_process_extraction(outputs, TEXTS, SCHEMA)
    assert bare(found) == bare(pipe(TEXTS, schema=SCHEMA, batch_size=3))
    assert all(result["calibrated"] for result in found)


def test_processor_saves_and_loads_its_calibration(tiny_processor, tmp_path):
    tiny_processor.save_pretrained(tmp_path / "raw")
    assert json.loads((tmp_path / "raw" / "processor_config.json").read_text()).get("calibration") is None
    tiny_processor.calibration = curves(scale=0.25, labels={"person": 0.123456789})
    tiny_processor.save_pretrained(tmp_path / "calibrated")
    assert LDNetProcessor.from_pretrained(tmp_path / "calibrated").calibration == tiny_processor.calibration
    assert LDNetProcessor.from_pretrained(tmp_path / "raw").calibration is None


def test_processor_refuses_a_calibration_that_cannot_be(tiny_processor):
    with pytest.raises(CalibrationError, match="scale is 0"):
        LDNetProcessor(tiny_processor.tokenizer, calibration={"tasks": {"spans": {"scale": 0}}})


def test_remote_code_of_a_saved_folder_knows_the_calibration(pipe, tmp_path):
    pipe.processor.calibration = curves(scale=0.5, link_threshold=0.2, threshold=0.4)
    expected = pipe(TEXTS, schema=SCHEMA)
    pipe.save_pretrained(tmp_path / "folder")
    assert {"calibration.py", "schema_cache.py"} <= {path.name for path in (tmp_path / "folder").iterdir()}

    def remote(name):
        return get_class_from_dynamic_module(f"ldnet_remote.{name}", str(tmp_path / "folder"))

    model, processor = (
        remote(name).from_pretrained(tmp_path / "folder") for name in ("LDNetModel", "LDNetProcessor")
    )
    again = remote("UniversalIEPipeline")(model=model.eval(), processor=processor, device="cpu")
    assert type(processor) is not LDNetProcessor
    assert again(TEXTS, schema=SCHEMA) == expected
