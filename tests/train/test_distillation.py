import math

import pytest
import torch
from transformers import Trainer, TrainingArguments

from ldnet.heads import LinkScores
from ldnet.train.collator import LDNetCollator
from ldnet.train.dataset import ExtractionDataset, Source
from ldnet.train.distillation import DistillationCallback, TransferSettings, transfer_loss
from ldnet.train.label_sampling import LabelSampler
from ldnet.train.stored_teacher import StoredTeacher
from ldnet.train.teacher_store import TeacherStore
from ldnet.train.teacher_writing import TeacherWriter
from ldnet.train.teachers import LiveTeacher, TeacherError, TeacherModels
from ldnet.train.trainer import LDNetTrainer

# ---- the loss


@pytest.fixture
def cells():
    """Log-odds of a student, probabilities of a teacher and legal cells: 2 texts, 3 labels, 4 tokens."""
    torch.manual_seed(0)
    shapes = [(2, 3, 4), (2, 3, 4), (2, 4, 4), (2, 4, 4)]
    odds = LinkScores(*(3 * torch.randn(shape) for shape in shapes))
    probs = LinkScores(
        *(torch.rand(shape).where(torch.rand(shape) < 0.5, torch.tensor(0.0)) for shape in shapes)
    )
    return odds, probs, LinkScores(*(torch.rand(shape) < 0.7 for shape in shapes))


def slow_loss(odds, probs, legal, settings, text):
    """Eq. 19-20 cell by cell."""
    total = 0.0
    for fields in (("open", "close"), ("inside",), ("next",)):
        values = []
        for name in fields:
            parts = (getattr(part, name)[text].flatten().tolist() for part in (odds, probs, legal))
            for s, p, allowed in zip(*parts, strict=True):
                q = 1 / (1 + math.exp(-s))
                if not allowed or (settings.reduction == "support" and max(p, q) <= settings.support_floor):
                    continue
                if settings.form == "mse":
                    values.append((p - q) ** 2)
                else:
                    on = p * math.log(p / q) if p else 0.0
                    values.append(on + ((1 - p) * math.log((1 - p) / (1 - q)) if p < 1 else 0.0))
        total += sum(values) / (1 if settings.reduction == "sum" else max(len(values), 1))
    return total


@pytest.mark.parametrize("form", ["mse", "kl"])
@pytest.mark.parametrize("reduction", ["mean", "support", "sum"])
def test_loss_equals_a_slow_loop(cells, form, reduction):
    settings = TransferSettings(form=form, reduction=reduction, support_floor=0.3)
    found = transfer_loss(*cells, settings)
    expected = [slow_loss(*cells, settings, text) for text in range(2)]
    assert found.tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("form", ["mse", "kl"])
def test_loss_is_zero_for_the_teacher_itself_and_without_cells(cells, form):
    odds, probs, legal = cells
    same = LinkScores(*(torch.sigmoid(score) for score in odds))
    settings = TransferSettings(form=form)
    assert transfer_loss(odds, same, legal, settings).tolist() == pytest.approx([0, 0], abs=1e-5)
    none = LinkScores(*(torch.zeros_like(matrix) for matrix in legal))
    assert transfer_loss(odds, probs, none, settings).tolist() == [0, 0]


def test_kl_of_certain_and_wrong_cells_has_a_gradient(cells):
    odds = LinkScores(*(torch.full_like(score, -60.0).requires_grad_() for score in cells[0]))
    certain = LinkScores(*(torch.ones_like(score) for score in odds))
    transfer_loss(odds, certain, certain._replace(**{k: v > 0 for k, v in certain._asdict().items()}),
                  TransferSettings(form="kl", reduction="sum")).sum().backward()  # fmt: skip
    for score in odds:
        assert torch.allclose(score.grad, torch.tensor(-1.0))


def test_mean_over_all_cells_makes_the_term_tiny_and_the_support_does_not():
    """A text of 40 tokens, 9 labels and 20 links, four of which the student misses."""
    shapes = [(1, 9, 40), (1, 9, 40), (1, 40, 40), (1, 40, 40)]
    probs = LinkScores(*(torch.zeros(shape) for shape in shapes))
    odds = LinkScores(*(torch.full(shape, -12.0) for shape in shapes))
    legal = LinkScores(*(torch.ones(shape, dtype=torch.bool) for shape in shapes))
    for i in range(5):
        for matrix, score in zip(probs, odds, strict=True):
            matrix[0, i, 3 * i] = 1.0
            score[0, i, 3 * i] = 12.0 if i else -12.0
    values = {
        reduction: transfer_loss(odds, probs, legal, TransferSettings(reduction=reduction)).item()
        for reduction in ("mean", "support", "sum")
    }
    assert values["sum"] == pytest.approx(4.0, rel=1e-3)
    assert values["support"] == pytest.approx(0.6, rel=1e-3)
    assert values["mean"] == pytest.approx(2 / 720 + 2 / 1600, rel=1e-3)
    assert values["support"] > 100 * values["mean"]


def test_settings_name_everything_that_is_wrong():
    with pytest.raises(TeacherError) as caught:
        TransferSettings(weight=0.0, form="ce", reduction="max", support_floor=1.0)
    lines = caught.value.problems
    assert [line.split(":")[0] for line in lines] == [
        "transfer_weight", "transfer_loss", "transfer_reduction", "support_floor"
    ]  # fmt: skip
    with pytest.raises(TeacherError, match="nan would train without a teacher"):
        TransferSettings(weight=float("nan"))


# ---- training with it

STEPS = {"warmup_steps": 0, "max_grad_norm": 0.0, "optim": "sgd", "learning_rate": 0.01}


@pytest.fixture
def data(work):
    """`data(processor, count)`: examples of the 'work' set."""

    def make(processor, count=8):
        return ExtractionDataset(processor, [(Source("work", work[0]), work[1][:count])])

    return make


@pytest.fixture
def stored(trainable, work, tmp_path):
    """`stored(processor, count=12)`: a stored teacher with another opinion than the student."""

    def make(processor, count=12, missing="error", **config):
        model, own = trainable(**config)
        torch.manual_seed(1)
        torch.nn.init.normal_(model.link_head.projection.weight, std=0.3)
        path = tmp_path / f"store-{len(list(tmp_path.glob('store*')))}"
        TeacherWriter(TeacherModels([model], [own], ["t"])).write(
            path, [(Source("work", work[0]), work[1][:count])]
        )
        return StoredTeacher([TeacherStore.open(path)], processor, missing)

    return make


@pytest.fixture
def make_trainer(trainable, stored, data, training_arguments, tmp_path):
    """`make_trainer(count=8, settings=..., **arguments)`: a tiny student with a stored teacher."""

    def make(count=8, *, settings=None, teacher=None, own=None, config=None, **arguments):
        model, processor = trainable(**(config or {}))
        teacher = stored(processor) if teacher is None else teacher(processor)
        return LDNetTrainer(
            model=model,
            args=training_arguments(tmp_path / "out", **arguments),
            train_dataset=data(processor, count),
            data_collator=LDNetCollator(processor, teacher=teacher),
            callbacks=[DistillationCallback(teacher, settings)],
            **({"head_learning_rate": 0.01} | (own or {})),
        )

    return make


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def callback_of(trainer):
    (found,) = (x for x in trainer.callback_handler.callbacks if isinstance(x, DistillationCallback))
    return found


def losses_of(trainer):
    """Loss of the model and transfer loss on the first batch, no dropout."""
    batch = next(iter(trainer.get_train_dataloader()))
    callback = callback_of(trainer)
    trainer.model.train()
    output = trainer.model(**{k: v for k, v in batch.items() if k != "teacher"}, return_logits=True)
    transfer = callback.losses(trainer.model, batch, output, batch["teacher"])
    return batch, output.loss.item(), transfer.mean().item()


@pytest.mark.parametrize("weight", [1.0, 2.5])
def test_loss_of_a_batch_is_that_of_the_model_plus_the_weighted_transfer_loss(make_trainer, weight):
    trainer = make_trainer(settings=TransferSettings(weight), per_device_train_batch_size=4)
    batch, plain, transfer = losses_of(trainer)
    callback = callback_of(trainer)
    callback.on_train_begin(trainer.args, trainer.state, trainer.control, model=trainer.model)
    assert trainer.model(**batch).loss.item() == pytest.approx(plain + weight * transfer, rel=1e-5)
    assert transfer > 1e-3
    trainer.model.eval()
    assert trainer.model(**batch).loss.item() == pytest.approx(plain, rel=1e-5)
    trainer.model.train()
    callback.on_train_end(trainer.args, trainer.state, trainer.control)
    assert trainer.model(**batch).loss.item() == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize("reduction", ["support", "mean", "sum"])
def test_gradient_accumulation_gives_the_weights_of_the_whole_batch(make_trainer, reduction):
    trained = []
    for size, steps in ((6, 1), (2, 3), (4, 2)):
        trainer = make_trainer(
            6, settings=TransferSettings(3.0, reduction=reduction), per_device_train_batch_size=size,
            gradient_accumulation_steps=steps, num_train_epochs=2, config={"confirm_loops": False}, **STEPS,
        )  # fmt: skip
        trainer.train()
        assert trainer.state.global_step == 2
        trained.append(weights(trainer.model))
    for name, tensor in trained[0].items():
        for other in trained[1:]:
            assert torch.allclose(tensor, other[name], rtol=0, atol=1e-6), name


def test_a_student_comes_nearer_to_its_teacher_with_transfer_than_without(make_trainer):
    def distance(with_teacher):
        trainer = make_trainer(
            settings=TransferSettings(3.0, reduction="sum"), per_device_train_batch_size=8,
            num_train_epochs=15, learning_rate=3e-3,
        )  # fmt: skip
        measuring = callback_of(trainer)
        if not with_teacher:
            trainer.remove_callback(measuring)
        trainer.train()
        trainer.add_callback(measuring) if not with_teacher else None
        return losses_of(trainer)[2]

    assert distance(True) < 0.6 * distance(False)


@pytest.mark.parametrize("label_drop", ["none", "logit"])
@pytest.mark.parametrize("form", ["mse", "kl"])
def test_plain_trainer_trains_with_the_callback(trainable, stored, data, tmp_path, label_drop, form):
    model, processor = trainable(label_drop=label_drop, schema_attention="full")
    teacher = stored(processor, label_drop="none")
    before = weights(model)
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(tmp_path / "out"), max_steps=2, use_cpu=True, report_to="none", disable_tqdm=True,
            save_strategy="no", dataloader_pin_memory=False, logging_steps=1, per_device_train_batch_size=4,
        ),
        train_dataset=data(processor),
        data_collator=LDNetCollator(processor, teacher=teacher, sampler=LabelSampler(label_dropout=0.3)),
        callbacks=[DistillationCallback(teacher, TransferSettings(form=form))],
    )  # fmt: skip
    trainer.train()
    steps = [log for log in trainer.state.log_history if "loss" in log]
    assert len(steps) == 2
    assert all(math.isfinite(log["loss"]) and log["transfer_loss"] > 0 for log in steps)
    assert all(log["taught_share"] == 1 for log in steps)
    after = weights(model)
    assert all(torch.isfinite(tensor).all() for tensor in after.values())
    assert any(not torch.equal(tensor, before[name]) for name, tensor in after.items())
    assert not model._forward_hooks
    assert not model._forward_pre_hooks


def test_live_teacher_in_the_loop_stays_as_it_is_and_is_not_saved(make_trainer, trainable, tmp_path):
    model, own = trainable(schema_attention="full", label_drop="none")
    torch.nn.init.normal_(model.link_head.projection.weight, std=0.3)
    before = weights(model)
    trainer = make_trainer(
        teacher=lambda processor: LiveTeacher(TeacherModels([model], [own], ["big"]), processor),
        per_device_train_batch_size=4, num_train_epochs=1, logging_strategy="steps", logging_steps=1,
    )  # fmt: skip
    student = set(weights(trainer.model))
    trainer.train()
    assert not model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(model).items())
    assert set(weights(trainer.model)) == student
    assert trainer.state.log_history[0]["transfer_loss"] > 0


def test_bfloat16_differs_little(make_trainer):
    logs = []
    for bf16 in (False, True):
        trainer = make_trainer(
            per_device_train_batch_size=8, max_steps=1, bf16=bf16, logging_strategy="steps", logging_steps=1
        )
        trainer.train()
        logs.append(trainer.state.log_history[0])
    assert logs[1]["transfer_loss"] == pytest.approx(logs[0]["transfer_loss"], rel=0.05)
    assert logs[1]["transfer_loss"] != logs[0]["transfer_loss"]


# ---- guards


def test_batches_without_targets_are_refused(make_trainer):
    trainer = make_trainer(max_steps=1)
    trainer.data_collator.teacher = None
    with pytest.raises(TeacherError, match="a batch comes without its teacher's targets"):
        trainer.train()


def test_a_text_without_teacher_stops_training_unless_it_may_be_skipped(make_trainer, stored):
    trainer = make_trainer(teacher=lambda processor: stored(processor, 5), per_device_train_batch_size=8)
    with pytest.raises(TeacherError, match="3 of 8 texts are not in it"):
        trainer.train()
    trainer = make_trainer(
        teacher=lambda processor: stored(processor, 5, "skip"), per_device_train_batch_size=4,
        num_train_epochs=1, logging_strategy="epoch",
    )  # fmt: skip
    trainer.train()
    assert trainer.state.log_history[0]["taught_share"] == 5 / 8


def test_an_epoch_without_any_taught_text_is_refused(make_trainer, stored):
    trainer = make_trainer(teacher=lambda processor: stored(processor, 8, "skip"), num_train_epochs=1)
    for store in callback_of(trainer).teacher.stores:
        store.rows.clear()
    with pytest.raises(TeacherError, match="no text of the epoch has a teacher"):
        trainer.train()


def test_callback_without_teacher_or_with_another_model_is_refused(make_trainer):
    with pytest.raises(TeacherError, match="teacher is None"):
        DistillationCallback(None)
    trainer = make_trainer()
    with pytest.raises(TeacherError, match="Linear holds no LDNetModel"):
        callback_of(trainer).on_train_begin(trainer.args, None, None, model=torch.nn.Linear(1, 1))


def test_a_step_past_the_hooks_is_refused(make_trainer):
    trainer = make_trainer(max_steps=1)
    callback = callback_of(trainer)
    callback.on_step_begin = lambda *args, **kwargs: callback.remove_hooks()
    with pytest.raises(TeacherError, match="the model was trained past its hooks"):
        trainer.train()
