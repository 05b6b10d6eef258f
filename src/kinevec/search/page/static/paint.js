// Points on a canvas, written as pixels, so that 100,000 of them follow the hand.

const COLORS = [
  [57, 118, 196], [228, 119, 39], [52, 150, 89], [204, 68, 75], [136, 98, 190], [140, 96, 76],
  [216, 112, 178], [120, 130, 40], [30, 158, 176], [196, 152, 20], [90, 110, 220], [70, 140, 140],
].map(([r, g, b]) => (255 << 24) | (b << 16) | (g << 8) | r);
const NONE = COLORS[11]; // in no group
const MANY = 2000; // selected points: thinner edges

export class Painter {
  constructor(canvas) {
    this.canvas = canvas;
    this.image = null;
  }

  // frame: pixels of the canvas; lit: which satisfy the filter; rows: of the selected ones
  paint(frame, points, { lit, rows, zoom, lasso, ring }) {
    const began = performance.now();
    const dense = Math.min(devicePixelRatio || 1, 2);
    const context = this.canvas.getContext("2d");
    if (!this.fit(context, Math.round(frame.width * dense), Math.round(frame.height * dense))) return;
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const { count, cluster } = points;
    const base = count > 50_000 ? 1.4 : count > 5_000 ? 2.2 : 5;
    const size = Math.round(Math.min(base * Math.sqrt(zoom), 8) * dense) || 1;
    const edge = Math.round((rows.length > MANY ? 2 : 4) * dense);
    const faint = dark ? 0xff404040 | 0 : 0xffdcdcdc | 0;
    const loud = dark ? 0xffffffff | 0 : 0xff000000 | 0;
    const color = (row) => (cluster[row] < 0 ? NONE : COLORS[cluster[row] % COLORS.length]);
    const dot = this.dots(frame, points, dense);
    for (let row = 0; row < count; row += 1) if (!lit[row]) dot(row, size, faint);
    for (let row = 0; row < count; row += 1) if (lit[row]) dot(row, size, color(row));
    for (const row of rows) dot(row, size + edge, loud); // all edges first, so that none hides a color
    for (const row of rows) dot(row, size, color(row));
    context.putImageData(this.image, 0, 0);
    this.strokes(context, frame, dense, dark, lasso, ring);
    this.canvas.dataset.drawMs = (performance.now() - began).toFixed(1);
  }

  // An empty image as large as the canvas; false where the canvas is not shown.
  fit(context, width, height) {
    if (!width || !height) return false;
    if (!this.image || this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
      this.image = context.createImageData(width, height);
      this.pixels = new Uint32Array(this.image.data.buffer);
    }
    this.pixels.fill(0);
    return true;
  }

  dots({ unit, left, top }, { x, y }, dense) {
    const { pixels } = this;
    const { width, height } = this.canvas;
    return (row, side, paint) => {
      const px = Math.round((left + x[row] * unit) * dense - side / 2);
      const py = Math.round((top - y[row] * unit) * dense - side / 2);
      if (px < 0 || py < 0 || px + side > width || py + side > height) return;
      const round = side > 3 ? 1 : 0; // off the corners
      for (let j = 0, at = py * width + px; j < side; j += 1, at += width) {
        const cut = j === 0 || j === side - 1 ? round : 0;
        pixels.fill(paint, at + cut, at + side - cut);
      }
    };
  }

  strokes(context, { width, height }, dense, dark, lasso, ring) {
    context.setTransform(dense, 0, 0, dense, 0, 0);
    context.lineWidth = 1.5;
    context.strokeStyle = dark ? "#fff" : "#000";
    if (lasso) {
      context.beginPath();
      for (let i = 0; i < lasso.length; i += 2) context.lineTo(lasso[i], lasso[i + 1]);
      context.closePath();
      context.fillStyle = dark ? "#fff2" : "#0001";
      context.fill();
      context.stroke();
    }
    if (ring) {
      context.beginPath();
      context.arc(width / 2, height / 2, ring, 0, 2 * Math.PI);
      context.stroke();
    }
    context.setTransform(1, 0, 0, 1, 0, 0);
  }
}
