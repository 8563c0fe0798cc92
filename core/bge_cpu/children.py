"""Child processes that measure: what to say of one that failed."""


def why_it_failed(code: int, output: str) -> str:
    r"""Why a child process ended with a code other than 0, from that code and what it wrote.

    >>> why_it_failed(1, "Traceback ...\nMemoryError")
    'MemoryError'
    >>> why_it_failed(-9, "a warning")
    'it was killed by signal 9; for lack of memory, perhaps'
    """
    if code < 0:
        return f"it was killed by signal {-code}; for lack of memory, perhaps"
    return (output.strip().splitlines() or [f"it ended with {code}"])[-1]
