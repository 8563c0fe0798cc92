"""`make image`: builds deploy/Dockerfile without a Docker engine, and tries what came out.

Needs root on a Debian with buildah and debootstrap. The base is made by debootstrap, of the release and from the mirror
that this machine's own apt uses; pip within the build is configured as here. All is kept below one folder: the base,
which is made once, and buildah's storage.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BASE, IMAGE = "localhost/bge-cpu-base", "localhost/bge-cpu"
AIM = 450e6
_TO_SPARE = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale", "var/log")


def main() -> None:
    """Base, image, check, size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the base and buildah's storage are kept")
    folder = parser.parse_args().folder.resolve()
    for tool in ("buildah", "debootstrap", "unshare"):
        if shutil.which(tool) is None:
            sys.exit(f"image: {tool} is missing: apt-get install buildah debootstrap util-linux")
    folder.mkdir(parents=True, exist_ok=True)
    if not (base := folder / "base.tar").exists():
        make_base(base)
    buildah = Buildah(folder)
    if not buildah.has(BASE):
        container = buildah.ask("from", "scratch")
        buildah.run("add", container, str(base), "/")
        buildah.run("commit", "--rm", container, BASE)
    with tempfile.TemporaryDirectory(prefix="bge-cpu-image-") as temporary:
        options = ["--isolation", "chroot", "--build-arg", f"BASE={BASE}", *pip_options(Path(temporary))]
        buildah.run(
            "bud", *options, "--format", "docker", "-f", str(ROOT / "deploy/Dockerfile"), "-t", IMAGE, str(ROOT)
        )
    container = buildah.ask("from", IMAGE)
    try:
        size = tree_size(Path(buildah.ask("mount", container)))
        check(buildah, container)
        print(
            f"{IMAGE}: {size / 1e6:.0f} MB unpacked (aim: under {AIM / 1e6:.0f}), "
            f"of which the base {base.stat().st_size / 1e6:.0f}"
        )
    finally:
        buildah.run("rm", container)


class Buildah:
    """The command, with storage of its own below a folder."""

    def __init__(self, folder: Path) -> None:
        storage = ["--root", str(folder / "storage"), "--runroot", str(folder / "run"), "--storage-driver", "vfs"]
        self._command = ["buildah", *storage]

    def run(self, *arguments: str) -> None:
        """Run it; it says what it does."""
        subprocess.run([*self._command, *arguments], check=True, stdin=subprocess.DEVNULL)

    def ask(self, *arguments: str) -> str:
        """What it prints."""
        done = subprocess.run([*self._command, *arguments], check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout.strip()

    def has(self, image: str) -> bool:
        """Whether there is an image."""
        return subprocess.run([*self._command, "inspect", image], capture_output=True).returncode == 0

    def without_network(self, container: str, command: list[str], stdin: Path) -> None:
        """Run a command in a container as the image's user; of the network it has the loopback alone."""
        run = [*self._command, "run", "--isolation", "chroot", container, "--", *command]
        with stdin.open() as source:
            up = 'ip link set lo up && exec "$@"'
            subprocess.run(["unshare", "--net", "sh", "-c", up, "sh", *run], check=True, stdin=source)


def check(buildah: Buildah, container: str) -> None:
    """Run deploy/check.py in the image, with the image's own command."""
    config = json.loads(buildah.ask("inspect", container))["OCIv1"]["config"]
    buildah.without_network(container, ["python", "-", *config["Entrypoint"], *config["Cmd"]], ROOT / "deploy/check.py")


def make_base(target: Path) -> None:
    """A minimal Debian with Python, of this machine's release and from its mirror, as a tar file."""
    sites = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)", "Identifier: Packages"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    release = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    if release is None:
        sys.exit("image: /etc/os-release names no release")
    mirror = next((line.split()[0] for line in sites.stdout.splitlines() if line.split()[1:] == [release[1]]), None)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="debootstrap-") as temporary:
        root = Path(temporary) / "root"
        options = ["--variant=minbase", "--include=python3,python3-venv"]
        subprocess.run(["debootstrap", *options, release[1], str(root), *([mirror] if mirror else [])], check=True)
        for name in _TO_SPARE:  # emptied, not removed
            for item in (root / name).iterdir():
                shutil.rmtree(item) if item.is_dir() and not item.is_symlink() else item.unlink()
        half = target.with_suffix(".part")
        # Of /dev, only what a container is given anyway.
        subprocess.run(
            ["tar", "-C", str(root), "--numeric-owner", "--exclude=./dev/*", "-cf", str(half), "."], check=True
        )
        half.rename(target)


def pip_options(folder: Path) -> list[str]:
    """Options that configure the build's pip as this machine's is: its settings, and the local files that they name."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, stdout=subprocess.PIPE, text=True
    )
    settings: dict[str, str] = {}  # by name: of what stands in two places the environment's counts, which comes first
    places = set()
    for name, value in re.findall(r"^(?:global|install|:env:)\.([\w-]+)='(.*)'$", done.stdout, re.MULTILINE):
        words = value.replace("\\n", "\n").split()
        settings.setdefault(name, "\n    ".join(words))
        places |= {word.removeprefix("file://") for word in words if word.removeprefix("file://").startswith("/")}
    configuration = folder / "pip.conf"
    lines = ["[global]", *(f"{name} = {value}" for name, value in settings.items())]
    configuration.write_text("\n".join(lines) + "\n", encoding="utf-8")
    mounted = [f"--volume={place}:{place}:ro" for place in sorted(roots(places)) if Path(place).exists()]
    return [f"--secret=id=pip,src={configuration}", *mounted]


def roots(places: set[str]) -> set[str]:
    """The folders to be mounted; an index refers to files beside it, hence its parent."""
    return {str(Path(place).parent) if Path(place).name == "simple" else place for place in places}


def tree_size(root: Path) -> int:
    """Bytes of all files below a folder, on this file system."""
    done = subprocess.run(["du", "-sxb", str(root)], check=True, stdout=subprocess.PIPE, text=True)
    return int(done.stdout.split()[0])


if __name__ == "__main__":
    main()
