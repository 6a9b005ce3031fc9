"""LDNetTrainer: two learning rates, batches by source and length, and scores of whole structures while training."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Sampler, SequentialSampler
from transformers import EvalPrediction, Trainer, TrainerCallback

from ldnet.processing.links import Loop, decode_links
from ldnet.processing.processing_ldnet import split_links
from ldnet.processing.results import build_result
from ldnet.train.collator import LDNetCollator, prompt_schema
from ldnet.train.dataset import Example, ExtractionDataset, label_key
from ldnet.train.metrics import TASKS, count_tasks, scores_from_counts
from ldnet.train.sampling import SourceBatchSampler


class EpochOfCollator(TrainerCallback):
    """Tells the collator which epoch it draws for."""

    def __init__(self, collator: LDNetCollator):
        self.collator = collator

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count the epoch; a resumed run starts with the epoch it stopped in."""
        self.collator.epoch = int(state.epoch or 0)


def metrics_from_rows(prediction: EvalPrediction) -> dict[str, float]:
    """Micro scores of every task from rows of additive counts.

    Args:
        prediction: `predictions` of shape `(texts, tasks * 3)`: tp, fp, fn a task.

    Returns:
        Precision, recall and F1 a task, and `f1`: the mean F1 of entities and relations that have support.
    """
    counts = np.asarray(prediction.predictions).sum(0).reshape(len(TASKS), 3)
    scores = {name: value for name, value in scores_from_counts(counts).items() if value is not None}
    scored = [scores[f"{task}_f1"] for task in ("entities", "relations") if f"{task}_f1" in scores]
    return scores | {"f1": float(np.mean(scored)) if scored else 0.0}


class LDNetTrainer(Trainer):
    """A `Trainer` for `LDNetModel`.

    Args:
        head_learning_rate: Learning rate of everything but the encoder; `None` = that of the encoder.
        source_cap: Most texts of a source in an epoch.
        **kwargs: Arguments of `Trainer`; `data_collator` must be an `LDNetCollator`.
    """

    def __init__(self, *, head_learning_rate: float | None = None, source_cap: int | None = None, **kwargs: Any):
        self.head_learning_rate = head_learning_rate
        self.source_cap = source_cap
        kwargs.setdefault("compute_metrics", metrics_from_rows)
        kwargs.setdefault("processing_class", kwargs["data_collator"].processor)
        super().__init__(**kwargs)
        self.args.remove_unused_columns = False  # the collator needs whole examples
        self.add_callback(EpochOfCollator(self.data_collator))
        processor = self.data_collator.processor
        self.scoring_collator = LDNetCollator(processor, shuffle_labels=False)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW (or what the arguments say) with a group for each of encoder/heads x decay/no decay."""
        if self.optimizer is None:
            model = self.model if model is None else model
            decaying = set(self.get_decay_parameter_names(model))
            head_rate = self.head_learning_rate or self.args.learning_rate
            groups: dict[tuple[bool, bool], dict[str, Any]] = {}
            for name, parameter in model.named_parameters():
                if not parameter.requires_grad:
                    continue
                in_encoder, decays = ".encoder." in f".{name}", name in decaying
                group = groups.setdefault(
                    (in_encoder, decays),
                    {
                        "params": [],
                        "lr": self.args.learning_rate if in_encoder else head_rate,
                        "weight_decay": self.args.weight_decay if decays else 0.0,
                    },
                )
                group["params"].append(parameter)
            optimizer_class, options = self.get_optimizer_cls_and_kwargs(self.args, model)
            self.optimizer = optimizer_class(list(groups.values()), **options)
        return self.optimizer

    def _get_train_sampler(self, train_dataset: ExtractionDataset | None = None) -> Sampler:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        return SourceBatchSampler(
            [example.source.name for example in dataset.examples],
            [len(example.tokens) for example in dataset.examples],
            self.args.train_batch_size,
            seed=self.args.data_seed or self.args.seed,
            source_cap=self.source_cap,
        )

    def _get_eval_sampler(self, eval_dataset: ExtractionDataset) -> Sampler:
        return SequentialSampler(eval_dataset)

    def get_eval_dataloader(self, eval_dataset: ExtractionDataset | str | None = None) -> torch.utils.data.DataLoader:
        """Batches for scoring: the labels of a source in their own order, and which examples they hold."""
        training_collator, self.data_collator = self.data_collator, self._collate_for_scoring
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.data_collator = training_collator

    def _collate_for_scoring(self, examples: list[Example]) -> dict[str, Tensor]:
        fitting = [self._fitting(example) for example in examples]
        batch = self.scoring_collator(fitting)
        return batch | {"example_index": torch.tensor([example.index for example in examples])}

    def _fitting(self, example: Example) -> Example:
        """The example itself, or without its text if that does not fit the encoder: its structures are missed."""
        processor = self.scoring_collator.processor
        fits = len(example.tokens) <= processor.room_for(example.source.schema)
        return example if fits else example.without_text()

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Tensor], prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[None, Tensor, Tensor]:
        """Counts (tp, fp, fn) a task of every example, so that shards add up and duplicates can be dropped.

        Args:
            model: The model, possibly wrapped.
            inputs: A batch of `get_eval_dataloader`.
            prediction_loss_only: Ignored: scores need the structures.
            ignore_keys: Ignored.

        Returns:
            No loss, rows of counts `(B, tasks * 3)` and a dummy label a row.
        """
        inputs = self._prepare_inputs(inputs)
        index = inputs.pop("example_index")
        dataset = self._scored_dataset
        examples = [dataset.examples[i] for i in index.tolist()]
        not_for_scoring = ("labels", "open_links", "close_links", "inside_links", "next_links")
        with torch.inference_mode(), self.compute_loss_context_manager():
            outputs = model(**{k: v for k, v in inputs.items() if k not in not_for_scoring})
        rows = np.stack([counts.reshape(-1) for counts in self.score_batch(outputs.links, examples)])
        rows = torch.as_tensor(rows, device=index.device)
        return None, rows, torch.ones((len(rows), 1), dtype=torch.long, device=index.device)

    def evaluation_loop(self, dataloader: Any, *args: Any, **kwargs: Any) -> Any:
        """As in `Trainer`; remembers whose examples the batches index."""
        self._scored_dataset = dataloader.dataset
        return super().evaluation_loop(dataloader, *args, **kwargs)

    def score_batch(self, links: Any, examples: list[Example]) -> list[np.ndarray]:
        """Decode a batch and compare it with gold.

        Args:
            links: The model's `SparseLinks`.
            examples: The texts of the batch.

        Returns:
            Counts `(tasks, 3)` of each example.
        """
        processor = self.scoring_collator.processor
        labels = self.scoring_collator.choose_labels(examples, np.random.default_rng(0))
        schema = prompt_schema(labels)
        counts = []
        for found, example in zip(split_links(links, len(examples)), examples, strict=True):
            own = {label_key(label): i for i, label in enumerate(example.source.schema.labels)}
            asked = {i: own[label_key(label)] for i, label in enumerate(labels) if label_key(label) in own}
            loops, _ = decode_links(found, schema, processor.limits, processor.label_thresholds(schema))
            loops = [Loop(asked[x.label], x.mentions, x.score) for x in loops if x.label in asked]
            result = build_result(example.record["text"], loops, example.tokens, example.source.schema)
            counts.append(count_tasks(example.record, result, example.source.schema))
        return counts
