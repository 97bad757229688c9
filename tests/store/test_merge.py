"""Merging and removing: nothing is overwritten, followed, lost or left half done."""

from __future__ import annotations

import errno
import os
import shutil

import pytest

from disentangle_bench.errors import BenchError
from disentangle_bench.store import claims, merge, runs, status
from disentangle_bench.store.status import Selection
from support import records

SPECS = [records.spec(model, seed) for model in ("qlae", "vq_vae") for seed in range(2)]


@pytest.fixture
def source(tmp_path):
    """Results folder with four finished runs."""
    out = tmp_path / "source"
    for spec in SPECS:
        folder = records.write_run(out, spec)
        (folder / "history.csv").write_text("step,loss\n")
    return out


def names(out):
    return sorted(path.name for path in (out / "runs").iterdir())


def everything(out):
    return sorted(str(path.relative_to(out)) for path in out.rglob("*"))


def test_merge_copies_once_and_keeps(source, tmp_path):
    out = tmp_path / "out"
    assert len(merge.merge([source], out).copied) == 4
    second_merge = merge.merge([source], out)
    assert (second_merge.copied, len(second_merge.kept)) == ([], 4)
    assert names(out) == names(source)
    assert len(runs.load_records(out)) == 4


def test_merge_takes_the_files_of_plugins_along(source, tmp_path):
    (source / "plugins").mkdir()
    (source / "plugins" / "0123.py").write_bytes(b"x = 1\r\n")
    (source / "plugins" / "link.py").symlink_to("/etc/passwd")
    merge.merge([source], tmp_path / "out")
    assert [path.name for path in (tmp_path / "out" / "plugins").iterdir()] == ["0123.py"]
    assert (tmp_path / "out" / "plugins" / "0123.py").read_bytes() == b"x = 1\r\n"


def link_up(folder):
    (folder / "up").symlink_to("..")


def link_to_a_file(folder):
    (folder / "stolen").symlink_to("/etc/passwd")


def link_to_nothing(folder):
    (folder / "nothing").symlink_to("nowhere")


def fifo(folder):
    os.mkfifo(folder / "fifo")


def link_among_runs(folder):
    (folder.parent / "linked").symlink_to("/etc")


def circle_among_runs(folder):
    (folder.parent / "circle").symlink_to("circle")


def file_among_runs(folder):
    (folder.parent / "file").write_text("")


def temporaries(folder):
    (folder / ".record-abc123-1-abcdefgh.tmp.json").write_text("{")
    (folder / claims.PROGRESS).write_text("{")


@pytest.mark.parametrize("plant", [link_up, link_to_a_file, link_to_nothing, fifo, link_among_runs, circle_among_runs,
                                   file_among_runs, temporaries])  # fmt: skip
def test_merge_copies_files_and_follows_nothing(source, tmp_path, plant):
    before = everything(source)
    plant(source / "runs" / SPECS[0].run_id)
    out = tmp_path / "out"
    assert len(merge.merge([source], out).copied) == 4
    copies = [name for name in everything(out) if name.startswith("runs")]
    assert copies == [name for name in before if name.startswith("runs")]


def test_a_full_disk_is_one_line_and_leaves_no_half_run(source, tmp_path, monkeypatch):
    """The disk is full while the third run is copied: two are there, whole, and nothing else."""
    out = tmp_path / "out"
    copy, count = shutil.copy2, []

    def copy2(*arguments, **options):
        count.append(1)
        if len(count) == 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), arguments[1])
        return copy(*arguments, **options)

    monkeypatch.setattr(shutil, "copy2", copy2)
    with pytest.raises(BenchError, match="No space left on device"):
        merge.merge([source], out)
    monkeypatch.undo()
    assert len(names(out)) == 2
    assert [path.name for path in out.iterdir() if path.name.startswith(merge.TEMPORARY)] == []
    assert len(merge.merge([source], out).copied) == 2


def test_what_a_killed_merge_left_is_removed(source, tmp_path):
    leftover = tmp_path / "out" / f"{merge.TEMPORARY}{SPECS[0].run_id}"
    leftover.mkdir(parents=True)
    (leftover / "record.json").write_text("{")
    assert len(merge.merge([source], tmp_path / "out").copied) == 4
    assert not leftover.exists()


def test_merge_beside_a_running_grid_leaves_out_what_runs(source, tmp_path):
    running = runs.run_folder(source, records.spec("ae", 0))
    with claims.claimed(running):
        (running / "checkpoint.pt").write_text("")
        merged = merge.merge([source], tmp_path / "out")
    assert (len(merged.copied), merged.busy) == (4, [running.name])
    assert running.name not in names(tmp_path / "out")


def test_a_run_that_began_in_the_target_meanwhile_is_kept(source, tmp_path, monkeypatch):
    out = tmp_path / "out"
    folder = runs.run_folder(out, SPECS[0])
    copy = merge._copy

    def copy_while_it_begins(source, target):
        copy(source, target)
        folder.mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(merge, "_copy", copy_while_it_begins)
    merged = merge.merge([source], out)
    assert merged.kept == [SPECS[0].run_id]
    assert list(folder.iterdir()) == []


def test_two_merges_into_one_folder_do_not_meet(source, tmp_path):
    out = tmp_path / "out"
    (out / "runs").mkdir(parents=True)
    with merge._only_merge(out), pytest.raises(BenchError, match="another merge"):
        merge.merge([source], out)


def test_merge_refuses_what_cannot_be_used(source, tmp_path):
    (source / "runs" / SPECS[1].run_id / "record.json").write_text("{")
    with pytest.raises(BenchError, match=f"nothing is merged: .*{SPECS[1].run_id}/record.json"):
        merge.merge([source], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    selection = Selection(models=("vq_vae",))
    assert len(merge.merge([source], tmp_path / "out", selection).copied) == 2


def test_remove_is_at_once_whatever_lies_there(source, tmp_path, monkeypatch):
    """A command that is killed while it removes files leaves no run with files missing, and the next one clears up."""
    folder = source / "runs" / SPECS[0].run_id
    (folder / "record.json").write_text("{")
    monkeypatch.setattr(shutil, "rmtree", lambda *arguments, **options: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        merge.remove(source, [folder.name])
    monkeypatch.undo()
    assert not folder.exists()
    assert [record.folder.name for record in runs.load_records(source)] == sorted(s.run_id for s in SPECS[1:])
    (source / "runs" / "linked").symlink_to(tmp_path)
    merge.remove(source, ["linked", SPECS[1].run_id])
    assert names(source) == sorted(spec.run_id for spec in SPECS[2:])
    assert tmp_path.exists()


def test_remove_refuses_unknown_and_held_runs(source):
    with pytest.raises(BenchError, match="unknown run 'nope'"):
        merge.remove(source, [SPECS[0].run_id, "nope"])
    with claims.claimed(source / "runs" / SPECS[1].run_id), pytest.raises(BenchError, match="stop it first"):
        merge.remove(source, [spec.run_id for spec in SPECS])
    assert len(names(source)) == 4


def test_cells_of_results_csv_are_no_formulas_and_no_escapes(tmp_path):
    for cell in ("=cmd|' /C calc'!A0", "+1", "-1", "@x", "a\x1b[31mb\x00c"):
        records.write_run(tmp_path, records.spec("qlae", 0, dataset=cell))
    cells = runs.write_results(tmp_path).read_text()
    assert "\x1b" not in cells
    assert "\x00" not in cells
    for cell in ("'=cmd", "'+1", "'-1", "'@x", "a [31mb c"):
        assert f",{cell}" in cells or f',"{cell}' in cells


def test_starting_a_grid_removes_what_killed_processes_left(tmp_path):
    (tmp_path / "grids").mkdir()
    pid = 2**22 + 1  # above the largest process id
    from disentangle_bench import atomic

    leftovers = [tmp_path / f".results-{atomic._host()}-{pid}-abcdefgh.tmp.csv",
            tmp_path / "grids" / f".x-{atomic._host()}-{pid}-abcdefgh.tmp.json"]  # fmt: skip
    file_of_this_process = tmp_path / f".results-{atomic._host()}-{os.getpid()}-abcdefgh.tmp.csv"
    file_of_another_host = tmp_path / f".results-000000-{pid}-abcdefgh.tmp.csv"
    for path in (*leftovers, file_of_this_process, file_of_another_host, tmp_path / ".mine.tmp"):
        path.write_text("")
    status.remember(tmp_path, SPECS)
    assert not any(path.exists() for path in leftovers)
    assert file_of_this_process.exists()
    assert file_of_another_host.exists()
    os.utime(file_of_another_host, (1, 1))
    status.remember(tmp_path, SPECS)
    assert not file_of_another_host.exists()
    assert (tmp_path / ".mine.tmp").exists()
    atomic.remove_leftovers(tmp_path, held=True)
    assert not file_of_this_process.exists()
