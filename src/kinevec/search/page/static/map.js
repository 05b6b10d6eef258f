// The map: moved, zoomed, and selected from by mouse, touch and keyboard.

import { points } from "./api.js";
import { byId, many, sayError } from "./dom.js";
import { inside, nearest } from "./geometry.js";
import { Painter } from "./paint.js";

const RING = 40; // pixels, of what Enter selects
const CLOSE = 10; // pixels, from a point that is pointed at
const ZOOM = 1.4;

export class ClipMap {
  // chosen(clips): what was selected
  constructor(chosen) {
    this.chosen = chosen;
    this.canvas = byId("map");
    this.painter = new Painter(this.canvas);
    this.peek = byId("map-peek");
    this.points = null;
    this.lit = null; // Uint8Array: which satisfy the filter
    this.marked = new Set();
    this.view = { x: 0, y: 0, scale: 1 };
    this.lasso = null; // [x, y, …] in pixels
    this.hands = new Map(); // pointers that are down
    this.tool = "move";
    this.pending = 0;
    this.listen();
  }

  async load(only, filtered) {
    try {
      if (!this.points) {
        this.points = await points({});
        this.rows = new Map();
        this.points.clip.forEach((clip, row) => this.rows.set(clip, row));
      }
      this.lit = new Uint8Array(this.points.count).fill(filtered ? 0 : 1);
      if (filtered) {
        const found = await points(only);
        found.clip.forEach((clip) => { this.lit[this.rows.get(clip)] = 1; });
      }
      const lit = this.lit.reduce((sum, one) => sum + one, 0);
      byId("map-note").textContent = this.points.count
        ? `${many(lit, "clip")}, coloured by group` : "There is no map yet: run `kinevec cluster` on this index.";
      this.draw();
    } catch (error) {
      sayError(error);
    }
  }

  mark(clips) {
    this.marked = clips;
    this.draw();
  }

  use(tool) {
    this.tool = tool;
    for (const name of ["move", "lasso"]) byId(`tool-${name}`).setAttribute("aria-pressed", String(name === tool));
    this.canvas.classList.toggle("lasso", tool === "lasso");
  }

  // Pixels of the canvas per unit of the map, and the place of its middle.
  frame() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const unit = Math.min(width, height) * 0.47 * this.view.scale;
    return { width, height, unit, left: width / 2 - this.view.x * unit, top: height / 2 + this.view.y * unit };
  }

  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const before = this.frame();
    const scale = Math.min(Math.max(this.view.scale * factor, 0.5), 400);
    const place = [(x - before.left) / before.unit, (before.top - y) / before.unit];
    this.view.scale = scale;
    const unit = this.frame().unit;
    this.view.x = place[0] - (x - before.width / 2) / unit;
    this.view.y = place[1] + (y - before.height / 2) / unit;
    this.draw();
  }

  pan(dx, dy) {
    const { unit } = this.frame();
    this.view.x -= dx / unit;
    this.view.y += dy / unit;
    this.draw();
  }

  all() {
    this.view = { x: 0, y: 0, scale: 1 };
    this.draw();
  }

  draw() {
    if (this.pending || !this.points) return;
    this.pending = requestAnimationFrame(() => { this.pending = 0; this.paint(); });
  }

  paint() {
    this.painter.paint(this.frame(), this.points, {
      lit: this.lit, rows: [...this.marked].map((clip) => this.rows.get(clip)).filter((row) => row !== undefined),
      zoom: this.view.scale, lasso: this.lasso, ring: this.canvas.matches(":focus-visible") ? RING : 0,
    });
  }

  // Clips whose points lie in a closed line of pixels.
  within(line) {
    const { unit, left, top } = this.frame();
    const rows = inside(this.points, line, (row) => [left + this.points.x[row] * unit, top - this.points.y[row] * unit]);
    return rows.filter((row) => this.lit[row]).map((row) => this.points.clip[row]);
  }

  at(x, y) {
    const { unit, left, top } = this.frame();
    const row = nearest(this.points, (x - left) / unit, (top - y) / unit, CLOSE / unit, this.lit);
    return row < 0 ? undefined : row;
  }

  listen() {
    const { canvas } = this;
    byId("tool-move").addEventListener("click", () => this.use("move"));
    byId("tool-lasso").addEventListener("click", () => this.use("lasso"));
    byId("zoom-in").addEventListener("click", () => this.zoom(ZOOM));
    byId("zoom-out").addEventListener("click", () => this.zoom(1 / ZOOM));
    byId("zoom-all").addEventListener("click", () => this.all());
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), event.offsetX, event.offsetY);
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.moved(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.up(event));
    canvas.addEventListener("pointerleave", () => { this.peek.hidden = true; });
    canvas.addEventListener("keydown", (event) => this.key(event));
    for (const name of ["focus", "blur"]) canvas.addEventListener(name, () => this.draw());
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  down(event) {
    if (!this.points || event.button) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.hands.set(event.pointerId, [event.offsetX, event.offsetY]);
    this.still = true;
    const lasso = this.hands.size === 1 && (this.tool === "lasso" || event.shiftKey);
    this.lasso = lasso ? [event.offsetX, event.offsetY] : null;
  }

  moved(event) {
    const hand = this.hands.get(event.pointerId);
    if (!hand) {
      if (event.pointerType === "mouse") this.look(event.offsetX, event.offsetY);
      return;
    }
    const place = [event.offsetX, event.offsetY];
    const [dx, dy] = [place[0] - hand[0], place[1] - hand[1]];
    if (this.still && Math.hypot(dx, dy) < 4) return;
    this.still = false;
    const other = [...this.hands].find(([id]) => id !== event.pointerId)?.[1];
    this.hands.set(event.pointerId, place);
    if (other) {
      const apart = (one) => Math.max(Math.hypot(one[0] - other[0], one[1] - other[1]), 1);
      this.pan(dx / 2, dy / 2);
      this.zoom(apart(place) / apart(hand), (place[0] + other[0]) / 2, (place[1] + other[1]) / 2);
    } else if (this.lasso) {
      this.lasso.push(...place);
      this.draw();
    } else {
      this.pan(dx, dy);
    }
  }

  up(event) {
    if (!this.hands.delete(event.pointerId)) return;
    const { lasso } = this;
    this.lasso = null;
    if (event.type === "pointercancel") return;
    if (this.still) {
      const row = this.at(event.offsetX, event.offsetY);
      if (row !== undefined) this.chosen([this.points.clip[row]]);
    } else if (lasso && lasso.length > 4) {
      this.chosen(this.within(lasso));
    }
    this.draw();
  }

  // The clip that the mouse points at, in the corner.
  look(x, y) {
    if (!this.points) return;
    const row = this.at(x, y);
    this.peek.hidden = row === undefined;
    if (row === undefined) return;
    const address = `/media/clip/${this.points.clip[row]}.jpg`;
    const picture = this.peek.querySelector("img");
    if (!picture.src.endsWith(address)) {
      clearTimeout(this.timer);
      picture.removeAttribute("src");
      this.timer = setTimeout(() => { picture.src = address; }, 120);
    }
    const group = this.points.cluster[row];
    this.peek.querySelector("figcaption").textContent = group < 0 ? "in no group" : `group ${group}`;
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = 40;
    const act = {
      ArrowLeft: () => this.pan(step, 0), ArrowRight: () => this.pan(-step, 0),
      ArrowUp: () => this.pan(0, step), ArrowDown: () => this.pan(0, -step),
      "+": () => this.zoom(ZOOM), "=": () => this.zoom(ZOOM), "-": () => this.zoom(1 / ZOOM),
      0: () => this.all(),
      Enter: () => this.chosen(this.within(circle(this.canvas.clientWidth / 2, this.canvas.clientHeight / 2))),
    }[event.key];
    if (!act || !this.points) return;
    act();
    event.preventDefault();
  }
}

function circle(x, y) {
  return Array.from({ length: 64 }, (_, i) => (i % 2 ? y + RING * Math.sin(Math.PI * (i - 1) / 32) : x + RING * Math.cos(Math.PI * i / 32)));
}
