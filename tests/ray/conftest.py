"""A Ray cluster on this machine, once for all tests that need one; they are skipped where Ray is not installed."""

import warnings
from collections.abc import Iterator

import pytest

pytest.importorskip("ray", reason="needs Ray: pip install 'bge-cpu[ray]'")


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    import ray

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, configure_logging=False)
        yield
        ray.shutdown()
