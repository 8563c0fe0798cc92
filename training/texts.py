"""Records -> queries and passages: windows of long texts, and the other shapes that people give their questions."""

import gzip
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

FIELDS = {"query": str, "positive": str, "negatives": list, "lang": str, "source": str}

_SENTENCE = re.compile(r".+?(?:[。！？；!?]+[」』”）)]*|[.;](?=\s|$)|\n|$)\s*", re.DOTALL)
_QUESTION_EN = re.compile(
    r"(?:an?|and|any|are|as|at|be|been|being|by|can|could|did|do(?:es)?|for|from|had|ha[sv]e?|how|i|if|i[ns]|its?|me|my|o[fnr]|"
    r"our|should|that|the|their|there|these|they|this|those|to|was|we|were|wh(?:at|en|ere|ich|om?|ose|y)|will|with|"
    r"would|you|your)",
    re.IGNORECASE,
)
_QUESTION_ZH = re.compile(
    r"请问|請問|为什么|為什麼|什么时候|什麼時候|什么|什麼|怎么样|怎么|怎麼|怎样|怎樣|如何|哪一年|哪些|哪个|哪個|哪里|哪裡|哪|"
    r"多少|几|幾|谁|誰|何时|何時|是否|是不是|有没有|有沒有|吗|嗎|呢|的|了|是|[？?！!，,。、]"
)


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a training file.

    Attributes:
        query: The question.
        positive: A passage that answers it.
        negatives: Passages that do not; may be empty.
        lang: "en", "zh", "zh-Hant".
        source: The data set.
    """

    query: str
    positive: str
    negatives: tuple[str, ...]
    lang: str
    source: str


def read(file: Path) -> Iterator[Record]:
    """The records of a JSONL file (.gz or plain), in order. Blank lines and fields of other names are passed over.

    Raises:
        ValueError: A line is not a record; it names file, line and field.
    """
    with (gzip.open if file.suffix == ".gz" else open)(file, "rb") as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                try:
                    yield _record(line)
                except ValueError as error:
                    raise ValueError(f"{file}:{number}: {error}") from None


def _record(line: bytes) -> Record:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise ValueError(f"no JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"a record is an object with {', '.join(FIELDS)}, not {type(found).__name__}")
    for field, kind in FIELDS.items():
        if not isinstance(found.get(field), kind):
            raise ValueError(f"{field} is a {kind.__name__}, not {type(found.get(field)).__name__}")
        if kind is str and not found[field].strip():
            raise ValueError(f"{field} is empty")
    for text in found["negatives"]:
        if not isinstance(text, str):
            raise ValueError(f"negatives is a list of str, not of {type(text).__name__}")
    return Record(**{field: found[field] for field in FIELDS} | {"negatives": tuple(found["negatives"])})


def sentences(text: str) -> list[str]:
    """A text's sentences; joined, they are the text again.

    >>> sentences("今天下雨。带伞！ It rains, e.g. 3.5 mm. Take care.")
    ['今天下雨。', '带伞！ ', 'It rains, e.g. ', '3.5 mm. ', 'Take care.']
    """
    return _SENTENCE.findall(text)


def windows(text: str, length: Callable[[Sequence[str]], list[int]], limit: int) -> list[str]:
    """Cut a text between sentences into windows of about equal length, none longer than `limit`.

    A single sentence longer than `limit` is cut into even parts; nothing but space around windows is dropped. A window
    that is too long all the same, since tokens do not lie evenly in it, is halved until it fits or is one character.

    Args:
        text: Any text.
        length: Texts -> their lengths in tokens.
        limit: The longest window, in tokens.
    """
    parts: list[tuple[str, int]] = []
    pieces = sentences(text)
    for sentence, tokens in zip(pieces, length(pieces), strict=True):
        cuts = -(-tokens // limit) if tokens else 1
        size = -(-len(sentence) // cuts)
        slices = [sentence[start : start + size] for start in range(0, len(sentence), size)]
        parts += [(part, -(-tokens // cuts)) for part in slices]
    total = sum(tokens for _, tokens in parts)
    target = total / max(1, -(-total // limit))
    made, held, seen = [""], 0, 0
    for part, tokens in parts:
        if held and (held + tokens > limit or seen >= len(made) * target):
            made.append("")
            held = 0
        made[-1] += part
        held += tokens
        seen += tokens
    return _halved([window.strip() for window in made if window.strip()], length, limit)


def _halved(parts: list[str], length: Callable[[Sequence[str]], list[int]], limit: int) -> list[str]:
    made: list[str] = []
    for part, tokens in zip(parts, length(parts), strict=True):
        if tokens <= limit or len(part) == 1:
            made.append(part)
        else:
            middle = len(part) // 2
            made += _halved([part[:middle].strip(), part[middle:].strip()], length, limit)
    return made


def keywords(query: str, lang: str) -> str:
    """A question as people type it into a search box: without its function words; itself if little would be left.

    >>> keywords("What are the symptoms of kidney stones?", "en"), keywords("黄鹤楼是什么时候建的？", "zh")
    ('symptoms kidney stones', '黄鹤楼 建')
    """
    if lang.startswith("zh"):
        kept = _QUESTION_ZH.sub(" ", query).split()
    else:
        kept = [word for word in re.findall(r"[\w'’-]+", query) if not _QUESTION_EN.fullmatch(word)]
    return " ".join(kept) if sum(map(len, kept)) >= 4 else query


def excerpt(text: str, lang: str, rng: random.Random) -> str:
    """A sentence of a passage, or a few words in a row from one, to serve as a query that no one has labelled."""
    sentence = rng.choice(sentences(text)).strip()
    if rng.random() < 0.5 and len(sentence) <= (60 if lang.startswith("zh") else 240):
        return sentence
    if lang.startswith("zh"):
        clauses = [clause for clause in re.split(r"[，。、；：！？,.;:!?（）()《》「」“”\s]+", sentence) if clause]
        return rng.choice(clauses)[:12] if clauses else sentence[:12]
    words = sentence.split()
    size = rng.randint(2, 6)
    start = rng.randrange(max(1, len(words) - size + 1))
    return " ".join(words[start : start + size]).strip(" ,.;:()\"'").lower() or words[0]
