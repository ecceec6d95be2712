"use strict";
// Tables: a CSV whose rows have an answer or want one. Numbers stay numbers, words become categories in order.

const MISSING = new Set(["", "?", "na", "n/a", "nan", "null", "none", "-"]);
const MOST_CLASSES = 10, MOST_ROWS = 1000, MOST_CHARACTERS = 2_000_000;
const START = `bill_mm,flipper_mm,weight_g,island,species
39.1,181,3750,Torgersen,Adelie
38.6,191,3800,Torgersen,Adelie
36.7,193,3450,Torgersen,Adelie
37.8,186,3300,Biscoe,Adelie
46.1,211,4500,Biscoe,Gentoo
50.0,230,5700,Biscoe,Gentoo
48.7,210,4450,Biscoe,Gentoo
47.6,215,5400,Biscoe,Gentoo
46.5,192,3500,Dream,Chinstrap
50.0,196,3900,Dream,Chinstrap
51.3,193,3650,Dream,Chinstrap
45.4,188,3525,Dream,Chinstrap
39.5,186,3800,Torgersen,?
49.9,213,5400,Biscoe,?
48.5,191,3400,Dream,?
`;

// RFC 4180, with the separator that the first line has most of.
function parseCsv(text) {
  const first = text.split("\n", 1)[0];
  const separator = [",", ";", "\t"].sort((a, b) => first.split(b).length - first.split(a).length)[0];
  const rows = [[]];
  let cell = "", quoted = false, begun = false;
  const end = () => { rows.at(-1).push(begun ? cell : cell.trim()); cell = ""; begun = false; };
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quoted) {
      if (c !== '"') cell += c;
      else if (text[i + 1] === '"') cell += text[++i];
      else quoted = false;
    } else if (c === '"' && cell.trim() === "") { quoted = begun = true; cell = ""; }
    else if (c === separator) end();
    else if (c === "\n") { end(); rows.push([]); }
    else if (c !== "\r") cell += c;
  }
  end();
  return rows.filter((row) => row.some((value) => value !== ""));
}

const isMissing = (cell) => MISSING.has(cell.trim().toLowerCase());

// Columns of words to {names, examples: {x, missing, y}, queries, classes}; throws what is wrong with the table.
function readTable(rows, target) {
  const [header, ...body] = rows;
  if (!body.length) throw new Error("There are no rows under the header.");
  const ragged = body.findIndex((row) => row.length !== header.length);
  if (ragged >= 0) throw new Error(`Row ${ragged + 1} has ${body[ragged].length} cells, and the header ${header.length}.`);
  if (header.length < 2) throw new Error("One column is not enough: a column to predict, and another to predict it from.");
  const known = body.filter((row) => !isMissing(row[target])), asked = body.filter((row) => isMissing(row[target]));
  const classes = [...new Set(known.map((row) => row[target]))].sort();
  if (classes.length < 2) throw new Error(`"${header[target]}" has ${classes.length} different answers: at least 2 are needed.`);
  if (classes.length > MOST_CLASSES) throw new Error(`"${header[target]}" has ${classes.length} different answers: at most ${MOST_CLASSES}, and words or whole numbers.`);
  if (known.length > MOST_ROWS) throw new Error(`${known.length} rows have an answer: at most ${MOST_ROWS} are read here.`);
  const columns = header.map((_, f) => f).filter((f) => f !== target).map((f) => {
    const seen = known.map((row) => row[f]).filter((cell) => !isMissing(cell));
    if (seen.every((cell) => Number.isFinite(Number(cell)))) {
      // Scaled here, in double precision: the model computes in single, where 1e9 + 0.1 is 1e9.
      const numbers = seen.map(Number), mean = numbers.reduce((a, b) => a + b, 0) / Math.max(numbers.length, 1);
      const spread = Math.sqrt(numbers.reduce((a, b) => a + (b - mean) ** 2, 0) / Math.max(numbers.length, 1)) || 1;
      return (row) => (isMissing(row[f]) ? NaN : (Number(row[f]) - mean) / spread);
    }
    const code = new Map([...new Set(seen)].sort().map((word, i) => [word, i]));
    return (row) => (isMissing(row[f]) ? NaN : (code.get(row[f]) ?? NaN));
  });
  const cells = (some) => some.flatMap((row) => columns.map((read) => read(row)));
  return { header, known, asked, classes, width: columns.length, support: cells(known), query: cells(asked),
    y: known.map((row) => classes.indexOf(row[target])) };
}

let latest = null;
let waiting = 0;

async function answerTable() {
  const number = ++waiting;
  const target = Number($("target").value);
  $("problem").textContent = "";
  latest = null;
  let table;
  try {
    if ($("csv").value.length > MOST_CHARACTERS) throw new Error("The table has more than two million characters: give fewer rows.");
    table = readTable(parseCsv($("csv").value), target);
    if (!table.asked.length) throw new Error("Every row has its answer: leave some empty, or write ? there.");
  } catch (error) {
    $("problem").textContent = error.message;
    $("answer").textContent = "Nothing to answer yet";
    $("detail").textContent = "";
    $("answers").replaceChildren();
    $("download").hidden = true;
    return;
  }
  if (!session) return;
  const started = performance.now(), { width: F, classes } = table;
  const shape = (some) => [some.length / F, F], number0 = (v) => (Number.isNaN(v) ? 0 : v);
  const of = (some) => [["bool", some.map((v) => Number(Number.isNaN(v))), shape(some)], ["float32", some.map(number0), shape(some)]];
  const [supportMissing, supportX] = of(table.support), [queryMissing, queryX] = of(table.query);
  const results = await run({
    support_missing: supportMissing, support_x: supportX, query_missing: queryMissing, query_x: queryX,
    support_y: ["int64", table.y, [table.y.length]],
    weight: ["float32", table.y.map(() => 1), [table.y.length]],
    classes: ["int64", classes.map((_, k) => k), [classes.length]],
  });
  if (number !== waiting) return;
  const C = classes.length, probability = table.asked.map((_, q) => [...results.probabilities.data.slice(q * C, (q + 1) * C)]);
  $("answer").textContent = `${table.asked.length} ${table.asked.length === 1 ? "answer" : "answers"}`;
  $("detail").textContent = `from ${table.known.length} examples, in ${Math.round(performance.now() - started)} ms`;
  const cell = (text, kind = "td", style = "") => Object.assign(document.createElement(kind), { textContent: text, className: style });
  const row = (...cells) => { const made = document.createElement("tr"); made.append(...cells); return made; };
  const others = table.header.filter((_, f) => f !== target);
  const head = document.createElement("thead"), body = document.createElement("tbody");
  head.append(row(cell(table.header[target], "th"), cell("sure", "th"), ...others.map((name) => cell(name, "th"))));
  const answers = probability.map((p) => p.indexOf(Math.max(...p)));
  table.asked.forEach((asked, q) => body.append(row(cell(classes[answers[q]], "td", "given"), cell(percent(probability[q][answers[q]])),
    ...asked.filter((_, f) => f !== target).map((text) => cell(text)))));
  $("answers").replaceChildren(head, body);
  $("download").hidden = false;
  latest = { classes, probability, answers, header: table.header, asked: table.asked, target };
  document.body.dataset.answered = String(number);
}

function readColumns() {
  const header = parseCsv($("csv").value.slice(0, 100_000))[0] ?? [], before = $("target").selectedOptions[0]?.textContent;
  $("target").replaceChildren(...header.map((name, f) => Object.assign(document.createElement("option"), { value: f, textContent: name || `column ${f + 1}` })));
  const same = header.indexOf(before);
  $("target").value = String(same >= 0 ? same : header.length - 1);
}

function changed() {
  clearTimeout(changed.timer);
  document.body.dataset.waiting = "yes";
  changed.timer = setTimeout(() => {
    readColumns();
    answerTable().catch(failed).finally(() => { document.body.dataset.waiting = "no"; });
  }, 250);
}

async function takeFile(file) {
  if (!file) return;
  $("csv").value = await file.text();
  changed();
}

$("csv").addEventListener("input", changed);
$("target").addEventListener("change", () => answerTable().catch(failed));
$("file").addEventListener("change", () => { takeFile($("file").files[0]); $("file").value = ""; });
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => { event.preventDefault(); takeFile(event.dataTransfer.files[0]); });
$("download").addEventListener("click", () => {
  const quote = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const lines = [[...latest.header, "probability"], ...latest.asked.map((row, q) => [
    ...row.map((cell, f) => (f === latest.target ? latest.classes[latest.answers[q]] : cell)), latest.probability[q][latest.answers[q]].toFixed(4)])];
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([lines.map((row) => row.map(quote).join(",")).join("\n") + "\n"], { type: "text/csv" }));
  link.download = "answers.csv";
  link.click();
});
$("csv").value = START;
readColumns();
load().then(() => { document.body.dataset.ready = "yes"; return answerTable(); }).catch(failed);
