"""Work for all cores: as many threads, each of which computes alone, so that none waits for another at every matrix.

On small models this is faster than letting PyTorch divide each operation, far faster when other programs want the cores
too, and the results do not depend on how many threads there are.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

from bge_cpu.machine.cpu import available_cpus


@contextmanager
def workers(threads: int | None = None) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads in which PyTorch uses one core each.

    Args:
        threads: How many; None means one for each core this process may use.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads or available_cpus(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)
