// Shortcuts that work anywhere on the page, and the table of all of them.

import { byId } from "./dom.js";
import { toggle } from "./playing.js";

const STORED = "kinevec-letters";

export function listen({ grid, part, view, turn, save, escape }) {
  const dialog = byId("keys");
  const letters = byId("keys-on");
  letters.checked = localStorage.getItem(STORED) !== "off";
  letters.addEventListener("change", () => localStorage.setItem(STORED, letters.checked ? "on" : "off"));
  byId("help").addEventListener("click", () => dialog.showModal());
  const acts = {
    "?": () => dialog.showModal(),
    "/": () => { byId("filters").open = true; byId("filter-text").focus(); },
    "[": () => turn(-1),
    "]": () => turn(1),
    a: () => grid.focused()?.keep(),
    c: () => view("clips"),
    l: () => { if (grid.selected.size) byId("label").focus(); },
    m: () => { view("map"); byId("map").focus(); },
    p: toggle,
    s: save,
    t: () => { const tile = grid.focused(); if (tile) part.show(tile.clip, true); },
    u: () => byId("file").click(),
  };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
    const typing = event.target.matches("input:not([type=checkbox], [type=radio], [type=file]), select, textarea");
    if (event.key === "Escape") {
      if (typing) event.target.blur();
      else escape();
    } else if (!typing && letters.checked && acts[event.key]) {
      event.preventDefault();
      acts[event.key]();
    }
  });
}
