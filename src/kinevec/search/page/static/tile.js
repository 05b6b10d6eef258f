// One clip of the grid: film, activation, name, score, label, and what can be done with it.

import { whyNot } from "./api.js";
import { clock, make } from "./dom.js";
import { follow, forget, isPaused } from "./playing.js";

const REST = 250; // ms that pointer or focus rest on a tile before its activation is computed

export class Tile {
  constructor(clip, on) {
    this.clip = clip;
    this.kept = false; // activation stays shown
    this.timer = 0;
    this.picture = make("img", { alt: "", decoding: "async", src: `/media/clip/${clip.clip}.jpg` });
    this.film = make("video", { muted: true, loop: true, playsInline: true, preload: "none" });
    this.film.setAttribute("aria-hidden", "true");
    this.note = make("p", { className: "note" });
    this.box = make("input", { type: "checkbox", tabIndex: -1 });
    this.box.setAttribute("aria-label", `Select ${clip.name}`);
    this.eye = this.button("Activation", "◐", () => this.keep());
    this.eye.setAttribute("aria-pressed", "false");
    this.label = make("span", { className: "label" });
    this.stage = make("div", { className: "stage" }, this.picture, this.film, this.note, this.box);
    const score = clip.score === undefined ? "" : clip.score.toFixed(3);
    const folded = clip.folded ? `+${clip.folded}` : "";
    this.element = make("li", { className: "tile", tabIndex: -1 },
      this.stage,
      make("p", { className: "name", title: clip.name }, clip.name.split("/").pop()),
      make("p", { className: "facts" },
        make("span", {}, `${clock(clip.start)}–${clock(clip.stop)} s`),
        make("span", { className: "score" }, score),
        make("span", { className: "folded", title: "clips of the same video that overlap or look the same" }, folded)),
      make("p", { className: "facts" }, this.label),
      make("div", { className: "acts" },
        this.button("Find clips like this one", "Alike", () => on.alike(clip)),
        this.button("Mark a part of its video", "Part", () => on.part(clip)),
        this.eye));
    this.picture.addEventListener("load", () => follow(this.film, `/media/clip/${clip.clip}.mp4`));
    this.picture.addEventListener("error", () => this.fail(this.picture.src));
    this.film.addEventListener("playing", () => this.film.classList.add("on"));
    this.stage.addEventListener("click", (event) => on.select(clip, event));
    this.box.addEventListener("click", (event) => { event.stopPropagation(); on.select(clip, event); });
    this.element.addEventListener("focus", () => on.focus(this));
    this.element.addEventListener("mouseenter", () => this.soon());
    this.element.addEventListener("focusin", ({ target }) => { if (target.matches(":focus-visible")) this.soon(); });
    for (const name of ["mouseleave", "focusout"]) this.element.addEventListener(name, () => this.leave());
    this.describe();
  }

  button(words, text, act) {
    const made = make("button", { type: "button", tabIndex: -1, title: words }, text);
    made.setAttribute("aria-label", words);
    made.addEventListener("click", act);
    return made;
  }

  describe() {
    const { name, start, stop, score, label } = this.clip;
    this.label.textContent = label ?? "";
    const said = [name, `${start.toFixed(2)} to ${stop.toFixed(2)} seconds`];
    if (score !== undefined) said.push(`score ${score.toFixed(3)}`);
    if (label) said.push(`label ${label}`);
    if (this.box.checked) said.push("selected");
    this.element.setAttribute("aria-label", said.join(", "));
  }

  select(chosen) {
    this.box.checked = chosen;
    this.element.classList.toggle("selected", chosen);
    this.describe();
  }

  // Activation after a moment of rest, so that passing over tiles costs nothing.
  soon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.show(), REST);
  }

  leave() {
    clearTimeout(this.timer);
    const held = this.element.matches(":hover, :focus-visible, :has(:focus-visible)");
    if (!this.kept && !held) this.hide();
  }

  keep() {
    this.kept = !this.kept;
    this.eye.setAttribute("aria-pressed", String(this.kept));
    if (this.kept) this.show();
    else this.hide();
  }

  show() {
    if (this.heat || this.failed) return;
    const heat = make("video", { muted: true, loop: true, playsInline: true, className: "heat" });
    heat.setAttribute("aria-hidden", "true");
    heat.addEventListener("loadeddata", () => {
      heat.currentTime = this.film.currentTime % (heat.duration || 1);
      heat.classList.add("on");
      this.eye.setAttribute("aria-busy", "false");
      if (!isPaused()) heat.play().catch(() => {});
    });
    heat.addEventListener("error", async () => {
      this.hide();
      this.note.textContent = `No activation: ${await whyNot(`/media/activation/${this.clip.clip}.mp4`)}`;
    });
    heat.src = `/media/activation/${this.clip.clip}.mp4`;
    this.heat = heat;
    this.eye.setAttribute("aria-busy", "true");
    this.film.after(heat);
  }

  hide() {
    this.heat?.remove();
    this.heat = undefined;
    this.eye.setAttribute("aria-busy", "false");
  }

  async fail(address) {
    this.failed = true;
    this.picture.hidden = true;
    this.element.classList.add("failed");
    const reason = await whyNot(address);
    this.note.textContent = `Cannot be shown: ${reason.replace(`${this.clip.name}: `, "")}`;
  }

  remove() {
    clearTimeout(this.timer);
    forget(this.film);
    for (const media of [this.film, this.heat]) media?.removeAttribute("src");
    this.picture.removeAttribute("src"); // requests that still wait are taken back
  }
}
