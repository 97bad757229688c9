"""``dbench show --against``: what differs between two protocols, with the source of every value."""

from __future__ import annotations

import re

import pytest

from disentangle_bench.config.resolve import Resolved, comparison, differences, resolve
from disentangle_bench.registry import MODELS
from disentangle_bench.spec import flat


def shown(dbench, *arguments):
    result = dbench("show", *arguments)
    assert result.returncode == 0, result.stderr
    assert all(len(line) <= 110 for line in result.stdout.splitlines())
    return result.stdout


def test_only_what_differs_is_printed(dbench):
    output = shown(dbench, "factor_vae", "rooms3d", "--protocol", "standard", "--against", "factorqvae2024")
    heading, *lines = output.splitlines()
    assert heading.split() == ["standard", "factorqvae2024"]
    rows = {line.split()[0]: line for line in lines[: lines.index("")]}
    assert "training.batch_size" not in rows
    assert re.search(r"100000 \[\d\] +50000 \[\d\]$", rows["training.updates"])
    assert re.search(r"fixed \[\d\] +seed \[\d\]$", rows["training.split"])
    # Columns are aligned.
    column = heading.index("factorqvae2024")
    assert all(line[column - 1] == " " != line[column] for line in rows.values())
    total = len(flat(resolve("factor_vae", "rooms3d", "standard", 0).spec))
    assert f"{total - len(rows)} values are equal" in lines


def test_every_number_has_its_source_below(dbench):
    output = shown(dbench, "factor_vae", "rooms3d", "--against", "factorqvae2024")
    table, sources = output.split("values are equal")
    assert set(re.findall(r"\[\d\]", table)) == set(re.findall(r"^\[\d\]", sources, flags=re.MULTILINE))
    (number,) = re.findall(r"(\[\d\])$", next(line for line in table.splitlines() if "training.updates" in line))
    assert f"{number} protocol factorqvae2024, version 1: 100000 steps of 2 optimisers" in sources


def test_a_line_says_that_nothing_differs(dbench):
    total = len(flat(resolve("qlae", "rooms3d", "standard", 0).spec))
    assert shown(dbench, "qlae", "rooms3d", "--against", "standard") == f"nothing differs: {total} values are equal\n"


def test_set_is_for_both(dbench):
    arguments = ("beta_vae", "rooms3d", "--protocol", "quick", "--against", "smoke")
    assert "training.updates" in shown(dbench, *arguments)
    assert "training.updates" not in shown(dbench, *arguments, "--set", "training.updates=10")


def test_an_unknown_second_protocol(dbench):
    result = dbench("show", "qlae", "rooms3d", "--against", "standart")
    assert result.returncode == 2
    assert "unknown protocol 'standart'. Did you mean 'standard'?" in result.stderr


def test_a_key_that_one_of_them_lacks():
    resolved = resolve("beta_vae", "rooms3d", "quick", 0)
    metrics = {name: variant for name, variant in resolved.spec.scoring.metrics.items() if name != "mse"}
    scoring = resolved.spec.scoring.model_copy(update={"metrics": {**metrics, "mig": "chen2018"}})
    other = Resolved(
        resolved.spec.model_copy(update={"scoring": scoring}), resolved.sources | {"scoring.metrics.mig": "somewhere"}
    )
    lacking, added = differences(resolved, other)
    assert (lacking.key, lacking.second, added.key, added.first) == (
        "scoring.metrics.mse",
        None,
        "scoring.metrics.mig",
        None,
    )
    assert added.second == ("chen2018", "somewhere")
    lines = comparison(resolved, other)
    assert re.search(r"heldout \[1\] +-$", lines[1])
    assert re.search(r"- +chen2018 \[2\]$", lines[2])
    assert f"{len(flat(resolved.spec)) - 1} values are equal" in lines


@pytest.mark.parametrize("model", MODELS.names("all"))
def test_differences_and_equal_values_are_all_values(model):
    first, second = resolve(model, "rooms3d", "standard", 0), resolve(model, "rooms3d", "factorqvae2024", 0)
    a, b = flat(first.spec), flat(second.spec)
    difference_by_key = {difference.key: difference for difference in differences(first, second)}
    for key in a:
        assert (key in difference_by_key) == (a[key] != b[key])
        if key in difference_by_key:
            assert difference_by_key[key].first == (a[key], first.sources[key])
            assert difference_by_key[key].second == (b[key], second.sources[key])
