"use strict";
// What the page carries: JSON and counts in script elements, read when they are asked for.
const study = (() => {
  const types = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array };
  const byId = (id) => document.getElementById(id);
  const json = (id) => JSON.parse(byId(id).textContent);

  // The counts of an element, which holds them compressed, as base64.
  async function counts(id, type) {
    const text = atob(byId(id).textContent);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new types[type](await new Response(stream).arrayBuffer());
  }

  // What `make` gives, made at the first call.
  function once(make) {
    let made;
    return () => (made === undefined ? (made = make()) : made);
  }

  // Plotly reads tags in text; names are to be shown as they are.
  const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  return { byId, json, counts, once, plain };
})();
