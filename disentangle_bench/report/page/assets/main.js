// The view is kept in the address after #, so that it survives a reload and can be shared.
const SECTIONS = new Set([...document.querySelectorAll("main > section")].map((section) => section.id));

function remember() {
  const table = current();
  const words = new URLSearchParams({ table: table.title });
  const special = { [NAME]: "model", [SEEDS]: "seeds", [MEAN_RANK]: "mean rank" };
  if (state.sort !== MEAN_RANK || state.descending) words.set("sort", `${state.descending ? "-" : ""}${special[state.sort] || table.columns[state.sort].name}`);
  if (state.query) words.set("q", state.query);
  if (!state.off) words.set("off", "0");
  if (state.columns) words.set("columns", [...state.columns].join(","));
  if (state.statistic !== "mean") words.set("show", state.statistic);
  if (state.score) words.set("score", state.score);
  if (state.run) words.set("run", state.run);
  history.replaceState(null, "", `#${words}`);
}

function recall() {
  const words = new URLSearchParams(location.hash.slice(1));
  state.table = Math.max(0, DATA.tables.findIndex((table) => table.title === words.get("table")));
  const sort = words.get("sort") || "";
  state.descending = sort.startsWith("-");
  const name = sort.replace(/^-/, "");
  const special = { model: NAME, seeds: SEEDS };
  const index = current().columns.findIndex((column) => column.name === name);
  state.sort = special[name] || (index >= 0 ? index : MEAN_RANK);
  state.query = words.get("q") || "";
  state.off = words.get("off") !== "0";
  state.columns = words.has("columns") ? new Set(words.get("columns").split(",").filter(Boolean)) : null;
  state.statistic = ["mean", "iqm", "median"].includes(words.get("show")) ? words.get("show") : "mean";
  state.score = words.get("score") || "";
  return words.get("run");
}

function renderControls() {
  const protocols = [...new Set(DATA.tables.map((table) => table.protocol))];
  options(byId("protocol"), protocols.map((name) => [name, name]), current().protocol);
  options(byId("dataset"), DATA.tables.map((table, index) => [String(index), table.dataset, table.protocol])
    .filter((entry) => entry[2] === current().protocol), String(state.table));
  byId("statistic").value = state.statistic;
  byId("off").checked = state.off;
  byId("off").parentNode.hidden = !current().rows.some((row) => row.off);
  if (byId("query").value !== state.query) byId("query").value = state.query;
  const shown = shownColumns().length;
  byId("columns-count").textContent = `${shown} of ${current().columns.length} columns`;
  byId("columns").replaceChildren(...current().columns.map((column) => el("label", null,
    el("input", { type: "checkbox", checked: isShown(column), value: column.name, onchange: (event) => {
      state.columns = state.columns || new Set(shownColumns().map((one) => one.column.name));
      if (event.target.checked) state.columns.add(column.name);
      else state.columns.delete(column.name);
      byId("columns-count").textContent = `${shownColumns().length} of ${current().columns.length} columns`;
      renderBoard();
      remember();
    } }), column.title)));
}

function render() {
  renderControls();
  renderBoard();
  renderCharts();
  remember();
}

function renderAll() {
  render();
  renderOverview();
  renderPictures();
  renderPublished();
  renderFigures();
}

function chooseTable(index) {
  const sorted = state.sort >= 0 ? current().columns[state.sort].name : null;
  state.table = index;
  if (sorted !== null) {
    state.sort = current().columns.findIndex((column) => column.name === sorted);
    if (state.sort < 0) state.sort = MEAN_RANK;
  }
  renderAll();
}

byId("protocol").addEventListener("change", (event) => {
  const same = DATA.tables.findIndex((table) => table.protocol === event.target.value && table.dataset === current().dataset);
  chooseTable(same >= 0 ? same : DATA.tables.findIndex((table) => table.protocol === event.target.value));
});
byId("dataset").addEventListener("change", (event) => chooseTable(Number(event.target.value)));
byId("statistic").addEventListener("change", (event) => { state.statistic = event.target.value; render(); });
byId("query").addEventListener("input", (event) => { state.query = event.target.value; render(); });
byId("off").addEventListener("change", (event) => { state.off = event.target.checked; render(); });
byId("score").addEventListener("change", (event) => { state.score = event.target.value; renderCharts(); remember(); });
byId("controls").addEventListener("submit", (event) => event.preventDefault());
byId("run-query").addEventListener("input", renderRuns);
byId("run-status").addEventListener("change", renderRuns);
window.addEventListener("resize", renderCharts);
window.addEventListener("beforeprint", renderCharts);

// Links to sections scroll there and keep the view.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  if (!link || event.defaultPrevented) return;
  const id = link.getAttribute("href").slice(1);
  if (!SECTIONS.has(id)) return;
  event.preventDefault();
  byId(id).scrollIntoView();
  byId(id).focus({ preventScroll: true });
});

// Colours follow the system until the reader chooses others.
const dark = matchMedia("(prefers-color-scheme: dark)");
let theme = "auto";
try { theme = localStorage.getItem("disentangle-bench-theme") || "auto"; } catch { /* no storage: not remembered */ }

function paint() {
  document.documentElement.dataset.theme = theme === "auto" ? (dark.matches ? "dark" : "light") : theme;
  byId("theme").querySelector("span").textContent = theme;
}

byId("theme").addEventListener("click", () => {
  theme = { auto: "light", light: "dark", dark: "auto" }[theme] || "auto";
  try { localStorage.setItem("disentangle-bench-theme", theme); } catch { /* not remembered */ }
  paint();
});
dark.addEventListener("change", paint);
paint();

const opened = recall();
renderMeans();
renderRuns();
renderNotes();
renderAll();
if (opened) openRun(opened);

// While a grid is running, reload now and then, but not while the reader is doing something.
if (DATA.meta.refresh) {
  setInterval(() => { if (!byId("run").open && !document.hidden) location.reload(); }, DATA.meta.refresh * 1000);
}
document.documentElement.dataset.ready = "true";
