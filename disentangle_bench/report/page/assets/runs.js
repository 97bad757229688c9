function findRun(table, row, seed) {
  return DATA.runs.find((run) => run.status === "finished" && run.seed === seed && run.settings === row.settings && run.model === row.model
    && table.versions.startsWith(`${run.dataset} version `));
}

let listed = [];

function renderRuns() {
  const words = byId("run-query").value.toLowerCase().split(/\s+/).filter(Boolean);
  const status = byId("run-status").value;
  const text = (run) => `${run.id} ${run.model || ""} ${run.changed || ""} ${run.dataset || ""} ${run.protocol || ""} seed${run.seed} ${run.seed} ${run.status}`.toLowerCase();
  listed = DATA.runs.filter((run) => (!status || run.status === status) && words.every((word) => (/^\d+$/.test(word) ? String(run.seed) === word : text(run).includes(word))));
  byId("run-count").textContent = `${listed.length} of ${DATA.runs.length} runs`;
  // What tells runs apart comes first: a narrow screen shows no more.
  const main = DATA.tables[0] && DATA.tables[0].columns[0];
  byId("run-list").replaceChildren(plainTable(["model", "seed", main ? main.title : "", "status", "dataset", "protocol", "run"], listed.map((run) => [
    el("button", { type: "button", class: "link", "data-run": run.id, onclick: () => openRun(run.id) }, run.model ? `${run.model}${run.changed ? ` (${run.changed})` : ""}` : run.id),
    isNumber(run.seed) ? String(run.seed) : "", scoreOf(run, main),
    el("span", { class: run.status === "failed" ? "failed" : null }, run.status), run.dataset || "", run.protocol || "", run.id,
  ]), [1, 2]));
}

function scoreOf(run, column) {
  const [, value] = (column && run.scores && run.scores.find(([name]) => column.name === name || column.name.startsWith(`${name} `))) || [];
  return isNumber(value) ? value.toFixed(column.decimals) : "";
}

function openRun(id) {
  const run = DATA.runs.find((one) => one.id === id);
  if (!run) return;
  const dialog = byId("run");
  stopPlaying();
  dialog.replaceChildren(...runPanel(run));
  document.body.classList.add("open");
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  state.run = id;
  remember();
}

function step(run, by) {
  const place = listed.indexOf(run);
  const next = listed[(place + by + listed.length) % listed.length];
  if (place >= 0 && next) openRun(next.id);
}

byId("run").addEventListener("close", () => {
  stopPlaying();
  document.body.classList.remove("open");
  document.body.append(byId("tip"));
  byId("tip").hidden = true;
  state.run = "";
  remember();
});
byId("run").addEventListener("keydown", (event) => {
  const run = DATA.runs.find((one) => one.id === state.run);
  if (run && event.target.tagName !== "INPUT" && event.key === "ArrowRight") step(run, 1);
  if (run && event.target.tagName !== "INPUT" && event.key === "ArrowLeft") step(run, -1);
});

function runPanel(run) {
  const name = run.model ? `${run.model}${run.changed ? ` (${run.changed})` : ""}` : run.id;
  const where = [run.dataset, run.protocol, isNumber(run.seed) ? `seed ${run.seed}` : "", run.status].filter(Boolean).join(" · ");
  const parts = [el("div", { class: "run-head" },
    el("div", null, el("h2", { id: "run-title" }, name), el("p", null, where)),
    el("div", null,
      el("button", { type: "button", title: "Previous run (←)", onclick: () => step(run, -1) }, "←"),
      el("button", { type: "button", title: "Next run (→)", onclick: () => step(run, 1) }, "→"),
      el("button", { type: "button", id: "close", autofocus: true, title: "Close (Esc)", onclick: () => byId("run").close() }, "Close")))];
  if (run.status === "failed") {
    parts.push(el("p", { class: "failed" }, run.error));
    if (run.command) parts.push(el("h3", null, "To repeat it"), el("pre", null, run.command));
    if (run.traceback) parts.push(el("h3", null, "Traceback"), el("pre", null, run.traceback));
    return parts;
  }
  if (run.status !== "finished") return [...parts, el("p", null, "This run has neither a record nor an error yet: run the grid again to continue it.")];
  parts.push(el("h3", null, "Scores"), plainTable(["score", "value", "chance", "variant"], run.scores.map(([score, value, unit, variant, chance]) =>
    [score, isNumber(value) ? `${Number(value.toPrecision(4))}${unit ? ` ${unit}` : ""}` : "undefined", isNumber(chance) ? String(Number(chance.toPrecision(2))) : "", variant]), [1, 2]));
  if (run.remarks.length) parts.push(el("ul", { class: "remarks" }, run.remarks.map((text) => el("li", null, text))));
  const pictures = run.pictures;
  if (pictures) parts.push(el("h3", null, "Latent traversals"), ...traversals(pictures.traversals, run), el("h3", null, "Reconstructions"), sheet(pictures.reconstructions, ["original", "reconstruction"]));
  else parts.push(el("p", { class: "muted" }, "No pictures of this run are in this page."));
  if (run.matrices) parts.push(el("h3", null, "Factors against latents"), el("div", { class: "maps" }, Object.entries(run.matrices.maps).map(([title, rows]) => heatmap(title, rows, run.matrices))));
  if (run.history) parts.push(el("h3", null, "Training"), curves(run.history));
  const pairs = (title, rows) => el("div", null, el("h3", null, title), el("table", null, el("tbody", null, rows.map(([key, value]) => el("tr", null, el("th", { scope: "row" }, key), el("td", null, value))))));
  parts.push(el("div", { class: "pairs" }, pairs("Spec", run.spec), pairs("Provenance", run.provenance)));
  return parts;
}

function sheet(picture, labels) {
  const alt = `${labels[0]} to ${labels[labels.length - 1]}`;
  const column = el("div", null, labels.map((text) => el("span", null, text)));
  column.style.gridTemplateRows = `repeat(${labels.length}, 1fr)`;
  return el("div", { class: "sheet" }, column, el("img", { src: picture.source, alt }));
}

let playing = null;

function stopPlaying() {
  clearInterval(playing);
  playing = null;
}

// Show the grid, and an animation of all latents: the sheet's columns one after the other.
function traversals(picture, run) {
  const active = (run.matrices && run.matrices.active) || [];
  const labels = Array.from({ length: picture.rows }, (_, latent) => `latent ${latent}${active[latent] === false ? " (inactive)" : ""}`);
  const canvas = el("canvas", { role: "img", "aria-label": "All latents, each moved alone" });
  const across = Math.min(picture.rows, 8), down = Math.ceil(picture.rows / across), cell = picture.w + picture.gap;
  [canvas.width, canvas.height] = [across * cell, down * (picture.h + picture.gap)];
  const image = new Image();
  const slider = el("input", { type: "range", min: 0, max: picture.columns - 1, value: 0, "aria-label": "Step of the traversal", oninput: () => draw() });
  const draw = () => {
    const context = canvas.getContext("2d");
    for (let latent = 0; latent < picture.rows; latent++) {
      context.drawImage(image, slider.value * cell, latent * (picture.h + picture.gap), picture.w, picture.h,
        (latent % across) * cell, Math.floor(latent / across) * (picture.h + picture.gap), picture.w, picture.h);
    }
  };
  image.onload = draw;
  image.src = picture.source;
  let forward = 1;
  const play = el("button", { type: "button", onclick: () => {
    if (playing) stopPlaying();
    else playing = setInterval(() => {
      const place = Number(slider.value);
      if (place + forward < 0 || place + forward >= picture.columns) forward = -forward;
      slider.value = place + forward;
      draw();
    }, 140);
    play.textContent = playing ? "Pause" : "Play";
  } }, "Play");
  return [el("p", { class: "muted" }, "Each row moves one latent and leaves the others as they are."), sheet(picture, labels),
    el("p", { class: "row" }, play, slider, el("span", { class: "muted" }, "all latents at one step")), canvas];
}

function heatmap(title, rows, matrices) {
  const top = Math.max(1, ...rows.flat().filter(isNumber));
  const latents = rows[0].map((_, latent) => latent);
  const off = (latent) => matrices.active && matrices.active[latent] === false;
  const body = rows.map((row, factor) => el("tr", null, el("th", { scope: "row" }, matrices.factors[factor] || `factor ${factor}`), row.map((value, latent) => {
    const cell = el("td", { class: off(latent) ? "muted" : null, title: fixed(value, 3) }, off(latent) ? "×" : fixed(value, 2).replace(/^0/, ""));
    if (isNumber(value) && !off(latent)) cell.style.background = `color-mix(in srgb, var(--c0) ${Math.round((80 * value) / top)}%, var(--surface))`;
    return cell;
  })));
  return el("figure", { class: "scroll" }, el("table", { class: "heat" }, el("thead", null, el("tr", null, el("td"), latents.map((latent) => el("th", { scope: "col" }, String(latent))))), el("tbody", null, body)),
    el("figcaption", null, `${title}; latents across, × inactive`));
}

function curves(history) {
  return el("div", { class: "small" }, Object.entries(history.curves).map(([name, values], place) => {
    const defined = values.filter(isNumber);
    if (!defined.length) return null;
    const low = Math.min(...defined), high = Math.max(...defined), log = low > 0 && high / low > 20;
    const map = log ? Math.log10 : (value) => value;
    const last = history.steps[history.steps.length - 1] || 1;
    const point = (value, nth) => `${(54 + (190 * history.steps[nth]) / last).toFixed(1)},${(92 - (80 * (map(value) - map(low))) / (map(high) - map(low) || 1)).toFixed(1)}`;
    const line = values.map((value, nth) => (isNumber(value) ? point(value, nth) : null)).filter(Boolean).join(" ");
    return el("figure", null, svg("svg", { viewBox: "0 0 250 112", role: "img", "aria-label": name },
      [[low, 92], [high, 12]].map(([value, y]) => [svg("line", { class: "grid", x1: 54, x2: 246, y1: y, y2: y }), svg("text", { class: "axis", x: 50, y: y + 4, "text-anchor": "end" }, tickText(value))]),
      svg("polyline", { points: line, fill: "none", stroke: colour(place), "stroke-width": 1.6 }),
      svg("text", { class: "axis", x: 54, y: 107 }, "0"), svg("text", { class: "axis", x: 246, y: 107, "text-anchor": "end" }, `${last} updates`)),
      el("figcaption", null, `${name}${log ? " (logarithmic)" : ""}`));
  }));
}
