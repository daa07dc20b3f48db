/* One slice on a canvas: grey through a window, fills, outlines. */

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
