/* Three panes and their controls over one study's voxels. */

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
