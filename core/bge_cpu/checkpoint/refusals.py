"""Part of loading: a folder or repository that holds no cross-encoder: what it is, and what to do."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from bge_cpu.errors import CheckpointError

_OTHER_WEIGHTS = {
    ".bin": "pickled weights, which are never opened",
    ".pt": "pickled weights, which are never opened",
    ".ckpt": "pickled weights, which are never opened",
    ".onnx": "ONNX graphs, and bge-cpu makes its own from safetensors",
    ".gguf": "llama.cpp's weights",
    ".h5": "TensorFlow's weights",
    ".msgpack": "Flax's weights",
}
_HEADLESS = {
    "ForCausalLM": "a language model, which judges a pair by the word it writes next",
    "ForConditionalGeneration": "a language model, which judges a pair by the word it writes next",
    "ForMaskedLM": "a language model without a classifier",
    "ForTokenClassification": "a classifier of tokens, not of pairs",
    "Model": "an encoder without a classifier: an embedding model, or a reranker whose head is not in this file but in "
    "the folders that modules.json names",
}
_TAKE = "take a reranker with a classifier, such as BAAI/bge-reranker-v2-m3"


def no_weights(where: str, names: Iterable[str]) -> CheckpointError:
    """The error for a place that has no safetensors file of a model.

    Args:
        where: The folder, or the Hub id.
        names: The files there, with their folders.
    """
    names = sorted(names)
    if any(PurePosixPath(name).name == "adapter_config.json" for name in names):
        return CheckpointError(
            f"{where} is a LoRA adapter, not a whole model",
            hint="merge it into its base model with peft: merge_and_unload(), then save_pretrained(...)",
        )
    for suffix, what in _OTHER_WEIGHTS.items():
        found = [name for name in names if name.endswith(suffix) and PurePosixPath(name).name != "training_args.bin"]
        if found:
            more = f" and {len(found) - 3} more" if len(found) > 3 else ""
            return CheckpointError(
                f"{where} has no model.safetensors, but {what}: {', '.join(found[:3])}{more}",
                hint="load them once with transformers, in a place you trust, and save_pretrained(...); or take a "
                "repository or revision with safetensors"
                if "pickled" in what
                else "take the repository of the model itself, with model.safetensors",
            )
    return CheckpointError(
        f"{where} has no model.safetensors", hint="name the folder or repository of a model with its weights"
    )


def no_tokenizer(folder: Path) -> CheckpointError:
    """The error for a folder without tokenizer.json."""
    needs = {"vocab.txt": "", "tokenizer.model": " sentencepiece protobuf"}
    needs |= {"vocab.json": ""} if (folder / "merges.txt").is_file() else {}  # half of a tokenizer without it
    needs |= dict.fromkeys(("sentencepiece.bpe.model", "spiece.model", "spm.model"), " sentencepiece protobuf")
    found = next((name for name in needs if (folder / name).is_file()), None)
    download = f"hf download OWNER/NAME tokenizer.json --local-dir {folder}"
    if found is None:
        return CheckpointError(
            f"{folder} has no tokenizer.json", hint=f"fetch it from the model's repository: {download}"
        )
    return CheckpointError(
        f"{folder} has no tokenizer.json, but {found}",
        hint=f"fetch it from the model's repository: {download}; or make it: pip install transformers{needs[found]}, "
        "then AutoTokenizer.from_pretrained(folder).save_pretrained(folder)",
    )


def wrong_architecture(folder: Path, found: str) -> CheckpointError:
    """The error for a model that is no sequence classifier."""
    what = next((what for suffix, what in _HEADLESS.items() if found.endswith(suffix)), "")
    return CheckpointError(
        f"{folder} holds architecture {found}, not a sequence classifier (...ForSequenceClassification)"
        + (f": it is {what}" if what else ""),
        hint=_TAKE,
    )
