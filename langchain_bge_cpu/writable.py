"""How `langchain_core.load` writes the adapter's classes down and finds them again."""

from langchain_core.load.serializable import Serializable


class Writable(Serializable):
    """A class of this package whose options `dumpd` writes down."""

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """LangChain asks first."""
        return True

    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        """Where `load` finds the class."""
        return ["langchain_bge_cpu"]

    @property
    def lc_secrets(self) -> dict[str, str]:
        """What `dumpd` names in place of its value; `load(..., secrets_map={"BGE_CPU_API_KEY": ...})` gives it back."""
        return {"api_key": "BGE_CPU_API_KEY"}
