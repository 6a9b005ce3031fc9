"""Texts that were seen in training: equal ones by their words, near-duplicates by runs of words."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import yaml

from ldnet.train.data import SUFFIXES, RecordError, read_records

WORDS_OF_RUN = 5
SEEN_SHARE = 0.5
SHOWN_CHARACTERS = 80
LISTS = ("train", "replay")  # of record files in a configuration
# Scripts written without spaces: a character is a word there (Thai, Lao, Myanmar, Khmer, kana, Han).
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
WORD = re.compile(f"[{UNSPACED}]|[^\\W_{UNSPACED}]+")


def words_of(text: str) -> list[str]:
    """What is compared of a text: its words without case, punctuation, spacing and forms of one character.

    Args:
        text: A text.

    Returns:
        Words (NFKC, case-folded); a text without letters and digits is split at white space.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return WORD.findall(folded) or folded.split()


def text_hash(words: Sequence[str]) -> bytes:
    """64 bits that equal texts share, and others practically never."""
    return blake2b(" ".join(words).encode("utf-8", "surrogatepass"), digest_size=8).digest()


@dataclass(frozen=True)
class Overlap:
    """A text that was seen in training.

    Args:
        index: Its place among the texts.
        kind: `"exact"`: its words are those of a training text; `"near"`: many of its runs of words are.
        share: Share of its runs that were seen, in [0, 1]; 1 if exact.
        place: The training text: the equal one, or the one where most of the runs were seen first.
        text: The text, shortened.
    """

    index: int
    kind: str
    share: float
    place: str
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Plain form for JSON."""
        return asdict(self)


class OverlapFinder:
    """Compares a few texts with any number of training texts, which stream through `add`.

    Only the runs of the few texts are kept, whatever is streamed: memory grows with them alone, time with the
    words of both. A text is a near-duplicate if at least `share` of its distinct runs of `run` words occur in
    training texts, be it in one or spread over several. Shorter texts have no run: for them only equality
    counts.

    Args:
        texts: The texts that must not have been seen.
        run: Words of a run (n of the n-grams), at least 1.
        share: Share of runs from which a text counts as seen, in (0, 1].

    Raises:
        ValueError: If `run` or `share` is out of range.
    """

    def __init__(self, texts: Sequence[str], run: int = WORDS_OF_RUN, share: float = SEEN_SHARE):
        if run < 1 or not 0.0 < share <= 1.0:
            raise ValueError(
                f"overlap: runs of {run} words, share {share}; a run needs a word, a share lies in (0, 1]"
            )
        self.run, self.share = run, share
        self.texts = list(texts)
        self.added = 0
        self._hashes: list[bytes] = []
        self._runs_of: list[list[int]] = []
        self._run_ids: dict[tuple[str, ...], int] = {}
        for text in self.texts:
            words = words_of(text)
            self._hashes.append(text_hash(words))
            self._runs_of.append(
                [
                    self._run_ids.setdefault(key, len(self._run_ids))
                    for key in dict.fromkeys(self._runs(words))
                ]
            )
        self._known = set(self._hashes)
        self._equal: dict[bytes, str] = {}  # hash -> place of the first training text that has it
        self._seen: dict[int, str] = {}  # run -> place of the first training text that holds it

    def _runs(self, words: list[str]) -> Iterator[tuple[str, ...]]:
        return zip(*(words[i:] for i in range(self.run)), strict=False)

    def add(self, text: str, place: str) -> None:
        """Compare a training text.

        Args:
            text: The text.
            place: What reports call it.
        """
        self.added += 1
        words = words_of(text)
        key = text_hash(words)
        if key in self._known:
            self._equal.setdefault(key, place)
        known = self._run_ids
        for run in self._runs(words):
            if run in known:
                self._seen.setdefault(known[run], place)

    def overlaps(self) -> list[Overlap]:
        """The texts that were seen, in their order."""
        found = []
        for i, text in enumerate(self.texts):
            shown = text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"
            if (place := self._equal.get(self._hashes[i])) is not None:
                found.append(Overlap(i, "exact", 1.0, place, shown))
                continue
            runs = self._runs_of[i]
            places = Counter(self._seen[run] for run in runs if run in self._seen)
            seen = places.total() / len(runs) if runs else 0.0
            if runs and seen >= self.share:
                found.append(Overlap(i, "near", seen, places.most_common(1)[0][0], shown))
        return found


def training_files(names: Sequence[str], root: str = "") -> list[Path]:
    """Record files that a training has read.

    Args:
        names: Record files; folders of a data set (its `train.*` files); YAML or JSON files with a key
            `train` (and `replay`) that lists such names, as the configuration of a training has.
        root: Folder that relative names start from, those in lists too.

    Returns:
        The files, each once.

    Raises:
        RecordError: With every name that leads to no record file.
    """
    found: dict[Path, None] = {}
    problems: list[str] = []
    for name in names:
        listed, problem = _listed(name, root)
        problems += [problem] if problem else []
        for path in (Path(root) / item for item in listed):
            files = sorted(path.glob("train.*")) if path.is_dir() else [path]
            files = [file for file in files if file.name.lower().endswith(SUFFIXES)]
            found |= dict.fromkeys(files)
            if not files or not all(file.is_file() for file in files):
                problems.append(f"{path}: no record file; name one, or a folder with train.jsonl")
    if problems:
        raise RecordError(problems)
    return list(found)


def _listed(name: str, root: str) -> tuple[list[str], str | None]:
    """The names behind a name: itself, or what a configuration lists; and what is wrong with it."""
    if not name.endswith((".yaml", ".yml", ".json")):
        return [name], None
    # A configuration lies in the working folder, what it lists in the root.
    path = Path(name) if Path(name).is_file() else Path(root) / name
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.suffix != ".json" else _json(path)
    except (OSError, ValueError, yaml.YAMLError) as error:
        return [], f"{path}: cannot be read ({str(error).splitlines()[0]}); name a file with a key 'train'"
    if path.suffix == ".json" and not (isinstance(content, dict) and "train" in content):
        return [name], None  # records
    listed = [content.get(key, []) for key in LISTS] if isinstance(content, dict) else []
    if not any(listed) or not all(isinstance(files, list) for files in listed):
        return [], f"{path}: has no list of record files under 'train'; write one"
    return [str(file) for files in listed for file in files], None


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8-sig"))


def add_files(finder: OverlapFinder, files: Sequence[Path]) -> None:
    """Stream the texts of record files; one file at a time is in memory.

    Args:
        finder: Compares them.
        files: Record files.

    Raises:
        RecordError: If a file cannot be read.
    """
    for file in files:
        for i, record in enumerate(read_records(file)):
            if isinstance(record.get("text"), str):
                finder.add(record["text"], f"{file}[{i}]")
