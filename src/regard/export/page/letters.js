"use strict";
// Letters: pads to draw on, read as `regard.domains.images.ImageReader` reads pictures, and where the model looked.

const SIZE = facts.reader.size, BOX = facts.reader.box, GRID = facts.grid;
const SIDE = 224, PAGE = 255, PEN = 20;

// ---- reading: grey pixels of a page to white ink on black, cropped and scaled into a box -----------------------------

// As Pillow's Lanczos resampling, whose window grows with the reduction.
function lanczos(values, width, height, newWidth, newHeight) {
  const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
  const weights = (from, to) => {
    const scale = from / to, reach = 3 * Math.max(scale, 1), rows = [];
    for (let i = 0; i < to; i++) {
      const centre = (i + 0.5) * scale;
      const low = Math.max(0, Math.floor(centre - reach + 0.5)), high = Math.min(from, Math.floor(centre + reach + 0.5));
      const row = [];
      let total = 0;
      for (let j = low; j < high; j++) {
        const x = (j - centre + 0.5) / Math.max(scale, 1);
        const w = Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0;
        row.push(w);
        total += w;
      }
      rows.push([low, row.map((w) => w / total)]);
    }
    return rows;
  };
  const clip = (v) => Math.max(0, Math.min(255, Math.round(v)));
  const across = weights(width, newWidth), down = weights(height, newHeight);
  const middle = new Uint8Array(newWidth * height), out = new Uint8Array(newWidth * newHeight);
  for (let r = 0; r < height; r++)
    across.forEach(([low, row], c) => {
      let sum = 0;
      for (let j = 0; j < row.length; j++) sum += row[j] * values[r * width + low + j];
      middle[r * newWidth + c] = clip(sum);
    });
  down.forEach(([low, row], r) => {
    for (let c = 0; c < newWidth; c++) {
      let sum = 0;
      for (let j = 0; j < row.length; j++) sum += row[j] * middle[(low + j) * newWidth + c];
      out[r * newWidth + c] = clip(sum);
    }
  });
  return out;
}

// Grey (SIDE x SIDE), dark ink on light or light on dark, to {pixels, frame}; null for a blank page. `frame` is where on
// the pad the item's square lies: x, y and side.
function readDrawing(grey) {
  const border = [];
  for (let i = 0; i < SIDE; i++) border.push(grey[i], grey[(SIDE - 1) * SIDE + i], grey[i * SIDE], grey[i * SIDE + SIDE - 1]);
  border.sort((a, b) => a - b);
  let page = (border[border.length / 2 - 1] + border[border.length / 2]) / 2;
  const mean = grey.reduce((a, b) => a + b, 0) / grey.length;
  if (page > mean || (page === mean && mean > 127)) {
    grey = grey.map((v) => 255 - v);
    page = 255 - page;
  }
  const strongest = grey.reduce((a, b) => Math.max(a, b), 0) - page;
  if (strongest < 16) return null;
  const ink = grey.map((v) => Math.round(Math.max(0, Math.min(255, (v - page) * (255 / strongest)))));
  let top = SIDE, bottom = -1, left = SIDE, right = -1;
  ink.forEach((v, i) => {
    if (v < 64) return;
    const r = Math.floor(i / SIDE), c = i % SIDE;
    top = Math.min(top, r); bottom = Math.max(bottom, r); left = Math.min(left, c); right = Math.max(right, c);
  });
  const width = right - left + 1, height = bottom - top + 1;
  const cropped = new Uint8Array(width * height);
  for (let r = 0; r < height; r++) for (let c = 0; c < width; c++) cropped[r * width + c] = ink[(top + r) * SIDE + left + c];
  const scale = (BOX * SIZE) / Math.max(width, height);
  const [w, h] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
  const reduced = w === width && h === height ? cropped : lanczos(cropped, width, height, w, h);
  const x = Math.floor((SIZE - w) / 2), y = Math.floor((SIZE - h) / 2);
  const pixels = new Uint8Array(SIZE * SIZE);
  for (let r = 0; r < h; r++) for (let c = 0; c < w; c++) pixels[(y + r) * SIZE + x + c] = reduced[r * w + c];
  return { pixels, frame: { x: left - x / scale, y: top - y / scale, side: SIZE / scale } };
}

// ---- a pad -----------------------------------------------------------------------------------------------------------

class Pad {
  constructor(label, changed, hint) {
    this.changed = changed;
    this.item = null;
    this.node = document.createElement("div");
    this.node.className = "pad";
    this.ink = document.createElement("canvas");
    this.heat = document.createElement("canvas");
    this.ink.className = "ink";
    this.heat.className = "heat";
    for (const canvas of [this.ink, this.heat]) canvas.width = canvas.height = SIDE;
    this.ink.tabIndex = 0;
    this.ink.setAttribute("role", "img");
    this.label = label;
    this.pen = this.ink.getContext("2d", { willReadFrequently: true });
    this.pen.lineWidth = 9;
    this.pen.lineCap = this.pen.lineJoin = "round";
    this.empty = document.createElement("span");
    this.empty.className = "empty";
    this.empty.textContent = hint;
    this.node.append(this.ink, this.heat, this.empty);
    this.listen();
    this.read();
  }
  listen() {
    let last = null;
    const at = (event) => {
      const box = this.ink.getBoundingClientRect();
      return [((event.clientX - box.left) / box.width) * SIDE, ((event.clientY - box.top) / box.height) * SIDE];
    };
    this.ink.addEventListener("pointerdown", (event) => {
      this.ink.setPointerCapture(event.pointerId);
      this.show(null);
      last = at(event);
      this.stroke([last, last]);
      this.empty.hidden = true;
    });
    this.ink.addEventListener("pointermove", (event) => {
      if (!last) return;
      const points = (event.getCoalescedEvents?.() ?? []).map(at);
      this.stroke([last, ...(points.length ? points : [at(event)])]);
      last = at(event);
    });
    for (const name of ["pointerup", "pointercancel"])
      this.ink.addEventListener(name, () => {
        if (last) this.read();
        last = null;
      });
    this.ink.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "Delete" || event.key === "Backspace") this.clear();
      else if ([...event.key].length === 1 && event.key !== " ") this.write(event.key);
      else return;
      event.preventDefault();
    });
    this.node.addEventListener("dragover", (event) => { event.preventDefault(); this.node.classList.add("over"); });
    this.node.addEventListener("dragleave", () => this.node.classList.remove("over"));
    this.node.addEventListener("drop", (event) => {
      event.preventDefault();
      this.node.classList.remove("over");
      this.take(event.dataTransfer.files[0]);
    });
    this.ink.addEventListener("paste", (event) => this.take(event.clipboardData.files[0]));
  }
  stroke(points) {
    this.pen.strokeStyle = `rgb(${PEN} ${PEN} ${PEN})`;
    this.pen.beginPath();
    points.forEach(([x, y], i) => (i ? this.pen.lineTo(x, y) : this.pen.moveTo(x, y)));
    this.pen.stroke();
  }
  write(letter) {
    this.pen.clearRect(0, 0, SIDE, SIDE);
    this.pen.fillStyle = `rgb(${PEN} ${PEN} ${PEN})`;
    this.pen.font = `${0.7 * SIDE}px ui-sans-serif, system-ui, "DejaVu Sans", sans-serif`;
    this.pen.textAlign = "center";
    this.pen.textBaseline = "middle";
    this.pen.fillText(letter, SIDE / 2, SIDE / 2);
    this.read();
  }
  clear() {
    this.pen.clearRect(0, 0, SIDE, SIDE);
    this.read();
  }
  async take(file) {
    if (!file || !file.type.startsWith("image/")) return;
    const picture = await createImageBitmap(file);
    const scale = SIDE / Math.max(picture.width, picture.height);
    const [w, h] = [picture.width * scale, picture.height * scale];
    this.pen.clearRect(0, 0, SIDE, SIDE);
    this.pen.imageSmoothingQuality = "high";
    this.pen.drawImage(picture, (SIDE - w) / 2, (SIDE - h) / 2, w, h);
    this.read();
  }
  // The item of an example that came with the page: its pixels are the truth, and the pad shows them.
  place(pixels) {
    const small = new OffscreenCanvas(SIZE, SIZE), pen = small.getContext("2d");
    const image = pen.createImageData(SIZE, SIZE);
    pixels.forEach((v, i) => image.data.set([PEN, PEN, PEN, v], 4 * i));
    pen.putImageData(image, 0, 0);
    this.pen.clearRect(0, 0, SIDE, SIDE);
    this.pen.drawImage(small, 0, 0, SIDE, SIDE);
    this.item = { pixels: Uint8Array.from(pixels), frame: { x: 0, y: 0, side: SIDE } };
    this.named();
  }
  read() {
    const { data } = this.pen.getImageData(0, 0, SIDE, SIDE);
    const grey = new Array(SIDE * SIDE);
    for (let i = 0; i < grey.length; i++) {
      const a = data[4 * i + 3] / 255;
      const light = 0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2];
      grey[i] = Math.round(light * a + PAGE * (1 - a));
    }
    this.item = readDrawing(grey);
    this.show(null);
    this.named();
    this.changed();
  }
  named() {
    this.empty.hidden = this.item !== null;
    this.ink.setAttribute("aria-label", `${this.label}: ${this.item ? "drawn" : "empty"}. Press a key to write its letter, Delete to clear.`);
  }
  // (GRID * GRID) numbers, at least 0, laid over the drawing; null takes them away.
  show(map, most = 0) {
    const pen = this.heat.getContext("2d");
    pen.clearRect(0, 0, SIDE, SIDE);
    if (!map || !this.item || !(most > 0)) return;
    // One transparent part all around, so that the heat fades out instead of ending in a square.
    const n = GRID + 2, small = new OffscreenCanvas(n, n), dots = small.getContext("2d"), image = dots.createImageData(n, n);
    for (let i = 0; i < n * n; i++) image.data.set([245, 124, 0, 0], 4 * i);
    map.forEach((v, i) => {
      const strength = Math.min(1, Math.max(0, (v / most - 0.1) / 0.9));
      image.data[4 * ((Math.floor(i / GRID) + 1) * n + (i % GRID) + 1) + 3] = 225 * strength;
    });
    dots.putImageData(image, 0, 0);
    const { x, y, side } = this.item.frame, part = side / GRID;
    pen.imageSmoothingQuality = "high";
    pen.drawImage(small, x - part, y - part, side + 2 * part, side + 2 * part);
  }
}

// ---- classes ---------------------------------------------------------------------------------------------------------

const classes = [];

function button(text, label, action, kind = "icon") {
  const made = document.createElement("button");
  made.type = "button";
  made.className = kind;
  made.textContent = text;
  made.setAttribute("aria-label", label);
  made.addEventListener("click", action);
  return made;
}

function addClass(name = "") {
  const one = { pads: [] };
  one.node = document.createElement("article");
  one.node.className = "class";
  one.input = document.createElement("input");
  one.input.value = name || `class ${classes.length + 1}`;
  one.input.setAttribute("aria-label", "Name of the class");
  one.input.addEventListener("input", ask);
  one.box = document.createElement("div");
  one.box.className = "pads";
  one.share = document.createElement("p");
  one.share.className = "share";
  const head = document.createElement("header");
  head.append(one.input, button("✕", "Remove this class", () => {
    one.node.remove();
    classes.splice(classes.indexOf(one), 1);
    ask();
  }));
  const tools = document.createElement("div");
  tools.className = "tools";
  const file = document.createElement("input");
  file.type = "file"; file.accept = "image/*"; file.multiple = true; file.className = "hidden"; file.tabIndex = -1;
  file.addEventListener("change", () => {
    for (const each of file.files) (one.pads.find((pad) => !pad.item) ?? addPad(one)).take(each);
    file.value = "";
  });
  tools.append(
    file,
    button("Picture", "Choose pictures for this class", () => file.click()),
    button("Another", "Add another example of this class", () => addPad(one).ink.focus()),
    button("Clear", "Clear the drawings of this class", () => {
      while (one.pads.length > 1) one.pads.pop().node.remove();
      one.pads[0].clear();
    }),
  );
  one.node.append(head, one.box, one.share, tools);
  classes.push(one);
  addPad(one);
  $("classes").append(one.node);
  return one;
}

function addPad(one) {
  const pad = new Pad(`Example of ${one.input.value}`, ask, "draw here");
  one.pads.push(pad);
  one.box.append(pad.node);
  return pad;
}

// ---- asking ----------------------------------------------------------------------------------------------------------

let waiting = 0;
let latest = null;
const query = new Pad("What to name", ask, "draw here");

function ask() {
  const number = ++waiting;
  document.body.dataset.waiting = "yes";
  clearTimeout(ask.timer);
  ask.timer = setTimeout(() => answer(number).catch(failed).finally(() => settled(number)), 60);
}

// What drives the page can wait for this.
function settled(number) {
  if (number === waiting && session) document.body.dataset.waiting = "no";
}

async function answer(number) {
  if (!session) return;
  const known = classes.filter((one) => one.pads.some((pad) => pad.item));
  const pads = known.flatMap((one, k) => one.pads.filter((pad) => pad.item).map((pad) => [pad, k]));
  for (const one of classes) { one.node.classList.remove("best"); one.share.textContent = ""; for (const pad of one.pads) pad.show(null); }
  query.show(null);
  latest = null;
  if (known.length < 2 || !query.item) {
    $("answer").textContent = known.length < 2 ? "Draw an example of two classes." : "Draw something to ask about.";
    $("detail").textContent = "";
    $("bars").replaceChildren();
    return;
  }
  const started = performance.now(), S = pads.length, C = known.length, P = GRID * GRID;
  const results = await run({
    support_x: ["uint8", pads.flatMap(([pad]) => [...pad.item.pixels]), [S, SIZE, SIZE]],
    support_y: ["int64", pads.map(([, k]) => k), [S]],
    weight: ["float32", pads.map(() => 1), [S]],
    query_x: ["uint8", query.item.pixels, [1, SIZE, SIZE]],
    classes: ["int64", known.map((_, k) => k), [C]],
  });
  if (number !== waiting) return;
  const probability = [...results.probabilities.data], order = probability.map((_, k) => k).sort((a, b) => probability[b] - probability[a]);
  const [best, second] = order, names = known.map((one) => one.input.value.trim() || "unnamed");
  const refused = results.trust && results.trust.data[0] < facts.confidence.threshold;
  $("answer").textContent = refused ? `None of these? Nearest is ${names[best]}.` : names[best];
  $("detail").textContent = `${percent(probability[best])} sure, in ${Math.round(performance.now() - started)} ms. Orange shows where it looked.`;
  $("bars").replaceChildren(...order.slice(0, 8).map((k) => bar(names[k], probability[k])));
  known[best].node.classList.add("best");
  const looked = results.looked.data, votes = results.votes.data, attention = results.attention.data;
  const most = looked.reduce((a, b) => Math.max(a, b), 0);
  pads.forEach(([pad, k], s) => { if (k === best) pad.show(looked.slice(s * P, (s + 1) * P), most); });
  const margin = Array.from({ length: P }, (_, p) => votes[p * C + best] - votes[p * C + second]);
  query.show(margin, Math.max(...margin));
  known.forEach((one, k) => {
    const carried = pads.reduce((sum, [, c], s) => sum + (c === k ? attention[s] : 0), 0);
    one.share.textContent = `${percent(carried)} of the attention`;
  });
  latest = { names, probability, attention: [...attention], support: pads.map(([pad, k]) => ({ label: names[k], pixels: [...pad.item.pixels] })), query: [...query.item.pixels] };
  document.body.dataset.answered = String(number);
}

function bar(name, p) {
  const item = document.createElement("li"), parts = ["name", "track", "figure"].map((kind) => {
    const part = document.createElement("span");
    part.className = kind;
    return part;
  });
  const fill = document.createElement("span");
  fill.className = "fill";
  fill.style.width = `${100 * p}%`;
  parts[0].textContent = parts[0].title = name;
  parts[1].append(fill);
  parts[2].textContent = percent(p);
  item.append(...parts);
  return item;
}

// ---- the start -------------------------------------------------------------------------------------------------------

// Three signs of no alphabet, in hundredths of the pad, so that the page shows what it does before anybody draws.
const SIGNS = {
  hook: [[[25, 25], [70, 25], [70, 60], [55, 75], [35, 70]], [[70, 42], [40, 45]]],
  gate: [[[25, 78], [25, 25], [72, 25], [72, 78]], [[25, 52], [50, 52]]],
  star: [[[50, 18], [50, 82]], [[22, 35], [78, 66]], [[78, 35], [22, 66]]],
};
const ASKED = [[[28, 22], [74, 28], [71, 58], [58, 78], [31, 66]], [[69, 46], [36, 44]]];

function draw(pad, strokes) {
  for (const stroke of strokes) pad.stroke(stroke.map(([x, y]) => [(x / 100) * SIDE, (y / 100) * SIDE]));
  pad.read();
}

function startOver() {
  for (const one of classes.splice(0)) one.node.remove();
  for (let k = 0; k < 3; k++) addClass();
  query.clear();
  classes[0].input.select();
}

$("query").append(query.node);
const tools = document.createElement("div");
tools.className = "tools";
const choose = document.createElement("input");
choose.type = "file"; choose.accept = "image/*"; choose.className = "hidden"; choose.tabIndex = -1;
choose.addEventListener("change", () => { query.take(choose.files[0]); choose.value = ""; });
tools.append(choose, button("Picture", "Choose a picture to ask about", () => choose.click()), button("Clear", "Clear the question", () => query.clear()));
$("query").append(tools);
$("add-class").addEventListener("click", () => addClass().input.select());
$("start-over").addEventListener("click", startOver);
if (facts.examples) {
  for (const { name, pixels } of facts.examples) {
    const one = addClass(name);
    pixels.forEach((each, i) => (i ? addPad(one) : one.pads[0]).place(each));
  }
  if (facts.query) query.place(facts.query);
} else {
  for (const [name, strokes] of Object.entries(SIGNS)) draw(addClass(name).pads[0], strokes);
  draw(query, ASKED);
}
load().then(() => { document.body.dataset.ready = "yes"; ask(); }).catch(failed);
