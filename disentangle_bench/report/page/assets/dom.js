"use strict";
// Text from records enters the page as text nodes and attributes only, never as markup.
const DATA = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "tip") node.tip = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const fixed = (value, decimals) => (isNumber(value) ? value.toFixed(decimals) : "–");
const ARROWS = { higher: "↑", lower: "↓", none: "" };

function options(select, pairs, chosen) {
  select.replaceChildren(...pairs.map(([value, text]) => el("option", { value, selected: value === chosen }, text)));
}

// Each model's mark, the same as in the figures. Marks differ in shape as well as in colour, for readers who cannot
// tell the colours apart.
const SHAPES = [
  "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0",
  "M-3.6,-3.6h7.2v7.2h-7.2z",
  "M0,-4.6L4.4,3.4H-4.4z",
  "M0,-5L4.4,0L0,5L-4.4,0z",
  "M0,4.6L4.4,-3.4H-4.4z",
  "M0,-4.6L4.4,-1.4L2.7,3.7H-2.7L-4.4,-1.4z",
  "M-4.6,0L3.4,4.4V-4.4z",
  "M4.6,0L-3.4,4.4V-4.4z",
];
const colour = (place) => `var(--c${place % 7})`;
const shape = (place) => SHAPES[place % SHAPES.length]; // colour and shape together repeat after 56

function fold(id, empty) {
  byId(id).hidden = empty;
  for (const link of document.querySelectorAll(`nav a[href="#${id}"]`)) link.hidden = empty;
}

function save(name, type, content) {
  const address = content.startsWith("data:") ? content : `data:${type};charset=utf-8,${encodeURIComponent(content)}`;
  el("a", { href: address, download: name }).click();
}

// Return a copy of a chart that looks as on the screen: the style sheet's values are written into its elements.
function savePng(chart, name) {
  const copy = chart.cloneNode(true), box = chart.viewBox.baseVal;
  const style = getComputedStyle(document.documentElement);
  const text = new XMLSerializer().serializeToString(copy).replace(/var\((--[a-z0-9]+)\)/g, (_, key) => style.getPropertyValue(key).trim());
  const value = (key) => style.getPropertyValue(key).trim();
  const rules = `text{font:12px sans-serif;fill:${value("--text")}} .axis{font-size:11px;fill:${value("--muted")}} .grid{stroke:${value("--line")}}`;
  const image = new Image();
  image.onload = () => {
    const canvas = el("canvas", { width: box.width * 2, height: box.height * 2 });
    const pen = canvas.getContext("2d");
    pen.fillStyle = value("--surface");
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(image, 0, 0, canvas.width, canvas.height);
    save(name, "image/png", canvas.toDataURL("image/png"));
  };
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text.replace("<svg ", `<svg width="${box.width}" height="${box.height}" `).replace(/(<svg[^>]*>)/, `$1<style>${rules}</style>`))}`;
}

function swatch(place) {
  return svg("svg", { class: "swatch", viewBox: "-6 -6 12 12", "aria-hidden": "true" },
    svg("path", { d: shape(place), fill: colour(place) }));
}

// Show one tooltip for every element that has a function `tip`, by mouse and by keyboard.
function tipOf(node) {
  while (node && !node.tip) node = node.parentNode;
  return node;
}

function showTip(event) {
  const owner = tipOf(event.target);
  const tip = byId("tip");
  if (!owner) {
    tip.hidden = true;
    return;
  }
  tip.replaceChildren(...[owner.tip()].flat());
  tip.hidden = false;
  const box = owner.getBoundingClientRect();
  const left = Math.min(Math.max(8, box.left), window.innerWidth - tip.offsetWidth - 8);
  const below = box.bottom + 6;
  const top = below + tip.offsetHeight > window.innerHeight ? Math.max(8, box.top - tip.offsetHeight - 6) : below;
  tip.style.left = `${left}px`;
  tip.style.top = `${top}px`;
  const dialog = byId("run");
  (dialog.open ? dialog : document.body).append(tip); // a modal dialog lies above everything outside it
}

for (const kind of ["mouseover", "focusin"]) document.addEventListener(kind, showTip);
document.addEventListener("focusout", () => { byId("tip").hidden = true; });
document.addEventListener("keydown", (event) => { if (event.key === "Escape") byId("tip").hidden = true; });
document.addEventListener("scroll", () => { byId("tip").hidden = true; }, { passive: true, capture: true });
