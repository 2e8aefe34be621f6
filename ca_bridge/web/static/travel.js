// This hall is asked by another one: this browser's own key answers, and the evidence goes there, sealed. Whatever fails leads
// back to the hall that asked, with a word that says why; every wait has an end.
"use strict";
(() => {
  const form = document.querySelector("[data-travel]");
  if (!form) return;
  const WAIT_MS = 8000;
  const { request, csrf, key, origin, nonce, back } = form.dataset;
  let over = false;

  function home(reason) {
    if (over) return;
    over = true;
    location.replace(`${back}?abroad=${reason}`);
  }

  async function run() {
    const signature = await window.crosshallBrowserKey.sign(key, "crosshall-abroad-v1", [origin, nonce]);
    if (!signature) return home("key");
    const own = new AbortController();
    setTimeout(() => own.abort(), WAIT_MS);
    const headers = { "Content-Type": "application/json", Accept: "application/json", "X-Crosshall-CSRF": csrf };
    const body = JSON.stringify({ request, signature });
    const options = { method: "POST", credentials: "same-origin", cache: "no-store", redirect: "error", headers, body };
    const answer = await fetch("/abroad/sign", { ...options, signal: own.signal });
    const found = await answer.json();
    if (!answer.ok) return home("refused");
    if (over) return;
    if (typeof found.back === "string" && new URL(found.back).origin === origin) {
      over = true;
      return location.replace(found.back);
    }
    if (new URL(found.action).origin !== origin) return home("refused");
    over = true;
    form.action = found.action;
    form.elements.evidence.value = found.evidence;
    form.submit();
  }

  setTimeout(() => home("busy"), WAIT_MS);
  run().catch(() => home("busy"));
})();
