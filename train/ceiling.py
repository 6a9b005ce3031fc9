"""The oracle: gold structures encoded into links and decoded again, without a model."""

from dataclasses import dataclass

from ldnet.processing.links import Loop, class_loops, decode_links, encode_loops
from ldnet.processing.processing_ldnet import LDNetProcessor
from ldnet.processing.record_loops import record_loops
from ldnet.processing.results import build_result
from ldnet.processing.schema import Schema


@dataclass(frozen=True)
class Oracle:
    """What models without a fault would extract from a text.

    Args:
        plain: From perfect links: every loop that closes is a structure.
        confirmed: From perfect links and a perfect confirmation of each loop.
        unaligned: One line for each structure that could not be encoded.
    """

    plain: dict
    confirmed: dict
    unaligned: list[str]


def oracle_extraction(record: dict, schema: Schema, processor: LDNetProcessor) -> Oracle:
    """Encode the structures of a record and decode them again.

    Args:
        record: A record with gold structures.
        schema: What is asked for.
        processor: Tokenises and knows how loops run; its length limit does not count here.

    Returns:
        The extractions.
    """
    (tokens,) = processor.tokenize_texts([record["text"]])
    gold, unaligned = record_loops(record, schema, tokens, processor.max_fragments)
    links = encode_loops(gold, processor.fragment_links)
    closed, truncated = decode_links(links, schema, processor.limits)
    meant = {(loop.label, loop.mentions) for loop in gold}
    classes = list(class_loops(links.classes, schema, [0.0] * len(schema.labels)))

    def result(loops: list[Loop]) -> dict:
        return build_result(record["text"], loops + classes, tokens, schema, truncated=truncated)

    confirmed = [loop for loop in closed if (loop.label, loop.mentions) in meant]
    return Oracle(result(closed), result(confirmed), unaligned)
