"use strict";
// Runs before the first paint, so that a stored theme never flashes the other one. Django admin uses the same key and attribute.
try {
  document.documentElement.dataset.theme = localStorage.getItem("theme") || "auto";
} catch {
  document.documentElement.dataset.theme = "auto"; // storage may be off
}
