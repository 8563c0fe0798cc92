"""Objects of libraries that keep threads: a forked process inherits the object, but not its threads."""

import ctypes
import os
import weakref
from typing import Any

_KEPT: "weakref.WeakSet[Any]" = weakref.WeakSet()


def keep_in_forks(thing: Any) -> None:
    """Never free an object in a process forked from this one, where that would wait for threads that stayed here.

    A forked process then exits, and drops the object, without a hitch; the memory is shared with its parent anyway.
    """
    _KEPT.add(thing)


def _keep() -> None:
    for thing in _KEPT:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep)
