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
