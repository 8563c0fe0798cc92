"""What a first start says of itself, in the log `bge_cpu.quantization`: what is done once, and how long that takes.

The library only logs; the command line and the service show the log on stderr, with or without a terminal.
"""

import logging

_log = logging.getLogger("bge_cpu.quantization")
_LARGE = 1 << 30  # bytes of a checkpoint's weights


def tell(what: str, weights: int) -> None:
    """Say what begins now.

    Args:
        what: In words: "building ...".
        weights: The bytes of the checkpoint's weights, which decide how long it takes.
    """
    _log.info("%s, once: %s", what, "about half a minute" if weights >= _LARGE else "some seconds")
