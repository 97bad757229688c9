function plainTable(heads, rows, numbers) {
  const numeric = new Set(numbers || []);
  return el("table", null,
    el("thead", null, el("tr", null, heads.map((name, place) => el("th", { scope: "col", class: numeric.has(place) ? "number" : null }, name)))),
    el("tbody", null, rows.map((row) => el("tr", null, row.map((content, place) => el("td", { class: numeric.has(place) ? "number" : null }, content))))));
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
  byId("means-tables").replaceChildren(...(tables.length ? tables : [el("p", { class: "muted" }, "No two models are ranked in the same contests yet.")]));
}

function renderPublished() {
  const table = current();
  const rows = DATA.published.filter((row) => table.versions.includes(`${row.dataset} version `) && table.versions.endsWith(`protocol ${row.protocol} version ${row.protocol_version}`));
  if (!rows.length) {
    byId("published-table").replaceChildren(el("p", { class: "muted" }, `No published number of ${table.dataset} has a score that is here.`));
    return;
  }
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
  scores: "Scores of all models with every seed and the 95 % interval",
  reconstruction: "Disentanglement against reconstruction error",
  ranks: "Rank of each model under each score, with its interval",
  improvement: "Probability of improvement",
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
  if (!figures.length) byId("figure-list").append(el("p", { class: "muted" }, "This page was made without figures."));
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
  byId("notes").replaceChildren(...(shown.length ? shown : ["Nothing."]).map((text) => el("li", null, text)));
  byId("bibtex").textContent = DATA.meta.bibtex;
}
