"use strict";
/* The grounded viewer: three planes of a CT with coloured regions, tied to the sections of a report.
   Voxels are RAS+ (x to the patient's right, y to the front, z to the head). Pictures are in the radiological way: the
   patient's right on the viewer's left, front up (axial) or left (sagittal), head up. So every shown axis runs against its
   voxel axis, and `flip` is the one place that says so. */

const PLANES = {
  axial: { through: 2, across: 0, down: 1, letters: ["R", "L", "A", "P"] },
  coronal: { through: 1, across: 0, down: 2, letters: ["R", "L", "H", "F"] },
  sagittal: { through: 0, across: 1, down: 2, letters: ["A", "P", "H", "F"] },
};
const SIDES = ["left", "right", "top", "bottom"];
const WORDS = { R: "patient's right", L: "patient's left", A: "front", P: "back", H: "head", F: "feet" };
const AXES = [["L", "R"], ["P", "A"], ["F", "H"]];
// centre and width in HU, as radiologists set them; `whole` shows lung and soft tissue at once, for the first look
const WINDOWS = { lung: [-600, 1500], mediastinum: [40, 400], bone: [400, 1800], whole: [-250, 1500] };
const AUTO = { lung: "lung", pleura: "lung", "trachea and bronchie": "lung", bone: "bone" };
const BAR_LENGTHS = [200, 100, 50, 20, 10, 5];

const flip = (n, i) => n - 1 - i;
const clamp = (v, low, high) => Math.min(high, Math.max(low, v));
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

const bytesOf = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));

async function inflate(base64) {
  const stream = new Blob([bytesOf(base64)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function surface(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

/* ---- voxels ------------------------------------------------------------------------------------------------------- */

class Voxels {
  constructor(data) {
    this.shape = data.shape;
    this.spacing = data.spacing;
    this.affine = data.affine;
    this.regions = new Map(data.regions.map((r) => [r.name, { ...r, rgb: rgbOf(r.color) }]));
    this.strides = [1, data.shape[0], data.shape[0] * data.shape[1]];
    this.hu = huTable(data.knots);
    this.cache = new Map();
  }

  static async decode(data) {
    const voxels = new Voxels(data);
    const [codes, labels] = await Promise.all([decodeSheets(data), inflate(data.labels)]);
    const n = codes.length;
    voxels.codes = codes;
    voxels.low = labels.subarray(0, n);
    voxels.high = labels.subarray(n, 2 * n);
    return voxels;
  }

  bitsAt([x, y, z]) {
    const i = x + this.strides[1] * y + this.strides[2] * z;
    return this.low[i] | (this.high[i] << 8);
  }

  huAt([x, y, z]) {
    return this.hu[this.codes[x + this.strides[1] * y + this.strides[2] * z]];
  }

  worldAt(at) {
    return this.affine.slice(0, 3).map((row) => row[0] * at[0] + row[1] * at[1] + row[2] * at[2] + row[3]);
  }

  namesIn(bits) {
    return [...this.regions.values()].filter((r) => (bits >> r.bit) & 1).map((r) => r.name);
  }

  /* The shown slice: codes and bits row by row from the top left, and the outlines of the regions. */
  slice(plane, index) {
    const kept = this.cache.get(plane);
    if (kept && kept.index === index) return kept;
    const { through, across, down } = PLANES[plane];
    const w = this.shape[across], h = this.shape[down];
    const codes = new Uint8Array(w * h), bits = new Uint16Array(w * h);
    for (let r = 0, o = 0; r < h; r++) {
      const base = index * this.strides[through] + flip(h, r) * this.strides[down];
      for (let c = 0; c < w; c++, o++) {
        const i = base + flip(w, c) * this.strides[across];
        codes[o] = this.codes[i];
        bits[o] = this.low[i] | (this.high[i] << 8);
      }
    }
    const made = { index, w, h, codes, bits, outlines: outlinesOf(bits, w, h) };
    this.cache.set(plane, made);
    return made;
  }
}

function rgbOf(hex) {
  return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
}

function huTable(knots) {
  const table = new Float32Array(256);
  for (let k = 1; k < knots.length; k++) {
    const [hu0, c0] = knots[k - 1], [hu1, c1] = knots[k];
    for (let c = c0; c <= c1; c++) table[c] = hu0 + ((c - c0) / (c1 - c0)) * (hu1 - hu0);
  }
  return table;
}

async function decodeSheets(data) {
  const [nx, ny, nz] = data.shape;
  const { cell, columns, per, images } = data.sheets;
  const out = new Uint8Array(nx * ny * nz);
  for (let s = 0; s < images.length; s++) {
    const image = new Image();
    image.src = "data:image/webp;base64," + images[s];
    await image.decode();
    const canvas = surface(image.naturalWidth, image.naturalHeight);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    for (let k = 0; k < per && s * per + k < nz; k++) {
      const left = (k % columns) * cell[0], top = Math.floor(k / columns) * cell[1];
      const { data: rgba } = context.getImageData(left, top, nx, ny);
      const start = (s * per + k) * nx * ny;
      for (let i = 0; i < nx * ny; i++) out[start + i] = rgba[4 * i];
    }
  }
  return out;
}

/* Marching squares over all regions at once: one Path2D a bit, in voxels, closed along the picture's edge. */
function outlinesOf(bits, w, h) {
  const paths = new Map();
  const at = (c, r) => (c < 0 || r < 0 || c >= w || r >= h ? 0 : bits[r * w + c]);
  for (let r = -1; r < h; r++) {
    for (let c = -1; c < w; c++) {
      const a = at(c, r), b = at(c + 1, r), d = at(c, r + 1), e = at(c + 1, r + 1);
      let mixed = (a | b | d | e) & ~(a & b & d & e);
      for (let bit = 0; mixed; bit++, mixed >>= 1) {
        if (!(mixed & 1)) continue;
        if (!paths.has(bit)) paths.set(bit, new Path2D());
        const corners = ((a >> bit) & 1) | (((b >> bit) & 1) << 1) | (((e >> bit) & 1) << 2) | (((d >> bit) & 1) << 3);
        segments(paths.get(bit), corners, c + 0.5, r + 0.5);
      }
    }
  }
  return paths;
}

// the edges (0 top, 1 right, 2 bottom, 3 left) that a contour joins, by the corners that lie inside
const JOINS = {
  1: [3, 0], 2: [0, 1], 3: [3, 1], 4: [1, 2], 5: [3, 0, 1, 2], 6: [0, 2], 7: [3, 2],
  8: [2, 3], 9: [2, 0], 10: [0, 1, 2, 3], 11: [2, 1], 12: [1, 3], 13: [1, 0], 14: [0, 3],
};
const EDGE = [[0.5, 0], [1, 0.5], [0.5, 1], [0, 0.5]];

function segments(path, corners, x, y) {
  const joins = JOINS[corners];
  for (let i = 0; i < joins.length; i += 2) {
    const [from, to] = [EDGE[joins[i]], EDGE[joins[i + 1]]];
    path.moveTo(x + from[0], y + from[1]);
    path.lineTo(x + to[0], y + to[1]);
  }
}

/* ---- painting ----------------------------------------------------------------------------------------------------- */

function greyTable(hu, [centre, width]) {
  const table = new Uint32Array(256);
  for (let c = 0; c < 256; c++) {
    const g = Math.round(255 * clamp((hu[c] - centre) / width + 0.5, 0, 1));
    table[c] = 0xff000000 | (g << 16) | (g << 8) | g;
  }
  return table;
}

/* Colour of each combination of bits: overlapping regions show the mean of their colours, and more of it. */
function fillTable(regions, styles) {
  const filled = [...regions.values()].filter((r) => styles.get(r.name).fill > 0);
  if (!filled.length) return null;
  const table = new Uint32Array(1 << 16);
  for (const combination of combinations(filled)) {
    const inside = filled.filter((r) => (combination >> r.bit) & 1);
    if (!inside.length) continue;
    const mean = [0, 1, 2].map((k) => Math.round(inside.reduce((sum, r) => sum + r.rgb[k], 0) / inside.length));
    const alpha = 1 - inside.reduce((rest, r) => rest * (1 - styles.get(r.name).fill), 1);
    table[combination] = (Math.round(255 * alpha) << 24) | (mean[2] << 16) | (mean[1] << 8) | mean[0];
  }
  return { table, mask: filled.reduce((m, r) => m | (1 << r.bit), 0) };
}

function* combinations(regions) {
  for (let n = 0; n < 1 << regions.length; n++) {
    yield regions.reduce((bits, r, i) => bits | (((n >> i) & 1) << r.bit), 0);
  }
}

function stamp(context, slice, colour) {
  const small = surface(slice.w, slice.h);
  const image = new ImageData(slice.w, slice.h);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = colour(i);
  small.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, context.canvas.width, context.canvas.height);
}

/* Paints one slice: grey, fills, outlines. `styles`: region → {fill, line, width}, alphas in 0–1, width in screen pixels. */
function paint(context, voxels, plane, index, look) {
  const slice = voxels.slice(plane, index);
  const { width, height } = context.canvas;
  stamp(context, slice, (i) => look.grey[slice.codes[i]]);
  if (look.fills) {
    const { table, mask } = look.fills;
    stamp(context, slice, (i) => table[slice.bits[i] & mask]);
  }
  const zoom = new DOMMatrix([width / slice.w, 0, 0, height / slice.h, 0, 0]);
  context.lineCap = context.lineJoin = "round";
  const rows = [...voxels.regions.values()].map((r) => [r, look.styles.get(r.name)]);
  rows.sort((a, b) => a[1].line - b[1].line);
  for (const [region, style] of rows) {
    const outline = slice.outlines.get(region.bit);
    if (!outline || !style.line) continue;
    const path = new Path2D();
    path.addPath(outline, zoom);
    for (const [stroke, extra, alpha] of [["#000", 1.5, 0.45 * style.line], [region.color, 0, style.line]]) {
      context.globalAlpha = alpha;
      context.strokeStyle = stroke;
      context.lineWidth = (style.width + extra) * look.dpr;
      context.stroke(path);
    }
  }
  context.globalAlpha = 1;
}

/* ---- one pane ----------------------------------------------------------------------------------------------------- */

class Pane {
  constructor(viewer, root) {
    this.viewer = viewer;
    this.root = root;
    this.plane = root.dataset.plane;
    Object.assign(this, PLANES[this.plane]);
    const find = (selector) => root.querySelector(selector);
    [this.stage, this.frame, this.canvas, this.slider] = [".stage", ".frame", "canvas", "input"].map(find);
    [this.label, this.rule] = [".place", ".rule"].map(find);
    const { shape, spacing } = viewer.voxels;
    this.size = [shape[this.across], shape[this.down]];
    this.mm = [this.size[0] * spacing[this.across], this.size[1] * spacing[this.down]];
    this.slider.max = shape[this.through] - 1;
    this.letters.forEach((letter, i) => {
      const mark = root.querySelector(".to-" + SIDES[i]);
      mark.textContent = letter;
      mark.title = WORDS[letter];
    });
    this.slider.addEventListener("input", () => viewer.moveTo(this.through, Number(this.slider.value)));
    this.canvas.addEventListener("pointerdown", (e) => this.point(e, true));
    this.canvas.addEventListener("pointermove", (e) => this.point(e, e.buttons === 1 && e.pointerType === "mouse"));
    this.canvas.addEventListener("pointerleave", () => viewer.read(null));
    this.canvas.addEventListener("dblclick", (e) => viewer.pickAt(this.voxel(e)));
    this.canvas.addEventListener("wheel", (e) => this.wheel(e), { passive: false });
    root.querySelector(".enlarge").addEventListener("click", () => viewer.enlarge(this.plane));
    new ResizeObserver(() => this.fit()).observe(this.stage);
  }

  /* Millimetres to screen pixels with one scale for both directions: voxels keep their true shape. */
  fit() {
    const room = [this.stage.clientWidth, this.stage.clientHeight];
    const scale = Math.min(room[0] / this.mm[0], room[1] / this.mm[1]);
    if (!(scale > 0)) return;
    const css = this.mm.map((mm) => mm * scale);
    this.dpr = window.devicePixelRatio || 1;
    this.frame.style.width = css[0] + "px";
    this.frame.style.height = css[1] + "px";
    [this.canvas.width, this.canvas.height] = css.map((px) => Math.max(1, Math.round(px * this.dpr)));
    const length = BAR_LENGTHS.find((mm) => mm * scale <= css[0] * 0.34) || 1;
    this.rule.style.width = length * scale + "px";
    this.rule.textContent = length >= 10 ? length / 10 + " cm" : length + " mm";
    this.draw();
  }

  voxel(event) {
    const box = this.canvas.getBoundingClientRect();
    const at = [...this.viewer.at];
    const fractions = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    [this.across, this.down].forEach((axis, k) => {
      const n = this.size[k];
      at[axis] = flip(n, clamp(Math.floor(fractions[k] * n), 0, n - 1));
    });
    return at;
  }

  point(event, move) {
    const at = this.voxel(event);
    if (move) this.viewer.goTo(at);
    this.viewer.read(at);
  }

  wheel(event) {
    if (event.ctrlKey) return;
    event.preventDefault();
    this.turn = (this.turn || 0) + (event.deltaMode ? event.deltaY * 40 : event.deltaY);
    const steps = Math.trunc(this.turn / 40);
    this.turn -= steps * 40;
    if (steps) this.viewer.step(this.plane, -Math.sign(steps) * Math.min(Math.abs(steps), 5));
  }

  draw() {
    const { viewer, canvas } = this;
    if (!this.dpr) return;
    const index = viewer.at[this.through];
    const context = canvas.getContext("2d");
    paint(context, viewer.voxels, this.plane, index, { ...viewer.look(), dpr: this.dpr });
    if (viewer.cross) this.crosshair(context);
    this.slider.value = index;
    const n = viewer.voxels.shape[this.through];
    const mm = viewer.voxels.worldAt(viewer.at)[this.through];
    this.label.textContent = `${index + 1} / ${n}`;
    this.slider.setAttribute("aria-valuetext", `slice ${index + 1} of ${n}, ${Math.round(mm)} mm`);
    const names = viewer.selected ? `, ${viewer.selected} highlighted` : "";
    canvas.setAttribute("aria-label", `${capital(this.plane)} slice ${index + 1} of ${n}${names}`);
  }

  crosshair(context) {
    const { width, height } = context.canvas;
    const [x, y] = [this.across, this.down].map(
      (axis, k) => ((flip(this.size[k], this.viewer.at[axis]) + 0.5) / this.size[k]) * (k ? height : width));
    const gap = 9 * this.dpr;
    context.beginPath();
    for (const [x0, y0, x1, y1] of [[0, y, x - gap, y], [x + gap, y, width, y], [x, 0, x, y - gap], [x, y + gap, x, height]]) {
      context.moveTo(x0, y0);
      context.lineTo(x1, y1);
    }
    context.strokeStyle = "rgba(255,255,255,.42)";
    context.lineWidth = this.dpr;
    context.stroke();
  }
}

/* ---- the viewer --------------------------------------------------------------------------------------------------- */

class Viewer {
  constructor(host, voxels, onPick) {
    this.voxels = voxels;
    this.onPick = onPick;
    this.selected = this.hovered = null;
    Object.assign(this, { all: true, fill: true, cross: true, opacity: 0.4, window: "auto" });
    this.at = this.start();
    host.replaceChildren(document.getElementById("viewer-template").content.cloneNode(true));
    this.root = host;
    this.panes = [...host.querySelectorAll(".pane")].map((root) => new Pane(this, root));
    this.readout = host.querySelector(".readout");
    this.controls();
    this.enlarge("axial");
    this.read(null);
  }

  start() {
    const first = this.voxels.regions.get("heart") || this.voxels.regions.get("lung") || [...this.voxels.regions.values()][0];
    return first ? [...first.best] : this.voxels.shape.map((n) => n >> 1);
  }

  controls() {
    const on = (selector, event, act) =>
      this.root.querySelectorAll(selector).forEach((element) => element.addEventListener(event, () => act(element)));
    on("[data-window]", "click", (b) => this.set({ window: b.dataset.window }));
    on("[data-main]", "click", (b) => this.enlarge(b.dataset.main));
    on("input[data-flag]", "change", (box) => this.set({ [box.dataset.flag]: box.checked }));
    on("input[data-opacity]", "input", (bar) => this.set({ opacity: Number(bar.value) / 100 }));
    this.pressed();
  }

  set(change) {
    Object.assign(this, change);
    this.pressed();
    this.redraw();
  }

  pressed() {
    for (const b of this.root.querySelectorAll("[data-window]")) b.setAttribute("aria-pressed", b.dataset.window === this.window);
    for (const b of this.root.querySelectorAll("[data-main]")) b.setAttribute("aria-pressed", b.dataset.main === this.main);
  }

  enlarge(plane) {
    this.main = plane;
    const others = ["first", "second"];
    for (const pane of this.panes) pane.root.dataset.area = pane.plane === plane ? "main" : others.shift();
    this.pressed();
  }

  currentWindow() {
    if (this.window !== "auto") return WINDOWS[this.window];
    return WINDOWS[this.selected ? AUTO[this.selected] || "mediastinum" : "whole"];
  }

  /* How each region is drawn now: the one pointed at or selected in full, the others dimmed. */
  styles() {
    const focus = this.hovered || this.selected;
    const styles = new Map();
    for (const name of this.voxels.regions.keys()) {
      const fill = this.fill ? this.opacity : 0;
      if (name === focus) styles.set(name, { fill, line: 1, width: 2 });
      else if (focus && name === this.selected) styles.set(name, { fill: 0, line: 0.8, width: 1.5 });
      else if (!this.all) styles.set(name, { fill: 0, line: 0, width: 0 });
      else styles.set(name, focus ? { fill: 0, line: 0.3, width: 1 } : { fill: fill * 0.6, line: 0.9, width: 1.25 });
    }
    return styles;
  }

  look() {
    if (this.made) return this.made;
    const styles = this.styles();
    const grey = greyTable(this.voxels.hu, this.currentWindow());
    this.made = { styles, grey, fills: fillTable(this.voxels.regions, styles) };
    return this.made;
  }

  redraw() {
    this.made = null;
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      for (const pane of this.panes) if (pane.root.offsetParent) pane.draw();
    });
  }

  goTo(at) {
    this.at = at.map((v, axis) => clamp(v, 0, this.voxels.shape[axis] - 1));
    this.redraw();
  }

  moveTo(axis, index) {
    this.goTo(this.at.map((v, k) => (k === axis ? index : v)));
  }

  step(plane, by) {
    const axis = PLANES[plane || this.main].through;
    this.moveTo(axis, this.at[axis] + by);
  }

  /* Shows a region: every plane goes to the region's largest cross-section. */
  select(name) {
    const region = this.voxels.regions.get(name);
    this.selected = region ? name : null;
    this.hovered = null;
    if (region) this.at = [...region.best];
    this.read(null);
    this.redraw();
  }

  preview(name) {
    const known = this.voxels.regions.has(name) ? name : null;
    if (known === this.hovered) return;
    this.hovered = known;
    this.redraw();
  }

  pickAt(at) {
    const names = this.voxels.namesIn(this.voxels.bitsAt(at));
    names.sort((a, b) => this.voxels.regions.get(a).ml - this.voxels.regions.get(b).ml);
    if (names.length) this.onPick(names[0], at);
  }

  read(at) {
    const where = at || this.at;
    const mm = this.voxels.worldAt(where).map((v, axis) => `${AXES[axis][v < 0 ? 0 : 1]} ${Math.abs(Math.round(v))}`);
    const hu = Math.round(this.voxels.huAt(where) / 10) * 10;
    const names = this.voxels.namesIn(this.voxels.bitsAt(where));
    this.readout.textContent = `${mm.join(" · ")} mm — about ${String(hu).replace("-", "−")} HU — ${names.join(", ") || "no region"}`;
  }

  /* A small still of a region's largest axial cross-section, for paper. */
  still(canvas, name) {
    const region = this.voxels.regions.get(name);
    const [nx, ny] = this.voxels.shape, [sx, sy] = this.voxels.spacing;
    canvas.width = 300;
    canvas.height = Math.max(1, Math.round((300 * ny * sy) / (nx * sx)));
    const styles = new Map([...this.voxels.regions.keys()].map((n) => [n, { fill: n === name ? 0.35 : 0, line: n === name ? 1 : 0, width: 2 }]));
    const grey = greyTable(this.voxels.hu, WINDOWS[AUTO[name] || "mediastinum"]);
    const look = { styles, grey, fills: fillTable(this.voxels.regions, styles), dpr: 1 };
    paint(canvas.getContext("2d"), this.voxels, "axial", region.best[2], look);
  }
}

/* ---- a study: sections of text tied to a viewer ------------------------------------------------------------------- */

class Study {
  constructor(root) {
    this.root = root;
    this.sections = [...root.querySelectorAll("[data-region]")];
    this.status = root.querySelector(".status");
    for (const section of this.sections) {
      section.addEventListener("mouseenter", () => this.viewer && this.viewer.preview(section.dataset.region));
      section.addEventListener("mouseleave", () => this.viewer && this.viewer.preview(null));
      section.addEventListener("click", (e) => this.clicked(section, e));
    }
  }

  async open() {
    if (this.opened) return this.opened;
    const source = document.getElementById(this.root.dataset.payload || "");
    this.opened = source ? this.load(source) : Promise.resolve();
    return this.opened;
  }

  async load(source) {
    const host = this.root.querySelector(".viewer");
    try {
      const voxels = await Voxels.decode(JSON.parse(source.textContent));
      this.viewer = new Viewer(host, voxels, (name, at) => this.select(name, at));
      for (const still of this.root.querySelectorAll("canvas.still")) {
        const name = still.closest("[data-region]").dataset.region;
        if (voxels.regions.has(name)) this.viewer.still(still, name);
      }
      if (this.wanted) this.select(this.wanted);
      this.root.dataset.ready = "true";
    } catch (error) {
      host.querySelector(".loading").textContent = `The slices can't be shown in this browser (${error.message || error}).`;
    }
  }

  clicked(section, event) {
    // opening the reference, or marking text to copy it, chooses nothing
    if (section.contains(event.target.closest("details"))) return;
    const marked = window.getSelection();
    if (!event.target.closest("button") && String(marked) && section.contains(marked.anchorNode)) return;
    const again = section.classList.contains("selected") && event.target.closest("button");
    this.select(again ? null : section.dataset.region, null, section);
    for (const sentence of this.root.querySelectorAll(".sentence.picked")) sentence.classList.remove("picked");
    const sentence = event.target.closest(".sentence");
    if (sentence && !again) sentence.classList.add("picked");
  }

  /* `at`: stay at this voxel (picked in the picture); `chosen`: the section clicked, where a region has two. */
  select(name, at, chosen) {
    const section = chosen || this.sections.find((s) => s.dataset.region === name);
    for (const other of this.sections) {
      const mine = Boolean(name) && other === section;
      other.classList.toggle("selected", mine);
      const button = other.querySelector("button.pick");
      if (button) button.setAttribute("aria-pressed", mine);
    }
    if (section && name) section.scrollIntoView({ block: "nearest" });
    if (!this.viewer) {
      this.wanted = name;
      return;
    }
    this.viewer.select(name);
    if (at) this.viewer.goTo(at);
    const z = this.viewer.at[2] + 1;
    this.status.textContent = name ? `${capital(name)} shown, axial slice ${z} of ${this.viewer.voxels.shape[2]}` : "All regions shown";
  }

  next(by) {
    const open = this.sections.filter((s) => s.querySelector("button.pick:not([disabled])"));
    const now = open.findIndex((s) => s.classList.contains("selected"));
    const target = open[now < 0 && by < 0 ? open.length - 1 : now + by];
    if (!target) return false;
    this.select(target.dataset.region, null, target);
    if (document.activeElement.matches("button.pick")) target.querySelector("button.pick").focus();
    return true;
  }

  key(event) {
    const actions = {
      ArrowDown: () => this.next(1),
      ArrowUp: () => this.next(-1),
      ArrowRight: () => this.viewer && this.viewer.step(null, 1),
      ArrowLeft: () => this.viewer && this.viewer.step(null, -1),
      PageUp: () => this.viewer && this.viewer.step(null, 5),
      PageDown: () => this.viewer && this.viewer.step(null, -5),
      Escape: () => this.select(null),
    };
    if (!actions[event.key] || actions[event.key]() === false) return;
    event.preventDefault();
  }
}

/* ---- the page ----------------------------------------------------------------------------------------------------- */

const studies = [...document.querySelectorAll("article.study")].map((root) => new Study(root));
let current = studies[0];

for (const study of studies) {
  const fold = study.root.closest("details.case");
  study.root.addEventListener("pointerdown", () => (current = study));
  if (!fold || fold.open) study.open();
  if (fold) fold.addEventListener("toggle", () => fold.open && (current = study).open());
}

document.addEventListener("keydown", (event) => {
  const fold = current && current.root.closest("details.case");
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, select, textarea") || !current || (fold && !fold.open)) return;
  current.key(event);
});

/* #STUDY or #STUDY/REGION opens there, so that a place can be sent to a colleague. */
function follow() {
  const [id, region] = location.hash.slice(1).split("/").map(decodeURIComponent);
  const study = studies.find((s) => s.root.dataset.study === id);
  if (!study) return;
  const fold = study.root.closest("details.case");
  if (fold) fold.open = true;
  current = study;
  if (region) study.select(region);
  if (fold) fold.scrollIntoView();
}
window.addEventListener("hashchange", follow);
follow();

/* Paper has no folds: references are opened for printing and closed again. */
let folded = [];
window.addEventListener("beforeprint", () => {
  const all = document.querySelectorAll("article.study details:not([open]), details.panel:not([open])");
  folded = [...all].filter((d) => d.offsetParent);
  for (const fold of folded) fold.open = true;
});
window.addEventListener("afterprint", () => folded.forEach((fold) => (fold.open = false)));

const search = document.querySelector("#filter");
if (search) {
  const cases = [...document.querySelectorAll("details.case")];
  const mistakes = document.querySelector("#mistakes");
  const apply = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const item of cases) {
      const text = item.textContent.toLowerCase();
      item.hidden = !words.every((w) => text.includes(w)) || (mistakes && mistakes.checked && !item.dataset.mistakes);
      if (!item.hidden) shown += 1;
    }
    document.querySelector("#shown").textContent = `${shown} of ${cases.length} studies`;
  };
  search.addEventListener("input", apply);
  if (mistakes) mistakes.addEventListener("change", apply);
}
