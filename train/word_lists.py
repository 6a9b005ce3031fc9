"""Lists of words in YAML files: other names for labels, phrasings of instructions."""

from pathlib import Path

import yaml

CONFIGS = Path(__file__).parent / "configs"


def load_word_lists(path: str, default: str) -> dict[str, list[str]]:
    """Read a YAML file that maps names to lists of texts.

    Args:
        path: The file; `"default"`: one of the package's own.
        default: Name of that one in `train/configs`.

    Returns:
        The lists, by name in small letters.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it holds anything else.
    """
    file = CONFIGS / default if path == "default" else Path(path)
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML ({str(error).splitlines()[0]}); mend the file") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: holds no names; write lists such as 'person: [human, individual]'")
    wrong = [
        f"{path}: {key!r} has {texts!r}; write a list of texts, such as 'person: [human, individual]'"
        for key, texts in content.items()
        if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts)
    ]
    if wrong:
        raise ValueError("\n".join(wrong))
    return {str(key).lower(): texts for key, texts in content.items()}
