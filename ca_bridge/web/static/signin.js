// The token way: asks the signer on this computer to sign the hall's challenge, and brings the signature back.
//
//   idle ─ start ─▶ (explain ─ allow ─▶) busy ─▶ on to the hall, or failed ─ start ─▶ …
//
// Browsers with Local Network Access (Chromium 142 and later) ask the person before a page may reach loopback. The page says
// so first, and every wait here has an end: a browser that is never answered must not leave a page that only turns.
"use strict";
(() => {
  const root = document.querySelector("[data-token]");
  if (!root || typeof fetch !== "function" || typeof AbortController !== "function") return;

  const SIGNER = root.dataset.signer;
  const FIND_MS = 5000;
  const ANSWER_MS = 90000; // while the browser's own question is open
  const HALL_MS = 15000;
  const SIGN_MS = 62000; // the challenge lives 60 s; two for the way
  const POLL_MS = 700;
  const LOST_POLLS = 4;

  const words = Object.fromEntries([...root.querySelectorAll("[data-key]")].map((item) => [item.dataset.key, item.textContent]));
  const part = (name) => root.querySelector(`[data-${name}]`);
  const panels = [...root.querySelectorAll("[data-when]")];
  let current = null; // { controller, page, popup } of the attempt under way

  class Trouble extends Error {
    constructor(kind, told) {
      super(kind);
      this.kind = kind;
      this.told = told || null;
    }
  }

  function show(state) {
    for (const panel of panels) panel.hidden = panel.dataset.when !== state;
  }

  function step(key) {
    show("busy");
    part("step").textContent = words[key];
    part("status").textContent = words[key];
  }

  function fail(trouble) {
    const told = trouble.told || { say: words[`${trouble.kind}_say`], do: words[`${trouble.kind}_do`] };
    part("say").textContent = told.say;
    part("do").textContent = told.do;
    const numbers = [];
    if (told.code) numbers.push(`${words.code} ${told.code}`);
    if (told.request) numbers.push(`${words.number} ${told.request}`);
    part("code").textContent = numbers.join(" · ");
    part("status").textContent = "";
    show("failed");
    part("say").focus();
  }

  // "granted", "prompt", "denied", or "unknown" where the browser has no such permission.
  async function permission() {
    // A page that is itself on loopback is never asked (RFC 6761 §6.3: names under localhost are loopback).
    if (/(^|\.)localhost$/.test(location.hostname) || /^(127\.|\[::1\])/.test(location.hostname)) return "unknown";
    if (!navigator.permissions || typeof navigator.permissions.query !== "function") return "unknown";
    for (const name of ["loopback-network", "local-network-access"]) {
      try {
        const status = await ended(navigator.permissions.query({ name }), 1500);
        return status.state;
      } catch {
        // not a name this browser knows: the next one
      }
    }
    return "unknown";
  }

  function ended(promise, ms) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Trouble("fault")), ms);
      promise.then(resolve, reject).finally(() => clearTimeout(timer));
    });
  }

  function pause(ms, signal) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, ms);
      signal.addEventListener("abort", () => { clearTimeout(timer); reject(new Trouble("stopped")); }, { once: true });
    });
  }

  // One request with an end. Rejects with Trouble: "stopped", or `lost` for a network that fails or is too slow.
  async function ask(address, options, ms, lost, attempt) {
    const own = new AbortController();
    const stop = () => own.abort();
    attempt.controller.signal.addEventListener("abort", stop, { once: true });
    const timer = setTimeout(stop, ms);
    try {
      const response = await fetch(address, { cache: "no-store", redirect: "error", ...options, signal: own.signal });
      let body = null;
      try {
        body = await response.json();
      } catch (error) {
        if (own.signal.aborted) throw error;
      }
      return { ok: response.ok, body: body || {} };
    } catch {
      throw new Trouble(attempt.controller.signal.aborted ? "stopped" : lost);
    } finally {
      clearTimeout(timer);
      attempt.controller.signal.removeEventListener("abort", stop);
    }
  }

  function signer(path, options, ms, attempt) {
    return ask(SIGNER + path, { mode: "cors", credentials: "omit", ...options }, ms, "absent", attempt);
  }

  async function hall(address, body, attempt) {
    const headers = { "Content-Type": "application/json", Accept: "application/json", "X-Crosshall-CSRF": root.dataset.csrf };
    const options = { method: "POST", credentials: "same-origin", headers, body: JSON.stringify(body) };
    const answer = await ask(address, options, HALL_MS, "network", attempt);
    if (answer.ok) return answer.body;
    throw new Trouble("network", typeof answer.body.say === "string" ? answer.body : null);
  }

  async function find(attempt, state) {
    step(state === "prompt" ? "answering" : "looking");
    try {
      const answer = await signer("/v1/status", {}, state === "prompt" ? ANSWER_MS : FIND_MS, attempt);
      if (!answer.ok || answer.body.name !== "crosshall-signer" || answer.body.version !== 1) throw new Trouble("fault");
      attempt.browser = answer.body.browser === true; // it signs a browser's key too; others know five fields
    } catch (trouble) {
      if (trouble.kind === "absent" && (await permission()) === "denied") throw new Trouble("denied");
      throw trouble;
    }
    step("looking");
  }

  async function request(attempt) {
    const key = attempt.browser && window.crosshallBrowserKey ? await window.crosshallBrowserKey.make() : null;
    const asked = await hall(root.dataset.challenge, key ? { browser: key } : {}, attempt);
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(asked) };
    const answer = await signer("/v1/requests", options, FIND_MS, attempt);
    const { id, secret, page } = answer.body;
    if (!answer.ok || typeof id !== "string" || typeof secret !== "string" || typeof page !== "string") throw new Trouble("fault");
    if (new URL(page).origin !== SIGNER) throw new Trouble("fault");
    attempt.page = page;
    return { id, secret };
  }

  function open(attempt) {
    attempt.popup = window.open(attempt.page, "crosshall-signer", "popup,width=520,height=780");
    part("blocked").hidden = Boolean(attempt.popup);
  }

  async function wait(attempt, asked) {
    step("waiting");
    const until = performance.now() + SIGN_MS;
    const options = { headers: { Authorization: `Bearer ${asked.secret}` } };
    let lost = 0;
    while (performance.now() < until) {
      await pause(POLL_MS, attempt.controller.signal);
      let answer;
      try {
        answer = await signer(`/v1/requests/${encodeURIComponent(asked.id)}`, options, FIND_MS, attempt);
        lost = 0;
      } catch (trouble) {
        lost += 1;
        if (trouble.kind === "stopped" || lost >= LOST_POLLS) throw trouble;
        continue;
      }
      const state = answer.body.state;
      if (state === "done") return answer.body;
      if (state === "refused" || state === "expired") throw new Trouble(state);
      if (!answer.ok || state !== "waiting") throw new Trouble("fault");
    }
    throw new Trouble("expired");
  }

  async function run(state) {
    if (current) return;
    const attempt = { controller: new AbortController(), page: "", popup: null, browser: false };
    current = attempt;
    part("blocked").hidden = true;
    try {
      const finding = find(attempt, state);
      root.querySelector("[data-when=busy] [data-act=stop]").focus();
      await finding;
      const asked = await request(attempt);
      open(attempt);
      const { certificate, algorithm, signature } = await wait(attempt, asked);
      step("sending");
      const next = await hall(root.dataset.proof, { certificate, algorithm, signature }, attempt);
      const address = new URL(String(next.continue), location.href);
      if (address.origin !== location.origin) throw new Trouble("network");
      location.assign(address.href);
    } catch (error) {
      fail(error instanceof Trouble ? error : new Trouble("fault"));
    } finally {
      if (attempt.popup) attempt.popup.close();
      current = null;
    }
  }

  async function start() {
    const state = await permission();
    if (state === "denied") return fail(new Trouble("denied"));
    if (state !== "prompt") return run(state);
    show("explain");
    root.querySelector("[data-when=explain] h3").focus();
  }

  function stop() {
    if (current) current.controller.abort();
    else {
      show("idle");
      root.querySelector("[data-act=start]").focus();
    }
  }

  const acts = { start, allow: () => run("prompt"), stop, open: () => current && open(current) };
  root.addEventListener("click", (event) => {
    const button = event.target.closest("[data-act]");
    if (button && root.contains(button)) acts[button.dataset.act]();
  });
  window.addEventListener("pagehide", () => current && current.controller.abort());
  show("idle");
})();
