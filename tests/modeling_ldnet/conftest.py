"""Models, inputs and gold links for tests of the model."""

from functools import partial

import pytest
import torch

from ldnet.heads import Gates, LinkQueries
from ldnet.losses import LinkTargets

TEXTS = ["Tim works for Apple.", "Ada is in the place, for the person of the organization.", "Åse"]
SCHEMA = {"entities": ["person", "organization of the place"], "relations": ["works for", "in"]}
# Every encoder with the attention that it takes by itself, and BERT as the paper has it.
SETTINGS = {
    "bert-prefix": ("bert", {}),
    "roberta-prefix": ("roberta", {}),
    "modernbert-prefix": ("modernbert", {}),
    "deberta-v2-full": ("deberta-v2", {}),
    "bert-full": ("bert", {"schema_attention": "full"}),
}


@pytest.fixture(params=SETTINGS.values(), ids=SETTINGS.keys())
def make_any_model(request, make_model):
    """`make_any_model(**config)`: `make_model` with every encoder in turn."""
    kind, config = request.param
    return partial(make_model, kind, **config)


@pytest.fixture
def any_model(make_any_model):
    """A tiny model with every encoder in turn."""
    return make_any_model()


@pytest.fixture(scope="session")
def run():
    """`run(model, inputs)`: output without gradients, dense logits included."""

    @torch.no_grad()
    def call(model, inputs, **options):
        return model(**inputs, return_logits=True, **options)

    return call


@pytest.fixture(scope="session")
def take_texts():
    """`take_texts(inputs, texts)`: the inputs of some texts, without padding that they do not need."""

    def take(inputs, texts):
        length = int(inputs["attention_mask"][texts].sum(1).max())
        of_texts = {
            name: inputs[name][texts, :length] for name in ("input_ids", "attention_mask", "token_mask")
        }
        return inputs | of_texts

    return take


@pytest.fixture(scope="session")
def make_inputs(make_processor):
    """`make_inputs(model, texts, schema)`: what the processor gives to `forward`."""

    def make(model, texts=TEXTS, schema=SCHEMA):
        return dict(make_processor(model.config)(texts, schema))

    return make


@pytest.fixture(scope="session")
def make_gold():
    """`make_gold(inputs, seed)`: three random gold links a kind and text, as arguments of `forward`; with
    `candidates=True` two candidates a text as well.
    """

    def make(inputs, seed=0, candidates=False):
        generator = torch.Generator().manual_seed(seed)
        batch, num_labels = len(inputs["input_ids"]), len(inputs["schema_kinds"])
        found = {"open_links": [], "close_links": [], "inside_links": [], "next_links": []}
        for text in range(batch):
            tokens = inputs["token_mask"][text].nonzero().flatten()
            for _ in range(3):
                first, second = sorted(tokens[torch.randint(len(tokens), (2,), generator=generator)].tolist())
                label = int(torch.randint(num_labels, (), generator=generator))
                found["open_links"].append((text, label, first))
                found["close_links"].append((text, label, second))
                found["inside_links"].append((text, first, second))
                found["next_links"].append((text, second, first))
        gold = {
            "labels": torch.ones(batch, dtype=torch.long),
            **{name: torch.tensor(rows) for name, rows in found.items()},
            "annotated": torch.ones((batch, num_labels), dtype=torch.bool),
            "supervision": torch.ones((batch, 3), dtype=torch.bool),
            "partial": torch.zeros(batch, dtype=torch.bool),
        }
        if candidates:
            pieces = [(i, place, 1, 1) for i in range(2 * batch) for place in (0, 1)]
            gold |= {
                "candidate_text": torch.arange(batch).repeat_interleave(2),
                "candidate_label": torch.zeros(2 * batch, dtype=torch.long),
                "candidate_pieces": torch.tensor(pieces),
                "candidate_gold": torch.arange(2 * batch) % 2 == 0,
            }
        return gold

    return make


@pytest.fixture(scope="session")
def make_targets():
    """`make_targets(seed, batch, labels, length)`: random `LinkTargets`, some in cells that are not legal."""

    def make(seed, batch=2, labels=2, length=4):
        generator = torch.Generator().manual_seed(seed)

        def index(rows, columns, upper=False):
            count = int(torch.randint(4, (), generator=generator)) * min(rows, 1)
            sizes = (batch, max(rows, 1), columns)
            drawn = torch.stack([torch.randint(size, (count,), generator=generator) for size in sizes], 1)
            return torch.cat([drawn[:, :1], drawn[:, 1:].sort(1).values], 1) if upper else drawn

        def flags(*shape, share=0.8):
            return torch.rand(shape, generator=generator) < share

        inside = torch.cat([index(length, length, upper=True), index(length, length)[:1]])
        return LinkTargets(
            open=index(labels, length),
            close=index(labels, length),
            inside=inside,
            next=index(length, length),
            label_mask=flags(batch, labels),
            kinds=torch.randint(0, 3, (labels,), generator=generator),
            token_mask=flags(batch, length),
            supervision=flags(batch, 3),
            partial=flags(batch, share=0.5),
        )

    return make


@pytest.fixture(scope="session")
def make_queries():
    """`make_queries(seed, batch, labels, length, shift)`: random states; `shift` moves every score."""

    def make(seed, batch=1, labels=2, length=4, shift=0.0, size=4):
        generator = torch.Generator().manual_seed(seed)

        def states(*shape):
            return torch.randn((*shape, size), generator=generator)

        def shifted(queries):
            return torch.cat([queries, torch.full_like(queries[..., :1], shift)], -1)

        def constant(keys):
            return torch.cat([keys, torch.ones_like(keys[..., :1])], -1)

        per_label = (
            (batch, labels) if seed % 2 else (labels,)
        )  # full attention has label states of every text
        return LinkQueries(
            label_query=shifted(states(*per_label)),
            label_key=shifted(states(*per_label)),
            text_query=constant(states(batch, length)),
            text_key=constant(states(batch, length)),
            inside_query=shifted(states(batch, length)),
            inside_key=constant(states(batch, length)),
            next_query=shifted(states(batch, length)),
            next_key=constant(states(batch, length)),
        )

    return make


@pytest.fixture(scope="session")
def make_gates():
    """`make_gates(seed, batch, labels, length, close_by_marker)`: random logits, mostly relevant."""

    def make(seed, batch=1, labels=2, length=4, close_by_marker=False):
        generator = torch.Generator().manual_seed(seed + 1)
        widths = (length, labels if close_by_marker else length, length, length)
        return Gates(*(2 * torch.randn((batch, width), generator=generator) + 1.5 for width in widths))

    return make
