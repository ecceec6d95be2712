"use strict";
// Photographs: read as `regard.domains.images.ImageReader` reads pictures, each a square of the network's size.

const SIDE = facts.reader.size;

// The picture whole, on a square of the median colour of its border; (SIDE * SIDE * 3) red, green and blue.
async function readPhotograph(file, canvas) {
  const picture = await createImageBitmap(file);
  const { width, height } = picture;
  const whole = new OffscreenCanvas(width, height), look = whole.getContext("2d", { willReadFrequently: true });
  look.drawImage(picture, 0, 0);
  const edges = [[0, 0, width, 1], [0, height - 1, width, 1], [0, 0, 1, height], [width - 1, 0, 1, height]].flatMap((edge) => [...look.getImageData(...edge).data]);
  const colour = [0, 1, 2].map((c) => {
    const sorted = edges.filter((_, i) => i % 4 === c).sort((a, b) => a - b);
    return Math.round((sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.floor(sorted.length / 2)]) / 2);
  });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.fillStyle = `rgb(${colour.join(" ")})`;
  pen.fillRect(0, 0, SIDE, SIDE);
  pen.imageSmoothingQuality = "high";
  const scale = SIDE / Math.max(width, height), w = width * scale, h = height * scale;
  pen.drawImage(picture, (SIDE - w) / 2, (SIDE - h) / 2, w, h);
  return pen.getImageData(0, 0, SIDE, SIDE).data.filter((_, i) => i % 4 !== 3);
}

// ---- places that take photographs -------------------------------------------------------------------------------------

class Pad {
  constructor(label) {
    this.z = null; // what the network makes of the photograph, once for all answers
    this.taken = 0;
    this.canvas = make("canvas", { width: SIDE, height: SIDE, className: "ink", tabIndex: 0 });
    this.canvas.getContext("2d", { willReadFrequently: true });
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `${label}: empty`);
    this.empty = make("span", { className: "empty", textContent: "drop a photograph" });
    this.node = make("div", { className: "pad" }, this.canvas, this.empty);
    this.label = label;
    this.canvas.addEventListener("paste", (event) => takeAll([this], [...event.clipboardData.files]));
    this.canvas.addEventListener("keydown", (event) => { if (event.key === "Delete" || event.key === "Backspace") { this.clear(); ask(); } });
  }
  async take(file) {
    const number = ++this.taken;
    this.busy = true;
    try {
      const pixels = await readPhotograph(file, this.canvas);
      this.named("looking…");
      await loaded;
      const started = performance.now(), { z } = await run({ query_x: ["uint8", pixels, [1, SIDE, SIDE, 3]] });
      if (number !== this.taken) return; // another one, or none, by now
      this.z = z.data;
      this.ms = performance.now() - started;
    } finally {
      this.busy = false;
      this.named();
    }
  }
  // A photograph that came with the page: the picture is only shown.
  async place({ jpeg, z }) {
    const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    this.z = new Float32Array(bytes(z).buffer);
    this.ms = 0;
    this.named();
    const picture = await createImageBitmap(new Blob([bytes(jpeg)], { type: "image/jpeg" }));
    this.canvas.getContext("2d").drawImage(picture, 0, 0, SIDE, SIDE);
  }
  clear() {
    this.canvas.getContext("2d").clearRect(0, 0, SIDE, SIDE);
    this.z = null;
    this.taken++;
    this.named();
  }
  named(hint = "drop a photograph") {
    this.empty.textContent = hint;
    this.empty.hidden = this.z !== null;
    this.canvas.setAttribute("aria-label", `${this.label}: ${this.z ? "a photograph, Delete takes it away" : "empty"}`);
  }
}

// Files into the pads that are empty, and into new ones where `more` makes them.
async function takeAll(pads, files, more = null) {
  const wrong = [];
  for (const file of files) {
    const pad = pads.find((each) => !each.z && !each.busy) ?? (more ? more() : pads[0]);
    try { await pad.take(file); } catch { wrong.push(file.name); }
  }
  await ask();
  if (wrong.length) $("detail").textContent = `No picture that this browser reads: ${wrong.join(", ")}.`;
}

function drops(node, taken) {
  node.addEventListener("dragover", (event) => { event.preventDefault(); node.classList.add("over"); });
  node.addEventListener("dragleave", () => node.classList.remove("over"));
  node.addEventListener("drop", (event) => { event.preventDefault(); event.stopPropagation(); node.classList.remove("over"); taken([...event.dataTransfer.files]); });
}

function chooser(label, taken) {
  const file = make("input", { type: "file", accept: "image/*", multiple: true, className: "hidden", tabIndex: -1 });
  file.setAttribute("aria-label", label);
  file.addEventListener("change", async () => { await taken([...file.files]); file.value = ""; });
  return [file, make("button", { type: "button", className: "icon", textContent: "Choose", onclick: () => file.click() })];
}

const classes = [];
const query = new Pad("The photograph to name");

function addClass(name = `class ${classes.length + 1}`) {
  const one = { pads: [] };
  one.input = make("input", { value: name, oninput: ask });
  one.input.setAttribute("aria-label", "Name of the class");
  one.box = make("div", { className: "pads small" });
  const more = () => {
    const pad = new Pad(`Example of ${one.input.value}`);
    one.pads.push(pad);
    one.box.append(pad.node);
    return pad;
  };
  const taken = (files) => takeAll(one.pads, files, more);
  const remove = make("button", { type: "button", className: "icon", textContent: "✕", onclick: () => { one.node.remove(); classes.splice(classes.indexOf(one), 1); ask(); } });
  remove.setAttribute("aria-label", "Remove this class");
  const clear = make("button", { type: "button", className: "icon", textContent: "Clear", onclick: () => {
    while (one.pads.length > 1) one.pads.pop().node.remove();
    one.pads[0].clear();
    ask();
  } });
  one.node = make("article", { className: "class" }, make("header", {}, one.input, remove), one.box,
    make("div", { className: "tools" }, ...chooser("Photographs of this class", taken), clear));
  drops(one.node, taken);
  one.more = more;
  more();
  classes.push(one);
  $("classes").append(one.node);
  return one;
}

// ---- asking ----------------------------------------------------------------------------------------------------------

let waiting = 0;
let latest = null;

async function ask() {
  const number = ++waiting;
  document.body.dataset.waiting = "yes";
  try { await answer(number); } catch (error) { failed(error); }
  if (number === waiting && session) document.body.dataset.waiting = "no";
}

async function answer(number) {
  if (!session) return;
  const known = classes.filter((one) => one.pads.some((pad) => pad.z));
  const pads = known.flatMap((one, k) => one.pads.filter((pad) => pad.z).map((pad) => [pad, k]));
  for (const one of classes) one.node.classList.remove("best");
  $("bars").replaceChildren();
  latest = null;
  if (known.length < 2 || !query.z) {
    $("answer").textContent = known.length < 2 ? "Give an example of two classes." : "Give a photograph to name.";
    $("detail").textContent = "";
    document.body.dataset.answered = String(number);
    return;
  }
  $("detail").textContent = "Looking…";
  const started = performance.now(), S = pads.length;
  const D = query.z.length, vectors = new Float32Array(S * D);
  pads.forEach(([pad], s) => vectors.set(pad.z, s * D));
  const results = await run({
    support_x: ["float32", vectors, [S, D]],
    support_y: ["int64", pads.map(([, k]) => k), [S]],
    weight: ["float32", pads.map(() => 1), [S]],
    query_x: ["float32", query.z, [1, D]],
    classes: ["int64", known.map((_, k) => k), [known.length]],
  }, 1);
  if (number !== waiting) return;
  const probability = [...results.probabilities.data], order = probability.map((_, k) => k).sort((a, b) => probability[b] - probability[a]);
  const names = known.map((one) => one.input.value.trim() || "unnamed"), best = order[0];
  const refused = results.trust && results.trust.data[0] < facts.confidence.threshold;
  $("answer").textContent = refused ? `None of these? Nearest is ${names[best]}.` : names[best];
  $("detail").textContent = `${percent(probability[best])} sure, in ${Math.round(query.ms + performance.now() - started)} ms.`;
  $("bars").replaceChildren(...order.slice(0, 8).map((k) => {
    const fill = make("span", { className: "fill" });
    fill.style.width = `${100 * probability[k]}%`;
    return make("li", {}, make("span", { className: "name", textContent: names[k], title: names[k] }),
      make("span", { className: "track" }, fill), make("span", { className: "figure", textContent: percent(probability[k]) }));
  }));
  known[best].node.classList.add("best");
  latest = { names, probability, labels: pads.map(([, k]) => names[k]) };
  document.body.dataset.answered = String(number);
}

function startOver() {
  for (const one of classes.splice(0)) one.node.remove();
  for (let k = 0; k < 3; k++) addClass();
  query.clear();
  ask();
}

const taken = async (files) => { query.clear(); await takeAll([query], files.slice(0, 1)); };
$("query").append(query.node, make("div", { className: "tools" }, ...chooser("A photograph to name", taken)));
drops(query.node, taken);
$("add-class").addEventListener("click", () => addClass().input.select());
$("start-over").addEventListener("click", startOver);
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => event.preventDefault());
const loaded = load();
if (facts.examples) {
  for (const { name, pictures } of facts.examples) {
    const one = addClass(name);
    pictures.forEach((each, i) => (i ? one.more() : one.pads[0]).place(each).catch(failed));
  }
  if (facts.query) query.place(facts.query).catch(failed);
} else startOver();
loaded.then(() => { document.body.dataset.ready = "yes"; ask(); }).catch(failed);
