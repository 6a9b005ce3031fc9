"""Label drop looked at by itself: its accuracy as in Table 6, and precision, recall and F1 of relevance."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ldnet.configuration_ldnet import LDNetConfig
from ldnet.heads import Gates
from ldnet.losses import CLASS_KIND, LinkTargets, relevance_targets, scatter_links, share_token_links
from ldnet.modeling_ldnet import LDNetModel
from ldnet.processing.processing_ldnet import LDNetProcessor
from ldnet.train.collator import LDNetCollator
from ldnet.train.dataset import ExtractionDataset, Source
from ldnet.train.label_sampling import LabelSampler
from ldnet.train.metrics import PRF

KINDS = {"ta": ("open", "close"), "as": ("inside",), "a2a": ("next",)}
FIELDS = ("open", "close", "inside", "next")
BATCH_SIZE = 16


@dataclass(frozen=True)
class RelevanceCounts:
    """Additive counts of one gate.

    Args:
        right: Cells in which relevance, repeated over the rows, equals the gold link matrix.
        cells: Legal cells.
        relevance: Relevant tokens (or markers) found, invented and missed.
    """

    right: int = 0
    cells: int = 0
    relevance: PRF = PRF()

    def __add__(self, other: "RelevanceCounts") -> "RelevanceCounts":
        return RelevanceCounts(
            self.right + other.right, self.cells + other.cells, self.relevance + other.relevance
        )


def legal_cells(targets: LinkTargets, lower_triangle: bool) -> Gates:
    """Cells of each kind that are trained and decoded.

    Args:
        targets: Masks of a batch.
        lower_triangle: Whether AS has cells below the diagonal.

    Returns:
        Boolean masks: `open` and `close` of shape `(B, M, L)`, `inside` and `next` of shape `(B, L, L)`.
    """
    tokens, trained = targets.token_mask, targets.supervision[:, :, None, None]
    of_labels = (targets.label_mask & (targets.kinds != CLASS_KIND))[:, :, None] & tokens[:, None, :]
    pairs = tokens[:, :, None] & tokens[:, None, :]
    spans = pairs if lower_triangle else pairs.triu()
    return Gates(
        of_labels & trained[:, 0], of_labels & trained[:, 0], spans & trained[:, 1], pairs & trained[:, 2]
    )


def count_relevance(gates: Gates, targets: LinkTargets, config: LDNetConfig) -> dict[str, RelevanceCounts]:
    """Compare relevance with gold, cell by cell (Table 6) and token by token.

    Args:
        gates: Relevance logits.
        targets: Gold links.
        config: Of the model: what relevance means, and which cells there are.

    Returns:
        Counts of each gate, for `open`, `close`, `inside` and `next`.
    """
    form, shared = config.relevance_target, config.shared_links
    wanted = relevance_targets(targets, form, shared)
    legal = legal_cells(targets, config.max_fragments > 1 and config.fragment_links == "as")
    gold = share_token_links(targets) if shared else targets
    found = {}
    for name in FIELDS:
        cells = getattr(legal, name)
        by_marker = name == "close" and form != "text"
        said = getattr(gates, name) > 0
        repeated = said[:, :, None] if by_marker else said[:, None, :]
        links = scatter_links(getattr(gold, name), cells.shape)
        judged = cells.any(2 if by_marker else 1)
        found[name] = RelevanceCounts(
            right=int(((repeated == links) & cells).sum()),
            cells=int(cells.sum()),
            relevance=_prf(said & judged, getattr(wanted, name) & judged),
        )
    return found


def _prf(said: Tensor, wanted: Tensor) -> PRF:
    both = int((said & wanted).sum())
    return PRF(both, int(said.sum()) - both, int(wanted.sum()) - both)


def relevance_scores(
    model: LDNetModel,
    processor: LDNetProcessor,
    source: Source,
    records: list[dict],
    batch_size: int = BATCH_SIZE,
) -> dict[str, float]:
    """Label drop accuracy of each link kind and of all, and how well relevance was told.

    Args:
        model: The model, in evaluation mode.
        processor: Its processor.
        source: What was asked.
        records: Gold.
        batch_size: Texts at a time.

    Returns:
        `label_drop_accuracy`, `relevance_precision`, `relevance_recall` and `relevance_f1`, 0-100, each over
        all kinds and as `<name>_ta`, `_as`, `_a2a`; what is undefined is left out.
    """
    dataset = ExtractionDataset(processor, [(source, records)])
    collator = LDNetCollator(processor, LabelSampler(shuffle=False))
    total = dict.fromkeys(FIELDS, RelevanceCounts())
    for first in range(0, len(dataset), batch_size):
        batch = collator(dataset.examples[first : first + batch_size])
        batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
        with torch.inference_mode():
            gates = model(**batch, return_logits=True).relevance_logits
        counts = count_relevance(gates, targets_of(batch), model.config)
        total = {name: total[name] + counts[name] for name in FIELDS}
    return _scores(total)


def targets_of(batch: dict[str, Tensor]) -> LinkTargets:
    """Gold of a batch of the collator."""
    links = (batch[f"{name}_links"] for name in FIELDS)
    masks = (batch[name] for name in ("token_mask", "supervision", "partial"))
    return LinkTargets(*links, batch["annotated"], batch["schema_kinds"], *masks)


def _scores(total: dict[str, RelevanceCounts]) -> dict[str, float]:
    groups = {"": FIELDS} | {f"_{kind}": names for kind, names in KINDS.items()}
    scores: dict[str, float | None] = {}
    for suffix, names in groups.items():
        counts = sum((total[name] for name in names), RelevanceCounts())
        accuracy = 100 * counts.right / counts.cells if counts.cells else None
        scores[f"label_drop_accuracy{suffix}"] = accuracy
        scores |= {f"relevance_{name}{suffix}": value for name, value in counts.relevance.scores().items()}
    return {name: value for name, value in scores.items() if value is not None}
