"""From a laptop to a cluster: the same lines rerank a data set on one machine or, with --address, on many.

On a laptop, `pip install '.[ray]'` in the clone and run this file. On a cluster, install the same versions on every
node and pass the head's address; nothing else changes: Ray starts as many actors as `--actors` says, wherever there are
CPUs.
"""

import argparse

import ray
from corpus import PASSAGES, QUERY

from bge_cpu.ray import RerankBatch

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", default="mini")  # for the full model: default="BAAI/bge-reranker-v2-m3"
parser.add_argument("--address", help="ray://HEAD:10001, or auto on a node of the cluster; default: this machine")
parser.add_argument("--actors", type=int, default=1)
parser.add_argument("--cpus", type=int, default=1, help="of each actor; its reranker has as many threads")
options = parser.parse_args()

ray.init(address=options.address, log_to_driver=False)
texts = [passage["text"] for passage in PASSAGES]
dataset = ray.data.from_items([{"query": QUERY, "documents": texts}])  # yours: ray.data.read_parquet("s3://...")
reranked = dataset.map_batches(
    RerankBatch,
    fn_constructor_kwargs={"model": options.model, "top_n": 3},
    batch_format="pyarrow",
    batch_size=64,
    concurrency=options.actors,  # leave some CPUs of the cluster to the reading
    num_cpus=options.cpus,
)
for row in reranked.iter_rows():  # or reranked.write_parquet("s3://...")
    print(row["query"])
    for result in row["results"]:
        print(f" {result['score']:.3f} ", texts[result["index"]])
