"""Damaged, foreign and malicious files: one line says what is wrong, nothing is run, and no memory is taken."""

from __future__ import annotations

import json
import os
import pickle
import random
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import labelspace as ls
from labelspace import cli, saving
from labelspace.data import store
from labelspace.errors import Unverified, UserError
from labelspace.storage import tensorfiles
from labelspace.training.fit import open_run
from labelspace.training.run import Run, read_config

pytestmark = pytest.mark.usefixtures("hasty")

READ = ("model.safetensors", "config.json", "schema.json", "config.yaml")


class Boom:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def opened(home: Path) -> str:
    """What is said of a run that is opened; empty where nothing is."""
    return said(lambda: open_run(home))


def said(call: Callable[[], object]) -> str:
    """The one line of a UserError; empty where there is none. Any other error is a failed test."""
    try:
        call()
    except UserError as error:
        text = str(error)
    else:
        return ""
    assert "\n" not in text
    assert 0 < len(text) < 1000
    return text


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names of files are texts")
def test_a_name_that_is_no_text_is_no_damage(run: Path, tmp_path: Path) -> None:
    named = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe4"))
    try:
        run.rename(named)
    except OSError:
        pytest.skip("this file system takes texts only")
    assert opened(named) == ""


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize(
    "content", [b"", b"\0" * 64, b"\xff\xfe\xfa{", b"[" * 100_000, b"null", b"7", b"[]", b"{}", b'{"a": 1}']
)
def test_what_is_something_else_is_refused_by_name(name: str, content: bytes, run: Path) -> None:
    (run / name).write_bytes(content)
    assert str(run / name) in opened(run)


@pytest.mark.parametrize("name", [*READ, "checkpoint/last.safetensors"])
def test_a_pickle_is_refused_and_not_run(name: str, run: Path, tmp_path: Path) -> None:
    (run / name).write_bytes(pickle.dumps(Boom(tmp_path / "boom")))
    if name.startswith("checkpoint"):
        with pytest.raises(UserError, match="truncated or not a safetensors file"):
            tensorfiles.read(run / name)
    else:
        assert opened(run)
    assert not (tmp_path / "boom").exists()


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("name", ["model.safetensors", "checkpoint/last.safetensors"])
def test_every_flipped_bit_of_tensors_is_noticed(name: str, run: Path) -> None:
    """60 flips anywhere, most in tensors, and 60 in the header."""
    path, generator = run / name, random.Random(0)
    content = path.read_bytes()
    header = 8 + struct.unpack("<Q", content[:8])[0]
    bits = [generator.randrange(8 * n) for n in (len(content), header) for _ in range(60)]
    tensors, metadata = tensorfiles.read(path)
    for bit in bits:
        path.write_bytes(flipped(content, bit))
        if said(lambda: tensorfiles.read(path)):
            continue
        found, texts = tensorfiles.read(path)
        # What was flipped is the name of the digest, or white space: nothing that is read.
        texts = {key: text for key, text in texts.items() if key in metadata}
        assert texts == metadata
        assert found.keys() == tensors.keys()
        assert all(torch.equal(found[k].nan_to_num(), tensors[k].nan_to_num()) for k in tensors)


@pytest.mark.parametrize("name", ["config.json", "schema.json", "config.yaml", "metrics.jsonl"])
def test_flipped_bits_of_texts_never_crash(name: str, run: Path) -> None:
    content, generator = (run / name).read_bytes(), random.Random(0)
    for _ in range(60):
        (run / name).write_bytes(flipped(content, generator.randrange(8 * len(content))))
        for read in (lambda: read_config(run / "config.yaml"), Run(run).metrics, lambda: saving.load(run)):
            said(read)


def test_a_file_without_a_digest_is_read_and_that_is_said(run: Path) -> None:
    from safetensors.torch import save_file

    tensors, _ = tensorfiles.read(run / "model.safetensors")
    save_file(tensors, run / "model.safetensors")
    with pytest.warns(Unverified, match="has no digest"):
        assert opened(run) == ""


@pytest.mark.parametrize("name", ["model.safetensors", "checkpoint/last.safetensors"])
@pytest.mark.filterwarnings("ignore:.*has no digest")
def test_weights_that_are_not_finite_are_not_gone_on_with(name: str, run: Path, capsys) -> None:
    """By another program, or with a damaged name of the digest, they come as they are."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    tensors, _ = tensorfiles.read(run / name)
    with safe_open(run / name, framework="pt") as file:
        texts = {key: text for key, text in (file.metadata() or {}).items() if key != "digest"}
    weight = next(key for key in tensors if key.removeprefix("model.").startswith("trunk.") and tensors[key].ndim == 2)
    tensors[weight][0, 0] = torch.inf
    save_file(tensors, run / name, texts)
    code = cli.main(["train", "--resume", "--out", str(run), "--no-report"])
    said = capsys.readouterr().err
    if name == "model.safetensors":
        assert "' holds NaN or infinity; written again from the checkpoint" in said
        assert opened(run) == ""
    else:
        assert code == 2
        assert "' holds NaN or infinity" in said
        assert "Traceback" not in said


@pytest.mark.parametrize("length", [0, 2**20, 2**40, 2**63, 2**64 - 1])
def test_a_header_that_claims_a_length(length: int, run: Path) -> None:
    content = (run / "model.safetensors").read_bytes()
    (run / "model.safetensors").write_bytes(struct.pack("<Q", length) + content[8:])
    assert "truncated or not a safetensors file" in opened(run)


@pytest.mark.parametrize(
    "changes",
    [
        {"latent": 10**9},
        {"latent": -1},
        {"latent": "a"},
        {"latent": None},
        {"latent": [1]},
        {"latent": 10**30},
        {"latent": 2.5},
        {"network": {"width": 10**9}},
        {"network": {"width": 10**30}},
        {"network": {"depth": 10**9}},
        {"network": {"kind": "magic"}},
        {"network": 7},
        {"shape": [10**9]},
        {"shape": []},
        {"shape": "ab"},
        {"shape": [3, 10**6, 10**6]},
        {"likelihood": "table(" + "categorical:1000000000," * 3 + "count)"},
        {"likelihood": "magic"},
        {"likelihood": 3},
        {"no_such_argument": 1},
        {"frequencies": "x"},
        {"frequencies": [["x"]]},
        {"latent": True},
        {"learn_scale": []},
        {"learn_scale": 1},
        {"likelihood": None},
    ],
    ids=str,
)
def test_absurd_arguments_of_a_model(changes: dict, run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    config["arguments"].update(changes)
    (run / "config.json").write_text(json.dumps(config))
    assert str(run) in opened(run)


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"labels": 7}', '{"labels": [[]]}', "", "null", '{"labels": [{"name": "a"}]']
)
def test_a_schema_that_is_none_is_one_line_of_a_command(content: str, run: Path, capsys: pytest.CaptureFixture) -> None:
    """Commands look into it before all else, to say that a label is not there."""
    (run / "schema.json").write_text(content)
    assert cli.main(["edit", str(run), "test:0", "--set", "side=1"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    (run / "schema.json").unlink()
    os.mkfifo(run / "schema.json")
    assert cli.main(["traverse", str(run), "--label", "side"]) == 2
    assert "no file but" in capsys.readouterr().err


def test_names_of_labels_are_not_read_elsewhere(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (run / "schema.json").rename(tmp_path / "schema.json")
    (run / "schema.json").symlink_to(tmp_path / "schema.json")
    assert cli.main(["edit", str(run), "test:0", "--set", "magic=1"]) == 2
    assert "is a link to" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        {"train": 3},
        {"train": {"kl_z": "x"}},
        {"val": {"kl_z": []}},
        {"val": {"kl_z": None}},
        {"score": "x"},
        {"seconds": None},
        {"readers": 1},
        {"weights": []},
    ],
    ids=str,
)
def test_a_line_of_metrics_with_something_else_than_numbers(change: dict, run: Path) -> None:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text("\n".join([lines[0], json.dumps({**json.loads(lines[1]), **change}), *lines[2:], ""]))
    assert "is damaged in line 2" in said(Run(run).metrics)
    (run / "metrics.jsonl").write_text("\n".join([lines[0], "[" + "{}," * 2**21 + "{}]", ""]))
    assert "is damaged in line 2" in said(Run(run).metrics)
    assert cli.main(["report", str(run), "--quick"]) == 2


@pytest.mark.parametrize(
    "content", ["7", "[]", '{"packages": []}', '{"packages": {}, "cuda": 1}', '{"threads": {}, "muon": []}']
)
def test_surroundings_that_are_something_else(content: str, run: Path, capsys: pytest.CaptureFixture) -> None:
    (run / "environment.json").write_text(content)
    code = cli.main(["report", str(run), "--quick"])
    assert code == (0 if content.startswith('{"') and "[]}" not in content[:17] else 2)
    assert code == 0 or "environment.json is not" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["NaN", "1e400", "-Infinity", "9" * 5000])
def test_numbers_that_are_none(number: str, run: Path) -> None:
    text = json.dumps({**json.loads((run / "config.json").read_text()), "format": "@"}).replace('"@"', number)
    (run / "config.json").write_text(text)
    assert "config.json is damaged or not JSON" in opened(run)


def test_an_unknown_model_and_a_newer_format(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    for change, text in (({"model": "magic"}, "'magic'"), ({"model": ["x"]}, "['x']"), ({"format": 99}, "update labelspace")):
        (run / "config.json").write_text(json.dumps({**config, **change}))
        assert text in opened(run)


def test_a_schema_with_a_million_classes(run: Path) -> None:
    label = {"name": "a", "kind": "categorical", "classes": [str(i) for i in range(1_000_000)], "mean": 0.0, "scale": 1.0}
    (run / "schema.json").write_text(json.dumps({"labels": [label]}))
    assert str(run) in opened(run)


@pytest.mark.parametrize(
    "label",
    [7, {}, {"name": 1}, {"classes": [1, 2]}, {"classes": 5}, {"classes": ["a"] * 10**6}, {"mean": None}, {"scale": 1e400}],
    ids=lambda label: str(label)[:40],
)
def test_labels_that_are_none(label, run: Path) -> None:
    good = {"name": "a", "kind": "categorical", "classes": ["x", "y"], "mean": 0.0, "scale": 1.0}
    (run / "schema.json").write_text(
        json.dumps({"labels": [{**good, **label} if isinstance(label, dict) and label else label]})
    )
    assert str(run) in opened(run)


@pytest.mark.parametrize("content", ["[]", "{}", '{"variables": 3}', '{"variables": [{"name": 1}]}', "[" * 100_000, "\0"])
def test_variables_that_are_none(content: str, run: Path) -> None:
    (run / "variables.json").write_text(content)
    assert "variables.json" in opened(run)


@pytest.mark.parametrize(
    "content",
    [
        "!!python/object/apply:os.mkdir [boom]",
        "data: !!python/name:os.system",
        "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
        "[" * 20_000,
        "data: {address: swiss-roll, labels: [1, 2], seed: 0}\nmodel: {name: csvae}\ntraining: {}\n",
        "data: {address: [], labels: [], seed: 0}\nmodel: {name: csvae}\ntraining: {}\n",
    ],
    ids=["apply", "name", "aliases", "deep", "labels", "address"],
)
def test_a_config_that_is_malicious(content: str, run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (run / "config.yaml").write_text(content)
    assert "config.yaml" in opened(run)
    assert not (tmp_path / "boom").exists()


def test_settings_of_a_config_that_do_not_fit_are_one_line(run: Path, capsys: pytest.CaptureFixture) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    for part, change in (
        ("model", {"name": "magic"}),
        ("model", {"latent": "a"}),
        ("model", {"latent": float("nan")}),
        ("model", {"network": [1]}),
        ("training", {"epochs": "many"}),
        ("training", {"magic": 1}),
        ("training", {"patience": [1]}),
        ("training", {"seed": None}),
        ("training", {"compile": 1}),
        ("training", {"batch_size": -5}),
        ("data", {"address": "magic:1"}),
        ("data", {"labels": ["magic"]}),
        ("data", {"seed": -1}),
    ):
        (run / "config.yaml").write_text(yaml.safe_dump({**config, part: {**config[part], **change}}))
        assert cli.main(["train", "--resume", "--out", str(run), "--no-report"]) == 2, change
        assert capsys.readouterr().err.count("\n") == 1, change


@pytest.mark.parametrize("name", ["seed", "epochs", "patience", "batch_size"])
def test_a_config_that_lacks_a_setting(name: str, run: Path, capsys: pytest.CaptureFixture) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config["training"][name]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    goes_on = ["train", "--resume", "--out", str(run), "--no-report"]
    for words in (goes_on, ["generate", str(run), "-n", "2", "--out", str(run / "made.csv")]):
        assert cli.main(words) in (0, 2)  # with the default, or refused as another one than it was started with
    assert capsys.readouterr().err.strip().splitlines()[-1]


def test_links_that_lead_nowhere_or_in_circles(run: Path) -> None:
    for name in READ:
        kept = (run / name).read_bytes()
        (run / name).unlink()
        for target in (run / "nowhere", run / name):
            (run / name).symlink_to(target)
            assert opened(run)
            (run / name).unlink()
        (run / name).mkdir()
        assert opened(run)
        (run / name).rmdir()
        (run / name).write_bytes(kept)
    assert opened(run) == ""


def test_damaged_metrics(run: Path) -> None:
    file = run / "metrics.jsonl"
    rows = file.read_text().splitlines(keepends=True)
    file.write_text("".join(rows) + rows[0][:50])  # a line that is being written
    assert len(Run(run).metrics()) == 3
    for line in ("{}\n", "7\n", "\0\0\n", "[" * 100_000 + "\n"):
        file.write_text(rows[0] + line + rows[2])
        with pytest.raises(UserError, match="damaged in line 2"):
            Run(run).metrics()


@pytest.mark.parametrize("ending", ["npz", "npy"])
def test_pickled_arrays_of_users_are_refused(ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"data.{ending}"
    boom = np.array([Boom(tmp_path / "boom")], dtype=object)
    if ending == "npz":
        np.savez(file, x=boom)
    else:
        np.save(file, boom, allow_pickle=True)
    with pytest.raises(UserError, match="cannot be read"):
        ls.open(f"npz:{file}")
    assert not (tmp_path / "boom").exists()


def test_an_array_that_claims_to_be_huge(tmp_path: Path) -> None:
    import io
    import zipfile

    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**14, 3)})
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue())
    with pytest.raises(UserError, match=r"takes .* TB in memory, .* set LABELSPACE_MAX_BYTES=2183T"):
        ls.open(f"npz:{tmp_path / 'data.npz'}")


def test_damaged_data_never_crash(tmp_path: Path) -> None:
    file, generator = tmp_path / "data.npz", random.Random(0)
    np.savez_compressed(file, x=np.random.default_rng(0).random((50, 3), np.float32), a=np.arange(50) % 2)
    content = file.read_bytes()
    for i in range(150):
        file.write_bytes(
            flipped(content, generator.randrange(8 * len(content))) if i % 2 else content[: i * len(content) // 150]
        )
        said(lambda: ls.open(f"npz:{file}"))


# -- stores ---------------------------------------------------------------------------------------------------------------


def test_damaged_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELSPACE_CACHE", str(tmp_path / "cache"))
    ls.open("sprites:n=64,size=32")
    (home,) = (path for path in (tmp_path / "cache").iterdir() if path.name.startswith("sprites"))
    boom = pickle.dumps(Boom(tmp_path / "boom"))
    for name in ("x.npy", "store.json"):
        content = (home / name).read_bytes()
        damages = (
            b"",
            content[:-2],
            content[: len(content) // 2],
            b"\0" + content[1:],
            content + b"x",
            b"[" * 100_000,
            b"{}",
            boom,
        )
        for damage in damages:
            (home / name).write_bytes(damage)
            with pytest.raises(UserError, match=r"is damaged.*delete it and it will be built again"):
                ls.open("sprites:n=64,size=32")
        (home / name).write_bytes(content)
    assert not (tmp_path / "boom").exists()
    assert len(ls.open("sprites:n=64,size=32")) == 64


def test_workers_of_a_build_do_not_import_pytorch(alone) -> None:
    """They are many, and it takes seconds and hundreds of megabytes."""
    alone("import sys, labelspace.data.store; sys.exit('torch' in sys.modules)")


def test_notes_of_a_build_that_are_damaged_only_cost_time(tmp_path: Path) -> None:
    for line in ("7\n", "[[0]]\n", "[[0, 64, []]]\n", "[" * 100_000 + "\n", '{"a": 1}\n', "\0\n", "[[0, 64, {}]]"):
        (tmp_path / "done.jsonl").write_text(line)
        assert store._done(tmp_path) == []


@pytest.mark.faults
def test_absurd_arguments_take_no_memory(run: Path, alone) -> None:
    """Each in a process of its own: the most that it ever held is less than the smallest of these models."""
    config = json.loads((run / "config.json").read_text())
    for change in ({"latent": 10**9}, {"network": {"width": 10**7}}, {"network": {"depth": 10**9}}, {"shape": [10**10]}):
        (run / "config.json").write_text(json.dumps({**config, "arguments": {**config["arguments"], **change}}))
        code = (
            "import resource, sys, labelspace, labelspace.saving\n"
            f"try: labelspace.load({str(run)!r})\n"
            "except labelspace.UserError: pass\n"
            "sys.exit(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 1_500_000)"
        )
        alone(code)
