"""Hatchling's build hook: compiles the native kernels and puts the library into the wheel, or beside its Python source.

It needs a C compiler: CC, cc, gcc or clang; where there is none, ziglang from the package registry is asked for. Where
nothing compiles, the wheel is pure Python, and the mode native-int8 says what it lacks.
"""

import importlib.util
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent / "native"))
import build as native

_PLACE = Path("core/bge_cpu/kernels") / native.NAME


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the shared library to wheels and editable installs."""

    def dependencies(self) -> list[str]:
        """The compiler, where the machine has none of its own."""
        wanted = self.target_name == "wheel" and native.compiler() is None and native.zig() is not None
        return ["ziglang>=0.13"] if wanted else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say what goes into the wheel."""
        if self.target_name != "wheel":
            return
        own = native.compiler()
        command = own or (native.zig() if importlib.util.find_spec("ziglang") else None)
        editable = version == "editable"
        self._folder = tempfile.TemporaryDirectory(prefix="bge-cpu-wheel-")
        output = Path(self.root) / _PLACE if editable else Path(self._folder.name) / native.NAME
        try:
            if command is None:
                raise native.BuildError("there is no C compiler (CC, cc, gcc, clang) and no ziglang")
            left_out = native.build(output, command)
        except native.BuildError as error:
            self.app.display_warning(f"bge-cpu: a pure Python wheel, without the mode native-int8: {error}")
            return
        for name in left_out:
            self.app.display_warning(f"bge-cpu: the compiler is too old for the {name} kernels; built without them")
        if not editable:
            # What zig links runs on any Linux with glibc 2.28 or newer; what else was found, on machines like this.
            name = sysconfig.get_platform() if own else native.zig()[-1].split("-")[0].join(("manylinux_2_28_", ""))
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{name.replace('-', '_').replace('.', '_')}"
            build_data["force_include"][str(output)] = str(_PLACE.relative_to("core"))

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Let the temporary folder go."""
        if folder := getattr(self, "_folder", None):
            folder.cleanup()
