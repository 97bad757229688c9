// Columns that can be sorted by and are not scores.
const NAME = -2, SEEDS = -1, MEAN_RANK = -3;
const state = { table: 0, sort: MEAN_RANK, descending: false, query: "", off: true, columns: null, statistic: "mean", score: "" };
const current = () => DATA.tables[state.table];

// Columns shown at first: the headline scores, or all scores if there is no headline score.
function isShown(column) {
  if (state.columns) return state.columns.has(column.name);
  return !column.secondary || (column.metric !== "cost" && current().columns.every((one) => one.secondary));
}

function shownColumns() {
  return current().columns.map((column, index) => ({ column, index })).filter(({ column }) => isShown(column));
}

// Filters such as "factor|qlae 3": alternatives, each a list of words that must all occur. Names match both as people
// and as commands spell them.
function matches(query, text) {
  const plain = (word) => word.toLowerCase().replace(/β/g, "beta");
  const all = plain(text);
  const bare = all.replace(/[^a-z0-9]/g, "");
  return query.split("|").some((part, _, parts) => (part.trim() || parts.length === 1)
    && plain(part).split(/\s+/).filter(Boolean).every((word) => all.includes(word) || bare.includes(word.replace(/[^a-z0-9]/g, "") || word)));
}

// Return the visible rows in order, each with the number that decides its colour and mark.
function shownRows() {
  const rows = current().rows.map((row, order) => ({ row, order, place: row.place }))
    .filter(({ row }) => (state.off || !row.off) && matches(state.query, `${row.name} ${row.title}`));
  const key = ({ row }) => {
    if (state.sort === NAME) return null;
    if (state.sort === SEEDS) return row.seeds;
    if (state.sort === MEAN_RANK) return row.mean_rank ? row.mean_rank[0] : null;
    const cell = row.cells[state.sort];
    return cell && isNumber(cell[state.statistic]) ? cell[state.statistic] : null;
  };
  return rows.sort((one, two) => {
    const [a, b] = [key(one), key(two)];
    if (a === null || b === null) return (a === null) - (b === null) || one.order - two.order;
    return (state.descending ? b - a : a - b) || one.order - two.order;
  });
}

function sortBy(index) {
  const best = index >= 0 ? current().columns[index].direction !== "lower" : index === SEEDS;
  if (state.sort === index) state.descending = !state.descending;
  else [state.sort, state.descending] = [index, best];
  if (index === NAME) state.descending = false;
  render();
  byId("board").querySelector(`[data-sort="${index}"]`).focus();
}

function head(index, name, small, title) {
  const sorted = state.sort === index && index !== NAME ? (state.descending ? "descending" : "ascending") : null;
  return el("th", { scope: "col", "aria-sort": sorted },
    el("button", { type: "button", "data-sort": index, title, onclick: () => sortBy(index) }, small ? [el("small", null, small), name] : name));
}

const atChance = (cell, column) => isNumber(cell.chance) && isNumber(cell.low)
  && (column.direction === "lower" ? cell.high >= cell.chance : cell.low <= cell.chance);

function scoreCell(cell, column, domain, place) {
  if (!cell) return el("td", { class: "none", tabindex: -1 }, "—");
  if (!cell.n) return el("td", { class: "none", tabindex: -1, tip: seedTip(cell, column) }, "undefined");
  const rank = cell.rank[0] ? `#${cell.rank[0]}${cell.rank[1] === cell.rank[2] ? "" : ` [${cell.rank[1]}–${cell.rank[2]}]`}` : null;
  const interval = cell.high > cell.low && column.metric !== "cost" ? `[${fixed(cell.low, column.decimals)}, ${fixed(cell.high, column.decimals)}]` : "";
  const few = cell.undefined ? ` n=${cell.n}` : "";
  const chance = atChance(cell, column) ? " at chance" : "";
  return el("td", { class: cell.rank[0] === 1 ? "best" : null, tabindex: -1, tip: seedTip(cell, column) },
    el("span", { class: "line" }, el("span", { class: "value" }, fixed(cell[state.statistic], column.decimals)), rank && el("span", { class: "rank" }, rank)),
    el("span", { class: "interval" }, interval + few, chance && el("span", { class: "failed" }, chance)), sparkline(cell, domain, place));
}

function rankCell(row) {
  if (!row.mean_rank) return el("td", { class: "none", tabindex: -1 }, "—");
  const [mean, low, high] = row.mean_rank;
  return el("td", { class: row.mean_rank[3] === 1 ? "best" : null, tabindex: -1 }, el("span", { class: "value" }, fixed(mean, 2)),
    el("span", { class: "interval" }, `[${fixed(low, 2)}, ${fixed(high, 2)}]`));
}

// A model's name opens its runs; the arrow beside it opens its page in the documentation.
function nameCell(row, place) {
  const list = () => {
    byId("run-query").value = `${current().dataset.split(" ")[0]}-${current().protocol.split(" ")[0]}-${row.model}-`; // as run ids begin
    renderRuns();
    byId("runs").scrollIntoView();
    byId("runs").focus({ preventScroll: true });
  };
  return el("th", { scope: "row", "data-name": row.name }, swatch(place),
    el("button", { type: "button", class: "link", title: `${row.name}: its runs`, onclick: list }, row.title),
    row.page && el("a", { class: "page", href: row.page, title: `${row.model} in the documentation`, rel: "noreferrer" }, " ↗"));
}

function renderBoard() {
  const table = current(), columns = shownColumns(), rows = shownRows();
  const domains = new Map(columns.map(({ index }) => [index, extent(table.rows.flatMap((row) => cellNumbers(row.cells[index])))]));
  byId("leaderboard-lead").textContent = `${table.versions}.${table.ranked ? "" : " Nothing here is ranked."}`;
  const heads = columns.map(({ column, index }) => {
    const [metric, ...score] = column.name.split(".");
    const arrow = `${column.unit ? ` (${column.unit})` : ""} ${ARROWS[column.direction]}`;
    return head(index, (score.join(".") || metric).replace(/_/g, " ") + arrow, score.length ? column.group : "", column.variant);
  });
  const ranked = table.rows.some((row) => row.mean_rank);
  const body = rows.map(({ row, place }) => el("tr", { "data-model": row.model },
    nameCell(row, place), el("td", { class: "seeds number" }, row.seeds), ranked && rankCell(row),
    columns.map(({ column, index }) => scoreCell(row.cells[index], column, domains.get(index), place))));
  byId("board").replaceChildren(el("table", { class: "board" },
    el("thead", null, el("tr", null, head(NAME, "model"), head(SEEDS, "seeds"), ranked && head(MEAN_RANK, "mean rank"), heads)), el("tbody", null, body)));
  if (!rows.length) byId("board").append(el("p", { class: "muted" }, "No model matches the filter."));
  const first = byId("board").querySelector("tbody td[tabindex]");
  if (first) first.tabIndex = 0;
  byId("remarks").replaceChildren(...table.remarks.map((text) => el("li", null, text)));
}

// Return the visible rows and columns, in their order, as a file.
function viewCsv() {
  const columns = shownColumns(), quote = (text) => (/[",\n]/.test(text) ? `"${String(text).replace(/"/g, '""')}"` : String(text));
  const safe = (text) => quote(/^[=+\-@]/.test(text) ? `'${text}` : text);
  const lines = [["model", "seeds", "mean_rank", ...columns.flatMap(({ column }) => [column.name, `${column.name} low`, `${column.name} high`]).map(safe)]];
  for (const { row } of shownRows()) {
    lines.push([safe(row.name), row.seeds, row.mean_rank ? row.mean_rank[0] : "", ...columns.flatMap(({ index }) => {
      const cell = row.cells[index];
      return cell && cell.n ? [cell[state.statistic], cell.low, cell.high] : ["", "", ""];
    })]);
  }
  return `${lines.map((line) => line.join(",")).join("\n")}\n`;
}

function viewTex() {
  const escapes = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}", ">": "\\textgreater{}", "|": "\\textbar{}", "β": "$\\beta$" };
  const escape = (text) => String(text).replace(/[\\~^<>|β]|[{}$&#%_]/g, (letter) => escapes[letter] || `\\${letter}`);
  const arrows = { higher: " $\\uparrow$", lower: " $\\downarrow$", none: "" };
  const columns = shownColumns();
  const lines = [`model & n & ${columns.map(({ column }) => escape(column.title) + arrows[column.direction]).join(" & ")} \\\\ \\midrule`];
  for (const { row } of shownRows()) {
    const cells = columns.map(({ column, index }) => {
      const cell = row.cells[index];
      if (!cell || !cell.n) return "--";
      const value = fixed(cell[state.statistic], column.decimals);
      const interval = cell.n > 1 ? ` {\\scriptsize$[${fixed(cell.low, column.decimals)}, ${fixed(cell.high, column.decimals)}]$}` : "";
      return (cell.rank[0] === 1 ? `\\textbf{${value}}` : value) + interval;
    });
    lines.push(`${escape(row.title)} & ${row.seeds} & ${cells.join(" & ")} \\\\`);
  }
  return `% needs booktabs\n\\begin{tabular}{lr${"c".repeat(columns.length)}}\n\\toprule\n${lines.join("\n")}\n\\bottomrule\n\\end{tabular}\n`;
}

byId("save-csv").addEventListener("click", () => save("leaderboard-view.csv", "text/csv", viewCsv()));
byId("save-tex").addEventListener("click", () => save("leaderboard-view.tex", "text/plain", viewTex()));
byId("save-png").addEventListener("click", () => savePng(byId("chart-strip").firstElementChild, `${state.score || current().columns[0].name}.png`));

// Arrow keys move from cell to cell, as in a spreadsheet.
byId("board").addEventListener("keydown", (event) => {
  const cell = event.target.closest("tbody td[tabindex]");
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (!cell || !step) return;
  event.preventDefault();
  const row = cell.parentNode, rows = [...row.parentNode.children];
  const target = rows[rows.indexOf(row) + step[0]];
  const next = target && target.children[[...row.children].indexOf(cell) + step[1]];
  if (!next || !next.hasAttribute("tabindex")) return;
  cell.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
});

function renderCharts() {
  const table = current(), rows = shownRows();
  const index = Math.max(0, table.columns.findIndex((column) => column.name === state.score));
  options(byId("score"), table.columns.map((column) => [column.name, column.title]), table.columns[index].name);
  const width = (id) => Math.max(280, byId(id).clientWidth);
  byId("chart-strip").replaceChildren(stripChart(table, rows, index, width("chart-strip")));
  const trade = tradeChart(table, rows, index, width("chart-trade"));
  byId("trade-caption").textContent = trade ? `${table.columns[index].title} ${ARROWS[table.columns[index].direction]} against the reconstruction error. Small: seeds; large: means.` : "";
  byId("chart-trade").replaceChildren(trade || el("p", { class: "muted" }, "No other score to hold against the reconstruction error."));
  byId("chart-improvement").replaceChildren(improvementTable(table, rows, index));
}
