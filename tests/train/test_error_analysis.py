import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_records import PAIRS, RECORDS, SCHEMA, TEXT

from ldnet.processing.schema import Schema
from ldnet.train.error_analysis import (
    ANALYSED,
    BOTH,
    BOUNDARY,
    CORRECT,
    KINDS,
    LABEL,
    MISSED,
    SPURIOUS,
    UNREACHABLE,
    ErrorAnalysis,
    analyse_record,
    beyond_windows,
    errors_table,
    overlap_of,
    unreachable,
)
from ldnet.train.metric_keys import Asked, compare_tasks
from ldnet.train.metrics import PredictionError, count_record
from ldnet.train.reporting import make_console

ASKED = Asked(SCHEMA)


def mention(start, end, label="person"):
    return {"type": label, "start": start, "end": end}


def kinds(gold, predicted, **options):
    """Kind, gold and predicted place of each finding, for structures with one place."""
    found = analyse_record(gold, predicted, ASKED, **options)
    return [
        (f.kind, f.gold and f.gold[1][0], f.predicted and f.predicted[1][0])
        for f in sorted(found, key=lambda f: KINDS.index(f.kind))
    ]


@settings(max_examples=25)
@given(PAIRS)
def test_every_structure_gets_exactly_one_finding(pair):
    found = analyse_record(*pair, ASKED)
    for task, *sides in compare_tasks(*pair, ASKED):
        if task.name not in ANALYSED:
            continue
        own = [f for f in found if f.task == task.name]
        for side, keys in zip(("gold", "predicted"), sides, strict=True):
            listed = [getattr(f, side) for f in own if getattr(f, side) is not None]
            assert len(listed) == len(set(listed))
            assert set(listed) == keys


@settings(max_examples=25)
@given(PAIRS)
def test_counts_of_findings_agree_with_the_scores(pair):
    analysis = ErrorAnalysis(SCHEMA)
    analysis.add(*pair)
    counts = count_record(*pair, SCHEMA)
    for task, own in analysis.to_dict().items():
        if task == "answers":
            continue
        tp, fp, fn = (sum(getattr(c, name) for c in counts[task].values()) for name in ("tp", "fp", "fn"))
        pairs = own[BOUNDARY] + own[LABEL] + own[BOTH]
        assert (own[CORRECT], pairs + own[SPURIOUS], pairs + own[MISSED]) == (tp, fp, fn)


@settings(max_examples=25)
@given(PAIRS)
def test_answer_is_correct_exactly_where_it_matches(pair):
    gold, predicted = pair
    found = [f.kind for f in analyse_record(gold, predicted, ASKED) if f.task == "answers"]
    if "answers" not in gold:
        assert found == []
        return
    (counts,) = count_record(gold, predicted, SCHEMA)["answers"].values()
    if counts.exact:
        assert found == [CORRECT] * bool(gold["answers"] and predicted["answers"])
    elif gold["answers"] and predicted["answers"]:
        assert found in ([BOUNDARY], [MISSED, SPURIOUS], [SPURIOUS, MISSED])
    else:
        assert found == [MISSED] * bool(gold["answers"]) + [SPURIOUS] * bool(predicted["answers"])


@settings(max_examples=20)
@given(PAIRS)
def test_order_of_structures_changes_nothing(pair):
    def turned(record):
        return {k: v[::-1] if isinstance(v, list) and k != "answers" else v for k, v in record.items()}

    assert analyse_record(*map(turned, pair), ASKED) == analyse_record(*pair, ASKED)


@settings(max_examples=20)
@given(st.lists(PAIRS, max_size=5), st.integers(0, 5))
def test_merge_of_shards_equals_the_whole(pairs, cut):
    whole, first, second = (ErrorAnalysis(SCHEMA) for _ in range(3))
    for i, pair in enumerate(pairs):
        whole.add(*pair)
        (second if i >= cut else first).add(*pair)
    first.merge(second)
    assert (first.to_dict(), first.wrong, first.texts) == (whole.to_dict(), whole.wrong, whole.texts)


@settings(max_examples=20)
@given(PAIRS)
def test_all_gold_out_of_reach_is_correct_or_out_of_reach(pair):
    gold, predicted = pair
    lost = unreachable(gold, {}, SCHEMA)
    found = analyse_record(gold, predicted, ASKED, lost)
    assert {f.kind for f in found if f.gold is not None} <= {CORRECT, UNREACHABLE}
    assert all(f.gold == f.predicted for f in found if f.kind == CORRECT)


@settings(max_examples=20)
@given(RECORDS)
def test_an_oracle_that_gives_gold_back_leaves_nothing_out_of_reach(record):
    assert unreachable(record, record, SCHEMA) == set()


@pytest.mark.parametrize(
    ("gold", "predicted", "expected"),
    [
        (mention(0, 3), mention(0, 3), [(CORRECT, (0, 3), (0, 3))]),
        (mention(0, 3), mention(0, 5), [(BOUNDARY, (0, 3), (0, 5))]),
        (mention(0, 3), mention(0, 3, "organization"), [(LABEL, (0, 3), (0, 3))]),
        (mention(0, 3), mention(2, 5, "organization"), [(BOTH, (0, 3), (2, 5))]),
        (mention(0, 3), mention(3, 5), [(MISSED, (0, 3), None), (SPURIOUS, None, (3, 5))]),  # they only touch
    ],
)
def test_kind_of_a_single_pair(gold, predicted, expected):
    assert kinds({"entities": [gold]}, {"entities": [predicted]}) == expected


def test_longest_overlap_is_paired_first_and_each_structure_once():
    gold = {"entities": [mention(0, 6), mention(4, 10)]}
    found = kinds(gold, {"entities": [mention(5, 11)]})
    assert found == [(BOUNDARY, (4, 10), (5, 11)), (MISSED, (0, 6), None)]


def test_same_place_with_another_type_is_paired_before_an_overlap():
    gold = {"entities": [mention(0, 3), mention(0, 9, "organization")]}
    found = kinds(gold, {"entities": [mention(0, 3, "organization")]})
    assert found == [(LABEL, (0, 3), (0, 3)), (MISSED, (0, 9), None)]


def test_gold_out_of_reach_keeps_what_was_found_near_it():
    gold = {"entities": [mention(1, 3), mention(5, 6)]}
    lost = unreachable(gold, {"entities": [mention(5, 6)]}, SCHEMA)
    found = kinds(gold, {"entities": [mention(0, 3)]}, out_of_reach=lost)
    assert found == [(MISSED, (5, 6), None), (UNREACHABLE, (1, 3), (0, 3))]


def test_structures_that_the_oracle_does_not_know_are_not_out_of_reach():
    assert unreachable({"entities": [mention(0, 1)], "answers": []}, {"relations": []}, SCHEMA) == set()


def relation(head, tail, label="works for"):
    return {"type": label, "head": head, "tail": tail}


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        (relation(mention(0, 2), mention(5, 9)), [BOUNDARY]),
        (relation(mention(0, 3), mention(5, 9), "married to"), [LABEL]),
        (relation(mention(0, 3), mention(5, 8), "married to"), [BOTH]),
        (relation(mention(0, 3), mention(10, 12)), [MISSED, SPURIOUS]),  # one end alone does not pair them
        (relation(mention(5, 9), mention(0, 3)), [MISSED, SPURIOUS]),
    ],
)
def test_kinds_of_relations(predicted, expected):
    gold = {"relations": [relation(mention(0, 3), mention(5, 9))]}
    assert sorted(f.kind for f in analyse_record(gold, {"relations": [predicted]}, ASKED)) == expected


def test_kinds_of_triggers_and_arguments():
    def event(trigger, *arguments, label="attack"):
        return {"type": label, "trigger": mention(*trigger), "arguments": list(arguments)}

    agent, place = ({"role": role, "start": 6, "end": 9} for role in ("agent", "place"))
    found = analyse_record({"events": [event((0, 3), agent)]}, {"events": [event((0, 4), place)]}, ASKED)
    assert [(f.task, f.kind) for f in found] == [("triggers", BOUNDARY), ("arguments", LABEL)]
    other = {"events": [event((0, 3), agent, label="start")]}
    found = analyse_record({"events": [event((0, 3), agent)]}, other, ASKED)
    assert [(f.task, f.kind) for f in found] == [("triggers", LABEL), ("arguments", LABEL)]


def test_class_of_a_single_label_task_is_a_wrong_label_of_the_same_task():
    gold = {"classes": {"topic": ["a"], "mood": ["a"]}}
    found = analyse_record(gold, {"classes": {"topic": ["b"], "mood": ["x"]}}, ASKED)
    assert [(f.kind, f.gold, f.predicted) for f in found] == [
        (LABEL, (("topic", "a"),), (("topic", "b"),)),
        (MISSED, (("mood", "a"),), None),
        (SPURIOUS, None, (("mood", "x"),)),
    ]


def test_answer_with_the_same_words_elsewhere_is_correct():
    gold = {"text": TEXT, "answers": [{"start": 2, "end": 5}]}
    the = {"start": 11, "end": 14, "text": "the", "score": 0.9}
    assert [f.kind for f in analyse_record(gold, {"answers": [the]}, ASKED)] == [CORRECT]


def test_structure_in_no_window_is_beyond_them():
    gold = {
        "entities": [mention(0, 3), mention(4, 9)],
        "relations": [relation(mention(0, 3), mention(7, 9))],
        "classes": {"topic": ["a"]},
    }
    lost = beyond_windows(gold, [(0, 6), (4, 10)], SCHEMA)
    assert {task for task, _ in lost} == {"relations"}
    assert {task for task, _ in beyond_windows(gold, [(0, 6), (5, 10)], SCHEMA)} == {"relations", "entities"}


def test_overlap_of_fragments_counts_the_shared_characters():
    assert overlap_of(((0, 3), (6, 9)), ((2, 7),)) == 2
    assert overlap_of(((0, 3),), ((3, 5),)) == 0


def test_refused_prediction_leaves_the_counts_unchanged():
    analysis = ErrorAnalysis(SCHEMA)
    with pytest.raises(PredictionError):
        analysis.add({"entities": []}, {"entities": [mention(0, 1, "x")]})
    assert (analysis.texts, analysis.to_dict()) == (0, {})


def test_merge_of_another_schema_is_an_error():
    with pytest.raises(ValueError, match="different schemas"):
        ErrorAnalysis(SCHEMA).merge(ErrorAnalysis(Schema.from_any(["person"])))


def test_texts_without_errors_are_counted_but_not_kept():
    analysis = ErrorAnalysis(SCHEMA)
    analysis.add({"id": 7, "entities": [mention(0, 1)]}, {"entities": [mention(0, 1)]})
    analysis.add({"entities": [mention(0, 1)]}, {}, name="record 1")
    assert analysis.texts == 2
    assert [text.name for text in analysis.wrong] == ["record 1"]
    assert analysis.to_dict()["entities"] == dict.fromkeys(KINDS, 0) | {CORRECT: 1, MISSED: 1}


def test_errors_table_has_a_row_a_kind_and_a_column_a_task(capsys):
    counts = {
        "entities": dict.fromkeys(KINDS, 0) | {MISSED: 1234},
        "hyper_relations": dict.fromkeys(KINDS, 5),
    }
    make_console().print(errors_table(counts))
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    assert [row for row in rows if row and row[0] == "missed"] == [["missed", "1,234", "5"]]
    assert [row[0] for row in rows if len(row) == 3] == list(KINDS)
