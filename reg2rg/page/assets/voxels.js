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
