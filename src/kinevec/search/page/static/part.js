// The video that a part is marked in: an uploaded one, or one of the index.

import { call, upload, whyNot } from "./api.js";
import { byId, sayError } from "./dom.js";
import { isPaused } from "./playing.js";
import { Timeline } from "./timeline.js";

const FIRST = 10; // seconds of an uploaded video that are marked at first
const BEFORE = 5; // seconds that are shown before a clip

export class Part {
  // search(query, words): looks for a part
  constructor(search, limits) {
    this.search = search;
    this.limits = limits;
    this.source = null; // {query, address, name, seconds, fps}
    this.from = 0; // second that the film begins at
    this.video = byId("preview");
    this.note = byId("preview-note");
    this.timeline = new Timeline((name) => this.seek(name));
    byId("search-part").addEventListener("click", () => this.go());
    byId("part-close").addEventListener("click", () => this.close());
    byId("earlier").addEventListener("click", () => this.shift(-1));
    byId("later").addEventListener("click", () => this.shift(1));
    this.video.addEventListener("timeupdate", () => this.follow());
    this.video.addEventListener("ended", () => this.again());
    this.video.addEventListener("loadeddata", () => { this.note.textContent = ""; this.again(); });
    this.video.addEventListener("error", () => this.fail());
    this.video.addEventListener("click", () => (this.video.paused ? this.video.play() : this.video.pause()));
    document.addEventListener("playing", ({ detail }) => (detail ? this.again() : this.video.pause()));
    this.listen();
  }

  listen() {
    const drop = byId("drop");
    const file = byId("file");
    file.addEventListener("change", () => {
      if (file.files[0]) this.take(file.files[0]);
      file.value = ""; // so that the same file can be chosen again
    });
    addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
    addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
    addEventListener("drop", (event) => {
      event.preventDefault();
      drop.classList.remove("over");
      if (event.dataTransfer.files[0]) this.take(event.dataTransfer.files[0]);
    });
  }

  async take(file) {
    const text = byId("drop-text");
    const before = [...text.childNodes];
    text.textContent = `Reading ${file.name}…`;
    try {
      if (file.size > this.limits.upload_bytes) {
        throw new Error(`${file.name} is larger than ${Math.floor(this.limits.upload_bytes / 2 ** 20)} MiB; cut out a part of it.`);
      }
      const found = await upload(file);
      this.open({
        query: { upload: found.upload }, address: `/media/upload/${found.upload}.mp4`,
        name: file.name, seconds: found.seconds, fps: found.fps,
      }, 0, Math.min(found.seconds, FIRST));
      this.go();
    } catch (error) {
      sayError(new Error(`${file.name}: ${error.message}`));
    } finally {
      text.replaceChildren(...before);
    }
  }

  // A clip of the index: its video, marked where the clip is.
  async show(clip, look = false) {
    try {
      const found = await call("video", { video: clip.video });
      this.open({
        query: { video: found.id }, address: `/media/video/${found.id}.mp4`,
        name: found.name, seconds: found.seconds, fps: found.fps,
      }, clip.start, clip.stop);
      if (look) byId("query").scrollIntoView({ block: "nearest" });
    } catch (error) {
      sayError(error);
    }
  }

  open(source, start, stop) {
    this.source = source;
    byId("part").hidden = false;
    byId("part-name").textContent = source.name;
    byId("part-name").title = source.name;
    const latest = Math.max(0, Math.ceil(source.seconds - this.limits.window));
    this.load(Math.min(Math.max(0, Math.floor(start - BEFORE)), latest), start, stop);
  }

  load(from, start, stop) {
    const { seconds, fps, address } = this.source;
    const high = Math.min(seconds, from + this.limits.window);
    this.from = from;
    this.timeline.set(from, high, fps ? 1 / fps : 0.04, start, stop);
    byId("earlier").disabled = from <= 0;
    byId("later").disabled = high >= seconds - 0.01;
    this.note.textContent = "Loading…";
    this.video.src = `${address}?from=${from}`;
  }

  shift(direction) {
    const { window } = this.limits;
    const latest = Math.max(0, Math.ceil(this.source.seconds - window));
    const from = Math.min(Math.max(0, this.from + direction * Math.floor(window / 2)), latest);
    this.load(from, this.timeline.start, this.timeline.stop);
  }

  go() {
    if (!this.source) return;
    const { start, stop } = this.timeline;
    const times = `${start.toFixed(2)}–${stop.toFixed(2)} s`;
    this.search({ ...this.source.query, start, stop }, `${this.source.name}, ${times}`);
  }

  close() {
    this.source = null;
    byId("part").hidden = true;
    this.video.removeAttribute("src");
    this.video.load();
    byId("file").focus();
  }

  // Plays the part from its start, again and again.
  again() {
    if (!this.source) return;
    this.video.currentTime = Math.max(0, this.timeline.start - this.from);
    if (!isPaused()) this.video.play().catch(() => {});
  }

  follow() {
    const moment = this.from + this.video.currentTime;
    this.timeline.at(moment);
    if (!this.video.paused && moment >= this.timeline.stop) this.again();
  }

  seek(name) {
    const moment = name === "stop" ? this.timeline.stop : this.timeline.start;
    this.video.pause();
    this.video.currentTime = Math.max(0, moment - this.from);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.again(), 700);
  }

  async fail() {
    if (!this.source || !this.video.src) return;
    this.note.textContent = `Cannot be shown: ${await whyNot(this.video.src)}`;
  }
}
