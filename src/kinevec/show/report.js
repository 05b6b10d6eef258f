// Plays the videos that are on screen, and only those. Each file stands once in the page, as base64.
"use strict";
const files = JSON.parse(document.getElementById("videos").textContent);
const urls = new Map();
const visible = new Set(); // elements with data-video
const button = document.getElementById("playing");
let playing = !matchMedia("(prefers-reduced-motion: reduce)").matches;

function url(place) {
  if (!urls.has(place)) {
    const bytes = Uint8Array.from(atob(files[place]), (letter) => letter.charCodeAt(0));
    urls.set(place, URL.createObjectURL(new Blob([bytes], { type: "video/mp4" })));
  }
  return urls.get(place);
}

function open(tile) {
  const video = document.createElement("video");
  video.muted = video.loop = video.playsInline = true;
  video.src = url(tile.dataset.video);
  tile.append(video); // above the still picture
  return video;
}

function close(video) {
  // Browsers hold only so many open videos; this lets go of one at once.
  video.removeAttribute("src");
  video.load();
  video.remove();
}

function update(tile) {
  const video = tile.querySelector("video");
  if (!visible.has(tile)) {
    if (video) close(video);
  } else if (playing) {
    (video || open(tile)).play().catch(() => {}); // refused, to save power say: the still picture stays
  } else if (video) {
    video.pause();
  }
}

function play(on) {
  playing = on;
  button.textContent = playing ? "Pause all videos" : "Play all videos";
  visible.forEach(update);
}

const watch = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) visible.add(target);
    else visible.delete(target);
    update(target);
  }
}, { rootMargin: "60px" });

// A strip too wide for the window can be scrolled by keyboard.
const measure = new ResizeObserver((entries) => {
  for (const { target } of entries) target.tabIndex = target.scrollWidth > target.clientWidth ? 0 : -1;
});

if (button) {
  document.querySelectorAll("[data-video]").forEach((tile) => watch.observe(tile));
  document.querySelectorAll(".strip").forEach((strip) => measure.observe(strip));
  button.hidden = false;
  button.addEventListener("click", () => play(!playing));
  play(playing);
}
