"""Searches: spaces and their points, and files of selected settings."""

from __future__ import annotations

import hashlib
import json
from itertools import islice

import pytest

from disentangle_bench.config import baselines, search
from disentangle_bench.config.grids import expand
from disentangle_bench.config.protocols import is_ranked
from disentangle_bench.config.resolve import resolve
from disentangle_bench.config.search import Search, Selected, read_selection, write_selection
from disentangle_bench.errors import BenchError
from disentangle_bench.registry import MODELS
from disentangle_bench.spec import RunSpec, Tuning

BUILT_IN = [row.name for row in MODELS.entries.values() if row.group != "plugin"]
SPACES = {1: "a196a8e62c"}
"""First digits of the digest of all ranges, by the version of the spaces; a model that is added bumps none."""


def test_a_change_of_a_range_bumps_the_version():
    ranges = {name: {key: value_range.model_dump(exclude={"source"}) for key, value_range in search.space(name).items()}
              for name in sorted(BUILT_IN)}  # fmt: skip
    digest = hashlib.sha256(json.dumps(ranges, sort_keys=True).encode()).hexdigest()[:10]
    assert SPACES[search.SPACE_VERSION] == digest, f"bump SPACE_VERSION, and add {digest} to SPACES"


def test_a_draw_is_a_hash_and_the_same_everywhere():
    first, second = islice(search.draws("beta_vae", 3), 2)
    for number, values in ((1, first), (2, second)):
        for key, (low, high) in {"kl_weight": (1e-5, 2e-3), "latents": (0, 4)}.items():
            digest = hashlib.sha256(json.dumps(["search", "beta_vae", 3, number, key]).encode()).digest()
            share = (int.from_bytes(digest[:8], "big") >> 1) / 2**63
            if key == "latents":
                assert values[key] == (10, 12, 16, 20)[int(4 * share)]
            else:
                assert values[key] == pytest.approx(low * (high / low) ** share, rel=5e-3)
                assert values[key] == float(f"{values[key]:.3g}")
    assert list(islice(search.draws("beta_vae", 0), 2)) == [
        {"kl_weight": 1.23e-5, "latents": 16},
        {"kl_weight": 1.49e-4, "latents": 20},
    ]


@pytest.mark.parametrize("model", BUILT_IN)
def test_every_model_has_a_space_of_valid_points(model):
    ranges = search.space(model)
    for values in islice(search.draws(model, 0), 50):
        for key, value_range in ranges.items():
            assert (
                values[key] in value_range.choice
                if value_range.choice
                else value_range.log[0] <= values[key] <= value_range.log[1]
            )
    specs = search.points(model, "rooms3d", "smoke", [], Search(5))
    default = resolve(model, "rooms3d", "smoke", 0).spec
    assert len({spec.digest for spec in specs}) == 5
    assert [spec.search.point for spec in specs] == [0, 1, 2, 3, 4]
    assert specs[0].settings == default.settings
    assert all(spec.scoring.images == "validation" and not is_ranked(spec) for spec in specs)
    assert specs[:3] == search.points(model, "rooms3d", "smoke", [], Search(3))
    assert {spec.digest for spec in specs[1:]}.isdisjoint(
        spec.digest for spec in search.points(model, "rooms3d", "smoke", [], Search(5, seed=1))[1:]
    )


def test_rates_per_update_get_the_dose_of_the_protocol():
    cpu_points, standard_points = (
        search.points("qlae", "rooms3d", name, [], Search(4))[1:] for name in ("cpu", "standard")
    )
    for a, b in zip(cpu_points, standard_points, strict=True):
        assert a.settings["weight_decay"] == pytest.approx(10 * b.settings["weight_decay"])
        assert a.settings["symbols"] == b.settings["symbols"]


def test_a_grid_has_equal_budgets_at_every_point():
    specs = expand("qlae,beta_vae", "rooms3d,dsprites_rendered", "2", "smoke", search=Search(3))
    order = [(spec.seed, spec.search.point, spec.dataset, spec.model) for spec in specs]
    names = [(dataset, model) for dataset in ("rooms3d", "dsprites_rendered") for model in ("qlae", "beta_vae")]
    assert order == [(seed, point, *name) for seed in (0, 1) for point in (0, 1, 2) for name in names]


def test_a_mark_of_a_search_does_not_change_the_run_and_tuning_does():
    plain = resolve("qlae", "rooms3d", "smoke", 0, ["scoring.images=validation"]).spec
    (marked,) = search.points("qlae", "rooms3d", "smoke", [], Search(1))
    assert marked.digest == plain.digest
    tuned = plain.model_copy(update={"tuned": Tuning(criterion="mse", budget=16, space_version=1)})
    assert tuned.digest != plain.digest
    assert RunSpec.model_validate_json(tuned.model_dump_json()) == tuned


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "factorqvae2024"}, "factorqvae2024 has no test images that a search leaves alone"),
        ({"changes": ["training.split=seed"]}, "has no test images that a search leaves alone"),
        ({"changes": ["model.latents=12"]}, "--search decides model.latents: leave it out"),
        ({"changes": ["scoring.images=test"]}, "--search decides scoring.images"),
        ({"settings": "x.toml"}, "give one of them"),
        ({"search": Search(100_001)}, "means 100,001 runs"),
    ],
)
def test_searches_that_cannot_be(options, message):
    defaults = {"models": "qlae", "datasets": "rooms3d", "seeds": "1", "protocol": "smoke", "search": Search(2)}
    with pytest.raises(BenchError, match=message):
        expand(**defaults | options)


def test_a_small_space_says_how_many_points_it_has(monkeypatch):
    ranges = {"symbols": baselines.Range(choice=(8, 10), source="ours")}
    monkeypatch.setattr(search, "space", lambda model: ranges)
    monkeypatch.setattr(search, "MOST_REPEATS", 20)
    assert len(search.points("qlae", "rooms3d", "smoke", [], Search(2))) == 2  # 10 is the default
    with pytest.raises(BenchError, match="the space of qlae has 2 points only: give --search 2 or fewer"):
        search.points("qlae", "rooms3d", "smoke", [], Search(3))
    monkeypatch.undo()
    monkeypatch.setattr(baselines, "read", lambda model: (baselines.Baseline(), "my.toml"))
    with pytest.raises(BenchError, match=r"qlae has no ranges to search in: give my.toml a table \[search\]"):
        search.points("qlae", "rooms3d", "smoke", [], Search(2))


@pytest.mark.parametrize("line", ["{source='x'}", "{log=[1,2], choice=[1,2], source='x'}", "{log=[2,1], source='x'}",
                                  "{log=[0,1], source='x'}", "{choice=[1,1], source='x'}", "{choice=[1], source='x'}",
                                  "{choice=[1,2]}"])  # fmt: skip
def test_wrong_ranges_are_named(tmp_path, line):
    path = tmp_path / "x.toml"
    path.write_text(f"[search]\nlatents = {line}\n")
    with pytest.raises(BenchError, match=r"x.toml: "):
        baselines.parse(path)


@pytest.fixture
def selection(tmp_path):
    """A file with QLAE's settings for rooms3d under ``cpu``, selected with seeds 0 and 1."""
    entry = Selected(
        **{key: resolve("qlae", "rooms3d", "cpu", 0).spec.model_dump()[key] for key in (
            "model", "model_version", "dataset", "dataset_version", "protocol", "protocol_version")},
        tuned=Tuning(criterion="mse", budget=16, space_version=1),
        point=3, search_seed=0, seeds=(0, 1), value=0.01, settings={"weight_decay": 0.25, "symbols": 16},
    )  # fmt: skip
    path = tmp_path / "selected" / "mse.toml"
    write_selection(path, [entry], ["chosen for a test"])
    return path


def test_selected_settings_are_run_with_other_seeds_and_may_be_ranked(selection):
    specs = expand("qlae", "rooms3d", "2-3", "cpu", settings=selection)
    default = resolve("qlae", "rooms3d", "cpu", 0).spec
    assert [spec.seed for spec in specs] == [2, 3]
    for spec in specs:
        assert spec.settings == default.settings | {"weight_decay": 0.25, "symbols": 16}
        assert spec.scoring == default.scoring
        assert spec.departures == ("tuned by mse, budget 16, space version 1",)
        assert is_ranked(spec)
    options = {"changes": ["training.updates=7"]}
    with pytest.raises(BenchError, match=r"no settings for qlae rooms3d cpu training.updates=7: it has them for qlae"):
        expand("qlae", "rooms3d", "2-3", "cpu", settings=selection, **options)


@pytest.mark.parametrize("name", ["😀", 'é\x7f"\\', "a\nb"])
def test_a_file_holds_any_name_of_a_dataset(selection, name):
    (entry,) = read_selection(selection).selected
    write_selection(selection, [entry.model_copy(update={"dataset": name})], ["chosen for a test"])
    assert [each.dataset for each in read_selection(selection).selected] == [name]


def test_seeds_of_the_search_and_edited_files_are_refused(selection):
    with pytest.raises(BenchError, match=r"--seeds: 1 had a part in selecting the settings of qlae: give .* 2-6"):
        expand("qlae", "rooms3d", "1-3", "cpu", settings=selection)
    selection.write_text(selection.read_text().replace("0.25", "0.5"))
    with pytest.raises(BenchError, match="was edited: run dbench select again"):
        read_selection(selection)
    selection.write_text("x = 1")
    with pytest.raises(BenchError, match="is no file of dbench select"):
        read_selection(selection)
    selection.write_text("x = ")
    with pytest.raises(BenchError, match="is not valid TOML"):
        read_selection(selection)
    with pytest.raises(BenchError, match="cannot be read"):
        read_selection(selection.parent)
