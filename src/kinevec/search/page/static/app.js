// The page: what is shown, and how its parts act on each other.

import { call } from "./api.js";
import { byId, make, many, say, sayError } from "./dom.js";
import { Filters } from "./filters.js";
import { Grid } from "./grid.js";
import { ClipMap } from "./map.js";
import { Part } from "./part.js";
import { listen } from "./keys.js";

const PAGE = 24; // clips
const ALL = { kind: "all" };

let source = ALL; // {kind: "alike", query, words}, {kind: "chosen", clips}
let offset = 0;
let request = new AbortController();

const grid = new Grid({ alike: findAlike, part: (clip) => part.show(clip, true), changed: selectionChanged });
const filters = new Filters(() => {
  show(source.kind === "chosen" ? ALL : source);
  if (!byId("map-view").hidden) map.load(filters.only(), filters.any());
});
const map = new ClipMap((clips) => {
  grid.only(clips);
  if (clips.length) show({ kind: "chosen", clips });
});
const limits = await call("about").catch((error) => { sayError(error); throw error; });
const part = new Part((query, words) => show({ kind: "alike", query, words }), limits);

function mode() {
  return document.querySelector("input[name=mode]:checked").value;
}

function findAlike(clip) {
  const words = `${clip.name}, ${clip.start.toFixed(2)}–${clip.stop.toFixed(2)} s`;
  show({ kind: "alike", query: { clip: clip.clip }, words });
  part.show(clip);
}

function show(next, from = 0) {
  source = next;
  offset = from;
  return load();
}

async function load() {
  request.abort();
  request = new AbortController();
  const { signal } = request;
  grid.busy(true);
  try {
    const began = performance.now();
    const found = await fetchPage(signal);
    grid.show(found.clips);
    draw(found);
    byId("grid").dataset.loadMs = (performance.now() - began).toFixed(1);
  } catch (error) {
    if (error.name === "AbortError") return;
    byId("status").textContent = error.message;
    byId("show-all").hidden = source.kind === "all";
    sayError(error);
  }
  if (!signal.aborted) grid.busy(false);
}

function fetchPage(signal) {
  const only = filters.only();
  if (source.kind === "alike") {
    return call("search", {
      query: source.query, mode: mode(), only, offset, limit: PAGE, other_videos: byId("others").checked,
    }, signal);
  }
  if (source.kind === "chosen") {
    return call("entries", { clips: source.clips.slice(offset, offset + PAGE) }, signal)
      .then((found) => ({ ...found, total: source.clips.length }));
  }
  return call("clips", { only, offset, limit: PAGE }, signal);
}

function draw({ clips, total, more }) {
  const from = offset + 1;
  const to = offset + clips.length;
  const range = clips.length ? `${from.toLocaleString("en")}–${to.toLocaleString("en")}` : "none";
  const of = total === undefined ? "" : ` of ${total.toLocaleString("en")}`;
  byId("status").textContent = {
    all: clips.length ? `Clips ${range}${of}` : "No clip satisfies the filters.",
    alike: clips.length ? `${range}, like ${source.words}` : `Nothing found like ${source.words}.`,
    chosen: `${range}${of} selected on the map`,
  }[source.kind];
  byId("show-all").hidden = source.kind === "all";
  const last = total === undefined ? !more : to >= total;
  pagers(".previous", (button) => { button.disabled = offset === 0; });
  pagers(".next", (button) => { button.disabled = last; });
}

function pagers(name, act) {
  document.querySelectorAll(`.pager ${name}`).forEach(act);
}

function turn(pages) {
  if (document.querySelector(pages > 0 ? ".next" : ".previous").disabled) return;
  show(source, Math.max(0, offset + pages * PAGE));
  document.querySelector("main").scrollIntoView({ block: "start" });
}

function view(name) {
  const mapped = name === "map";
  byId("map-view").hidden = !mapped;
  byId("show-map").setAttribute("aria-pressed", String(mapped));
  byId("show-clips").setAttribute("aria-pressed", String(!mapped));
  if (!mapped) {
    if (source.kind === "chosen") show(ALL);
    return;
  }
  map.load(filters.only(), filters.any());
  map.mark(grid.selected);
}

function selectionChanged() {
  const count = grid.selected.size;
  byId("label-bar").hidden = count === 0;
  byId("selected").textContent = `${count.toLocaleString("en")} selected`;
  map.mark(grid.selected);
}

async function refreshFacets() {
  const counts = await call("facets");
  filters.offer(counts);
  const known = counts.label.filter(([value]) => value !== "");
  byId("label-list").replaceChildren(...known.map(([value]) => make("option", { value })));
  savable(counts.given);
}

function savable(given) {
  byId("save").disabled = given === 0;
  byId("save").textContent = given ? `Save ${many(given, "label")}` : "Save labels";
}

async function label(text) {
  const clips = [...grid.selected];
  try {
    const done = await call("label", { clips, label: text });
    say(text === null ? `Label removed from ${many(done.clips, "clip")}.` : `${many(done.clips, "clip")} labelled ${text}.`);
    if (text === null) await load();
    else grid.relabel(clips, text);
    grid.only([]);
    byId("label").value = "";
    (grid.tiles[grid.last]?.element ?? grid.root).focus({ preventScroll: true });
    await refreshFacets();
  } catch (error) {
    sayError(error);
  }
}

async function save() {
  const button = byId("save");
  if (button.disabled) return;
  button.disabled = true;
  say("Cutting out what is labelled…");
  try {
    const made = await call("save");
    const failed = Object.entries(made.failed);
    const trouble = failed.length ? ` ${many(failed.length, "video")} could not be read: ${failed[0][0]}: ${failed[0][1]}` : "";
    say(`${many(made.parts, "part")} written to ${made.path}; \`kinevec eval RUN --data\` reads it.${trouble}`, { problem: failed.length > 0 });
  } catch (error) {
    sayError(error);
  }
  button.disabled = false;
}

function escape() {
  if (!byId("say").hidden) byId("say").hidden = true;
  else if (grid.selected.size) grid.only([]);
  else if (source.kind !== "all") show(ALL);
}

byId("name").textContent = limits.name;
document.title = `${limits.name} – kinevec`;
byId("about").textContent = `${many(limits.clips, "clip")} of ${many(limits.videos, "video")}; ${limits.model}`;
byId("about").title = limits.how;
byId("modes").hidden = limits.modes.length < 2;
byId("show-clips").addEventListener("click", () => view("clips"));
byId("show-map").addEventListener("click", () => view("map"));
byId("show-all").addEventListener("click", () => show(ALL));
pagers(".previous", (button) => button.addEventListener("click", () => turn(-1)));
pagers(".next", (button) => button.addEventListener("click", () => turn(1)));
byId("save").addEventListener("click", save);
byId("unselect").addEventListener("click", () => grid.only([]));
byId("unlabel").addEventListener("click", () => label(null));
byId("modes").addEventListener("change", () => { if (source.kind === "alike") show(source); });
byId("others").addEventListener("change", () => { if (source.kind === "alike") show(source); });
byId("label-bar").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = byId("label").value.trim();
  if (text) label(text);
});
listen({ grid, part, view, turn, save, escape });
await Promise.all([load(), refreshFacets().catch(sayError)]);
