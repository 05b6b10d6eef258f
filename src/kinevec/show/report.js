// Plays the videos that are on screen, and only those. Each file stands once in the page, as base64.
"use strict";
const files = JSON.parse(document.getElementById("videos").textContent);
const urls = new Map();
const visible = new Set();
const button = document.getElementById("playing");
let playing = !matchMedia("(prefers-reduced-motion: reduce)").matches;

function url(place) {
  if (!urls.has(place)) {
    const bytes = Uint8Array.from(atob(files[place]), (letter) => letter.charCodeAt(0));
    urls.set(place, URL.createObjectURL(new Blob([bytes], { type: "video/mp4" })));
  }
  return urls.get(place);
}

function update(video) {
  if (!visible.has(video)) {
    // Browsers hold only so many open videos; without its source this one shows its still picture again.
    if (video.hasAttribute("src")) {
      video.removeAttribute("src");
      video.load();
    }
  } else if (playing) {
    if (!video.hasAttribute("src")) video.src = url(Number(video.dataset.video));
    video.play().catch(() => {}); // refused, to save power say: the still picture stays
  } else {
    video.pause();
  }
}

function toggle(on) {
  playing = on;
  button.textContent = playing ? "Pause all videos" : "Play all videos";
  visible.forEach(update);
}

const watch = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (entry.isIntersecting) visible.add(entry.target);
    else visible.delete(entry.target);
    update(entry.target);
  }
}, { rootMargin: "60px" });

// A strip too wide for the window can be scrolled by keyboard.
const measure = new ResizeObserver((entries) => {
  for (const { target } of entries) target.tabIndex = target.scrollWidth > target.clientWidth ? 0 : -1;
});

if (button) {
  document.querySelectorAll("video").forEach((video) => {
    video.muted = true;
    watch.observe(video);
  });
  document.querySelectorAll(".strip").forEach((strip) => measure.observe(strip));
  button.hidden = false;
  button.addEventListener("click", () => toggle(!playing));
  toggle(playing);
}
