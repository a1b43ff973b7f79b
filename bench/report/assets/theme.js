// The theme that was chosen, or the system's; before the page is painted.
"use strict";
(() => {
  const key = "video-rec-bench-theme";
  const system = matchMedia("(prefers-color-scheme: dark)");
  const stored = () => {
    try {
      return localStorage.getItem(key);
    } catch {
      return null; // a page from a file may have no storage
    }
  };
  const root = document.documentElement;
  const apply = (theme) => {
    root.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (button) {
      button.setAttribute("aria-pressed", String(theme === "dark"));
    }
    document.dispatchEvent(new CustomEvent("themechange"));
  };
  const wanted = () => stored() ?? (system.matches ? "dark" : "light");
  apply(wanted());
  system.addEventListener("change", () => apply(wanted()));
  document.addEventListener("DOMContentLoaded", () => {
    apply(wanted());
    document.getElementById("theme").addEventListener("click", () => {
      const next = root.dataset.theme === "dark" ? "light" : "dark";
      try {
        localStorage.setItem(key, next);
      } catch {
        // then it holds for this page
      }
      apply(next);
    });
  });
})();
