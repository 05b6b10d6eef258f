// Two handles on a line of time, by mouse, touch and keyboard; the part between them can be dragged too.

import { byId, clock } from "./dom.js";

const SHORTEST = 0.1; // seconds

export class Timeline {
  constructor(changed) {
    this.changed = changed;
    this.root = byId("timeline");
    this.chosen = this.root.querySelector(".chosen");
    this.head = this.root.querySelector(".head");
    this.handles = { start: byId("handle-start"), stop: byId("handle-stop") };
    this.range = { low: 0, high: 1, step: 0.04 };
    this.start = 0;
    this.stop = 1;
    for (const [name, handle] of Object.entries(this.handles)) {
      handle.addEventListener("pointerdown", (event) => this.drag(event, handle, name));
      handle.addEventListener("keydown", (event) => this.key(event, name));
    }
    this.chosen.addEventListener("pointerdown", (event) => this.drag(event, this.chosen, "both"));
  }

  // low and high: seconds of the video at both ends of the line
  set(low, high, step, start, stop) {
    this.range = { low, high, step };
    this.start = Math.max(low, Math.min(start, high - SHORTEST)); // a video may be shorter than SHORTEST
    this.stop = Math.max(Math.min(stop, high), this.start + Math.min(SHORTEST, high - low));
    this.draw();
  }

  draw() {
    const { low, high } = this.range;
    const place = (value) => `${100 * (value - low) / (high - low)}%`;
    for (const [name, handle] of Object.entries(this.handles)) {
      handle.style.left = place(this[name]);
      handle.setAttribute("aria-valuemin", (name === "start" ? low : this.start).toFixed(2));
      handle.setAttribute("aria-valuemax", (name === "start" ? this.stop : high).toFixed(2));
      handle.setAttribute("aria-valuenow", this[name].toFixed(2));
      handle.setAttribute("aria-valuetext", `${this[name].toFixed(2)} seconds`);
    }
    this.chosen.style.left = place(this.start);
    this.chosen.style.width = `${100 * (this.stop - this.start) / (high - low)}%`;
    const length = (this.stop - this.start).toFixed(2);
    byId("part-times").value = `${clock(this.start)} – ${clock(this.stop)} (${length} s)`;
  }

  at(moment) {
    const { low, high } = this.range;
    this.head.style.left = `${100 * Math.min(Math.max((moment - low) / (high - low), 0), 1)}%`;
  }

  move(name, value) {
    const { low, high } = this.range;
    if (name === "start") this.start = Math.max(low, Math.min(value, this.stop - SHORTEST));
    else if (name === "stop") this.stop = Math.min(high, Math.max(value, this.start + SHORTEST));
    else {
      const length = this.stop - this.start;
      this.start = Math.min(Math.max(value, low), high - length);
      this.stop = this.start + length;
    }
    this.draw();
    this.changed(name);
  }

  drag(event, element, name) {
    const box = this.root.getBoundingClientRect();
    const perPixel = (this.range.high - this.range.low) / box.width;
    const from = event.clientX;
    const value = name === "stop" ? this.stop : this.start;
    const follow = (moved) => this.move(name, value + (moved.clientX - from) * perPixel);
    const end = () => {
      element.removeEventListener("pointermove", follow);
      element.removeEventListener("pointerup", end);
      element.removeEventListener("pointercancel", end);
    };
    element.setPointerCapture(event.pointerId);
    element.addEventListener("pointermove", follow);
    element.addEventListener("pointerup", end);
    element.addEventListener("pointercancel", end);
    if (name !== "both") element.focus();
    event.preventDefault();
  }

  key(event, name) {
    const step = event.shiftKey ? 1 : this.range.step;
    const target = {
      ArrowLeft: this[name] - step, ArrowDown: this[name] - step,
      ArrowRight: this[name] + step, ArrowUp: this[name] + step,
      PageUp: this[name] + 1, PageDown: this[name] - 1,
      Home: this.range.low, End: this.range.high,
    }[event.key];
    if (target === undefined) return;
    this.move(name, target);
    event.preventDefault();
  }
}
