"""``dbench score``: anybody's codes, and a results folder again; bad files end in one line."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from disentangle_bench.metrics import dci, infomec
from disentangle_bench.store import claims, runs
from support.invoke import one_line

GOLDEN = Path(__file__).parents[1] / "golden" / "metrics"
RNG = np.random.default_rng(0)
FACTORS = RNG.integers(0, [4, 3, 5], size=(600, 3))
CODES = FACTORS[:, [2, 0, 1, 1]] + 0.1 * RNG.standard_normal((600, 4))


def test_a_golden_file_through_the_command(dbench, tmp_path):
    """Score names, values within the tolerances, JSON and table."""
    name = "mixed_discrete10"
    expected = json.loads((GOLDEN / f"{name}.json").read_text())
    result = dbench(
        "score", GOLDEN / f"{name}.npz", "--metrics", "dci,infomec,mig,sap,modularity", "--out", "scores.json"
    )
    assert result.returncode == 0, result.stderr
    content = json.loads((tmp_path / "scores.json").read_text())
    values = {f"{row['metric']}.{row['score']}": row["value"] for row in content["scores"]}
    assert values["dci.disentanglement"] == pytest.approx(expected["dci_gbt"]["disentanglement"], abs=0.003)
    assert values["dci.informativeness"] == pytest.approx(expected["dci_gbt"]["informativeness_test"], abs=0.01)
    assert values["infomec.modularity"] == pytest.approx(expected["infomec_hsu2023"]["infom"], abs=1e-6)
    assert values["infomec.explicitness"] == pytest.approx(expected["infomec_hsu2023"]["infoe"], abs=0.005)
    assert values["mig.score"] == pytest.approx(expected["mig_locatello2019"], abs=1e-6)
    importance = np.array(content["arrays"]["dci.importance"])
    np.testing.assert_allclose(importance, expected["dci_gbt"]["importance"], atol=0.02)
    for row in content["scores"]:
        assert row["variant"]
        assert row["version"] == (2 if row["metric"] == "modularity" else 1)
        assert row["paper"]
        assert row["higher_is_better"] is True
    for name in values:
        assert name in result.stdout


def test_the_command_says_what_the_functions_say(dbench, tmp_path):
    np.savez(tmp_path / "codes.npz", codes=CODES, factors=FACTORS, n_train=400)
    assert dbench("score", "codes.npz", "--out", "scores.json").returncode == 0
    content = json.loads((tmp_path / "scores.json").read_text())
    values = {f"{row['metric']}.{row['score']}": row["value"] for row in content["scores"]}
    assert values["dci.completeness"] == dci(CODES, FACTORS, n_train=400)["completeness"]
    assert values["infomec.compactness"] == infomec(CODES, FACTORS, discrete=False, n_train=400)["compactness"]
    assert content["images"] == {"train": 400, "test": 200}


def test_defaults_of_a_file(dbench, tmp_path):
    """Without n_train the last third tests; integers are symbols unless the file says otherwise."""
    codes = FACTORS[:, [2, 0, 1, 1]]
    for name, extra in {"plain": {}, "continuous": {"discrete": False}}.items():
        np.savez(tmp_path / f"{name}.npz", codes=codes, factors=FACTORS, **extra)
        assert dbench("score", f"{name}.npz", "--out", f"{name}.json").returncode == 0
    plain, continuous = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("plain", "continuous"))
    assert plain["images"] == {"train": 400, "test": 200}
    assert (plain["discrete"], continuous["discrete"]) == (True, False)


def test_variants(dbench, tmp_path):
    np.savez(tmp_path / "codes.npz", codes=CODES, factors=FACTORS)
    arguments = ["score", "codes.npz", "--metrics", "dci,infomec,mig", "--out", "scores.json"]
    assert dbench(*arguments, "--variant", "factorqvae2024", "--variant", "infomec=tripod2024").returncode == 0
    content = json.loads((tmp_path / "scores.json").read_text())
    variants = {row["metric"]: row["variant"] for row in content["scores"]}
    assert variants == {"dci": "factorqvae2024", "infomec": "tripod2024", "mig": "locatello2019"}


def write(path, **arrays):
    np.savez(path, **arrays)


def truncated(path):
    write(path, codes=CODES, factors=FACTORS)
    path.write_bytes(path.read_bytes()[:-200])


def corrupted(path):
    np.savez_compressed(path, codes=CODES, factors=FACTORS)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def header(shape):
    import io

    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return content.getvalue()


def promises(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("codes.npy", header((10**13, 10)))
        archive.writestr("factors.npy", header((10**13, 1)))


def huge(path):
    """An archive whose directory and headers agree on 80 TB."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("codes.npy", header((10**12, 10)))
        archive.writestr("factors.npy", header((2, 1)) + bytes(16))
    content = path.read_bytes()
    start = content.rindex(b"PK\x01\x02", 0, content.rindex(b"codes.npy"))
    small = len(header((10**12, 10)))
    extra = (1).to_bytes(2, "little") + (8).to_bytes(2, "little") + (8 * 10**13 + small).to_bytes(8, "little")
    entry = bytearray(content[start : start + 46])
    entry[24:28] = b"\xff" * 4
    entry[30:32] = len(extra).to_bytes(2, "little")
    end = content.index(b"codes.npy", start) + len(b"codes.npy")
    tail = bytearray(content[end:])
    size = int.from_bytes(tail[-10:-6], "little") + len(extra)
    tail[-10:-6] = size.to_bytes(4, "little")
    path.write_bytes(content[:start] + bytes(entry) + b"codes.npy" + extra + bytes(tail))


class Bomb:
    """Unpickling this would write a file."""

    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


BAD_FILES = {
    "wrong keys": (lambda p: write(p, z=CODES, y=FACTORS), "holds y, z; needed are codes [n, d] and factors [n, k]"),
    "an extra key": (
        lambda p: write(p, codes=CODES, factors=FACTORS, label=1),
        "allowed besides are discrete, index, indices",
    ),
    "rows that disagree": (lambda p: write(p, codes=CODES, factors=FACTORS[:-1]), "600 rows and factors have 599"),
    "one axis": (lambda p: write(p, codes=CODES[:, 0], factors=FACTORS), "two axes are needed"),
    "empty arrays": (lambda p: write(p, codes=CODES[:0], factors=FACTORS[:0]), "at least one row"),
    "an empty archive": (lambda p: write(p), "holds nothing"),
    "object arrays": (lambda p: write(p, codes=np.array([[Bomb()]]), factors=FACTORS), "no object arrays"),
    "strings": (lambda p: write(p, codes=CODES.astype(str), factors=FACTORS), "have dtype <U"),
    "NaN": (lambda p: write(p, codes=CODES * np.nan, factors=FACTORS), "codes hold nan at row 0, column 0"),
    "NaN as factors": (
        lambda p: write(p, codes=CODES, factors=FACTORS * np.nan),
        "factors hold nan at row 0, column 0",
    ),
    "n_train too large": (lambda p: write(p, codes=CODES, factors=FACTORS, n_train=601), "n_train is 601"),
    "n_train as an array": (lambda p: write(p, codes=CODES, factors=FACTORS, n_train=[1, 2]), "one number is needed"),
    "errors of other rows": (
        lambda p: write(p, codes=CODES, factors=FACTORS, squared_error=np.ones(3)),
        "squared_error has shape [3]",
    ),
    "text as discrete": (
        lambda p: write(p, codes=CODES, factors=FACTORS, discrete="False"),
        "discrete is 'False'; allowed are true and false",
    ),
    "NaN as discrete": (lambda p: write(p, codes=CODES, factors=FACTORS, discrete=np.nan), "discrete is nan"),
    "indices of continuous codes": (
        lambda p: write(p, codes=CODES, factors=FACTORS, indices=FACTORS[:, [0, 0, 0, 0]], discrete=False),
        "discrete is false and there are indices",
    ),
    "text as errors": (
        lambda p: write(p, codes=CODES, factors=FACTORS, squared_error=np.full(600, "a")),
        "squared_error has dtype <U1",
    ),
    "codes beyond float32": (
        lambda p: write(p, codes=CODES * 1e100, factors=FACTORS),
        "rescale that latent",
    ),
    "a structured array": (
        lambda p: write(p, codes=np.zeros(600, dtype="i4,f4"), factors=FACTORS),
        "codes is a structured array",
    ),
    "a header that promises more": (promises, "promises 800,000,000,000,000 bytes"),
    "a member that unpacks to more than the memory": (huge, "over half of the memory"),
    "a pointer of Git LFS": (
        lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n"),
        "is a pointer of Git LFS and not the file itself; run",
    ),
    "a web page": (lambda p: p.write_text("<!DOCTYPE html><html></html>"), "is a web page and not the file itself"),
    "a truncated file": (truncated, "cannot be read as an .npz"),
    "a flipped byte": (corrupted, "cannot be read as an .npz"),
    "another kind of file": (lambda p: p.write_text("codes: none"), "cannot be read as an .npz"),
    "an empty file": (lambda p: p.write_bytes(b""), "cannot be read as an .npz"),
    "no file": (lambda p: None, "there is no file"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files(dbench, tmp_path, name):
    make, message = BAD_FILES[name]
    make(tmp_path / "codes.npz")
    assert message in one_line(dbench("score", "codes.npz", "--out", "scores.json"))
    assert {path.name for path in tmp_path.iterdir()} <= {"codes.npz"}


def test_a_pickle_is_refused_unread(dbench, tmp_path):
    """A member of the archive that is a bare pickle, not even an object array."""
    import pickle

    with zipfile.ZipFile(tmp_path / "codes.npz", "w") as archive:
        archive.writestr("codes.npy", pickle.dumps(Bomb()))
        archive.writestr("factors.npy", pickle.dumps(Bomb()))
    one_line(dbench("score", "codes.npz"))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--metrics", "dcl"], "unknown metric 'dcl'. Did you mean 'dci'?"),
        (["--variant", "hsu2024"], "unknown variant 'hsu2024'. Did you mean 'hsu2023'?"),
        (["--variant", "dci=hsu2023"], "unknown variant 'hsu2023'"),
        (["--variant", "mig=locatello2019"], "unknown metric 'mig'"),
        (["--out", "missing/scores.json"], "lies in a folder that does not exist"),
        (["--out", "."], "is a folder"),
    ],
)
def test_bad_words(dbench, tmp_path, options, message):
    np.savez(tmp_path / "codes.npz", codes=CODES, factors=FACTORS)
    assert message in one_line(dbench("score", "codes.npz", *options))


@pytest.fixture
def copied(smoke_grid, tmp_path):
    """Two runs of the smoke grid in a folder of their own."""
    out = tmp_path / "results"
    for folder in sorted((smoke_grid[0] / "runs").iterdir())[:2]:
        shutil.copytree(folder, out / "runs" / folder.name)
    return out


def records(out):
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(out.glob("runs/*/record.json"))}


@pytest.mark.slow
def test_a_results_folder_again_gives_the_same_scores(dbench, copied):
    before = records(copied)
    for path in copied.glob("runs/*/record.json"):
        content = json.loads(path.read_text())
        for row in content["scores"]:
            row["value"] = -1.0
        runs.write_record(path.parent, content)
    result = dbench("score", copied, "--jobs", "2")
    assert result.returncode == 0, result.stderr
    assert "2 runs scored, 0 could not be" in result.stdout
    after = records(copied)
    for run_id, record in after.items():
        assert record["scores"] == before[run_id]["scores"]
        assert record["spec"] == before[run_id]["spec"]


@pytest.mark.slow
def test_other_metrics_and_variants_are_added(dbench, copied):
    before = records(copied)
    result = dbench("score", copied, "--metrics", "mig,dci", "--variant", "factorqvae2024")
    assert result.returncode == 0, result.stderr
    for run_id, record in records(copied).items():
        rows = {(row["metric"], row["variant"]) for row in record["scores"]}
        assert {("mig", "locatello2019"), ("dci", "locatello2019"), ("dci", "factorqvae2024")} <= rows
        assert all(row in record["scores"] for row in before[run_id]["scores"])
        with np.load(copied / "runs" / run_id / "matrices.npz") as file:
            assert file["dci.importance"].shape == file["dci[factorqvae2024].importance"].shape
    table = pd.read_csv(copied / "results.csv")
    assert not table.duplicated(["run_id", "score", "variant"]).any()


def test_a_run_without_codes_keeps_its_record_and_is_named(dbench, copied):
    before = records(copied)
    first = next(iter(before))
    (copied / "runs" / first / "codes.npz").unlink()
    result = dbench("score", copied, "--metrics", "mse", "--jobs", "1")
    assert result.returncode == 1
    assert f"not scored: {first}: there is no file" in result.stderr
    assert "Traceback" not in result.stderr
    assert records(copied)[first] == before[first]


def test_a_run_that_is_held_is_left_alone(dbench, copied):
    before = records(copied)
    first = next(iter(before))
    with claims.claimed(copied / "runs" / first):
        result = dbench("score", copied, "--metrics", "mse", "--jobs", "1")
    assert result.returncode == 1
    assert f"not scored: {first}: another process is running it" in result.stderr
    assert records(copied)[first] == before[first]


def test_a_folder_without_runs(dbench, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "is not a results folder" in one_line(dbench("score", "empty"))
    assert "--out is for files of codes" in one_line(dbench("score", "empty", "--out", "x.json"))


def test_why_nothing_could_be_scored_is_said(dbench, copied):
    for folder in (copied / "runs").iterdir():
        (folder / "codes.npz").unlink()
    result = dbench("score", copied, "--metrics", "mig")
    assert result.returncode == 1
    assert result.stderr.count("not scored: ") == 2
    assert "there is no file" in result.stderr
    assert "0 runs scored, 2 could not be" in result.stdout
    assert "unknown metric" not in result.stderr
