"""The style of figures: looks that tell setups apart, and a light font that changes nothing that can be seen."""

import contextlib
import warnings

import numpy as np
import pytest
from fontTools.ttLib import TTFont
from matplotlib import font_manager
from PIL import Image

from disentangle_bench.report import labels
from disentangle_bench.report.figures import style


@pytest.fixture(autouse=True)
def _style():
    with style.style():
        yield


def test_the_light_font_gives_the_same_pixels_and_other_letters_come_from_the_whole_font(tmp_path):
    for name, text in (("plain", "AVATAR fi β² → ≥ 0.5 · ÄÖß"), ("more", "Ж א ∰ ✓")):
        pixels, sizes = [], []
        for context in (contextlib.nullcontext(), style.light_font()):
            with context, warnings.catch_warnings():
                warnings.simplefilter("error")
                figure = style.figure(3, 1)
                figure.subplots().set_title(text)
                png, pdf = style.save(figure, tmp_path / name)
            pixels.append(np.asarray(Image.open(png)))
            sizes.append(pdf.stat().st_size)
        assert pixels[0].min() < 255
        np.testing.assert_array_equal(*pixels)
        assert max(sizes) < 1.5 * min(sizes)
    assert not [entry for entry in font_manager.fontManager.ttflist if entry.name == "dbench light"]


def test_the_light_font_does_not_say_when_it_was_made():
    with style.light_font():
        light = TTFont(font_manager.findfont("dbench light"))["head"].modified
    assert light == TTFont(font_manager.findfont("DejaVu Sans"))["head"].modified


@pytest.mark.parametrize("others", [(), ("ae", "beta_vae"), ("a_plug_in", "factor_qvae", "zz")])
def test_a_model_keeps_its_look_whatever_is_beside_it(others):
    look = style.looks([("qlae", 1, "", "x")])["qlae", 1, "", "x"]
    setups = sorted([("qlae", 1, "", "x"), *((other, 1, "", "x") for other in others)])
    assert style.looks(setups)["qlae", 1, "", "x"] == look


def test_models_and_settings_can_be_told_apart():
    looks = style.looks((name, 1, "", "x") for name in labels.MODEL_TITLES)
    assert len({(look.color, look.marker) for look in looks.values()}) == len(labels.MODEL_TITLES) == 18
    looks_of_settings = style.looks([("qlae", 1, "", "x"), ("qlae", 1, "model.a=1", "y")]).values()
    assert len({look.color for look in looks_of_settings}) == 1
    assert len({look.marker for look in looks_of_settings}) == 2
