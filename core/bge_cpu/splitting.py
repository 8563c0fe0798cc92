"""Where long texts are cut: into pieces for the tokenizer, into windows for the model. Pure functions."""

import math
from collections.abc import Iterator


def window_starts(tokens: int, room: int) -> list[int]:
    """Where windows of `room` tokens begin: evenly spread, overlapping by a quarter or more, the last at the end.

    >>> window_starts(1000, 400)
    [0, 300, 600]
    """
    overlap = room // 4
    count = math.ceil((tokens - overlap) / (room - overlap))
    return [round(number * (tokens - room) / (count - 1)) for number in range(count)]


def split(text: str, size: int) -> Iterator[str]:
    """Cut a text into pieces of at most `size` characters that are encoded apart as they would be together.

    A piece begins where white space begins, which is where tokenizers begin a word. A stretch of `size` characters
    without such a place is cut where it ends, which can make a token or two of one there.

    >>> list(split("one two  three", 8))
    ['one two', '  three']
    """
    start = 0
    while len(text) - start > size:
        cut = start + size
        while cut > start and not (text[cut].isspace() and not text[cut - 1].isspace()):
            cut -= 1
        cut = cut if cut > start else start + size
        yield text[start:cut]
        start = cut
    yield text[start:]
