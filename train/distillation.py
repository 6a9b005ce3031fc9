"""Transfer (eq. 19-20, Algorithm 1): a student learns its teachers' link probabilities beside the gold links.

`DistillationCallback` adds the transfer loss to that of an `LDNetModel` by hooks on its forward pass, so it
works with any `Trainer` whose collator is an `LDNetCollator` with the same teacher.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from ldnet.heads import LinkScores
from ldnet.modeling_ldnet import LDNetModel
from ldnet.output_ldnet import LDNetOutput
from ldnet.train.link_probabilities import CLASS_KIND, legal_cells, link_log_odds
from ldnet.train.teachers import Teacher, TeacherError

# TA (both directions), AS and A2A, as `LinkScores` has them.
FIELDS_OF_KIND = (("open", "close"), ("inside",), ("next",))


@dataclass(frozen=True)
class TransferSettings:
    """How student and teacher are compared.

    Args:
        weight: Weight of the transfer loss against the others, above 0. The default fits `"support"`, whose
            gradient is a few percent of the link loss's; `"sum"` needs about a tenth of it.
        form: `"mse"`: squared difference of the probabilities (eq. 20); `"kl"`: Kullback-Leibler divergence
            of each cell's on/off distribution from the teacher's.
        reduction: Over the cells of a kind: `"mean"` over all legal ones (the paper, whose mean is over even
            more), `"support"`: mean over those where teacher or student is above `support_floor`, `"sum"`.
        support_floor: Probability from which a cell belongs to the support, in (0, 1).

    Raises:
        TeacherError: With every setting that is out of range.
    """

    weight: float = 10.0
    form: Literal["mse", "kl"] = "mse"
    reduction: Literal["support", "mean", "sum"] = "support"
    support_floor: float = 0.01

    def __post_init__(self) -> None:
        problems = []
        if not 0.0 < self.weight < float("inf"):
            problems.append(
                f"transfer_weight: {self.weight} would train without a teacher; it must be above 0. Use "
                "ldnet finetune to train without"
            )
        if self.form not in ("mse", "kl"):
            problems.append(f"transfer_loss: {self.form!r} is unknown; use 'mse' or 'kl'")
        if self.reduction not in ("support", "mean", "sum"):
            problems.append(
                f"transfer_reduction: {self.reduction!r} is unknown; use 'support', 'mean' or 'sum'"
            )
        if not 0.0 < self.support_floor < 1.0:
            problems.append(
                f"support_floor: {self.support_floor} is out of range; it must lie in (0, 1), for "
                "instance 0.01"
            )
        if problems:
            raise TeacherError("\n".join(problems))


def transfer_loss(
    log_odds: LinkScores, probs: LinkScores, legal: LinkScores, settings: TransferSettings
) -> Tensor:
    """Transfer loss L_MT summed over TA, AS and A2A, one value a text (eq. 19-20).

    Args:
        log_odds: The student's gated link log-odds.
        probs: The teacher's probabilities, same shapes.
        legal: Cells to compare, same shapes.
        settings: Form and reduction.

    Returns:
        Losses `(B,)`, before their weight; 0 where there is no cell.
    """
    total = log_odds.open.new_zeros(len(log_odds.open), dtype=torch.float32)
    for fields in FIELDS_OF_KIND:
        odds, wanted, counted = (
            torch.cat([getattr(part, name).flatten(1) for name in fields], dim=1)
            for part in (log_odds, probs, legal)
        )  # (B, cells)
        found, wanted = torch.sigmoid(odds), wanted.clamp(0.0, 1.0)  # means may round to more than 1
        if settings.form == "mse":
            values = (wanted - found) ** 2
        else:
            on, off = nn.functional.logsigmoid(odds), nn.functional.logsigmoid(-odds)
            certain = torch.special.entr(wanted) + torch.special.entr(1 - wanted)
            values = -(wanted * on + (1 - wanted) * off) - certain
        if settings.reduction == "support":
            counted = counted & ((wanted > settings.support_floor) | (found > settings.support_floor))
        summed = values.masked_fill(~counted, 0.0).sum(1)
        total = total + (summed if settings.reduction == "sum" else summed / counted.sum(1).clamp(min=1))
    return total


def comparable_cells(
    targets: dict[str, Any], token_mask: Tensor, is_class: Tensor, lower: bool
) -> LinkScores:
    """Legal cells about which the teacher of a batch says something.

    Args:
        targets: What the teacher gave in the collator.
        token_mask (`torch.BoolTensor` of shape `(B, L)`): True on tokens that can bound a span.
        is_class (`torch.BoolTensor` of shape `(M,)`): True for class labels.
        lower: As `Teacher.lower`.

    Returns:
        Boolean matrices in the shapes of `LinkScores`.
    """
    label_mask = targets["label_mask"] & targets["found"][:, None]
    kinds = targets["kinds"] & targets["found"][:, None]
    legal = legal_cells(token_mask, label_mask, is_class, kinds, lower)
    if "windows" in targets:
        together = torch.zeros_like(legal.next)
        place = torch.arange(token_mask.shape[1], device=token_mask.device)
        text, first, stop = targets["windows"].unbind(1)
        held = (place >= first[:, None]) & (place < stop[:, None])  # (windows, L)
        pairs = (held[:, :, None] & held[:, None, :]).int()
        together = together.int().index_add_(0, text, pairs) > 0
        legal = legal._replace(inside=legal.inside & together, next=legal.next & together)
    if "unknown" in targets:
        for matrix, kind in ((legal.inside, 2), (legal.next, 3)):
            text, _, row, column = targets["unknown"][targets["unknown"][:, 1] == kind].unbind(1)
            matrix[text, row, column] = False
    return legal


class DistillationCallback(TrainerCallback):
    """Adds the transfer loss to the loss of the model that is trained.

    Args:
        teacher: A `StoredTeacher` or `LiveTeacher`; the same object is the collator's `teacher`.
        settings: How student and teacher are compared.
    """

    def __init__(self, teacher: Teacher, settings: TransferSettings | None = None):
        if teacher is None:
            raise TeacherError("DistillationCallback: teacher is None; give a StoredTeacher or a LiveTeacher")
        self.teacher, self.settings = teacher, settings or TransferSettings()
        self.hooks: list[Any] = []
        self._reset()

    def _reset(self) -> None:
        self.batches = 0  # since the last log
        self.sums: Tensor | None = None  # of loss and share of taught texts
        self.new_batches = 0  # since the last step
        self.epoch_batches = 0
        self.taught: Tensor | int = 0  # texts of the epoch that have a teacher

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Hook into the model and bring the teacher to its device."""
        student = next((part for part in kwargs["model"].modules() if isinstance(part, LDNetModel)), None)
        if student is None:
            raise TeacherError(
                f"DistillationCallback: {type(kwargs['model']).__name__} holds no LDNetModel; train one"
            )
        self.remove_hooks()
        self._reset()
        dtype = torch.bfloat16 if args.bf16 else torch.float16 if args.fp16 else None
        self.teacher.prepare(args.device, dtype)
        self.hooks = [
            student.register_forward_pre_hook(self._ask_for_logits, with_kwargs=True),
            student.register_forward_hook(self._add_loss, with_kwargs=True),
        ]

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave the model as it was."""
        self.remove_hooks()

    def remove_hooks(self) -> None:
        """Take the hooks off the model; training does so at its end."""
        for hook in self.hooks:
            hook.remove()
        self.hooks = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Refuse a step that no teacher saw."""
        if not self.new_batches:
            raise TeacherError(
                "DistillationCallback: the model was trained past its hooks; train it with the "
                "Trainer that has the callback"
            )
        self.new_batches = 0

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Refuse an epoch without any teacher."""
        if self.epoch_batches and not int(self.taught):  # a resumed epoch may have no batch left
            raise TeacherError(
                "DistillationCallback: no text of the epoch has a teacher; write the store from these texts"
            )
        self.epoch_batches, self.taught = 0, 0

    def on_log(self, args: Any, state: Any, control: Any, logs: dict | None = None, **kwargs: Any) -> None:
        """Log `transfer_loss` (unweighted) and `taught_share`: means over this process's batches."""
        if self.batches and logs is not None and "loss" in logs:
            loss, share = (self.sums / self.batches).tolist()
            own = {"transfer_loss": loss, "taught_share": share}
            logs.update(own)
            state.log_history[-1].update(own)
            self.batches, self.sums = 0, None

    @staticmethod
    def _trains(module: nn.Module, kwargs: dict[str, Any]) -> bool:
        return module.training and kwargs.get("labels") is not None

    def _ask_for_logits(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple:
        return args, kwargs | {"return_logits": True} if self._trains(module, kwargs) else kwargs

    def _add_loss(
        self, module: LDNetModel, args: tuple, kwargs: dict[str, Any], output: LDNetOutput
    ) -> LDNetOutput:
        if not self._trains(module, kwargs):
            return output
        targets, labels = kwargs.get("teacher"), kwargs["labels"]
        if targets is None:
            raise TeacherError(
                "DistillationCallback: a batch comes without its teacher's targets; train with "
                "LDNetCollator(processor, teacher=...) and remove_unused_columns=False"
            )
        with torch.autocast(labels.device.type, enabled=False):
            losses = self.losses(module, kwargs, output, targets)
        counted = (labels != -100).float()
        items = kwargs.get("num_items_in_batch")
        # Divided like the model's own loss, so that gradient accumulation is exact.
        loss = (losses * counted).sum() / (counted.sum().clamp(min=1) if items is None else items)
        output.loss = output.loss + self.settings.weight * loss
        self._count(losses.detach(), targets["found"])
        return output

    def losses(
        self, student: LDNetModel, batch: dict[str, Any], output: LDNetOutput, targets: dict[str, Any]
    ) -> Tensor:
        """Transfer loss of each text of a batch, `(B,)`.

        Args:
            student: The model.
            batch: What it was called with.
            output: What it returned, with logits.
            targets: What the teacher gave in the collator.
        """
        is_class = batch["schema_kinds"] == CLASS_KIND
        odds = link_log_odds(output.link_logits, output.relevance_logits, student.config, is_class)
        probs = self.teacher.probabilities(targets, [score.shape for score in odds])
        legal = comparable_cells(targets, batch["token_mask"], is_class, self.teacher.lower)
        return transfer_loss(odds, probs, legal, self.settings)

    def _count(self, losses: Tensor, found: Tensor) -> None:
        taught = found.sum()
        now = torch.stack([losses.sum() / taught.clamp(min=1), taught / len(found)])
        self.sums = now if self.sums is None else self.sums + now
        self.taught = self.taught + taught
        self.batches += 1
        self.new_batches += 1
        self.epoch_batches += 1
