"""The page in a real browser, from disk, without a network."""

import json

import pytest

from disentangle_bench.report import labels, write_report
from support import records as synthetic
from support.browser import browser
from support.commands import until
from support.page_data import HOSTILE, data

WORST_CONTRAST = """
const luminance = (colour) => {
  const [r, g, b] = colour.match(/[0-9.]+/g).slice(0, 3).map((value) => {
    const share = value / (colour.startsWith("color(") ? 1 : 255); // mixed colours are given from 0 to 1
    return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const back = (node) => {
  for (let one = node; one; one = one.parentElement) {
    const colour = getComputedStyle(one).backgroundColor;
    if (!/, 0\\)|transparent/.test(colour)) return colour;
  }
  return "rgb(255, 255, 255)";
};
let worst = 99;
for (const node of document.querySelectorAll("p, th, td, a, li, label, button, .rank, .interval, code")) {
  if (!node.offsetParent || node.closest(".heat")) continue;
  const [a, b] = [luminance(getComputedStyle(node).color), luminance(back(node))];
  worst = Math.min(worst, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
}
return worst;
"""
"""The lowest contrast of a text with what is behind it, as WCAG measures it."""
NAMELESS = """
const name = (node) => node.textContent || node.getAttribute("aria-label") || (node.labels || []).length || node.title
  || node.getAttribute("aria-labelledby");
const nodes = document.querySelectorAll("button, select, input, a, [role=img], dialog");
return [...nodes].filter((node) => !name(node)).map((node) => node.outerHTML);
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two datasets, two protocols, one model off its protocol, a failed and an unfinished run, with the page."""
    out = tmp_path_factory.mktemp("page")
    for dataset in ("shapes3d", "rooms3d"):
        synthetic.write_grid(out, ("beta_tcvae", "qlae", "vq_vae"), seeds=3, dataset=dataset)
    synthetic.write_grid(out, ("qlae",), seeds=2, protocol="quick", companions=False)
    off_protocol_spec = synthetic.spec("beta_vae", 0, settings={"latents": 10, "beta": 4.0}, changed=("model.beta",))
    synthetic.write_run(out, off_protocol_spec)
    synthetic.write_failure(out, synthetic.spec("vq_vae", 8), "out of memory")
    (out / "runs" / "half-done").mkdir()
    write_report(out, figures=False, html=out / "report.html")
    return out


@pytest.fixture(scope="module")
def chromium():
    with browser() as page:
        yield page


@pytest.fixture
def page(chromium, folder):
    chromium.complaints()
    chromium.requests()
    chromium.size(1440)
    chromium.media()
    chromium.open(folder / "report.html")
    yield chromium
    assert chromium.complaints() == []
    assert {url.partition("#")[0] for url in chromium.requests()} <= {(folder / "report.html").as_uri()}
    assert not chromium.js("return window.hacked")


def test_it_shows_the_leaderboard_and_sorts(page, folder):
    page.choose("#dataset", "rooms3d")
    table = next(table for table in data(folder)["tables"] if table["title"] == "rooms3d, cpu")
    ranks = {row["name"]: (row["mean_rank"] or [99])[0] for row in table["rows"]}
    assert page.models() == sorted(ranks, key=ranks.get), "it opens sorted by mean rank"
    assert page.models()[-1] == "beta_vae (model.beta=4.0)"
    assert page.texts(".board tbody .link")[-1] == "β-VAE (model.beta=4.0)"
    means = {row["name"]: row["cells"][0]["mean"] for row in table["rows"]}
    assert page.texts(".board tbody tr td:nth-child(4) .value") == [f"{means[name]:.3f}" for name in page.models()]
    page.one('[data-sort="0"]').click()
    assert page.models() == sorted(means, key=means.get, reverse=True)
    assert page.one('th[aria-sort="descending"] button').get_attribute("data-sort") == "0"
    page.one('[data-sort="0"]').click()
    assert page.models() == sorted(means, key=means.get)
    mse = next(index for index, column in enumerate(table["columns"]) if column["name"] == "mse.mse")
    page.one(f'[data-sort="{mse}"]').click()
    errors = {row["name"]: row["cells"][mse]["mean"] for row in table["rows"]}
    assert page.models() == sorted(errors, key=errors.get), "lower is better: the best comes first"
    assert len(page.texts(".board td.best")) == 9


def test_it_filters_and_hides(page):
    page.choose("#dataset", "rooms3d")
    for query, models in (("QLA", ["qlae"]), ("β-TCVAE|qlae", ["beta_tcvae", "qlae"]), ("VQ-VAE", ["vq_vae"]),
                          ("beta 4.0", ["beta_vae (model.beta=4.0)"])):  # fmt: skip
        page.one("#query").clear()
        page.one("#query").send_keys(query)
        assert sorted(page.models()) == models
    page.one("#query").clear()
    page.one("#query").send_keys("nothing")
    assert page.models() == []
    page.js("const q = document.getElementById('query'); q.value = ''; q.dispatchEvent(new Event('input'))")
    page.one("#off").click()
    assert sorted(page.models()) == ["beta_tcvae", "qlae", "vq_vae"]
    assert len(page.texts(".board thead th")) == 11
    page.one("#columns-count").click()
    page.one('#columns input[value="infomec.modularity"]').click()
    page.one('#columns input[value="parameters"]').click()
    heads = page.texts(".board thead th")
    assert len(heads) == 11
    assert any(head.startswith("parameters") for head in heads)
    assert not any("modularity" in head for head in heads)


def test_it_switches_dataset_protocol_score_and_statistic(page, folder):
    page.choose("#dataset", "shapes3d")
    assert sorted(page.models()) == ["beta_tcvae", "qlae", "vq_vae"]
    assert "shapes3d version 1" in page.one("#leaderboard-lead").text
    assert "second-hand transcription" in page.one("#published-table").text
    page.choose("#dataset", "rooms3d")
    assert not page.one("#published").is_displayed()
    page.choose("#score", "PSNR")
    assert "PSNR (dB) ↑" in page.one("#chart-strip").text
    page.choose("#statistic", "median")
    table = next(table for table in data(folder)["tables"] if table["title"] == "rooms3d, cpu")
    first = next(row for row in table["rows"] if row["name"] == page.models()[0])
    assert page.texts(".board tbody tr td:nth-child(4) .value")[0] == f"{first['cells'][0]['median']:.3f}"
    page.choose("#protocol", "quick")
    assert page.models() == ["qlae"]
    assert "Nothing here is ranked" in page.one("#leaderboard-lead").text
    assert not page.one("#off").is_displayed()
    assert not page.texts(".board td.best")


def test_what_was_chosen_is_in_the_address(page, folder):
    page.choose("#dataset", "shapes3d")
    page.one('[data-sort="3"]').click()
    page.one("#query").send_keys("vae")
    models, address = page.models(), page.driver.current_url
    page.open(folder / "report.html", f"#{address.partition('#')[2]}")
    assert page.models() == models
    assert page.one("#dataset option:checked").text == "shapes3d"
    assert page.one("#query").get_attribute("value") == "vae"


def test_seeds_are_shown_on_hover_and_to_the_keyboard(page):
    from selenium.webdriver import ActionChains, Keys

    page.choose("#dataset", "rooms3d")
    tip = page.one("#tip")
    assert not tip.is_displayed()
    page.js("document.querySelector('.board').scrollIntoView()")
    page.js("return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    ActionChains(page.driver).move_to_element(page.one(".board td.best:nth-child(n+4)")).perform()
    assert tip.is_displayed()
    assert "seed 2" in tip.text
    page.js("document.querySelector('.board tbody td[tabindex=\"0\"]').focus()")
    page.driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert "DCI disentanglement" in tip.text
    page.driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert "DCI completeness" in tip.text
    page.driver.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    assert page.js("return document.activeElement.parentNode.rowIndex") == 2
    page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not tip.is_displayed()
    page.one('[data-sort="-2"]').send_keys(Keys.TAB, Keys.TAB, Keys.TAB, Keys.ENTER)
    assert page.one('th[aria-sort="descending"] button').get_attribute("data-sort") == "0"


def test_a_run_opens_and_closes(page, folder):
    from selenium.webdriver import Keys

    page.one("#run-query").send_keys("rooms3d qlae 0")
    run = next(run for run in data(folder)["runs"] if (run.get("model"), run.get("seed")) == ("qlae", 0)
               and (run["dataset"], run["protocol"]) == ("rooms3d", "cpu"))  # fmt: skip
    row = page.texts("#run-list tbody tr:first-child td")
    assert row[:2] == ["qlae", "0"]
    assert float(row[2]) == pytest.approx(dict(score[:2] for score in run["scores"])["dci.disentanglement"], abs=6e-4)
    assert run["id"] in page.texts("#run-list td:last-child")
    page.one(f'#run-list [data-run="{run["id"]}"]').click()
    dialog = page.one("#run")
    assert dialog.is_displayed()
    assert page.driver.switch_to.active_element.text == "Close"
    parts = ["rooms3d · cpu · seed 0", "model.beta", "training.updates", "dci.disentanglement", "digest of the spec"]
    for part in [*parts, "latent 9 (inactive)", "floor_hue", "abc"]:
        assert part in dialog.text, part
    assert page.js("return document.querySelector('.sheet img').naturalWidth") > 100
    assert len(page.texts("#run polyline")) == 3
    page.js("document.querySelector('#run input[type=range]').value = 3")
    page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not dialog.is_displayed()
    page.js("document.querySelector('#chart-strip circle').closest('a').dispatchEvent(new MouseEvent('click', "
            "{bubbles: true, cancelable: true}))")  # fmt: skip
    assert dialog.is_displayed()
    before = page.one("#run .run-head p").text
    page.js("document.getElementById('run-query').value = ''; renderRuns()")
    page.one('#run button[title^="Next"]').click()
    assert page.one("#run .run-head p").text != before
    page.one("#close").click()
    assert not dialog.is_displayed()


def test_the_overview_and_the_pictures_come_first(page, folder):
    page.choose("#protocol", "cpu")
    page.choose("#dataset", "rooms3d")
    sections = page.js("return [...document.querySelectorAll('main > section')].map(s => s.id)")
    assert sections[:3] == ["overview", "pictures", "leaderboard"]
    assert page.texts(".overview thead th") == ["model", "rooms3d", "shapes3d", "mean"]
    ranks = {row["title"]: row["mean_rank"][0] for table in data(folder)["tables"] if table["title"] == "rooms3d, cpu"
             for row in table["rows"] if row["mean_rank"]}  # fmt: skip
    overview = dict(zip(page.texts(".overview tbody th"), page.texts(".overview tbody td:nth-child(2)"), strict=True))
    assert overview == {title: f"{rank:.2f}" for title, rank in ranks.items()}
    assert len(page.texts("#pictures-list figure")) == 3
    assert page.js("return [...document.querySelectorAll('#pictures-list img')].every(i => i.src.startsWith('data:'))")
    page.choose("#protocol", "quick")
    assert not page.one("#pictures").is_displayed()
    assert not page.one("#figures").is_displayed()


def test_a_name_lists_the_runs_and_links_to_the_documentation(page):
    page.choose("#dataset", "rooms3d")
    page.one('.board tr[data-model="qlae"] th .link').click()
    assert page.texts("#run-count") == ["3 of 23 runs"]
    assert page.one('.board tr[data-model="qlae"] th .page').get_attribute("href").endswith("docs/models/qlae.md")


def test_the_view_can_be_taken_as_csv_and_latex(page):
    import csv
    import io

    page.choose("#dataset", "rooms3d")
    rows = list(csv.DictReader(io.StringIO(page.js("return viewCsv()"))))
    assert [row["model"] for row in rows] == page.models()
    values = page.texts(".board tbody tr td:nth-child(4) .value")
    assert [f"{float(row['dci.disentanglement']):.3f}" for row in rows] == values
    latex = page.js("return viewTex()")
    assert latex.count(r"\\") == 1 + len(rows)
    assert r"$\beta$-TCVAE & 3 & " in latex


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_chart_can_be_taken_as_png_as_it_is_on_the_screen(page, scheme):
    import base64
    import io

    import numpy as np
    from PIL import Image

    page.media(prefers_color_scheme=scheme)
    page.js("save = (name, type, content) => { window.saved = [name, type, content]; }")
    page.one("#save-png").click()
    name, kind, content = until(lambda: page.js("return window.saved"), "the picture", 20)
    assert (name, kind) == ("dci.disentanglement.png", "image/png")
    picture = Image.open(io.BytesIO(base64.b64decode(content.partition("base64,")[2]))).convert("RGB")
    assert picture.size == tuple(page.js("const b = byId('chart-strip').firstElementChild.viewBox.baseVal;"
                                         "return [b.width * 2, b.height * 2]"))  # fmt: skip
    pixels = np.asarray(picture).reshape(-1, 3)
    assert (pixels[0].mean() > 200) == (scheme == "light"), "the paper is that of the scheme"
    colours = {tuple(bytes.fromhex(colour[1:])) for colour in labels.COLOURS}
    assert any((pixels == colour).all(axis=1).any() for colour in colours) or scheme == "dark"
    assert len(np.unique(pixels, axis=0)) > 20, "marks, lines and letters are in it"


def test_improvement_says_nothing_below_three_seeds(page):
    page.choose("#protocol", "quick")
    assert "three seeds" in page.one("#chart-improvement").text
    assert page.js("return improvement([[0, 1], [1, 1]], [[0, 0], [1, 0], [2, 0]], true)") is None
    assert page.js("return improvement([[0, 1], [1, 1], [2, 1]], [[0, 0], [1, 0], [2, 0]], true)") == 1


def test_heads_stay_while_the_board_scrolls(page):
    page.size(1440, 300)
    page.js("byId('board').scrollTop = 120")
    top = page.js("return document.querySelector('.board thead').querySelector('th').getBoundingClientRect().top"
                  " - byId('board').getBoundingClientRect().top")  # fmt: skip
    assert abs(top) < 2


def test_colours_of_the_page_are_those_of_the_figures(page):
    from disentangle_bench.report.labels import COLOURS

    names = ", ".join(f"'--c{index}'" for index in range(7))
    page.media(prefers_color_scheme="light")
    style = f"return [{names}].map(n => getComputedStyle(document.documentElement).getPropertyValue(n).trim())"
    assert tuple(page.js(style)) == COLOURS
    places = page.js("return DATA.tables[0].rows.map(r => [r.model, r.place])")
    assert {"beta_tcvae": 2, "qlae": 4, "vq_vae": 3}.items() <= dict(places).items()


def test_failed_and_unfinished_runs_are_shown(page):
    assert "out of memory" in page.one("#notes").text
    assert "unfinished: half-done" in page.one("#notes").text
    page.choose("#run-status", "failed")
    assert len(page.texts("#run-list .link")) == 1
    page.one("#run-list .link").click()
    assert "out of memory" in page.one("#run").text
    page.one("#close").click()


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_can_be_read(page, folder, width, scheme):
    page.size(width)
    page.media(prefers_color_scheme=scheme)
    page.open(folder / "report.html")
    assert page.js("return document.documentElement.scrollWidth <= innerWidth")
    if width == 1440:
        assert page.js("const b = byId('board'); return b.scrollWidth <= b.clientWidth"), "all headline scores are seen"
    worst = page.js(WORST_CONTRAST)
    assert worst >= 4.5
    dark = page.js("return document.documentElement.dataset.theme") == "dark"
    assert dark == (scheme == "dark")
    page.one("#theme").click()
    assert page.js("return document.documentElement.dataset.theme") == "light"
    page.one("#theme").click()
    page.one("#theme").click()


def test_it_prints(page):
    import base64

    pdf = page.driver.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True, "printBackground": True})
    pages = base64.b64decode(pdf["data"]).count(b"/Type /Page\n")
    assert 1 <= pages <= 12
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not page.one("#controls").is_displayed()
    assert page.one(".board").is_displayed()
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_controls_have_names(page):
    assert page.js(NAMELESS) == []


def test_hostile_text_is_shown_and_not_run(chromium, tmp_path):
    for seed in range(3):
        run = synthetic.spec("qlae", seed, model=HOSTILE, dataset=HOSTILE[:50])
        notes = {"dci": {HOSTILE: HOSTILE}}
        synthetic.write_run(tmp_path, run, environment={HOSTILE: HOSTILE}, notes=notes, finished=HOSTILE)
    failure = synthetic.write_failure(tmp_path, synthetic.spec("qlae", 9), HOSTILE)
    content = json.loads((failure / "failed.json").read_text()) | {"run_id": HOSTILE, "traceback": HOSTILE}
    (failure / "failed.json").write_text(json.dumps(content))
    write_report(tmp_path, figures=False, html=tmp_path / "x.html")
    html = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert html.count("<script") == 2
    assert "\u2028" not in html
    chromium.complaints()
    chromium.open(tmp_path / "x.html")
    assert "{{7*7}}" in chromium.models()[0]
    assert "</script><script>window.hacked=1</script>" in chromium.models()[0]
    for link in range(4):
        chromium.js("document.querySelectorAll('#run-list .link')[arguments[0]].click()", link)
        assert "window.hacked" in chromium.one("#run").text
        chromium.one("#close").click()
    assert not chromium.js("return window.hacked")
    assert chromium.complaints() == []
    # Even markup that got in somehow could neither run nor load anything.
    chromium.js("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hacked=1\">')")
    chromium.js(
        "const s = document.createElement('script'); s.textContent = 'window.hacked=1'; document.body.append(s)"
    )
    chromium.js("fetch('https://example.com').catch(() => { window.refused = 1 })")
    assert not chromium.js("return window.hacked")
    assert any("Content Security Policy" in line for line in chromium.complaints())


def test_old_foreign_and_damaged_records_are_left_out_and_said(chromium, tmp_path):
    synthetic.write_grid(tmp_path, ("qlae",), seeds=2, companions=False)
    for name, content in (
        ("damaged", "{"),
        ("foreign", '{"a": 1}'),
        ("newer", '{"schema": 99}'),
        ("old", '{"schema": 1, "spec": {"model": "x"}, "scores": []}'),
    ):
        (tmp_path / "runs" / name).mkdir()
        (tmp_path / "runs" / name / "record.json").write_text(content)
    report = write_report(tmp_path, figures=False, html=tmp_path / "x.html")
    assert len(report.notes) == 4
    for name in ("damaged", "foreign", "newer", "old"):
        assert sum(f"{name}/record.json" in note for note in report.notes) == 1
    bare = synthetic.write_run(tmp_path, synthetic.spec("qlae", 7))
    content = json.loads((bare / "record.json").read_text())
    for key in ("environment", "seconds", "notes", "dataset", "finished", "parameters", "ranked"):
        content.pop(key, None)
    (bare / "record.json").write_text(json.dumps(content))
    write_report(tmp_path, figures=False, html=tmp_path / "x.html")
    chromium.complaints()
    chromium.open(tmp_path / "x.html")
    assert "damaged/record.json" in chromium.one("#notes").text
    assert chromium.complaints() == []
