// The grid of clips: one page of tiles, focus by arrow keys, selection.

import { byId, make } from "./dom.js";
import { Tile } from "./tile.js";

const STEPS = { ArrowLeft: -1, ArrowRight: 1 };

export class Grid {
  // on: alike(clip), part(clip), changed(), what the page does with a clip
  constructor(on) {
    this.on = on;
    this.root = byId("grid");
    this.tiles = [];
    this.selected = new Set(); // numbers of clips, of this page or not
    this.last = 0; // tile that was focused or clicked last
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.wait(24);
  }

  // Empty tiles, so that nothing jumps when the first clips come.
  wait(count) {
    this.root.replaceChildren(...Array.from({ length: count }, () => {
      const empty = make("li", { className: "tile waiting" }, make("div", { className: "stage" }));
      empty.setAttribute("aria-hidden", "true");
      return empty;
    }));
  }

  show(clips) {
    const focused = this.root.contains(document.activeElement);
    this.tiles.forEach((tile) => tile.remove());
    this.tiles = clips.map((clip) => new Tile(clip, {
      alike: this.on.alike,
      part: this.on.part,
      select: (one, event) => this.click(one, event),
      focus: (tile) => this.rove(this.tiles.indexOf(tile)),
    }));
    this.last = 0;
    this.root.replaceChildren(...this.tiles.map((tile) => tile.element));
    this.redraw();
    if (this.tiles.length) this.tiles[0].element.tabIndex = 0;
    if (focused) (this.tiles[0]?.element ?? this.root).focus({ preventScroll: false });
  }

  busy(value) {
    this.root.setAttribute("aria-busy", String(value));
  }

  redraw() {
    this.tiles.forEach((tile) => tile.select(this.selected.has(tile.clip.clip)));
  }

  choose(clips, chosen = true) {
    for (const clip of clips) {
      if (chosen) this.selected.add(clip);
      else this.selected.delete(clip);
    }
    this.redraw();
    this.on.changed();
  }

  only(clips) {
    this.selected = new Set(clips);
    this.redraw();
    this.on.changed();
  }

  relabel(clips, label) {
    const known = new Set(clips);
    for (const tile of this.tiles) {
      if (known.has(tile.clip.clip)) {
        tile.clip.label = label;
        tile.describe();
      }
    }
  }

  click(clip, event) {
    const place = this.tiles.findIndex((tile) => tile.clip === clip);
    const chosen = !this.selected.has(clip.clip);
    if (event.shiftKey) {
      const [low, high] = [Math.min(place, this.last), Math.max(place, this.last)];
      this.choose(this.tiles.slice(low, high + 1).map((tile) => tile.clip.clip));
    } else {
      this.choose([clip.clip], chosen);
    }
    this.rove(place);
  }

  rove(place) {
    this.tiles.forEach((tile, i) => { tile.element.tabIndex = i === place ? 0 : -1; });
    this.last = place;
  }

  columns() {
    const top = this.tiles[0]?.element.offsetTop;
    const count = this.tiles.findIndex((tile) => tile.element.offsetTop !== top);
    return count < 0 ? Math.max(this.tiles.length, 1) : count;
  }

  key(event) {
    const place = this.tiles.findIndex((tile) => tile.element === event.target);
    if (place < 0 || event.altKey) return;
    const { clip } = this.tiles[place];
    if ((event.ctrlKey || event.metaKey) && event.key === "a") {
      this.choose(this.tiles.map((tile) => tile.clip.clip));
    } else if (event.ctrlKey || event.metaKey) {
      return;
    } else if (event.key === "Enter") {
      this.on.alike(clip);
    } else if (event.key === " ") {
      this.choose([clip.clip], !this.selected.has(clip.clip));
    } else {
      const target = this.target(event.key, place);
      if (target === undefined) return;
      if (event.shiftKey) this.choose([clip.clip, this.tiles[target].clip.clip]);
      this.tiles[target].element.focus();
    }
    event.preventDefault();
  }

  target(key, place) {
    const end = this.tiles.length - 1;
    if (key === "Home") return 0;
    if (key === "End") return end;
    const step = { ...STEPS, ArrowUp: -this.columns(), ArrowDown: this.columns() }[key];
    if (step === undefined) return undefined;
    const next = place + step;
    return next < 0 || next > end ? place : next;
  }

  // The tile that has the focus, or something in it.
  focused() {
    return this.tiles.find((tile) => tile.element.contains(document.activeElement));
  }
}
