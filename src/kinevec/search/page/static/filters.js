// What the clips are narrowed down by.

import { byId, make } from "./dom.js";

const WAIT = 250; // ms after the last letter
const NONE = "\u0000"; // of a select: clips without a label or split
const EMPTY = { folder: "", label: "without label", split: "without split", cluster: "in no group" };

export class Filters {
  constructor(changed) {
    this.form = byId("filter-form");
    this.selects = Object.fromEntries(Object.keys(EMPTY).map((name) => [name, byId(`filter-${name}`)]));
    this.text = byId("filter-text");
    let timer = 0;
    this.text.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(changed, WAIT);
    });
    Object.values(this.selects).forEach((select) => select.addEventListener("change", changed));
    this.form.addEventListener("submit", (event) => { event.preventDefault(); changed(); });
    this.form.addEventListener("reset", () => setTimeout(changed)); // after the fields are empty
    if (matchMedia("(max-width: 50rem)").matches) byId("filters").open = false;
  }

  // counts: what occurs how often, as [[value, count], …]
  offer(counts) {
    for (const [name, select] of Object.entries(this.selects)) {
      const chosen = select.value;
      const values = counts[name].filter(([value]) => value !== "" || (EMPTY[name] && name !== "cluster"));
      select.replaceChildren(make("option", { value: "" }, "any"), ...values.map(([value, count]) =>
        make("option", { value: value || NONE }, `${value || EMPTY[name]} (${count.toLocaleString("en")})`)));
      select.value = chosen;
      if (select.selectedIndex < 0) select.value = "";
      const useful = values.some(([value]) => value !== "");
      select.closest("label").hidden = !useful;
    }
  }

  only() {
    const value = (name) => this.selects[name].value;
    const real = (name) => (value(name) === "" ? null : value(name).replace(NONE, ""));
    return {
      text: this.text.value.trim(),
      folder: value("folder"),
      label: real("label"),
      split: real("split"),
      cluster: value("cluster") === "" ? null : Number(value("cluster")),
    };
  }

  any() {
    return Object.values(this.only()).some((value) => value !== "" && value !== null);
  }
}
