"""``dbench report`` as users call it."""

import json
import signal
import subprocess
import sys
import time

import pytest

from disentangle_bench.cli import main
from disentangle_bench.cli.report import watch
from disentangle_bench.errors import BenchError
from support import records as synthetic


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return synthetic.write_grid(tmp_path_factory.mktemp("grid"), ("qlae", "vq_vae"), seeds=3, companions=False)


def test_it_prints_table_files_and_what_is_missing(dbench, tmp_path):
    out = synthetic.write_grid(tmp_path / "small", ("qlae",), seeds=1, companions=False)
    result = dbench("report", out, "--format", "csv,tex", "--html", out / "x.html", "--metrics", "dci,mse.mse")
    assert result.returncode == 0, result.stderr
    assert "rooms3d, cpu" in result.stdout
    assert "disentanglement" in result.stdout
    assert "modularity" not in result.stdout
    assert "psnr" not in result.stdout
    assert str(out / "leaderboard.tex") in result.stdout
    assert str(out / "x.html") in result.stdout
    assert "leaderboard.md" not in result.stdout
    assert "rooms3d, cpu: no history.csv for" in result.stderr
    figures = out / "figures" / "rooms3d-cpu"
    count = len([path for path in figures.iterdir() if path.suffix in (".png", ".pdf", ".gif")])
    assert result.stdout.count(str(figures)) == 1, "figures are one line"
    assert f"{figures} ({count} figure files)\n" in result.stdout.partition("disentanglement")[0], (
        "the scores come last"
    )


def test_a_group_of_metrics_is_what_is_there_of_it(dbench, out):
    result = dbench("report", out, "--metrics", "all", "--no-figures")
    assert result.returncode == 0, result.stderr
    assert "modularity" in result.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--metrics", "mig"], "unknown metric 'mig'"),
        (["--format", "xls"], "unknown format 'xls'"),
        (["--group-by", "seed"], "unknown grouping 'seed'"),
    ],
)
def test_what_is_unknown_is_one_line(dbench, out, options, message):
    result = dbench("report", out, *options)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


def test_open_opens_the_page_that_was_written(out, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    main(["report", str(out), "--no-figures", "--open"], standalone_mode=False)
    assert opened == [(out / "report.html").resolve().as_uri()]
    assert (out / "report.html").stat().st_size > 10_000
    assert "report.html" in capsys.readouterr().out


def test_watching_makes_the_report_again_when_a_run_is_finished_and_only_then(tmp_path):
    (tmp_path / "runs").mkdir()
    run_counts, messages = [], []

    def make():
        if not list((tmp_path / "runs").glob("*/record.json")):
            raise BenchError("no run is finished yet")
        run_counts.append(len(list((tmp_path / "runs").iterdir())))

    def sleep(seconds):
        assert seconds >= 15
        turns = sleep.turns = getattr(sleep, "turns", 0) + 1
        if turns in (2, 4):
            synthetic.write_run(tmp_path, synthetic.spec("qlae", turns))
        if turns == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watch(tmp_path, make, messages.append, sleep)
    assert run_counts == [1, 2]
    assert messages == ["waiting: no run is finished yet"]


def test_watching_an_empty_folder_waits_and_an_error_of_a_full_one_ends_it(tmp_path):
    synthetic.write_run(tmp_path, synthetic.spec())

    def make():
        raise BenchError("unknown metric")

    with pytest.raises(BenchError, match="unknown metric"):
        watch(tmp_path, make, print, lambda seconds: None)


def test_watch_writes_a_page_that_looks_again_and_ends_with_an_interrupt(tmp_path):
    out = synthetic.write_grid(tmp_path / "results", ("qlae",), seeds=1, companions=False)
    command = [sys.executable, "-m", "disentangle_bench", "report", str(out), "--watch", "--no-figures"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert "report.html" in process.stdout.readline()
        page = (out / "report.html").read_text(encoding="utf-8")
        assert json.dumps({"refresh": 15})[1:-1].replace(" ", "") in page
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
    finally:
        process.kill()
        process.communicate()
