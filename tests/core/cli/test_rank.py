"""`bge-cpu rank`, as a process: output, exit codes, errors of one line and a hint."""

import json
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.commands import COMMAND, run


def test_rank_as_json(tiny_xlmr: Path) -> None:
    done = run(
        "rank", "what is 熊猫?", "a bear", "竹子", "--model", tiny_xlmr, "--mode", "onnx", "--json", "-", "--top-n", "1"
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["query"] == "what is 熊猫?"
    (result,) = answer["results"]
    assert set(result) == {"index", "score", "document", "truncated_tokens"}
    assert result["document"] == ["a bear", "竹子"][result["index"]]


@pytest.mark.slow
def test_rank_sources_agree(tiny_xlmr: Path, tmp_path: Path) -> None:
    documents = ["a bear", "panda", "竹子 and bamboo"]
    (tmp_path / "lines.txt").write_text("\ufeff" + "\n".join(documents) + "\n", encoding="utf-8")
    records = "\n\n".join(json.dumps({"id": 1, "text": document}) for document in documents)
    (tmp_path / "records.jsonl").write_text(records)
    common: list[str | Path] = [
        "--model",
        tiny_xlmr,
        "--json",
        "-",
        "--normalize",
        "none",
        "--threads",
        "1",
        "--mode",
        "onnx",
    ]
    outputs = [
        run("rank", "panda", *documents, *common),
        run("rank", "panda", "--file", tmp_path / "lines.txt", *common),
        run("rank", "panda", "--file", tmp_path / "records.jsonl", "--field", "text", *common),
        run("rank", "panda", *common, stdin="\n".join(documents)),
        run("rank", "panda", "--file", "-", "--field", "text", *common, stdin=records),
    ]
    assert [done.returncode for done in outputs] == [0] * 5, outputs
    results = [json.loads(done.stdout)["results"] for done in outputs]
    kept = [[result.pop("record", None) for result in each] for each in results]
    assert results == [results[0]] * 5
    assert len(results[0]) == 3
    wholes = [{"id": 1, "text": result["document"]} for result in results[0]]
    assert kept == [[None] * 3, [None] * 3, wholes, [None] * 3, wholes]


def test_rank_shows_a_table_and_warns_of_truncation(tiny_xlmr: Path) -> None:
    done = run("rank", "panda", "a bear", "word " * 2_000, "--model", tiny_xlmr, "--mode", "onnx")
    assert done.returncode == 0
    assert "rank" in done.stdout
    assert "a bear" in done.stdout
    assert "tokens cut]" in " ".join(done.stdout.split())
    assert done.stderr.startswith("warning: cut to max_length=512 tokens: 1 of the pairs")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_line_ends_are_the_same_from_a_file_and_stdin(tiny_xlmr: Path, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_bytes(b"one\r\ntwo\rtoo\n")
    common: list[str | Path] = ["rank", "panda", "--model", tiny_xlmr, "--mode", "onnx", "--json", "-"]
    outputs = [
        run(*common, "--file", tmp_path / "lines.txt").stdout,
        run(*common, stdin=b"one\r\ntwo\rtoo\n").stdout,
    ]
    assert outputs[0] == outputs[1]
    assert {result["document"] for result in json.loads(outputs[0])["results"]} == {"one", "two\rtoo"}


def test_the_table_shows_all_that_were_asked_for(tiny_xlmr: Path) -> None:
    done = run("rank", "panda", "--model", tiny_xlmr, "--mode", "onnx", "--top-n", "30", stdin="a bear\n" * 40)
    assert done.stdout.count("a bear") == 30


@pytest.mark.slow
def test_closed_stdin_and_a_full_device_are_no_tracebacks(tiny_xlmr: Path) -> None:
    command = f"{' '.join(map(shlex.quote, COMMAND))} rank panda --model {tiny_xlmr} --mode onnx"
    closed = subprocess.run(f"{command} <&-", shell=True, capture_output=True, text=True)
    assert closed.returncode == 2
    assert closed.stderr.startswith("error: no documents")
    full = subprocess.run(f"{command} a b > /dev/full", shell=True, capture_output=True, text=True)
    assert full.returncode != 0
    assert "Traceback" not in full.stderr


def test_no_documents_is_an_empty_ranking(tiny_xlmr: Path) -> None:
    done = run("rank", "panda", "--model", tiny_xlmr, "--mode", "onnx", "--json", "-", stdin="")
    assert json.loads(done.stdout)["results"] == []


def test_lines_without_text_are_no_documents(tiny_xlmr: Path, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("\n a bear\n  \n竹子\n\n", encoding="utf-8")
    common = ["rank", "panda", "--model", str(tiny_xlmr), "--mode", "onnx", "--json", "-"]
    done = run(*common, "--file", tmp_path / "lines.txt")
    assert {item["index"]: item["document"] for item in json.loads(done.stdout)["results"]} == {0: " a bear", 1: "竹子"}
    assert done.stderr == "3 empty lines were passed over\n"
    done = run(*common, "--field", "text", stdin='{"text": "a bear"}\n\n{"text": ""}\n')
    assert len(json.loads(done.stdout)["results"]) == 2, "an object without text is a document"
    assert done.stderr == "1 empty line was passed over\n"


def test_json_goes_to_a_file_beside_the_table(tiny_xlmr: Path, tmp_path: Path) -> None:
    common = ["rank", "panda", "a bear", "--model", str(tiny_xlmr), "--mode", "onnx", "--json"]
    printed = run(*common, "-").stdout
    done = run(*common, tmp_path / "out.json")
    assert (tmp_path / "out.json").read_text() == printed
    assert "document" in done.stdout and "{" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "message"),
    [
        (["rank", " ", "a"], "", 2, "error: query is empty: ' '"),
        (["rank", "q", "a", "--mode", "int4"], "", 2, "onnx, onnx-int8, native-int8, not 'int4'"),
        (["rank", "q", "a", "--mode", "fp16"], "", 2, "hint: a float16 checkpoint runs as it is"),
        (["rank", "q", "a", "--max-length", "9000"], "", 2, "error: max_length is 9000;"),
        (["rank", "q", "a", "--max-length", "0"], "", 2, "error: max_length is a whole number"),
        (["rank", "q", "a", "--top-n", "0"], "", 2, "error: top_n is a whole number of at least 1, not 0"),
        (["rank", "q", "a", "--file", "x"], "", 2, "error: documents come as arguments or from a file, not both"),
        (["rank", "q", "--file", "/no/where"], "", 2, "error: /no/where cannot be read: No such file or directory"),
        (["rank", "q", "--file", "/"], "", 2, "error: / cannot be read: Is a directory"),
        (["rank", "q"], b"ok\n\xff\xfe\n", 2, "error: line 2 of stdin is not UTF-8"),
        (
            ["rank", "q", "--field", "text"],
            '{"text": "a"}\n{"body": "b"}',
            2,
            "error: line 2 of stdin: no text in a field",
        ),
        (
            ["rank", "q", "--field", "text"],
            '{"text": "a"}\nnonsense',
            2,
            "error: line 2 of stdin is not JSON: Expecting value",
        ),
        (["rank", "q", "--field", "text"], '{"text": 3}', 2, "error: line 1 of stdin: no text in a field 'text'"),
        (
            ["rank", "q", "a", "--json", "--top-n", "1"],
            "",
            2,
            "error: --json is a file, or - for stdout, not '--top-n'",
        ),
        (["rank", "q", "a", "--json", "/no/where"], "", 2, "cannot be written: there is no folder /no"),
        (
            ["rank", "q"],
            '\n{"id": "1", "n": 2, "text": "a"}\n',
            2,
            "error: stdin holds JSON lines, and --field does not say where in them the document is\n"
            "hint: name its field: --field id or --field text\n",
        ),
        (["rank", "q", "a", "--no-such-option"], "", 2, "No such option"),
        (["rank"], "", 2, "Missing argument"),
        (["fly"], "", 2, "No such command"),
    ],
)
def test_wrong_usage_ends_with_2(
    tiny_xlmr: Path, arguments: list[str], stdin: str | bytes, code: int, message: str
) -> None:
    if arguments[0] == "rank":
        arguments = [*arguments, "--model", str(tiny_xlmr), *([] if "--mode" in arguments else ["--mode", "onnx"])]
    done = run(*arguments, stdin=stdin)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_file_is_not_taken_for_a_document(tiny_xlmr: Path, tmp_path: Path) -> None:
    (tmp_path / "docs.txt").write_text("a bear\n")
    common: list[str | Path] = ["--model", tiny_xlmr, "--mode", "onnx"]
    done = run("rank", "q", tmp_path / "docs.txt", *common)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: {tmp_path}/docs.txt is a file, and an argument is a document's text\n"
        f"hint: read documents from it with: --file {tmp_path}/docs.txt\n"
    )
    assert run("rank", "q", "/" + "x" * 5_000, *common).returncode == 0, "no path is this long"


def test_json_lines_are_known_by_their_name_too(tiny_xlmr: Path, tmp_path: Path) -> None:
    (tmp_path / "docs.jsonl").write_text('["a", "b"]\n')
    done = run("rank", "q", "--file", tmp_path / "docs.jsonl", "--model", tiny_xlmr, "--mode", "onnx")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(
        "docs.jsonl holds JSON lines, and --field does not say where in them the document is\n"
        "hint: name its field: --field text\n"
    )


def test_failure_ends_with_1(tmp_path: Path) -> None:
    done = run("rank", "q", "a", "--model", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    done = run("rank", "q", "a", "--model", "nobody/nothing", "--local-files-only")
    assert done.returncode == 1
    assert "hint: " in done.stderr


def test_help_names_every_option() -> None:
    done = run("rank", "--help")
    assert done.returncode == 0
    for option in ("--model", "--mode", "--max-length", "--threads", "--revision", "--local-files-only"):
        assert option in done.stdout
