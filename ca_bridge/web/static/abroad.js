// Before the person goes to another hall: does it answer? If not, this page says so and offers our own ways; nobody is sent
// to a hall that is dead. While the browser is on its way there it still shows this page, which then stops waiting by itself.
"use strict";
(() => {
  const root = document.querySelector("[data-abroad]");
  if (!root || typeof fetch !== "function" || typeof AbortController !== "function") return;
  const LOOK_MS = 1500;
  const WAY_MS = 8000;
  const panels = [...root.querySelectorAll("[data-when]")];
  const form = root.querySelector("form");

  function show(state) {
    for (const panel of panels) panel.hidden = panel.dataset.when !== state;
    const shown = panels.find((panel) => !panel.hidden);
    root.querySelector("[data-status]").textContent = shown ? shown.textContent.trim() : "";
    if (state === "silent") root.querySelector("#silent").focus();
  }

  async function answers() {
    const own = new AbortController();
    const timer = setTimeout(() => own.abort(), LOOK_MS);
    try {
      const options = { mode: "cors", credentials: "omit", cache: "no-store", redirect: "error", signal: own.signal };
      return (await fetch(root.dataset.here, options)).status === 204;
    } catch {
      return false;
    } finally {
      clearTimeout(timer);
    }
  }

  function stop() {
    window.stop(); // the way there, if the browser is still on it
    show("silent");
  }

  async function start() {
    show("looking");
    if (!(await answers())) return show("silent");
    const timer = setTimeout(stop, WAY_MS);
    window.addEventListener("pagehide", () => clearTimeout(timer), { once: true });
    form.submit();
  }

  // Shown again from the browser's memory: whether the way is still open, the server knows.
  window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  start();
})();
