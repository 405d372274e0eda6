"""What somebody meant to type: near words, and words other tools use."""

from collections.abc import Iterable

SYNONYMS = {
    "length": "duration",
    "seconds": "duration",
    "ratio": "aspect_ratio",
    "format": "aspect_ratio",
    "aspect": "aspect_ratio",
    "neg": "negative_prompt",
    "negative": "negative_prompt",
    "guidance": "cfg_scale",
    "cfg": "cfg_scale",
    "audio": "sound",
    "repeat": "takes",
    "scenes": "multi_prompt",
}
MOST = 14
ADVICE = {
    "seed": "this model has no seed; use takes",
    "resolution": "always 4K",
}


def near(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """The known word that was meant, or an empty text."""
    import difflib  # noqa: PLC0415 - only a misspelling needs it

    words = list(known)
    plain = word.strip().lower().replace("-", "_").replace(" ", "_")
    if plain in words:
        return plain
    if SYNONYMS.get(plain) in words:
        return SYNONYMS[plain]
    found = difflib.get_close_matches(plain, words, n=1, cutoff=cutoff)
    return found[0] if found else ""


def hint(word: str, known: Iterable[str]) -> str:
    """A label that helps with an unknown word."""
    words = list(known)
    if word in ADVICE:
        return ADVICE[word]
    meant = near(word, words)
    if meant:
        return f"did you mean `{meant}`?"
    return f"known: {listed(words)}" if 0 < len(words) <= MOST else ""


def listed(words: Iterable[object], conjunction: str = "and") -> str:
    """Words in a sentence: `a, b and c`."""
    texts = [str(word) for word in words]
    if len(texts) < 2:  # noqa: PLR2004
        return "".join(texts)
    return f"{', '.join(texts[:-1])} {conjunction} {texts[-1]}"


def brief(words: Iterable[object], most: int = 5) -> str:
    """The first few words, and how many more there are: `a, b and 7 more`."""
    texts = [str(word) for word in words]
    rest = len(texts) - most
    return listed([*texts[:most], f"{rest} more"] if rest > 0 else texts)
