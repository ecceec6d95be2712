"use strict";
// Sentences: each is encoded once, and an answer is from the vectors of all examples.

const MOST_SENTENCES = 500;
const START = {
  card: "my card was declined\nthe machine kept my card",
  transfer: "when does the money arrive\nthe transfer is still pending",
  login: "I forgot my password\nthe app logs me out",
};
const ASKED = "they swallowed my card";

const classes = [];
const vectors = new Map(); // text to {z, whole}, since nothing else decides them
let tokenizer = null;

async function encoded(text) {
  const known = vectors.get(text);
  if (known) return known;
  const { ids, whole } = tokenizer.encode(text), shape = [1, ids.length];
  const { z } = await run({ query_ids: ["int64", ids, shape], query_mask: ["int64", ids.map(() => 1), shape] });
  const made = { z: z.data, whole };
  vectors.set(text, made);
  return made;
}

const lines = (text) => text.split("\n").map((line) => line.trim()).filter((line) => line);

function addClass(name = `class ${classes.length + 1}`, text = "") {
  const one = {};
  one.input = make("input", { value: name, oninput: ask });
  one.input.setAttribute("aria-label", "Name of the class");
  one.box = make("textarea", { rows: Math.min(9, Math.max(4, lines(text).length + 1)), value: text, oninput: ask });
  one.box.setAttribute("aria-label", "Sentences of this class, one a line");
  const remove = make("button", { type: "button", className: "icon", textContent: "✕", onclick: () => { one.node.remove(); classes.splice(classes.indexOf(one), 1); ask(); } });
  remove.setAttribute("aria-label", "Remove this class");
  one.node = make("article", { className: "class" }, make("header", {}, one.input, remove), one.box);
  classes.push(one);
  $("classes").append(one.node);
  return one;
}

let waiting = 0;
let latest = null;

function ask() {
  const number = ++waiting;
  document.body.dataset.waiting = "yes";
  clearTimeout(ask.timer);
  ask.timer = setTimeout(async () => {
    try { await answer(number); } catch (error) { failed(error); }
    if (number === waiting && session) document.body.dataset.waiting = "no";
  }, 250);
}

function nothing(text) {
  $("answer").textContent = text;
  $("detail").textContent = "";
}

async function answer(number) {
  if (!session) return;
  const known = classes.map((one) => ({ one, texts: lines(one.box.value) })).filter(({ texts }) => texts.length);
  const examples = known.flatMap(({ texts }, k) => texts.map((text) => [text, k])), asked = $("query").value.trim();
  for (const one of classes) one.node.classList.remove("best");
  $("bars").replaceChildren();
  latest = null;
  if (known.length < 2) return nothing("Write a sentence of two classes.");
  if (!asked) return nothing("Write a sentence to ask about.");
  if (examples.length > MOST_SENTENCES) return nothing(`${examples.length} sentences: at most ${MOST_SENTENCES} are read here.`);
  const started = performance.now(), found = [];
  for (const [i, [text]] of examples.entries()) {
    if (!vectors.has(text)) $("detail").textContent = `Reading example ${i + 1} of ${examples.length}…`;
    found.push(await encoded(text));
    if (number !== waiting) return;
  }
  const query = await encoded(asked), S = found.length, D = query.z.length, support = new Float32Array(S * D);
  found.forEach(({ z }, s) => support.set(z, s * D));
  const results = await run({
    support_x: ["float32", support, [S, D]],
    support_y: ["int64", examples.map(([, k]) => k), [S]],
    weight: ["float32", examples.map(() => 1), [S]],
    query_x: ["float32", query.z, [1, D]],
    classes: ["int64", known.map((_, k) => k), [known.length]],
  }, 1);
  if (number !== waiting) return;
  const probability = [...results.probabilities.data], order = probability.map((_, k) => k).sort((a, b) => probability[b] - probability[a]);
  const names = known.map(({ one }) => one.input.value.trim() || "unnamed"), best = order[0];
  const refused = results.trust && results.trust.data[0] < facts.confidence.threshold;
  $("answer").textContent = refused ? `None of these? Nearest is ${names[best]}.` : names[best];
  const likeness = found.map(({ z }) => z.reduce((sum, v, d) => sum + v * query.z[d], 0)), nearest = likeness.indexOf(Math.max(...likeness));
  const cut = [query, ...found].some(({ whole }) => !whole) ? ` Of long texts the first ${facts.vocabulary.length - 2} tokens are read.` : "";
  $("detail").textContent = `${percent(probability[best])} sure, in ${Math.round(performance.now() - started)} ms. Most like it: “${examples[nearest][0]}”.${cut}`;
  $("bars").replaceChildren(...order.slice(0, 8).map((k) => {
    const fill = make("span", { className: "fill" });
    fill.style.width = `${100 * probability[k]}%`;
    return make("li", {}, make("span", { className: "name", textContent: names[k], title: names[k] }),
      make("span", { className: "track" }, fill), make("span", { className: "figure", textContent: percent(probability[k]) }));
  }));
  known[best].one.node.classList.add("best");
  latest = { names, probability, examples, asked, nearest };
  document.body.dataset.answered = String(number);
}

$("add-class").addEventListener("click", () => addClass().input.select());
$("start-over").addEventListener("click", () => {
  for (const one of classes.splice(0)) one.node.remove();
  for (let k = 0; k < 3; k++) addClass();
  $("query").value = "";
  ask();
});
$("query").addEventListener("input", ask);
for (const [name, text] of facts.examples ?? Object.entries(START)) addClass(name, text);
$("query").value = facts.examples ? (facts.query ?? "") : ASKED;
load().then(() => {
  tokenizer = new WordPiece(facts.vocabulary.words, facts.vocabulary.length);
  document.body.dataset.ready = "yes";
  ask();
}).catch(failed);
