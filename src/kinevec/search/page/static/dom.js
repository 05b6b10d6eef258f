// Making elements. Whatever comes from outside is set as text or property, never as HTML.

export const byId = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export const seconds = (value) => `${value.toFixed(2)} s`;

export function clock(value) {
  if (value < 60) return value.toFixed(2);
  const minutes = Math.floor(value / 60);
  return `${minutes}:${(value - 60 * minutes).toFixed(2).padStart(5, "0")}`;
}

export const many = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

const bar = byId("say");
let timer = 0;
bar.querySelector("button").addEventListener("click", () => { bar.hidden = true; });

// One line at the bottom; a problem stays until it is closed.
export function say(text, { problem = false } = {}) {
  clearTimeout(timer);
  bar.classList.toggle("problem", problem);
  bar.querySelector("p").textContent = text;
  bar.hidden = false;
  if (!problem) timer = setTimeout(() => { bar.hidden = true; }, 8000);
}

export function sayError(error) {
  if (error.name !== "AbortError") say(error.message, { problem: true });
}
