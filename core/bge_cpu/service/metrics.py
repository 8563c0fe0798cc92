"""What Prometheus is told. With several processes, whichever answers tells the sum of all.

For that, `server` sets PROMETHEUS_MULTIPROC_DIR before the workers start: prometheus-client then keeps the figures in
files of that folder, one set per process, and adds them up when asked.
"""

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class Metrics:
    """The figures of this process."""

    def __init__(self) -> None:
        own = CollectorRegistry()
        self._registry = own
        self.requests = Counter("bge_cpu_requests", "Requests answered", ["endpoint", "status"], registry=own)
        self.errors = Counter("bge_cpu_errors", "Requests not served, by kind", ["kind"], registry=own)
        self.fallbacks = Counter("bge_cpu_fallbacks", "Requests answered in the order they came in", registry=own)
        self.pairs = Counter("bge_cpu_pairs", "Pairs scored; a window is one", registry=own)
        self.tokens = Counter("bge_cpu_tokens", "Tokens of these pairs", registry=own)
        self.truncated = Counter("bge_cpu_truncated_pairs", "Pairs of them that were cut to max_length", registry=own)
        self.latency = Histogram(
            "bge_cpu_request_seconds", "From request to answer", ["endpoint"], buckets=_SECONDS, registry=own
        )
        self.wait = Histogram(
            "bge_cpu_queue_wait_seconds", "From request to its first run of the model", buckets=_SECONDS, registry=own
        )
        self.compute = Histogram(
            "bge_cpu_compute_seconds", "From a request's first run to its last", buckets=_SECONDS, registry=own
        )
        self.documents = Histogram("bge_cpu_request_documents", "Documents per request", buckets=_SIZES, registry=own)
        self.queued_tokens = Gauge(
            "bge_cpu_queue_tokens", "Tokens accepted and not done", registry=own, multiprocess_mode="livesum"
        )
        self.queued_requests = Gauge(
            "bge_cpu_queue_requests", "Requests accepted and not done", registry=own, multiprocess_mode="livesum"
        )
        self.memory = Gauge(
            "bge_cpu_resident_memory_bytes", "Resident memory", registry=own, multiprocess_mode="liveall"
        )

    def text(self) -> bytes:
        """All figures, of all processes, in Prometheus's text format."""
        self.measure_memory()
        if DIRECTORY not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)

    def measure_memory(self) -> None:
        """Note this process's resident memory, where Linux tells."""
        try:
            with open("/proc/self/statm") as file:
                pages = int(file.read().split()[1])
        except (OSError, ValueError, IndexError):
            return
        self.memory.set(pages * os.sysconf("SC_PAGE_SIZE"))


def forget(process: int) -> None:
    """Drop what a process that ended was holding; what it counted stays in the sums."""
    multiprocess.mark_process_dead(process)  # type: ignore[no-untyped-call]
