"""The oracle: gold structures encoded into links and decoded again, without a model."""

from ldnet.processing.links import decode_links, encode_links
from ldnet.processing.processing_ldnet import LDNetProcessor
from ldnet.processing.results import build_result
from ldnet.processing.schema import Schema


def oracle_extraction(record: dict, schema: Schema, processor: LDNetProcessor) -> tuple[dict, list[str]]:
    """What a model with perfect links would extract from a text.

    Args:
        record: A record with gold structures.
        schema: What is asked for.
        processor: Tokenises and knows how loops run; its length limit does not count here.

    Returns:
        The extraction, and one line for each structure that could not be encoded.
    """
    tokens = processor.tokenize_texts([record["text"]])[0]
    links = encode_links(record, schema, tokens, processor.limits)
    loops, truncated = decode_links(links, schema, processor.limits)
    return build_result(record["text"], loops, tokens, schema, truncated=truncated), links.unaligned
