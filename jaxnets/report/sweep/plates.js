"use strict";
(() => {
const data = JSON.parse(document.getElementById("sweep").textContent);
const dock = document.getElementById("dock");
const WHOLE = 60000, NONE = 65535;
const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer;
const columns = {};
for (const name in data.columns) columns[name] = new Uint16Array(bytes(data.columns[name]));
const count = data.states.length;
const rank = new Float64Array(count).fill(Infinity);
data.order.forEach((trial, place) => rank[trial] = place);
const tenth = Math.max(1, Math.ceil(data.order.length / 10));
const best = data.order.length ? data.order[0] : -1;
// What is drawn first lies below: pruned, running, failed, then complete from the worst to the best.
const layer = i => ({p: 0, w: 1, r: 1, f: 2, c: 3})[data.states[i]];
const order = Array.from({length: count}, (_, i) => i)
  .sort((a, b) => layer(a) - layer(b) || (rank[b] === rank[a] ? a - b : rank[b] - rank[a]));
const brushes = {};
let inside = null, pinned = -1, shown = -1, ink = {};

const colours = () => {
  const style = getComputedStyle(document.documentElement), of = name => style.getPropertyValue("--" + name).trim();
  ink = {ink: of("ink"), soft: of("soft"), back: of("back"), a: of("a"), b: of("b"), c: of("c"), d: of("d")};
};
const kind = i => data.states[i] === "c" ? (rank[i] < tenth ? "good" : "complete") : data.states[i];
const hue = k => ({good: ink.c, complete: ink.a, f: ink.b, r: ink.d, w: ink.d, p: ink.soft})[k] || ink.soft;
const crowd = Math.sqrt(count) + 1;  // the more trials, the fainter each
const veil = (k, lines) => {
  if (k === "good") return lines ? Math.max(.15, Math.min(.9, 6 / Math.sqrt(tenth))) : .9;
  if (k === "complete") return lines ? Math.max(.04, Math.min(.4, 5 / crowd)) : Math.max(.12, Math.min(.8, 30 / crowd));
  if (k === "p") return lines ? Math.max(.03, Math.min(.25, 2.5 / crowd)) : Math.max(.08, Math.min(.4, 12 / crowd));
  return lines ? Math.max(.08, Math.min(.5, 6 / crowd)) : Math.max(.25, Math.min(.9, 30 / crowd));
};

class Plate {
  constructor(place) {
    this.place = place;
    this.chart = data.charts[+place.dataset.chart];
    [this.under, this.marks, this.over] = place.querySelectorAll("canvas");
    this.fresh = false;
    if (this.chart.kind === "curves") {
      this.ends = new Uint32Array(bytes(this.chart.ends));
      this.xy = new Uint16Array(bytes(this.chart.points));
    }
    place.addEventListener("pointermove", event => this.point(event));
    place.addEventListener("pointerleave", () => { if (pinned < 0) show(-1); });
    place.addEventListener("click", event => this.pin(event));
    if (this.chart.kind === "rows") this.brushable();
  }
  x(place) { const [l, , r] = this.chart.box; return l + place / WHOLE * (r - l); }
  y(place) { const [, t, , b] = this.chart.box; return b - place / WHOLE * (b - t); }
  pen(canvas) {
    const [wide, high] = this.chart.size, pixels = Math.min(devicePixelRatio || 1, 2);
    const scale = this.place.clientWidth * pixels / wide;
    canvas.width = Math.round(wide * scale);
    canvas.height = Math.round(high * scale);
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.lineJoin = "round";
    return pen;
  }
  draw() {
    this.fresh = true;
    if (this.chart.grid) this.ground();
    const pen = this.pen(this.marks);
    if (this.chart.kind === "curves") {
      const [l, t, r, b] = this.chart.box;
      pen.beginPath();
      pen.rect(l, t - 8, r - l + 8, b - t + 10);
      pen.clip();
    }
    for (const i of order) {
      if (inside && !inside[i]) continue;
      const k = kind(i);
      pen.globalAlpha = veil(k, this.chart.kind !== "points");
      pen.strokeStyle = pen.fillStyle = hue(k);
      pen.lineWidth = k === "good" && tenth < 100 ? 1.3 : 1;
      this.mark(pen, i, k);
    }
    if (best >= 0 && !(inside && !inside[best])) this.emphasise(pen, best, ink.d);
    if (this.chart.kind === "rows") this.brushed(pen);
    this.highlight();
  }
  ground() {
    const {wide, high, bands} = this.chart.grid, [l, t, r, b] = this.chart.box;
    const cell = document.createElement("canvas"), pen = this.pen(this.under);
    cell.width = wide; cell.height = high;
    const brush = cell.getContext("2d"), image = brush.createImageData(wide, high);
    const rgb = colour => { brush.fillStyle = colour; brush.fillRect(0, 0, 1, 1); return brush.getImageData(0, 0, 1, 1).data; };
    const from = rgb(ink.back), to = rgb(ink.soft);
    for (let k = 0; k < bands.length; k++) {
      const share = .6 * (1 - bands[k] / 7);  // band 0 is the best and the darkest
      for (let part = 0; part < 3; part++) image.data[4 * k + part] = from[part] + share * (to[part] - from[part]);
      image.data[4 * k + 3] = 255;
    }
    brush.putImageData(image, 0, 0);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(cell, l, t, r - l, b - t);
  }
  spot(i) {
    const x = columns[this.chart.x][i], y = columns[this.chart.y][i];
    if (x === NONE) return null;
    if (y !== NONE) return [this.x(x), this.y(y)];
    if (data.states[i] !== "f" || this.chart.top === undefined) return null;
    return [this.x(x), this.chart.top ? this.chart.box[1] + 4 : this.chart.box[3] - 4];  // failed: at the bad end
  }
  path(pen, i) {
    pen.beginPath();
    if (this.chart.kind === "curves") {
      for (let k = this.ends[i]; k < this.ends[i + 1]; k++) pen.lineTo(this.x(this.xy[2 * k]), this.y(this.xy[2 * k + 1]));
      return;
    }
    let apart = true;
    this.chart.columns.forEach((name, row) => {
      const place = columns[name][i];
      if (place === NONE) { apart = true; return; }
      const x = this.x(place), y = this.chart.at[row];
      if (apart) pen.moveTo(x, y); else pen.lineTo(x, y);
      apart = false;
    });
  }
  mark(pen, i, k) {
    if (this.chart.kind !== "points") {
      this.path(pen, i);
      pen.stroke();
      if (k === "f" && this.chart.kind === "curves" && this.ends[i + 1] > this.ends[i]) {
        const last = this.ends[i + 1] - 1;
        pen.globalAlpha = veil(k, false);
        cross(pen, this.x(this.xy[2 * last]), Math.max(this.chart.box[1], this.y(this.xy[2 * last + 1])));
      }
      return;
    }
    const spot = this.spot(i);
    if (!spot) return;
    if (k === "f") cross(pen, spot[0], spot[1]);
    else dot(pen, spot[0], spot[1], count > 2000 ? 2 : 3);
  }
  emphasise(pen, i, colour) {
    pen.globalAlpha = 1;
    pen.strokeStyle = pen.fillStyle = colour;
    if (this.chart.kind !== "points") {
      pen.lineWidth = 2.6;
      this.path(pen, i);
      pen.stroke();
      return;
    }
    const spot = this.spot(i);
    if (!spot) return;
    dot(pen, spot[0], spot[1], 4);
    pen.lineWidth = 1.6;
    pen.beginPath();
    pen.arc(spot[0], spot[1], 7.5, 0, 7);
    pen.stroke();
  }
  highlight() {
    if (!this.fresh) return;
    if (shown < 0 && !this.marked) return;
    const pen = this.pen(this.over);
    this.marked = shown >= 0;
    if (shown >= 0) this.emphasise(pen, shown, ink.ink);
  }
  at(event) {
    const frame = this.place.getBoundingClientRect(), [wide] = this.chart.size;
    return [(event.clientX - frame.left) * wide / frame.width, (event.clientY - frame.top) * wide / frame.width];
  }
  nearest(x, y) {
    let found = -1, least = 18 * 18;
    const see = (i, dx, dy) => { const far = dx * dx + dy * dy; if (far < least) { least = far; found = i; } };
    for (const i of order) {
      if (inside && !inside[i]) continue;
      if (this.chart.kind === "points") {
        const spot = this.spot(i);
        if (spot) see(i, spot[0] - x, spot[1] - y);
      } else if (this.chart.kind === "curves") {
        for (let k = this.ends[i]; k < this.ends[i + 1]; k++) see(i, this.x(this.xy[2 * k]) - x, this.y(this.xy[2 * k + 1]) - y);
      } else {
        const at = this.chart.at, row = at.findIndex((top, r) => y >= top && y <= (at[r + 1] ?? -1));
        if (row < 0) continue;
        const a = columns[this.chart.columns[row]][i], b = columns[this.chart.columns[row + 1]][i];
        if (a === NONE || b === NONE) continue;
        const share = (y - at[row]) / (at[row + 1] - at[row]);
        see(i, this.x(a) + share * (this.x(b) - this.x(a)) - x, 0);
      }
    }
    return found;
  }
  point(event) {
    if (event.pointerType === "touch" || pinned >= 0 || this.dragging) return;
    show(this.nearest(...this.at(event)));
  }
  pin(event) {
    if (this.dragged) { this.dragged = false; return; }
    const found = this.nearest(...this.at(event));
    pinned = found === pinned ? -1 : found;
    show(found);
  }
  row(y) {
    return this.chart.at.findIndex(at => Math.abs(at - y) < 16);
  }
  brushable() {
    this.place.style.touchAction = "pan-y";
    this.place.addEventListener("pointerdown", event => {
      const [x, y] = this.at(event), row = this.row(y);
      if (row < 0) return;
      this.dragging = {row, from: x};
      this.place.setPointerCapture(event.pointerId);
    });
    this.place.addEventListener("pointermove", event => {
      if (!this.dragging) return;
      const {row, from} = this.dragging, [x] = this.at(event), [l, , r] = this.chart.box;
      if (Math.abs(x - from) < 4) return;
      this.dragged = true;
      brushes[this.chart.columns[row]] = [x, from].sort((a, b) => a - b).map(v => (v - l) / (r - l) * WHOLE);
      later(filter);
    });
    const end = () => {
      if (this.dragging && !this.dragged) {
        const name = this.chart.columns[this.dragging.row];
        if (brushes[name]) { delete brushes[name]; this.dragged = true; later(filter); }
      }
      this.dragging = null;
    };
    this.place.addEventListener("pointerup", end);
    this.place.addEventListener("pointercancel", end);
  }
  brushed(pen) {
    this.chart.columns.forEach((name, row) => {
      if (!brushes[name]) return;
      const [low, high] = brushes[name].map(place => this.x(place));
      pen.globalAlpha = .3;
      pen.fillStyle = ink.b;
      pen.fillRect(low, this.chart.at[row] - 6, high - low, 12);
    });
  }
}

function dot(pen, x, y, size) { pen.beginPath(); pen.arc(x, y, size, 0, 7); pen.fill(); }
function cross(pen, x, y) {
  pen.lineWidth = 1.4;
  pen.beginPath();
  pen.moveTo(x - 3, y - 3); pen.lineTo(x + 3, y + 3); pen.moveTo(x - 3, y + 3); pen.lineTo(x + 3, y - 3);
  pen.stroke();
}

const waiting = new Set();  // each once a frame
function later(what) {
  if (!waiting.has(what)) { waiting.add(what); requestAnimationFrame(() => { waiting.delete(what); what(); }); }
}
function seen(plate) {
  const frame = plate.place.getBoundingClientRect();
  return frame.width > 0 && frame.bottom > -200 && frame.top < innerHeight + 200;
}
function draw() {  // what can be seen; the rest when it is scrolled to
  for (const plate of plates) if (!plate.fresh && seen(plate)) plate.draw();
}
function again() { for (const plate of plates) plate.fresh = false; draw(); }
function filter() {
  const names = Object.keys(brushes);
  inside = names.length ? Uint8Array.from({length: count}, (_, i) => names.every(name => {
    const place = columns[name][i];
    return place !== NONE && place >= brushes[name][0] && place <= brushes[name][1] ? 1 : 0;
  })) : null;
  again();
  say();
}
function show(trial) {
  if (trial === shown) return;
  shown = trial;
  for (const plate of plates) plate.highlight();
  for (const row of document.querySelectorAll("tr.shown")) row.classList.remove("shown");
  if (trial >= 0) for (const row of document.querySelectorAll(`[data-trial="${trial}"]`)) row.closest("tr").classList.add("shown");
  say();
}
function say() {  // the line at the foot of the window
  dock.textContent = "";
  if (shown >= 0) {
    data.heads.forEach((head, k) => {
      const word = data.words[shown][k];
      if (word === "") return;
      const part = document.createElement("span"), name = document.createElement("i");
      name.textContent = head + " ";
      part.append(name, word);
      dock.append(part);
    });
  }
  if (inside) {
    const part = document.createElement("span"), button = document.createElement("button");
    part.textContent = `${inside.reduce((a, b) => a + b, 0).toLocaleString("en")} of ${count.toLocaleString("en")} trials chosen `;
    button.textContent = "show all";
    button.onclick = () => { for (const name in brushes) delete brushes[name]; filter(); };
    part.append(button);
    dock.append(part);
  }
  dock.hidden = !dock.childNodes.length;
}

colours();
const plates = Array.from(document.querySelectorAll(".plate"), place => new Plate(place));
draw();
addEventListener("scroll", () => later(draw), {passive: true});
addEventListener("resize", () => later(again));
addEventListener("keydown", event => { if (event.key === "Escape") { pinned = -1; show(-1); } });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { colours(); again(); });
for (const part of document.querySelectorAll("details")) part.addEventListener("toggle", draw);
for (const cell of document.querySelectorAll("[data-trial]")) {
  const row = cell.closest("tr"), trial = +cell.dataset.trial;
  row.addEventListener("pointerenter", () => { if (pinned < 0) show(trial); });
  row.addEventListener("pointerleave", () => { if (pinned < 0) show(-1); });
}
addEventListener("beforeprint", () => { for (const plate of plates) plate.draw(); });
document.documentElement.dataset.drawn = Math.round(performance.now());  // milliseconds since the page was asked for
})();
