"""openvino-int8: OpenVINO driven one unpadded pair per request; the strongest rival we could build.

It runs the very model of sentence-transformers-openvino (quantising the ONNX export with NNCF ourselves gave one that
OpenVINO could not compile at full size, and on a small checkpoint one of the same fidelity). As many streams as there
are cores score pairs at once, the longest first; a lone pair runs on all cores.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino
from tokenizers import Tokenizer

from contest.child import Pair, Scorer

FILE = "openvino/openvino_model_qint8_quantized.xml"


def load(name: str, checkpoint: str, threads: int | None, built: str) -> Scorer:
    """Compile the quantised model for throughput; and once more, when a lone pair first comes, for latency."""
    tokenizer = Tokenizer.from_file(str(Path(checkpoint, "tokenizer.json")))
    tokenizer.enable_truncation(512, strategy="only_second")
    tokenizer.no_padding()
    threads = threads or len(os.sched_getaffinity(0))
    core = openvino.Core()
    model = core.read_model(Path(built, FILE))
    names = [port.any_name for port in model.inputs]

    def queue_of(streams: int) -> openvino.AsyncInferQueue:
        options = {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": threads}
        return openvino.AsyncInferQueue(core.compile_model(model, "CPU", options), streams)

    queues = {threads: queue_of(threads)}

    def score(pairs: Sequence[Pair]) -> list[float]:
        streams = 1 if 2 * len(pairs) <= threads else threads
        if streams not in queues:
            queues[streams] = queue_of(streams)
        queue, scores = queues[streams], np.empty(len(pairs))
        queue.set_callback(lambda request, index: scores.__setitem__(index, request.get_output_tensor().data.item()))
        encodings = tokenizer.encode_batch(list(pairs))
        for index in sorted(range(len(pairs)), key=lambda index: -len(encodings[index])):
            found = encodings[index]
            inputs = {"input_ids": found.ids, "attention_mask": found.attention_mask, "token_type_ids": found.type_ids}
            queue.start_async({name: np.array([inputs[name]]) for name in names}, index)
        queue.wait_all()
        return list(map(float, scores))

    return score
