// Round numbers that divide [low, high] into about `count` steps.
function ticks(low, high, count) {
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw);
  const found = [];
  for (let place = Math.ceil(low / step - 1e-9); place * step <= high + 1e-9 * step; place++) found.push(place * step);
  return found;
}

const tickText = (value) => String(Number(value.toPrecision(3)));

function extent(values) {
  const defined = values.filter(isNumber);
  if (!defined.length) return [0, 1];
  let low = defined[0], high = defined[0];
  for (const value of defined) { low = Math.min(low, value); high = Math.max(high, value); }
  const margin = (high - low || Math.abs(high) || 1) * 0.05;
  return [low - margin, high + margin];
}

const cellNumbers = (cell) => (cell ? [cell.low, cell.high, cell.chance, ...cell.values.map((pair) => pair[1])] : []);
// Vertical offsets of the points in a row, by the golden ratio: they look random and are the same every time.
const spread = (place) => ((place * 0.618034) % 1) - 0.5;

function seedTip(cell, column) {
  return () => {
    const rows = cell.values.map(([seed, value]) => [`seed ${seed}`, isNumber(value) ? fixed(value, column.decimals + 1) : "undefined"]);
    const shown = rows.length > 12 ? [...rows.slice(0, 11), ["…", `${rows.length - 11} more`]] : rows;
    const facts = [
      ["mean", fixed(cell.mean, column.decimals + 1)], ["std", fixed(cell.std, column.decimals + 1)],
      ["median", fixed(cell.median, column.decimals + 1)], ["IQM", fixed(cell.iqm, column.decimals + 1)],
      ...(isNumber(cell.chance) ? [["chance level", fixed(cell.chance, column.decimals + 1)]] : []),
      ["95 % interval", cell.n > 1 ? `${fixed(cell.low, column.decimals + 1)} to ${fixed(cell.high, column.decimals + 1)}` : "–"],
      ["rank", cell.rank[0] ? `${cell.rank[0]} (${cell.rank[1]} to ${cell.rank[2]})` : `none${cell.note ? `: ${cell.note}` : ""}`],
    ];
    const lines = [...facts, ...shown].map(([name, value]) => el("tr", null, el("th", null, name), el("td", { class: "number" }, value)));
    return [el("strong", null, `${column.title} ${ARROWS[column.direction]}`), el("table", null, el("tbody", null, lines))];
  };
}

// Draw the small chart in a cell of the leaderboard: all seeds, and the interval, on the column's scale.
function sparkline(cell, domain, place) {
  const x = (value) => 2 + 96 * ((value - domain[0]) / (domain[1] - domain[0]));
  const marks = [svg("line", { x1: 0, x2: 100, y1: 6.5, y2: 6.5, stroke: "var(--line)", "vector-effect": "non-scaling-stroke" })];
  if (cell.n > 1) {
    marks.push(svg("rect", { x: x(cell.low), width: Math.max(0.6, x(cell.high) - x(cell.low)), y: 3.5, height: 6, fill: colour(place), opacity: 0.28 }));
    marks.push(svg("rect", { x: x(cell.mean) - 0.5, width: 1, y: 1.5, height: 10, fill: colour(place) }));
  }
  for (const [, value] of cell.values) {
    if (isNumber(value)) marks.push(svg("line", { x1: x(value), x2: x(value) + 0.001, y1: 6.5, y2: 6.5, stroke: colour(place), "stroke-width": 4, "stroke-linecap": "round", opacity: 0.65, "vector-effect": "non-scaling-stroke" }));
  }
  return svg("svg", { viewBox: "0 0 100 13", preserveAspectRatio: "none", "aria-hidden": "true" }, marks);
}

function openLink(table, row, seed, text, ...children) {
  const run = findRun(table, row, seed);
  if (!run) return svg("g", null, children);
  return svg("a", { href: "#runs", "aria-label": `${row.name}, seed ${seed}${text}`, onclick: (event) => { event.preventDefault(); openRun(run.id); } }, children);
}

// Draw seeds, mean and interval of one score for every model.
function stripChart(table, rows, index, width) {
  const column = table.columns[index];
  const domain = extent(rows.flatMap(({ row }) => cellNumbers(row.cells[index])));
  const left = Math.min(205, width * 0.4), right = width - 14, high = 36, height = rows.length * high + 42;
  const x = (value) => left + (right - left) * ((value - domain[0]) / (domain[1] - domain[0]));
  const marks = ticks(...domain, width < 500 ? 4 : 7).map((value) => [
    svg("line", { class: "grid", x1: x(value), x2: x(value), y1: 4, y2: height - 36 }),
    svg("text", { class: "axis", x: x(value), y: height - 21, "text-anchor": "middle" }, tickText(value)),
  ]);
  rows.forEach(({ row, place }, order) => {
    const y = 4 + order * high + high / 2, cell = row.cells[index];
    const limit = Math.floor((left - 24) / 7.4);
    const name = row.title.length > limit ? `${row.title.slice(0, limit - 1)}…` : row.title;
    marks.push(svg("text", { x: left - 24, y: y + 4, "text-anchor": "end" }, svg("title", null, row.name), name));
    marks.push(svg("path", { d: shape(place), fill: colour(place), transform: `translate(${left - 13},${y})` }));
    if (!cell || !cell.n) {
      marks.push(svg("text", { class: "axis", x: (left + right) / 2, y: y + 4, "text-anchor": "middle" }, cell ? "undefined" : "no score"));
      return;
    }
    if (isNumber(cell.chance)) marks.push(svg("line", { class: "chance", x1: x(cell.chance), x2: x(cell.chance), y1: y - 16, y2: y + 16, tip: () => `chance level: ${fixed(cell.chance, column.decimals + 1)}` }));
    if (cell.n > 1) {
      marks.push(svg("g", { tip: seedTip(cell, column) },
        svg("rect", { x: x(cell.low), width: Math.max(1, x(cell.high) - x(cell.low)), y: y - 11, height: 7, rx: 2, fill: colour(place), opacity: 0.35 }),
        svg("rect", { x: x(cell.mean) - 1.25, width: 2.5, y: y - 14, height: 13, fill: colour(place) })));
    }
    cell.values.forEach(([seed, value], nth) => {
      if (!isNumber(value)) return;
      marks.push(openLink(table, row, seed, `: ${fixed(value, column.decimals)}`, svg("circle", {
        cx: x(value), cy: y + 7 + 8 * spread(nth), r: 3.6, fill: colour(place), opacity: 0.75, "data-seed": seed,
        tip: () => `${row.name}, seed ${seed}: ${fixed(value, column.decimals + 1)}`,
      })));
    });
  });
  const label = `${column.title}${column.unit ? ` (${column.unit})` : ""} ${ARROWS[column.direction]}`;
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${label}, ${table.title}` }, marks,
    svg("text", { class: "axis", x: (left + right) / 2, y: height - 4, "text-anchor": "middle" }, label));
}

// Draw one score against the reconstruction error.
function tradeChart(table, rows, index, width) {
  const error = table.columns.findIndex((column) => column.name.startsWith("mse.mse"));
  if (error < 0 || error === index) return null;
  const pairs = rows.flatMap(({ row, place: look }) => {
    const [a, b] = [row.cells[error], row.cells[index]];
    if (!a || !b) return [];
    const xs = new Map(a.values);
    return [{ row, look, mean: [a.mean, b.mean], seeds: b.values.map(([seed, value]) => [seed, xs.get(seed), value]) }];
  });
  const height = Math.max(280, Math.min(420, rows.length * 36 + 34));
  // The axis of an error is logarithmic unless a value is 0.
  const errors = pairs.flatMap((pair) => pair.seeds.map((seed) => seed[1])).filter(isNumber);
  const logarithmic = errors.length > 0 && Math.min(...errors) > 0;
  const place = (value) => (logarithmic ? Math.log10(value) : value);
  const xd = extent(errors.map(place));
  const marksOfX = logarithmic
    ? Array.from({ length: 12 }, (_, n) => [1, 2, 5].map((digit) => digit * 10 ** (n - 8))).flat().filter((value) => place(value) >= xd[0] && place(value) <= xd[1])
    : ticks(...xd, 4);
  if (logarithmic && marksOfX.length < 3) marksOfX.splice(0, 3, ...ticks(10 ** xd[0], 10 ** xd[1], 4));
  const yd = extent(pairs.flatMap((pair) => pair.seeds.map((seed) => seed[2])));
  const x = (value) => 46 + (width - 58) * ((place(value) - xd[0]) / (xd[1] - xd[0]));
  const y = (value) => height - 36 - (height - 46) * ((value - yd[0]) / (yd[1] - yd[0]));
  const marks = [
    marksOfX.map((value) => [svg("line", { class: "grid", x1: x(value), x2: x(value), y1: 8, y2: height - 34 }),
      svg("text", { class: "axis", x: x(value), y: height - 20, "text-anchor": "middle" }, tickText(value))]),
    ticks(...yd, 5).map((value) => [svg("line", { class: "grid", x1: 44, x2: width - 10, y1: y(value), y2: y(value) }),
      svg("text", { class: "axis", x: 40, y: y(value) + 4, "text-anchor": "end" }, tickText(value))]),
  ];
  for (const { row, look, seeds } of pairs) for (const [seed, a, b] of seeds) {
    if (isNumber(a) && isNumber(b)) marks.push(openLink(table, row, seed, "", svg("circle", { cx: x(a), cy: y(b), r: 3, fill: colour(look), opacity: 0.5, tip: () => `${row.name}, seed ${seed}` })));
  }
  for (const { row, look, mean } of pairs) {
    if (mean.every(isNumber)) marks.push(svg("path", { d: shape(look), transform: `translate(${x(mean[0])},${y(mean[1])}) scale(1.6)`, fill: colour(look), stroke: "var(--surface)", "stroke-width": 0.8, tip: () => `${row.name}: means` }));
  }
  const label = `${table.columns[error].title} ↓`;
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${table.columns[index].title} against ${label}` }, marks,
    svg("text", { class: "axis", x: width / 2, y: height - 4, "text-anchor": "middle" }, label));
}

// With fewer than three seeds the share can only be 0, 1/2, 1 or close to one of them, which says nothing.
function improvement(ours, theirs, higher) {
  let sum = 0, pairs = 0;
  if (Math.min(...[ours, theirs].map((cells) => cells.filter((pair) => isNumber(pair[1])).length)) < 3) return null;
  for (const [, a] of ours) for (const [, b] of theirs) {
    if (!isNumber(a) || !isNumber(b)) continue;
    pairs += 1;
    sum += a === b ? 0.5 : (a > b) === higher ? 1 : 0;
  }
  return pairs ? sum / pairs : null;
}

function improvementTable(table, rows, index) {
  const column = table.columns[index];
  if (column.direction === "none") return el("p", { class: "muted" }, "This score describes the codes and is no contest.");
  const shown = rows.filter(({ row }) => row.cells[index] && row.cells[index].n >= 3).slice(0, 30);
  if (shown.length < 2) return el("p", { class: "muted" }, "It needs two models with three seeds each.");
  return el("table", { class: "heat" },
    el("thead", null, el("tr", null, el("td"), shown.map(({ row }) => el("th", { scope: "col" }, row.title)))),
    el("tbody", null, shown.map((one) => el("tr", null, el("th", { scope: "row" }, one.row.title),
      shown.map((two) => {
        if (one === two) return el("td", { class: "muted" }, "·");
        const share = improvement(one.row.cells[index].values, two.row.cells[index].values, column.direction === "higher");
        const cell = el("td", null, fixed(share, 2));
        cell.style.background = `color-mix(in srgb, ${share >= 0.5 ? "var(--c0)" : "var(--c1)"} ${Math.round(Math.abs(share - 0.5) * 110)}%, var(--surface))`;
        return cell;
      })))));
}
