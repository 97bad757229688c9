const state = { table: 0, sort: -2, descending: false, query: "", off: true, hidden: new Set(), statistic: "mean", score: "" };
const current = () => DATA.tables[state.table];

function shownColumns() {
  return current().columns.map((column, index) => ({ column, index })).filter(({ column }) => !state.hidden.has(column.metric));
}

// The rows that are shown, in order, each with its place in the whole table: the place decides colour and mark.
function shownRows() {
  const words = state.query.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = current().rows.map((row, place) => ({ row, place }))
    .filter(({ row }) => (state.off || !row.off) && words.every((word) => row.name.toLowerCase().includes(word)));
  if (state.sort === -2) return rows;
  const key = ({ row }) => {
    if (state.sort === -1) return row.seeds;
    const cell = row.cells[state.sort];
    return cell && isNumber(cell[state.statistic]) ? cell[state.statistic] : null;
  };
  return rows.sort((one, two) => {
    const [a, b] = [key(one), key(two)];
    if (a === null || b === null) return (a === null) - (b === null) || one.place - two.place;
    return (state.descending ? b - a : a - b) || one.place - two.place;
  });
}

function sortBy(index) {
  const best = index >= 0 ? current().columns[index].direction !== "lower" : index === -1;
  if (state.sort === index) state.descending = !state.descending;
  else [state.sort, state.descending] = [index, best];
  if (index === -2) state.descending = false;
  render();
  byId("board").querySelector(`[data-sort="${index}"]`).focus();
}

function head(index, name, small, title) {
  const sorted = state.sort === index && index !== -2 ? (state.descending ? "descending" : "ascending") : null;
  return el("th", { scope: "col", "aria-sort": sorted },
    el("button", { type: "button", "data-sort": index, title, onclick: () => sortBy(index) }, small ? [el("small", null, small), name] : name));
}

function scoreCell(cell, column, domain, place) {
  if (!cell) return el("td", { class: "none", tabindex: -1 }, "—");
  if (!cell.n) return el("td", { class: "none", tabindex: -1, tip: seedTip(cell, column) }, "undefined");
  const rank = cell.rank[0] ? `#${cell.rank[0]}${cell.rank[1] === cell.rank[2] ? "" : ` [${cell.rank[1]}–${cell.rank[2]}]`}` : null;
  const interval = cell.n > 1 ? `[${fixed(cell.low, column.decimals)}, ${fixed(cell.high, column.decimals)}]` : "one seed";
  const few = cell.undefined ? ` n=${cell.n}` : "";
  return el("td", { class: cell.rank[0] === 1 ? "best" : null, tabindex: -1, tip: seedTip(cell, column) },
    el("span", { class: "line" }, el("span", { class: "value" }, fixed(cell[state.statistic], column.decimals)), rank && el("span", { class: "rank" }, rank)),
    el("span", { class: "interval" }, interval + few), sparkline(cell, domain, place));
}

function renderBoard() {
  const table = current(), columns = shownColumns(), rows = shownRows();
  const domains = new Map(columns.map(({ index }) => [index, extent(table.rows.flatMap((row) => cellNumbers(row.cells[index])))]));
  byId("leaderboard-lead").textContent = `${table.versions}.${table.ranked ? "" : " Nothing here is ranked."}`;
  const heads = columns.map(({ column, index }) => {
    const [metric, ...score] = column.name.split(".");
    const arrow = `${column.unit ? ` (${column.unit})` : ""} ${ARROWS[column.direction]}`;
    return head(index, (score.join(".") || metric) + arrow, score.length ? metric : "", column.variant);
  });
  const body = rows.map(({ row, place }) => el("tr", { "data-model": row.model },
    el("th", { scope: "row" }, swatch(place), row.name), el("td", { class: "seeds number" }, row.seeds),
    columns.map(({ column, index }) => scoreCell(row.cells[index], column, domains.get(index), place))));
  byId("board").replaceChildren(el("table", { class: "board" },
    el("thead", null, el("tr", null, head(-2, "model"), head(-1, "seeds"), heads)), el("tbody", null, body)));
  if (!rows.length) byId("board").append(el("p", { class: "muted" }, "No model matches the filter."));
  const first = byId("board").querySelector("tbody td[tabindex]");
  if (first) first.tabIndex = 0;
  byId("remarks").replaceChildren(...table.remarks.map((text) => el("li", null, text)));
}

// Arrow keys move between cells, as in a spreadsheet.
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
  options(byId("score"), table.columns.map((column) => [column.name, column.name]), table.columns[index].name);
  const width = (id) => Math.max(280, byId(id).clientWidth);
  byId("chart-strip").replaceChildren(stripChart(table, rows, index, width("chart-strip")));
  const trade = tradeChart(table, rows, index, width("chart-trade"));
  byId("trade-caption").textContent = trade ? `${table.columns[index].name} ${ARROWS[table.columns[index].direction]} against the reconstruction error. Small: seeds; large: means.` : "";
  byId("chart-trade").replaceChildren(trade || el("p", { class: "muted" }, "No other score to hold against the reconstruction error."));
  byId("chart-improvement").replaceChildren(improvementTable(table, rows, index));
}
