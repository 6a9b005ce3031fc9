"""LDNetTrainer: two learning rates, batches by source and length, scores of whole structures in training."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Sampler, SequentialSampler
from transformers import EarlyStoppingCallback, EvalPrediction, Trainer, TrainerCallback

from ldnet.processing.pipeline_ldnet import UniversalIEPipeline
from ldnet.processing.schema import Schema
from ldnet.train.collator import LDNetCollator
from ldnet.train.confirmation import LoopProposer
from ldnet.train.dataset import Example, ExtractionDataset
from ldnet.train.metrics import TASKS, count_tasks, scores_from_rows
from ldnet.train.sampling import SourceBatchSampler, rarity_weights

LAYER = re.compile(r"\.layers?\.(\d+)\.")


class EpochOfDraws(TrainerCallback):
    """Tells collator and sampler which epoch they draw for.

    accelerate tells the sampler too, but does not reach it where several processes resume inside an epoch.
    """

    def __init__(self, collator: LDNetCollator):
        self.collator = collator
        self.sampler: SourceBatchSampler | None = None

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count the epoch; a resumed run starts with the epoch it stopped in."""
        self.collator.epoch = int(state.epoch or 0)
        if self.sampler is not None:
            self.sampler.set_epoch(self.collator.epoch)


class Patience(EarlyStoppingCallback):
    """Stops after so many scorings without a better one; those before the first success do not count.

    A handful of texts makes an epoch of one step: a fresh model finds nothing for longer than any patience.
    """

    def check_metric_value(self, args: Any, state: Any, control: Any, metric_value: float) -> None:
        """Count a scoring that is no better; a score of 0 after nothing but 0 is not counted."""
        if metric_value != 0 or state.best_metric:
            super().check_metric_value(args, state, control, metric_value)


def metrics_from_rows(prediction: EvalPrediction) -> dict[str, float]:
    """Micro scores of every task from rows of additive counts.

    Args:
        prediction: `predictions` of shape `(texts, tasks * 3)`: the counts of each task.

    Returns:
        The scores of each task, and `f1`, their mean that selects a model (`metrics.mean_f1`).
    """
    return scores_from_rows(prediction.predictions)


def layer_depths(names: Sequence[str]) -> dict[str, int]:
    """How far below the top of the encoder each of its parameters lies.

    Args:
        names: Names of all parameters of a model.

    Returns:
        Name -> layers above it, for those of the encoder: 0 in the last layer and behind it, one more in
        each layer below, most in the embeddings. All 0 where layers are not numbered (ALBERT shares one).
    """
    own = [name for name in names if ".encoder." in f".{name}"]
    numbers = {name: found for name in own if (found := LAYER.search(name))}
    last = max((int(found[1]) for found in numbers.values()), default=-1)
    depths = {}
    for name in own:
        if name in numbers:
            depths[name] = last - int(numbers[name][1])
        else:
            depths[name] = last + 1 if "embedding" in name else 0
    return depths


class LDNetTrainer(Trainer):
    """A `Trainer` for `LDNetModel`.

    Args:
        head_learning_rate: Learning rate of everything but the encoder; `None` = that of the encoder.
        layer_decay: Factor of the learning rate from each layer of the encoder to the one below, in (0, 1].
        source_cap: Most texts of a source in an epoch.
        source_caps: The same for single sources, by name.
        mix_sources: Draw batches from all sources together or from one source each.
        rare_labels: How much texts with rare labels are favoured where a cap leaves some out, see
            `rarity_weights`.
        **kwargs: Arguments of `Trainer`; `data_collator` must be an `LDNetCollator`.
    """

    def __init__(
        self,
        *,
        head_learning_rate: float | None = None,
        layer_decay: float = 1.0,
        source_cap: int | None = None,
        source_caps: Mapping[str, int] | None = None,
        mix_sources: bool = True,
        rare_labels: float = 0.0,
        **kwargs: Any,
    ):
        self.head_learning_rate, self.layer_decay = head_learning_rate, layer_decay
        self.source_cap, self.source_caps = source_cap, source_caps or {}
        self.mix_sources, self.rare_labels = mix_sources, rare_labels
        kwargs.setdefault("compute_metrics", metrics_from_rows)
        kwargs.setdefault("processing_class", kwargs["data_collator"].processor)
        super().__init__(**kwargs)
        self.args.remove_unused_columns = False  # the collator needs whole examples
        if self.model.config.confirm_loops:
            self.model.propose_loops = LoopProposer(self.data_collator.processor.limits)
        self.epoch_of = EpochOfDraws(self.data_collator)
        self.add_callback(self.epoch_of)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW (or what the arguments say) with a group for each learning rate x decay/no decay."""
        if self.optimizer is None:
            model = self.model if model is None else model
            decaying = set(self.get_decay_parameter_names(model))
            head_rate = self.head_learning_rate or self.args.learning_rate
            trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
            depths = layer_depths([name for name, _ in model.named_parameters()])
            groups: dict[tuple[float, bool], dict[str, Any]] = {}
            for name, parameter in trained:
                rate = head_rate
                if name in depths:
                    rate = self.args.learning_rate * self.layer_decay ** depths[name]
                decay = self.args.weight_decay if name in decaying else 0.0
                own = {"params": [], "lr": rate, "weight_decay": decay}
                groups.setdefault((rate, decay > 0), own)["params"].append(parameter)
            optimizer_class, options = self.get_optimizer_cls_and_kwargs(self.args, model)
            self.optimizer = optimizer_class(list(groups.values()), **options)
        return self.optimizer

    def _get_train_sampler(self, train_dataset: ExtractionDataset | None = None) -> Sampler:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        sources = [example.source.name for example in dataset.examples]
        labels = [{loop.label for loop in example.loops} for example in dataset.examples]
        self.epoch_of.sampler = SourceBatchSampler(
            sources,
            [len(example.tokens) for example in dataset.examples],
            self.args.train_batch_size,
            seed=self.args.data_seed or self.args.seed,
            source_cap=self.source_cap,
            mix_sources=self.mix_sources,
            source_caps=self.source_caps,
            weights=rarity_weights(sources, labels, self.rare_labels),
        )
        return self.epoch_of.sampler

    def _get_eval_sampler(self, eval_dataset: ExtractionDataset) -> Sampler:
        return SequentialSampler(eval_dataset)

    def get_eval_dataloader(
        self, eval_dataset: ExtractionDataset | str | None = None
    ) -> torch.utils.data.DataLoader:
        """Batches for scoring: only which examples they hold; `prediction_step` groups them by source."""
        training_collator, self.data_collator = self.data_collator, collate_indices
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.data_collator = training_collator

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Tensor], prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[None, Tensor, Tensor]:
        """Counts of every task of every example, so that shards add up and duplicates can be dropped.

        Args:
            model: The model, possibly wrapped.
            inputs: A batch of `get_eval_dataloader`.
            prediction_loss_only: Ignored: scores need the structures.
            ignore_keys: Ignored.

        Returns:
            No loss, rows of counts `(B, tasks * 3)` and a dummy label a row.
        """
        index = inputs["example_index"]
        examples = [self._scored_dataset.examples[i] for i in index.tolist()]
        rows = torch.zeros((len(examples), len(TASKS) * 3), dtype=torch.long)
        # Every text is asked the whole schema of its source, whatever else is in the batch: so batch size and
        # number of processes change no count.
        for source in {id(example.source): example.source for example in examples}.values():
            places = [i for i, example in enumerate(examples) if example.source is source]
            rows[places] = torch.from_numpy(self.score_batch([examples[i] for i in places]))
        rows = rows.to(self.args.device)
        return None, rows, torch.ones((len(rows), 1), dtype=torch.long, device=rows.device)

    def evaluation_loop(self, dataloader: Any, *args: Any, **kwargs: Any) -> Any:
        """As in `Trainer`; remembers whose examples the batches index."""
        self._scored_dataset = dataloader.dataset
        # A new one for every scoring: it keeps the label states of the weights as they are now.
        self._scoring = UniversalIEPipeline(
            model=self.accelerator.unwrap_model(self.model),
            processor=self.data_collator.processor,
            device=self.args.device,
        )
        return super().evaluation_loop(dataloader, *args, **kwargs)

    def score_batch(self, examples: list[Example]) -> np.ndarray:
        """Extract from texts of one source, as a user would, and compare with gold.

        Args:
            examples: The texts.

        Returns:
            Counts `(B, tasks * 3)`.
        """
        schema = examples[0].source.schema
        inputs = [scoring_input(example.record, schema) for example in examples]
        with torch.inference_mode(), self.compute_loss_context_manager():
            results = self._scoring(inputs, schema=schema, batch_size=len(examples), progress=False)
        counts = [count_tasks(x.record, found, schema) for x, found in zip(examples, results, strict=True)]
        return np.stack(counts).reshape(len(examples), -1)


def scoring_input(record: dict, schema: Schema) -> str | dict[str, str]:
    """What the pipeline is given for a record: its text, with its question where questions are asked."""
    if schema.question is None or not record.get("question"):
        return record["text"]
    return {"text": record["text"], "question": record["question"]}


def collate_indices(examples: list[Example]) -> dict[str, Tensor]:
    """Where the examples of a batch stand in their data set."""
    return {"example_index": torch.tensor([example.index for example in examples])}
