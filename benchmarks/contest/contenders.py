"""Who takes part, what each runs in, and what must be built for it first."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Build:
    """A folder that is made once for a checkpoint.

    Attributes:
        environment: The requirements file, without its suffix.
        module: Of this folder, with the function `build`.
        source: The build that it starts from.
    """

    environment: str
    module: str
    source: str | None = None


@dataclass(frozen=True)
class Contender:
    """A row of the tables.

    Attributes:
        environment: The requirements file, without its suffix.
        module: Of this folder, with the function `load`.
        build: What it runs, unless that is the checkpoint itself.
        note: What the reader of a table should know.
    """

    environment: str
    module: str
    build: str | None = None
    note: str = ""


BUILDS = {
    "export": Build("onnx-export", "export"),
    "ort-int8": Build("onnx-export", "ort_int8", "export"),
    "openvino-int8": Build("sentence-transformers-openvino", "sentence_transformers_openvino"),
    "native-int8": Build("bge-cpu", "bge_cpu"),
    "onnx-int8": Build("bge-cpu", "bge_cpu"),
    "int8": Build("bge-cpu-torch", "bge_cpu"),
}
BASELINE = "article-fp32"
CONTENDERS = {  # in the order in which they are loaded, so that rivals share a group
    "article-fp32": Contender("article", "article", note="PyTorch, batches of 8 in the given order"),
    "article-int8": Contender("article", "article", note="PyTorch's dynamic INT8 of every linear layer, batches of 8"),
    "native-int8": Contender("bge-cpu", "bge_cpu", "native-int8"),
    "onnx-int8": Contender("bge-cpu", "bge_cpu", "onnx-int8"),
    "onnx": Contender("bge-cpu", "bge_cpu"),
    "openvino-int8": Contender(
        "openvino",
        "openvino",
        "openvino-int8",
        "the model of sentence-transformers-openvino, a pair per request, a stream per core, the longest pairs first",
    ),
    "sentence-transformers-openvino": Contender(
        "sentence-transformers-openvino",
        "sentence_transformers_openvino",
        "openvino-int8",
        "CrossEncoder, static INT8 as documented, sorted, batches of 32; calibrated on local texts, not SST-2",
    ),
    "article-onnx": Contender("onnxruntime", "article_onnx", "export", "the float32 export, batches of 8"),
    "ort-int8": Contender("onnxruntime", "article_onnx", "ort-int8", "quantize_dynamic of the export, batches of 8"),
    "bf16": Contender("bge-cpu-torch", "bge_cpu"),
    "int8": Contender("bge-cpu-torch", "bge_cpu", "int8"),
    "fp32": Contender("bge-cpu-torch", "bge_cpu"),
    "sentence-transformers": Contender(
        "sentence-transformers", "sentence_transformers", note="CrossEncoder, PyTorch float32, sorted, batches of 32"
    ),
    "flagembedding": Contender(
        "flagembedding",
        "flagembedding",
        note="FlagReranker, float32, sorted, batches of 128; it computes the first batch of a call twice",
    ),
    "fastembed": Contender("fastembed", "fastembed", "export", "TextCrossEncoder, the float32 export, batches of 64"),
}
OURS = [name for name, contender in CONTENDERS.items() if contender.module == "bge_cpu"]
