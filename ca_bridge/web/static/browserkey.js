// A key of this browser's own, one a sign-in: made here, never readable, kept for this hall's pages alone (IndexedDB).
// The person's certificate signs its thumbprint with the sign-in; later it shows another hall that this is that browser.
"use strict";
(() => {
  const ALGORITHM = { name: "ECDSA", namedCurve: "P-256" };
  const SIGNATURE = { name: "ECDSA", hash: "SHA-256" };
  const KEPT_MS = 12 * 3600 * 1000; // no sign-in lasts so long
  const able = Boolean(window.indexedDB && window.crypto && window.crypto.subtle);

  function base64url(bytes) {
    return btoa(String.fromCharCode(...new Uint8Array(bytes))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  }

  function done(asked) {
    return new Promise((resolve, reject) => {
      asked.onsuccess = () => resolve(asked.result);
      asked.onerror = () => reject(asked.error);
      asked.onblocked = () => reject(new Error("blocked"));
    });
  }

  async function store(mode, work) {
    const opening = indexedDB.open("crosshall", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("keys");
    const database = await done(opening);
    try {
      return await work(database.transaction("keys", mode).objectStore("keys"));
    } finally {
      database.close();
    }
  }

  async function thumbprint(jwk) {
    const members = JSON.stringify({ crv: jwk.crv, kty: jwk.kty, x: jwk.x, y: jwk.y });
    return base64url(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(members)));
  }

  // A new key; its public half as JWK, or null in a browser that cannot keep one: the sign-in then does not travel.
  async function make() {
    if (!able) return null;
    try {
      const pair = await crypto.subtle.generateKey(ALGORITHM, false, ["sign", "verify"]);
      const { crv, kty, x, y } = await crypto.subtle.exportKey("jwk", pair.publicKey);
      const jwk = { crv, kty, x, y };
      const name = await thumbprint(jwk);
      const now = Date.now();
      await store("readwrite", async (keys) => {
        const rows = await done(keys.getAll());
        const names = await done(keys.getAllKeys());
        names.forEach((old, index) => { if (!(now - rows[index].made < KEPT_MS)) keys.delete(old); });
        await done(keys.put({ key: pair.privateKey, made: now }, name));
      });
      return jwk;
    } catch {
      return null;
    }
  }

  // The signature of the key called `name` over the fields, each behind its length; null when the key is not here.
  async function sign(name, prefix, fields) {
    if (!able) return null;
    const row = await store("readonly", (keys) => done(keys.get(name)));
    if (!row) return null;
    const encoder = new TextEncoder();
    const parts = [encoder.encode(prefix)];
    for (const field of fields) {
      const bytes = encoder.encode(field);
      const length = new Uint8Array(4);
      new DataView(length.buffer).setUint32(0, bytes.length);
      parts.push(length, bytes);
    }
    const message = await new Blob(parts).arrayBuffer();
    return base64url(await crypto.subtle.sign(SIGNATURE, row.key, message));
  }

  window.crosshallBrowserKey = { make, sign };
})();
