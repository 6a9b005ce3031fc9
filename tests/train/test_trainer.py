import copy
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate.data_loader import BatchSamplerShard, SkipBatchSampler
from torch.utils.data import BatchSampler
from transformers import EarlyStoppingCallback, EvalPrediction, Trainer, TrainingArguments

from ldnet.modeling_ldnet import LDNetModel
from ldnet.processing.pipeline_ldnet import UniversalIEPipeline
from ldnet.processing.schema import Schema
from ldnet.train.collator import LDNetCollator
from ldnet.train.dataset import ExtractionDataset, Source
from ldnet.train.label_sampling import LabelSampler
from ldnet.train.metrics import PRF, TASKS, ExtractionMetrics
from ldnet.train.trainer import LDNetTrainer, layer_depths, metrics_from_rows


def dataset(processor, *parts, **options):
    return ExtractionDataset(
        processor, [(Source(name, *part[:1]), part[1]) for name, part in parts], **options
    )


@pytest.fixture
def make_trainer(trainable, work, training_arguments, tmp_path):
    """`make_trainer(count=8, **arguments)`: trains a tiny model on records of the 'work' set."""

    def make(count=8, *, own=None, config=None, dev=None, **arguments):
        model, processor = trainable(**(config or {}))
        return LDNetTrainer(
            model=model,
            args=training_arguments(tmp_path, **arguments),
            train_dataset=dataset(processor, ("work", (work[0], work[1][:count]))),
            eval_dataset=dev and dev(processor),
            data_collator=LDNetCollator(processor),
            **(own or {}),
        )

    return make


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


# ---- training


@pytest.mark.parametrize("config", [{"confirm_loops": False}, {}])
def test_gradient_accumulation_gives_the_weights_of_the_whole_batch(make_trainer, config):
    trained = []
    for size, steps in ((8, 1), (2, 4)):
        trainer = make_trainer(
            per_device_train_batch_size=size,
            gradient_accumulation_steps=steps,
            num_train_epochs=3,
            learning_rate=0.01,
            head_learning_rate=0.01,
            warmup_steps=0,
            max_grad_norm=0.0,  # clipping would hide a wrong scale
            optim="sgd",  # Adam would blow up the rounding of gradients that are zero
            config=config,
        )
        # Of many loops that close, those are judged that come first in the order of the labels.
        trainer.data_collator.sampler = LabelSampler(shuffle=False)
        before = weights(trainer.model)
        trainer.train()
        assert trainer.state.global_step == 3
        trained.append(weights(trainer.model))
    moved = {name: (tensor - before[name]).abs().max() for name, tensor in trained[0].items()}
    assert max(moved.values()) > 1e-2
    for name, tensor in trained[0].items():
        assert torch.allclose(tensor, trained[1][name], rtol=0, atol=1e-6), name


def test_uneven_last_micro_batch_weighs_its_texts_alike(make_trainer):
    """Three texts as 2 + 1: the loss is a mean over texts, not over micro-batches."""
    gradients = []
    for size, steps in ((3, 1), (2, 2)):
        trainer = make_trainer(
            3, per_device_train_batch_size=size, gradient_accumulation_steps=steps, num_train_epochs=1,
            learning_rate=0.01, head_learning_rate=0.01, warmup_steps=0, max_grad_norm=0.0, optim="sgd",
        )  # fmt: skip
        before = weights(trainer.model)
        trainer.train()
        after = weights(trainer.model)
        gradients.append({name: after[name] - before[name] for name in after})
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], rtol=0, atol=1e-6), name


def test_optimizer_has_a_learning_rate_for_the_encoder_and_one_for_the_rest(make_trainer):
    trainer = make_trainer(learning_rate=1e-4, weight_decay=0.1, own={"head_learning_rate": 1e-2})
    groups = trainer.create_optimizer().param_groups
    names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
    found = {}
    for group in groups:
        for parameter in group["params"]:
            found[names[id(parameter)]] = (group["lr"], group["weight_decay"])
    assert len(groups) == 4
    assert found.keys() == set(names.values())
    for name, (rate, decay) in found.items():
        assert rate == (1e-4 if name.startswith("encoder.") else 1e-2), name
        assert decay == (0.0 if "bias" in name or "LayerNorm" in name else 0.1), name


def test_layer_decay_spares_the_lower_layers(make_trainer):
    trainer = make_trainer(learning_rate=1e-4, own={"head_learning_rate": 1e-2, "layer_decay": 0.5})
    groups = trainer.create_optimizer().param_groups
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    last = trainer.model.config.encoder_config.num_hidden_layers - 1
    assert last >= 1
    for name, parameter in trainer.model.named_parameters():
        found = re.search(r"layer\.(\d+)\.", name)
        if not name.startswith("encoder."):
            expected = 1e-2
        elif found:
            expected = 1e-4 * 0.5 ** (last - int(found[1]))
        else:
            assert "embedding" in name
            expected = 1e-4 * 0.5 ** (last + 1)
        assert rates.pop(id(parameter)) == pytest.approx(expected), name
    assert not rates


@pytest.mark.parametrize(
    ("name", "depth"),
    [
        ("encoder.encoder.layer.5.output.dense.weight", 0),  # BERT, RoBERTa, ELECTRA, DeBERTa
        ("encoder.transformer.layer.4.ffn.lin1.weight", 1),  # DistilBERT
        ("encoder.layers.0.attn.Wqkv.weight", 5),  # ModernBERT
        ("module.encoder.embeddings.word_embeddings.weight", 6),
        ("encoder.final_norm.weight", 0),
        ("link_head.projection.weight", None),
    ],
)
def test_layer_depths_of_encoders(name, depth):
    assert layer_depths([name, "encoder.layers.5.x", "encoder.layers.0.x"]).get(name) == depth


def test_layers_without_numbers_have_one_rate():
    names = ["encoder.embeddings.x", "encoder.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight"]
    assert set(layer_depths(names[1:]).values()) == {0}


def test_optimizer_without_head_learning_rate_has_one(make_trainer):
    groups = make_trainer(learning_rate=3e-4).create_optimizer().param_groups
    assert {group["lr"] for group in groups} == {3e-4}


def test_training_lowers_the_loss_and_finds_structures(make_trainer, work):
    def dev(processor):
        return dataset(processor, ("work", (work[0], work[1][:4])))

    trainer = make_trainer(
        4, per_device_train_batch_size=4, num_train_epochs=60, learning_rate=3e-3, dev=dev, warmup_steps=0,
        own={"head_learning_rate": 1e-2},
    )  # fmt: skip
    before = trainer.evaluate()["eval_f1"]
    trainer.train()
    after = trainer.evaluate()
    assert before < 30
    assert after["eval_entities_f1"] > 90
    assert after["eval_relations_f1"] > 90
    assert after["eval_f1"] == pytest.approx((after["eval_entities_f1"] + after["eval_relations_f1"]) / 2)


def test_epochs_reach_collator_and_sampler(make_trainer, monkeypatch):
    trainer = make_trainer(per_device_train_batch_size=4, num_train_epochs=3)
    seen = []
    draw = LabelSampler.draw

    def spy(sampler, examples, rng, **options):
        seen.append(
            (trainer.data_collator.epoch, trainer.epoch_of.sampler.epoch, *[x.index for x in examples])
        )
        return draw(sampler, examples, rng, **options)

    monkeypatch.setattr(LabelSampler, "draw", spy)
    trainer.train()
    assert [(a, b) for a, b, *_ in seen] == [(0, 0)] * 2 + [(1, 1)] * 2 + [(2, 2)] * 2
    epochs = [seen[i][2:] + seen[i + 1][2:] for i in (0, 2, 4)]
    assert all(sorted(epoch) == list(range(8)) for epoch in epochs)
    assert len(set(epochs)) == 3


def test_epoch_reaches_the_sampler_of_a_process_that_resumes_inside_an_epoch(make_trainer):
    trainer = make_trainer()
    sampler = trainer._get_train_sampler()
    order = list(sampler)
    # What accelerate makes of it: its own `set_epoch` does not look this deep.
    shard = BatchSamplerShard(BatchSampler(sampler, 2, drop_last=False), num_processes=2, process_index=1)
    resumed = SkipBatchSampler(shard, skip_batches=1)
    trainer.epoch_of.on_epoch_begin(None, SimpleNamespace(epoch=2.5), None)
    assert (trainer.data_collator.epoch, sampler.epoch) == (2, 2)
    found = list(resumed)
    sampler.set_epoch(2)
    expected = list(sampler)
    assert expected != order
    assert found == [expected[6:8]]


@pytest.mark.parametrize("arguments", [{}, {"remove_unused_columns": False}])
def test_plain_trainer_trains_with_our_collator(trainable, work, tmp_path, arguments):
    model, processor = trainable()
    before = weights(model)
    args = TrainingArguments(
        output_dir=str(tmp_path), max_steps=1, use_cpu=True, report_to="none", disable_tqdm=True,
        save_strategy="no", dataloader_pin_memory=False, logging_strategy="no", **arguments,
    )  # fmt: skip
    trainer = Trainer(
        model=model, args=args, train_dataset=dataset(processor, ("work", work)),
        data_collator=LDNetCollator(processor),
    )  # fmt: skip
    result = trainer.train()
    assert np.isfinite(result.training_loss)
    assert result.training_loss > 0
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {
        "link_head.projection.weight",
        "relevance_head.projection.weight",
        "kind_embedding.weight",
    } <= changed


# ---- scoring


@pytest.fixture
def mixed_dev(work, opinion):
    """Two sources with different labels, records that annotate in part, one that is read in windows."""
    records = copy.deepcopy(work[1])
    records[2]["labels"] = {"entities": ["place"], "relations": ["near"]}
    del records[3]["relations"]
    records[4] = {"text": "of " * 60, "entities": [{"type": "place", "start": 0, "end": 2}]}

    def make(processor):
        processor.max_length = 40
        return dataset(processor, ("work", (work[0], records)), ("opinion", opinion), whole=True)

    return make


def direct_counts(model, processor, data):
    """What the pipeline finds, text by text, added up."""
    pipe = UniversalIEPipeline(model=model.eval(), processor=processor, device="cpu")
    total = {task: PRF() for task in TASKS}
    for example in data.examples:
        schema = example.source.schema
        metrics = ExtractionMetrics(schema)
        metrics.add(example.record, pipe(example.record["text"], schema=schema))
        for task, scores in metrics.to_dict(bootstrap=0)["tasks"].items():
            total[task] += PRF(scores["tp"], scores["fp"], scores["fn"])
    return total


def counts_of(trainer):
    """Rows of counts, before they become scores."""
    seen = []
    trainer.compute_metrics = lambda prediction: seen.append(prediction.predictions) or {}
    trainer.evaluate()
    return seen[0]


@pytest.mark.parametrize("batch_size", [1, 3, 20])
def test_evaluation_counts_equal_a_direct_loop(make_trainer, mixed_dev, batch_size):
    trainer = make_trainer(dev=mixed_dev, per_device_eval_batch_size=batch_size)
    rows = counts_of(trainer)
    expected = direct_counts(trainer.model, trainer.data_collator.processor, trainer.eval_dataset)
    assert rows.shape == (17, 3 * len(TASKS))
    assert rows.sum(0).tolist() == [n for task in TASKS for n in vars(expected[task]).values()]
    asked = [expected[task] for task in ("entities", "relations", "relations_strict")]
    assert all(count.fp > 0 < count.support for count in asked)


def test_evaluation_gives_the_scores_of_its_counts(make_trainer, mixed_dev):
    trainer = make_trainer(dev=mixed_dev)
    found = trainer.evaluate()
    expected = direct_counts(trainer.model, trainer.data_collator.processor, trainer.eval_dataset)
    for task, count in expected.items():
        for name in ("precision", "recall", "f1"):
            assert found.get(f"eval_{task}_{name}") == pytest.approx(getattr(count, name))


def test_evaluation_uses_the_thresholds_of_the_schema(make_trainer, work):
    names = [label.name for label in work[0].entities]
    schema = Schema.from_any({"entities": [{"type": name, "threshold": 0.05} for name in names]})

    def found(asked):
        trainer = make_trainer(dev=lambda processor: dataset(processor, ("work", (asked, work[1]))))
        return counts_of(trainer)[:, :2].sum()

    assert found(schema) > found(Schema(names))


def test_evaluation_leaves_training_mode_draws_and_collator_alone(make_trainer, work):
    trainer = make_trainer(
        dev=lambda processor: dataset(processor, ("work", work)),
        num_train_epochs=2, eval_strategy="epoch", per_device_train_batch_size=4,
    )  # fmt: skip
    collator = trainer.data_collator
    trainer.train()
    scored = weights(trainer.model)
    assert trainer.data_collator is collator
    plain = make_trainer(num_train_epochs=2, per_device_train_batch_size=4)
    plain.train()
    assert all(torch.equal(tensor, scored[name]) for name, tensor in weights(plain.model).items())


def test_metrics_from_rows_adds_counts_and_averages_the_tasks_that_were_scored():
    rows = np.zeros((2, len(TASKS), 3), dtype=int)
    rows[:, TASKS.index("entities")] = 3, 1, 1
    found = metrics_from_rows(EvalPrediction(rows.reshape(2, -1), None))
    assert found == {
        "entities_precision": 75.0,
        "entities_recall": 75.0,
        "entities_f1": 75.0,
        "f1": 75.0,
    }
    rows[0, TASKS.index("relations")] = 1, 1, 1
    found = metrics_from_rows(EvalPrediction(rows.reshape(2, -1), None))
    assert (found["entities_f1"], found["relations_f1"], found["f1"]) == (75.0, 50.0, 62.5)
    assert metrics_from_rows(EvalPrediction(rows[:0].reshape(0, 3 * len(TASKS)), None)) == {"f1": 0.0}


# ---- best model, early stopping


@pytest.fixture
def scripted(make_trainer, work):
    """`scripted(scores, **arguments)`: a trainer whose epochs get these scores."""

    def make(scores, *, callbacks=(), **arguments):
        remaining = iter(scores)
        return make_trainer(
            dev=lambda processor: dataset(processor, ("work", (work[0], work[1][:2]))),
            own={"compute_metrics": lambda _: {"f1": next(remaining)}, "callbacks": list(callbacks)},
            eval_strategy="epoch", save_strategy="epoch", load_best_model_at_end=True, learning_rate=1e-2,
            per_device_train_batch_size=8, num_train_epochs=len(scores), **arguments,
        )  # fmt: skip

    return make


def test_best_epoch_is_kept(scripted, tmp_path):
    trainer = scripted([10.0, 30.0, 20.0], save_total_limit=2)
    trainer.train()
    assert (trainer.state.best_metric, trainer.state.best_global_step) == (30.0, 2)
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-3"]
    best, last = (weights(LDNetModel.from_pretrained(tmp_path / f"checkpoint-{i}")) for i in (2, 3))
    kept = weights(trainer.model)
    assert all(torch.equal(kept[name], tensor) for name, tensor in best.items())
    assert not all(torch.equal(kept[name], tensor) for name, tensor in last.items())


def test_early_stopping_ends_training(scripted):
    trainer = scripted([30.0, 20.0, 10.0, 40.0], callbacks=[EarlyStoppingCallback(early_stopping_patience=2)])
    trainer.train()
    assert trainer.state.global_step == 3
    assert trainer.state.best_metric == 30.0


def test_checkpoint_is_a_complete_model_folder(scripted, tmp_path):
    scripted([1.0]).train()
    names = {path.name for path in (tmp_path / "checkpoint-1").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "processor_config.json"} <= names
    assert {"optimizer.pt", "scheduler.pt", "trainer_state.json"} <= names
