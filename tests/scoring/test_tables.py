"""Codes and factors from tables, pairs of files and other libraries' arrays: the same scores; bad input in one line."""

from __future__ import annotations

import csv
import io
import json
import sys

import numpy as np
import pandas as pd
import pytest
import torch

import disentangle_bench as db
from support.invoke import one_line

RNG = np.random.default_rng(0)
FACTORS = RNG.integers(0, [4, 3], size=(300, 2))
CODES = FACTORS[:, [1, 0, 0]] + 0.1 * RNG.standard_normal((300, 3))
FRAME = pd.DataFrame(CODES, columns=["z0", "z1", "z2"]).assign(shape=FACTORS[:, 0], colour=FACTORS[:, 1])
COLUMNS = ("--codes-columns", "z*", "--factors-columns", "shape,colour")
QUICK = ("--metrics", "mig,sap")
WRITERS = {
    "csv": lambda frame, path: frame.to_csv(path, index=False),
    "tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    "parquet": lambda frame, path: frame.to_parquet(path),
}


def rows(output):
    return list(csv.reader(io.StringIO(output)))


@pytest.fixture(scope="module")
def expected():
    results = db.score(CODES, FACTORS, ["mig", "sap"])
    return {f"{name}.score": result.score for name, result in results.items()}


def test_tables_and_pairs_score_as_their_arrays(dbench, tmp_path, expected):
    for suffix, write in WRITERS.items():
        write(FRAME, tmp_path / f"data.{suffix}")
    np.savez(tmp_path / "data.npz", codes=CODES, factors=FACTORS)
    np.save(tmp_path / "z.npy", CODES)
    np.save(tmp_path / "y.npy", FACTORS)
    FRAME[["shape", "colour"]].to_csv(tmp_path / "y.csv", index=False)
    outputs = [dbench("score", f"data.{suffix}", *COLUMNS, *QUICK, "--format", "csv") for suffix in WRITERS]
    outputs.append(dbench("score", "data.npz", *QUICK, "--format", "csv"))
    outputs += [
        dbench("score", "--codes", "z.npy", "--factors", y, *QUICK, "--format", "csv") for y in ("y.npy", "y.csv")
    ]
    for result in outputs:
        assert result.returncode == 0, result.stderr
        head, values = rows(result.stdout)
        assert head == ["file", *expected]
        assert [float(value) for value in values[1:]] == pytest.approx(list(expected.values()), abs=1e-12)


def test_several_files_have_a_row_each(dbench, tmp_path):
    FRAME.to_csv(tmp_path / "a_1.csv", index=False)
    FRAME.sample(frac=1, random_state=0).assign(z0=0.0).to_csv(tmp_path / "b.csv", index=False)
    combined_result = dbench(
        "score", "a_1.csv", "b.csv", *COLUMNS, *QUICK, "--format", "csv,md,tex", "--out", "both.json"
    )
    assert combined_result.returncode == 0, combined_result.stderr
    sheet, markdown, latex = combined_result.stdout.split("\n\n")
    assert [line[0] for line in rows(sheet)] == ["file", "a_1.csv", "b.csv"]
    assert markdown.splitlines()[0] == "| file | mig.score | sap.score |"
    assert len(markdown.splitlines()) == 4
    assert r"a\_1.csv & " in latex
    assert latex.count(r"\\") == 3
    contents = json.loads((tmp_path / "both.json").read_text())["files"]
    assert [content["file"] for content in contents] == ["a_1.csv", "b.csv"]
    assert contents[0]["latent_names"] == ["z0", "z1", "z2"]
    assert contents[0]["factor_names"] == ["shape", "colour"]
    (tmp_path / "b.csv").rename(tmp_path / "b[red][x].csv")
    result = dbench("score", "a_1.csv", "b[red][x].csv", *COLUMNS, *QUICK)
    assert "a_1.csv" in result.stdout
    assert "b[red][x].csv" in result.stdout


def test_the_figure_has_the_columns_names(dbench, tmp_path, monkeypatch):
    from disentangle_bench.report.figures import style

    FRAME.to_csv(tmp_path / "data.csv", index=False)
    figures = []
    save = style.save
    monkeypatch.setattr(style, "save", lambda figure, stem: figures.append(figure) or save(figure, stem))
    result = dbench("score", "data.csv", *COLUMNS, "--metrics", "infomec", "--figure", "matrices")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "matrices.png").stat().st_size > 5_000
    axis = figures[0].axes[0]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["z0", "z1", "z2"]
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["shape", "colour"]


def test_options_say_what_a_table_cannot(dbench, tmp_path):
    FRAME.round().astype(int).to_csv(tmp_path / "data.csv", index=False)
    arguments = ("score", "data.csv", *COLUMNS, *QUICK, "--out", "scores.json")
    contents = []
    for extra in ((), ("--continuous", "--n-train", "250")):
        assert dbench(*arguments, *extra).returncode == 0
        contents.append(json.loads((tmp_path / "scores.json").read_text()))
    assert [content["discrete"] for content in contents] == [True, False]
    assert [content["images"] for content in contents] == [{"train": 200, "test": 100}, {"train": 250, "test": 50}]


def text(content):
    return lambda path: path.write_text(content)


def frame(**columns):
    return lambda path: FRAME.assign(**columns).to_csv(path, index=False)


BAD_TABLES = {
    "a missing column": (frame(), ("--codes-columns", "z9", "--factors-columns", "shape"), "unknown column 'z9'"),
    "a pattern of nothing": (frame(), ("--codes-columns", "q*", "--factors-columns", "shape"), "unknown column 'q*'"),
    "a column of both": (
        frame(),
        ("--codes-columns", "*", "--factors-columns", "shape"),
        "as codes and as factors: shape",
    ),
    "no columns named": (frame(), (), "is a table: name its columns"),
    "a text": (frame(shape="cube"), COLUMNS, "column 'shape' holds 'cube'; numbers are needed"),
    "a gap": (frame(z1=[np.nan, *CODES[1:, 1]]), COLUMNS, "column 'z1' has no number at row 0"),
    "infinity": (frame(z1=[np.inf, *CODES[1:, 1]]), COLUMNS, "codes hold inf at row 0, column 1"),
    "a short line": (text("z0,z1,shape,colour\n1,2,3,4\n1,2,3\n"), COLUMNS, "column 'colour' has no number at row 1"),
    "a long line": (text("z0,z1,shape,colour\n1,2,3,4\n1,2,3,4,5\n"), COLUMNS, "cannot be read as a table"),
    "long lines": (text("z0,z1,shape,colour\n1,2,3,4,5\n1,2,3,4,5\n"), COLUMNS, "cannot be read as a table"),
    "an empty file": (text(""), COLUMNS, "cannot be read as a table (No columns"),
    "a header alone": (text("z0,z1,shape,colour\n"), COLUMNS, "has no rows"),
    "no header": (text("1,2,3\n4,5,6\n"), COLUMNS, "numbers in its first line"),
    "bytes": (lambda path: path.write_bytes(b"\xff\xfe\x00z"), COLUMNS, "cannot be read as a table"),
    "a web page": (text("<!doctype html><p>z0"), COLUMNS, "is a web page"),
    "no file": (lambda path: None, COLUMNS, "there is no file"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_bad_tables(dbench, tmp_path, name):
    write, options, message = BAD_TABLES[name]
    write(tmp_path / "data.csv")
    assert message in one_line(dbench("score", "data.csv", *options, "--out", "scores.json"))
    assert not (tmp_path / "scores.json").exists()


BAD_PAIRS = {
    "one alone": (("--codes", "z.npy"), "--codes and --factors go together"),
    "rows that differ": (("--codes", "z.npy", "--factors", "few.npy"), "300 rows and factors have 299"),
    "texts": (("--codes", "texts.npy", "--factors", "y.npy"), "codes have dtype <U"),
    "objects": (("--codes", "objects.npy", "--factors", "y.npy"), "cannot be read as an .npy of plain numbers"),
    "a broken file": (("--codes", "broken.npy", "--factors", "y.npy"), "cannot be read as an .npy of plain numbers"),
    "an empty file": (("--codes", "empty.npy", "--factors", "y.npy"), "cannot be read as an .npy of plain numbers"),
    "another kind": (("--codes", "z.npz", "--factors", "y.npy"), "is none of .npy, .csv, .tsv, .parquet"),
    "columns of arrays": (
        ("--codes", "z.npy", "--factors", "y.npy", "--codes-columns", "z*"),
        "has no columns with names",
    ),
    "a broken archive": (("--codes", "pk.npy", "--factors", "y.npy"), "cannot be read as an .npy of plain numbers"),
    "a renamed archive": (("--codes", "npz.npy", "--factors", "y.npy"), "is an .npz by its content: rename it"),
    "one array": (("z.npy",), "z.npy holds one array: give --codes"),
    "nothing": ((), "no codes were given"),
    "a format": (("z.npy", "--format", "html"), "unknown format 'html'"),
    "a damaged Parquet": (("broken.parquet", *COLUMNS), "cannot be read as a table"),
}


@pytest.mark.parametrize("name", BAD_PAIRS)
def test_bad_pairs(dbench, tmp_path, name):
    np.save(tmp_path / "z.npy", CODES)
    np.save(tmp_path / "y.npy", FACTORS)
    np.save(tmp_path / "few.npy", FACTORS[:-1])
    np.save(tmp_path / "texts.npy", CODES.astype(str))
    np.save(tmp_path / "objects.npy", CODES.astype(object), allow_pickle=True)
    (tmp_path / "broken.npy").write_bytes((tmp_path / "z.npy").read_bytes()[:-100])
    (tmp_path / "empty.npy").touch()
    (tmp_path / "pk.npy").write_bytes(b"PK\x03\x04 and nothing else")
    np.savez(tmp_path / "archive.npz", codes=CODES)
    (tmp_path / "archive.npz").rename(tmp_path / "npz.npy")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and nothing else PAR1")
    options, message = BAD_PAIRS[name]
    assert message in one_line(dbench("score", *options))


def test_parquet_without_pyarrow_says_what_to_install(dbench, tmp_path, monkeypatch):
    FRAME.to_parquet(tmp_path / "data.parquet")
    for name in [name for name in sys.modules if name.split(".")[0] in ("pyarrow", "fastparquet")] + ["fastparquet"]:
        monkeypatch.setitem(sys.modules, name, None)
    message = one_line(dbench("score", "data.parquet", *COLUMNS))
    assert message.strip().endswith("data.parquet needs pyarrow: pip install pyarrow")


class OnlyDLPack:
    """An array of a library that numpy knows nothing of."""

    def __init__(self, array):
        self._array = array

    def __dlpack__(self, **options):
        return self._array.__dlpack__()

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


class OnlyArray:
    def __init__(self, array):
        self._array = array

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self._array, dtype)


class OnDevice:
    """An array as CuPy's: it refuses to be copied unless it is asked."""

    __cuda_array_interface__ = None

    def __init__(self, array):
        self._array = array

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def get(self):
        return self._array


def trained(array):
    return torch.tensor(array, requires_grad=array.dtype.kind == "f")


@pytest.mark.parametrize("wrap", [trained, OnlyDLPack, OnlyArray, OnDevice, np.ndarray.tolist, pd.DataFrame])
def test_arrays_of_other_libraries(wrap, expected):
    results = db.score(wrap(CODES), wrap(FACTORS), "mig,sap", squared_error=None)
    assert {f"{name}.score": result.score for name, result in results.items()} == expected
    errors = torch.full((300,), 0.25) if wrap is trained else wrap(np.full((300, 1), 0.25)[:, 0].copy())
    if wrap is not pd.DataFrame:
        assert db.score(wrap(CODES), FACTORS, "mse", squared_error=errors)["mse"].mse == 0.25


def test_a_frames_columns_name_latents_and_factors():
    results = db.score(FRAME[["z0", "z1", "z2"]], FRAME[["shape", "colour"]].astype("Int64"), "mig")
    assert results["mig"].latent_names == ("z0", "z1", "z2")
    assert results["mig"].factor_names == ("shape", "colour")
    with pytest.raises(db.BenchError, match="codes: column 'z0' holds 'a'; numbers are needed"):
        db.score(FRAME[["z0"]].assign(z0="a"), FACTORS, "mig")
    with pytest.raises(db.BenchError, match="squared_error has dtype float64 and shape"):
        db.score(CODES, FACTORS, "mse", squared_error=np.ones((300, 2)))
    with pytest.raises(db.BenchError, match="unknown variant of mig 'none'"):
        db.score(CODES, FACTORS, "mig", variants={"mig": "none"})
