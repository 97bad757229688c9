function plainTable(heads, rows, numbers) {
  const numeric = new Set(numbers || []);
  return el("table", null,
    el("thead", null, el("tr", null, heads.map((name, place) => el("th", { scope: "col", class: numeric.has(place) ? "number" : null }, name)))),
    el("tbody", null, rows.map((row) => el("tr", null, row.map((content, place) => el("td", { class: numeric.has(place) ? "number" : null }, content))))));
}

// Draw models against datasets under one protocol: mean ranks if there are any, else the first score.
function renderOverview() {
  const tables = DATA.tables.map((table, index) => ({ table, index })).filter(({ table }) => table.protocol === current().protocol);
  const ranked = tables.some(({ table }) => table.rows.some((row) => row.mean_rank));
  const column = tables[0].table.columns[0];
  const models = new Map();
  for (const { table, index } of tables) for (const row of table.rows) {
    if (row.off) continue;
    const cell = row.cells[table.columns.findIndex((one) => one.name === column.name)];
    const value = ranked ? row.mean_rank && row.mean_rank[0] : cell && cell.mean;
    const model = models.get(row.title) || { row, values: new Map() };
    model.values.set(index, isNumber(value) ? value : null);
    models.set(row.title, model);
  }
  const mean = ({ values }) => {
    const defined = [...values.values()].filter(isNumber);
    return defined.length ? defined.reduce((a, b) => a + b, 0) / defined.length : null;
  };
  const sign = ranked || column.direction === "lower" ? 1 : -1;
  const order = [...models.entries()].sort(([, one], [, two]) => {
    const [a, b] = [mean(one), mean(two)];
    return a === null || b === null ? (a === null) - (b === null) : sign * (a - b);
  });
  const decimals = ranked ? 2 : column.decimals;
  const all = order.flatMap(([, model]) => [...model.values.values()]).filter(isNumber);
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const cellOf = (model, index) => {
    const value = model.values.get(index);
    if (!isNumber(value)) return el("td", { class: "muted" }, "—");
    const good = high > low ? (ranked || column.direction === "lower" ? high - value : value - low) / (high - low) : 0;
    const cell = el("td", null, el("button", { type: "button", class: "plain", title: `Show ${DATA.tables[index].title}`, onclick: () => { chooseTable(index); byId("leaderboard").scrollIntoView(); } }, fixed(value, decimals)));
    cell.style.background = `color-mix(in srgb, var(--c0) ${Math.round(30 * good)}%, var(--surface))`;
    return cell;
  };
  byId("overview-lead").textContent = `${ranked ? "Mean rank over the ranked scores of each dataset, 1 the best" : `${column.title} ${ARROWS[column.direction]}, mean over seeds; nothing is ranked here`}. A number opens its dataset.`;
  byId("overview-table").replaceChildren(el("table", { class: "overview" },
    el("thead", null, el("tr", null, el("th", { scope: "col" }, "model"), tables.map(({ table }) => el("th", { scope: "col", class: "number" }, table.dataset)),
      tables.length > 1 && el("th", { scope: "col", class: "number" }, "mean"))),
    el("tbody", null, order.map(([title, model]) => el("tr", null, el("th", { scope: "row" }, swatch(model.row.place), title),
      tables.map(({ index }) => cellOf(model, index)), tables.length > 1 && el("td", { class: "number" }, fixed(mean(model), decimals)))))));
}

// Show reconstructions and traversals of all models, each from the run with the lowest seed that has pictures here.
function renderPictures() {
  const table = current();
  const cards = shownRows().map(({ row, place }) => {
    const run = DATA.runs.filter((one) => one.pictures && one.settings === row.settings && one.model === row.model
      && table.versions.startsWith(`${one.dataset} version `)).sort((one, two) => one.seed - two.seed)[0];
    if (!run) return null;
    const picture = (name, source) => el("img", { src: source.source, alt: `${name} of ${row.title}, seed ${run.seed}`, loading: "lazy" });
    return el("figure", null,
      el("figcaption", null, swatch(place), el("button", { type: "button", class: "link", onclick: () => openRun(run.id) }, row.title), ` seed ${run.seed}`),
      picture("originals above reconstructions", run.pictures.reconstructions), picture("latent traversals", run.pictures.traversals));
  }).filter(Boolean);
  byId("pictures-list").replaceChildren(...cards);
  fold("pictures", !cards.length);
}

function renderMeans() {
  const groups = new Map();
  const versions = new Set(DATA.means.map((row) => `${row.protocol} v${row.protocol_version}`));
  for (const row of DATA.means) {
    const copies = new Set(DATA.means.filter((other) => other.dataset === row.dataset).map((other) => other.dataset_version)).size > 1;
    const several = [...versions].filter((name) => name.startsWith(`${row.protocol} v`)).length > 1;
    const title = `${row.dataset || "all datasets"}${copies ? ` v${row.dataset_version}` : ""}, ${row.protocol}${several ? ` v${row.protocol_version}` : ""}`;
    groups.set(title, [...(groups.get(title) || []), row]);
  }
  const tables = [...groups].map(([title, rows]) => {
    const twice = (row) => rows.filter((other) => other.model === row.model).length > 1;
    const name = (row) => (twice(row) ? `${row.model} v${row.model_version} ${row.settings}` : row.model);
    return el("div", null, el("h3", null, title), plainTable(["", "model", "mean rank", "95 % interval", "Borda points"],
      rows.map((row) => [row.place, name(row), row.mean_rank.toFixed(2), `${row.ci_low.toFixed(2)}–${row.ci_high.toFixed(2)}`, String(row.borda)]), [0, 2, 3, 4]),
      el("p", { class: "muted" }, `${rows[0].contests} contests`));
  });
  byId("means-tables").replaceChildren(...tables);
  fold("means", !tables.length);
}

function renderPublished() {
  const table = current();
  const rows = DATA.published.filter((row) => table.versions.includes(`${row.dataset} version `) && table.versions.endsWith(`protocol ${row.protocol} version ${row.protocol_version}`));
  fold("published", !rows.length);
  const spread = (value) => (isNumber(value) ? ` ± ${value.toFixed(3)}` : "");
  byId("published-table").replaceChildren(plainTable(["score", "model", "ours", "published", "difference", "source"], rows.map((row) => [
    row.score, row.model,
    row.n ? `${fixed(row.mean, 3)}${row.n > 1 ? ` [${fixed(row.ci_low, 3)}, ${fixed(row.ci_high, 3)}]` : ""} (n=${row.n})` : "—",
    `${fixed(row.published_mean, 3)}${spread(row.published_std)}${row.published_n ? ` (n=${row.published_n})` : ""}${row.second_hand ? " †" : ""}`,
    isNumber(row.difference) ? (row.difference > 0 ? "+" : "−") + Math.abs(row.difference).toFixed(3) : "",
    [row.citation, el("div", { class: "muted" }, `${row.provenance}${row.remark ? `; ${row.remark}` : ""}`)],
  ]), [2, 3, 4]));
}

const CAPTIONS = {
  ranks: "Rank of each model under each score, with its interval",
  agreement: "Rank correlation of scores over all runs: which metrics order runs alike",
  profile: "Share of runs that are at least this good",
  settings: "Scores against a setting changed by hand",
  published: "Ours beside published numbers",
  training: "Training curves: mean over seeds and their range",
};

function renderFigures() {
  const figures = current().figures;
  const zoom = (event) => event.currentTarget.closest("figure").classList.toggle("large");
  const caption = (name) => {
    const [kind, ...rest] = name.split("-");
    return `${CAPTIONS[kind] || kind}${rest.length ? `: ${rest.join("-")}` : ""}`;
  };
  byId("figure-list").replaceChildren(...figures.map((figure) => el("figure", null,
    el("img", { src: figure.source, alt: `${caption(figure.name)}, ${current().title}`, onclick: zoom }),
    el("figcaption", null, caption(figure.name)))));
  fold("figures", !figures.length);
}

function renderNotes() {
  const failed = DATA.runs.filter((run) => run.status === "failed");
  const unfinished = DATA.runs.filter((run) => run.status === "unfinished");
  const items = [
    ...failed.map((run) => `failed: ${run.id}: ${run.error}`),
    ...unfinished.map((run) => `unfinished: ${run.id}`),
    ...DATA.notes,
  ];
  const shown = items.length > 60 ? [...items.slice(0, 59), `… and ${items.length - 59} more`] : items;
  byId("notes").replaceChildren(...shown.map((text) => el("li", null, text)));
  fold("missing", !shown.length);
  byId("bibtex").textContent = DATA.meta.bibtex;
}
