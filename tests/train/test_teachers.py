import pytest
import torch

from ldnet.processing.alignment import TokenCase
from ldnet.train.collator import LDNetCollator
from ldnet.train.dataset import ExtractionDataset, Source
from ldnet.train.label_sampling import LabelSampler
from ldnet.train.teachers import LiveTeacher, TeacherError, TeacherModels, check_student

IN_ORDER = LabelSampler(shuffle=False)


@pytest.fixture
def live(trainable):
    """`live(processor, *configs)`: tiny models as a live teacher of a student."""

    def make(processor, *configs):
        pairs = [trainable(**config) for config in configs]
        models, processors = zip(*pairs, strict=True)
        return LiveTeacher(TeacherModels(models, processors, ["big"] * len(models)), processor)

    return make


def batch_of(processor, teacher, *parts, **options):
    data = ExtractionDataset(
        processor, [(Source(str(i), *part[:1]), part[1]) for i, part in enumerate(parts)]
    )
    batch = LDNetCollator(processor, teacher=teacher, **options)(data.examples)
    return data, batch


@pytest.mark.parametrize("attention", ["prefix", "full"])
def test_teacher_judges_the_batch_as_it_does_by_itself(trainable, live, work, attention):
    """A student that is the teacher: the probabilities are its own, shuffled labels included."""
    config = {"schema_attention": attention}
    student, processor = trainable(**config)
    teacher = live(processor, config)
    _, batch = batch_of(processor, teacher, (work[0], work[1][:3]))
    targets = batch.pop("teacher")
    with torch.no_grad():
        own = student.eval()(**batch, return_logits=True).link_logits
    probs = teacher.probabilities(targets, [])
    for found, logits in zip(probs, own, strict=True):
        assert torch.allclose(found, torch.sigmoid(logits), atol=1e-5)
    assert targets["found"].all()
    assert targets["kinds"].all()


def test_mean_of_teachers_with_other_attention_than_the_student(trainable, live, work):
    processor = trainable()[1]
    configs = [{"schema_attention": "full"}, {"label_drop": "none", "label_state": "marker"}]
    single = [live(processor, config) for config in configs]
    both = live(processor, *configs)
    probs = []
    for teacher in (*single, both):
        _, batch = batch_of(processor, teacher, (work[0], work[1][:2]), sampler=IN_ORDER)
        assert batch["token_mask"].shape[1] == batch["teacher"]["inputs"][0]["token_mask"].shape[1]
        probs.append(teacher.probabilities(batch["teacher"], []))
    for a, b, mean in zip(*probs, strict=True):
        assert a.shape == b.shape == mean.shape
        assert torch.allclose(mean, (a + b) / 2, atol=1e-6)


def test_only_labels_of_the_own_source_are_taught(trainable, live, work, opinion):
    processor = trainable()[1]
    teacher = live(processor, {})
    data, batch = batch_of(
        processor,
        teacher,
        (work[0], work[1][:2]),
        (opinion[0], opinion[1][:1]),
        sampler=IN_ORDER,
    )
    mask = batch["teacher"]["label_mask"]
    assert mask.shape == (3, len(work[0].labels) + len(opinion[0].labels))
    assert mask.sum(1).tolist() == [len(example.source.schema.labels) for example in data.examples]
    assert torch.equal(batch["teacher"]["inputs"][0]["asked"], mask)


def test_a_text_that_sees_few_labels_is_asked_those_by_the_teacher(trainable, live, work):
    processor = trainable()[1]
    teacher = live(processor, {})
    _, batch = batch_of(processor, teacher, (work[0], work[1][:6]), sampler=LabelSampler(few_labels=1.0))
    assert not batch["asked"].all()
    assert torch.equal(batch["teacher"]["label_mask"], batch["asked"])
    assert torch.equal(batch["teacher"]["inputs"][0]["asked"], batch["asked"])


def test_labels_are_asked_by_their_own_names(trainable, live, work):
    processor = trainable()[1]
    names = {"person": ["somebody"], "place": ["spot"]}
    batches = [
        batch_of(processor, live(processor, {}), (work[0], work[1][:2]), sampler=IN_ORDER, **options)[1]
        for options in ({}, {"other_names": names, "other_names_share": 1.0})
    ]
    plain, renamed = (batch["teacher"]["inputs"][0]["schema_input_ids"] for batch in batches)
    assert torch.equal(plain, renamed)
    own, other = (batch["schema_input_ids"] for batch in batches)
    assert own.shape != other.shape or not torch.equal(own, other)


def test_teacher_sees_the_case_that_the_student_is_not_told(trainable, live, work):
    processor = trainable(case_embedding=False)[1]
    assert not processor.case_ids
    teacher = live(processor, {"case_embedding": True})
    _, batch = batch_of(processor, teacher, (work[0], work[1][:1]))
    assert "case_ids" not in batch
    assert set(batch["teacher"]["inputs"][0]["case_ids"].flatten().tolist()) >= {0, 1, 2}
    masked = trainable(case_embedding=True)[1]
    _, batch = batch_of(masked, live(masked, {"case_embedding": True}), work, lower_case_share=1.0)
    assert (batch["case_ids"] % len(TokenCase)).max() == 1
    assert (batch["teacher"]["inputs"][0]["case_ids"] % len(TokenCase)).max() > 1


def test_questions_reach_the_teacher(trainable, live):
    from ldnet.processing.schema import Schema

    processor = trainable()[1]
    teacher = live(processor, {"case_embedding": True})
    record = {"text": "P1 works", "question": "Who ?", "answers": []}
    _, batch = batch_of(processor, teacher, (Schema.from_any({"question": "?"}), [record]))
    assert torch.equal(batch["input_ids"], batch["teacher"]["inputs"][0]["input_ids"])


def test_texts_that_do_not_fit_the_teacher_are_refused(trainable, live, work):
    processor = trainable()[1]
    teacher = live(processor, {})
    data, _ = batch_of(processor, None, work)
    teacher.check(data.examples)
    teacher.models.processors[0].max_length = 12
    with pytest.raises(TeacherError, match=r"big: 12 of 12 texts do not fit it beside the labels") as caught:
        teacher.check(data.examples)
    assert "\n" not in str(caught.value)


def test_teacher_with_other_tokens_or_links_is_refused(trainable, live):
    other = trainable()[1]
    other.tokenizer.add_tokens(["Acme"])
    with pytest.raises(TeacherError, match="big: its tokenizer is not that of the student"):
        live(other, {})
    fragments = trainable(max_fragments=2, fragment_links="a2a")[1]
    with pytest.raises(TeacherError, match="its A2A links join mentions only"):
        live(fragments, {})
    with pytest.raises(TeacherError, match="its A2A links join fragments"):
        check_student(live(trainable()[1], {}).models.fingerprint, fragments.limits, trainable()[1], "big")


def test_fragment_cells_are_compared_if_both_know_them(trainable, live):
    pieces, plain = trainable(max_fragments=2)[1], trainable()[1]
    assert live(pieces, {"max_fragments": 3}).lower
    assert not live(pieces, {"max_fragments": 3}, {}).lower
    assert not live(plain, {"max_fragments": 2}).lower
