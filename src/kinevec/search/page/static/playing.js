// Whether films play by themselves: not where people ask for less motion, until they ask for it.

import { byId } from "./dom.js";

const button = byId("pause");
const quiet = matchMedia("(prefers-reduced-motion: reduce)");
let paused = quiet.matches;

const shown = new Set(); // films on the screen
const watch = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) shown.add(target);
    else shown.delete(target);
    update(target);
  }
}, { rootMargin: "80px" });

function update(video) {
  if (paused || !shown.has(video)) {
    video.pause();
    return;
  }
  if (!video.src && video.dataset.src) video.src = video.dataset.src;
  video.play().catch(() => {}); // it was taken away meanwhile
}

export const isPaused = () => paused;

// Plays a film whenever it is on the screen; its address is fetched then.
export function follow(video, address) {
  video.dataset.src = address;
  watch.observe(video);
}

export function forget(video) {
  watch.unobserve(video);
  shown.delete(video);
}

export function toggle() {
  paused = !paused;
  draw();
  shown.forEach(update);
  document.dispatchEvent(new CustomEvent("playing", { detail: !paused }));
}

function draw() {
  button.setAttribute("aria-pressed", String(paused));
}

button.addEventListener("click", toggle);
draw();
