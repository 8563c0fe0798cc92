"""What an export copies, and where to: no link's target, and no place that is none."""

import json
import shutil
from pathlib import Path

import pytest

from bge_cpu import InputError
from bge_cpu.export import export


@pytest.mark.parametrize("name", ["tokenizer_config.json", "special_tokens_map.json"])
@pytest.mark.parametrize("through", ["file", "folder"])
def test_a_link_out_of_the_folder_is_not_followed(tiny_xlmr: Path, tmp_path: Path, name: str, through: str) -> None:
    source = Path(shutil.copytree(tiny_xlmr, tmp_path / "source"))
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / name).write_text('{"auths": "secret"}')
    if through == "file":
        (source / name).symlink_to(tmp_path / "private" / name)
    else:
        (source / "inner").symlink_to(tmp_path / "private")
        (source / name).symlink_to(f"inner/{name}")
    with pytest.raises(InputError, match=f"{name} is a link out of its folder, to .*\nhint: put the file itself there"):
        export(source, tmp_path / "out", mode="onnx")
    assert not (tmp_path / "out").exists()


def test_links_within_the_folder_and_as_the_hubs_cache_has_them_are(tiny_xlmr: Path, tmp_path: Path) -> None:
    repo = tmp_path / "models--someone--tiny"
    source = repo / "snapshots" / ("c0ffee" * 6 + "cafe")
    source.mkdir(parents=True)
    (repo / "blobs").mkdir()
    for number, file in enumerate(tiny_xlmr.iterdir()):
        shutil.copy(file, repo / "blobs" / str(number))
        (source / file.name).symlink_to(f"../../blobs/{number}")
    (repo / "blobs" / "side").write_text('{"model_max_length": 512}')
    (source / "tokenizer_config.json").symlink_to("../../blobs/side")
    (source / "kept.json").write_text("{}")
    (source / "special_tokens_map.json").symlink_to("kept.json")
    out = export(source, tmp_path / "out", mode="onnx")
    assert json.loads((out / "tokenizer_config.json").read_text()) == {"model_max_length": 512}
    assert (out / "special_tokens_map.json").read_text() == "{}"
    assert not any(file.is_symlink() for file in out.iterdir())


@pytest.mark.parametrize("place", ["/", "/.", "//"])
def test_the_root_is_no_place(tiny_xlmr: Path, place: str) -> None:
    with pytest.raises(InputError, match="is not an empty folder"):
        export(tiny_xlmr, place, mode="onnx")
