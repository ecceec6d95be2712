"use strict";
// A table whose rows have an answer or want one: a class, or a number where the model is for numbers.

const MOST_CLASSES = 10, MOST_ROWS = 1000, MOST_CHARACTERS = 2_000_000, MOST_FIELDS = 24;
const NUMBERS = facts.task === "regression";
const START = NUMBERS ? `rooms,area_m2,year_built,district,price
2,54,1968,north,210
3,71,1975,north,248
3,80,1999,centre,345
4,95,2005,centre,421
1,33,1960,south,118
5,120,1988,south,352
2,60,2012,centre,318
4,102,1971,north,322
3,76,1994,south,251
1,41,2001,north,196
2,58,2003,north,?
4,99,1996,centre,?
` : `bill_mm,flipper_mm,weight_g,island,species
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

const problem = (text) => Object.assign(new Error(text), { ours: true });
const rowsOf = (body, target) => [body.filter((row) => !isMissing(row[target])), body.filter((row) => isMissing(row[target]))];

// Rows of words to {header, known, asked, columns, width, support, query, y, ...}; throws what is wrong with the table.
function readTable(rows, target) {
  const [header, ...body] = rows;
  if (!body.length) throw problem("There are no rows under the header.");
  const ragged = body.findIndex((row) => row.length !== header.length);
  if (ragged >= 0) throw problem(`Row ${ragged + 1} has ${body[ragged].length} cells, and the header ${header.length}.`);
  if (header.length < 2) throw problem("One column is not enough: a column to predict, and another to predict it from.");
  const [known, asked] = rowsOf(body, target), name = header[target];
  if (known.length > MOST_ROWS) throw problem(`${known.length} rows have an answer: at most ${MOST_ROWS} are read here.`);
  const answers = NUMBERS ? readTargets(known, target, name) : readClasses(known, target, name);
  const columns = header.map((_, f) => (f === target ? null : learnColumn(known.map((row) => row[f]))));
  const used = columns.flatMap((column, f) => (column ? [f] : []));
  if (!used.length) throw problem(`No column but "${name}" has a value among the examples.`);
  const unread = new Set();
  const read = (row) => used.flatMap((f) => columns[f].read(row[f]) ?? (unread.add(`"${row[f].slice(0, 30)}" under ${header[f]}`), Array(columns[f].width).fill(NaN)));
  const [examples, queries] = [known.map(read), asked.map(read)], width = used.reduce((sum, f) => sum + columns[f].width, 0);
  const scales = Array.from({ length: width }, (_, f) => scaling(examples.map((cells) => cells[f])));
  const scaled = (some) => some.flatMap((cells) => cells.map((v, f) => (Number.isNaN(v) ? NaN : scales[f](v))));
  return { ...answers, header, known, asked, columns, width, support: scaled(examples), query: scaled(queries), unread: [...unread] };
}

function readClasses(known, target, name) {
  const there = [...new Set(known.map((row) => row[target]))].sort(), order = facts.table?.classes ?? [];
  const classes = [...order.filter((one) => there.includes(one)), ...there.filter((one) => !order.includes(one))];
  if (classes.length < 2) throw problem(`"${name}" has ${classes.length} different answers: at least 2 are needed.`);
  if (classes.length > MOST_CLASSES) throw problem(`"${name}" has ${classes.length} different answers: at most ${MOST_CLASSES}, and words or whole numbers.`);
  return { classes, y: known.map((row) => classes.indexOf(row[target])) };
}

function readTargets(known, target, name) {
  const wrong = known.find((row) => !isNumber(row[target]));
  if (wrong) throw problem(`"${name}" holds "${wrong[target].slice(0, 30)}": numbers are needed there.`);
  if (known.length < 2) throw problem(`"${name}" has ${known.length} ${known.length === 1 ? "number" : "numbers"}: at least 2 are needed.`);
  const numbers = known.map((row) => Number(row[target])), offset = numbers.reduce((a, b) => a + b / numbers.length, 0);
  const size = numbers.reduce((a, b) => Math.max(a, Math.abs(b - offset)), 0), unit = size && !(1e-30 < size && size < 1e30) ? size : 1;
  return { offset, unit, y: numbers.map((v) => (v - offset) / unit) };
}

let latest = null;
let waiting = 0;

async function answerTable() {
  const number = ++waiting, target = Number($("target").value);
  $("problem").textContent = "";
  latest = null;
  let table;
  try {
    if ($("csv").value.length > MOST_CHARACTERS) throw problem("The table has more than two million characters: give fewer rows.");
    table = readTable(parseCsv($("csv").value), target);
  } catch (error) {
    $("problem").textContent = error.message;
    if (!error.ours) throw error;
  }
  showClasses(table, target);
  showFields(table, target);
  if (!table || !table.asked.length) {
    $("answer").textContent = "Nothing to answer yet";
    $("detail").textContent = table ? `Every one of the ${table.known.length} rows has its answer: add a row, or write ? in place of an answer.` : "";
    $("answers").replaceChildren();
    $("download").hidden = true;
    return;
  }
  if (!session) return;
  const started = performance.now(), F = table.width, S = table.y.length;
  const shape = (some) => [some.length / F, F], number0 = (v) => (Number.isNaN(v) ? 0 : v);
  const of = (some) => [["bool", some.map((v) => Number(Number.isNaN(v))), shape(some)], ["float32", some.map(number0), shape(some)]];
  const [supportMissing, supportX] = of(table.support), [queryMissing, queryX] = of(table.query);
  const results = await run({
    support_missing: supportMissing, support_x: supportX, query_missing: queryMissing, query_x: queryX,
    support_y: NUMBERS ? ["float32", table.y, [S, 1]] : ["int64", table.y, [S]],
    weight: ["float32", table.y.map(() => 1), [S]],
    classes: ["int64", (table.classes ?? []).map((_, k) => k), [(table.classes ?? []).length]],
  });
  if (number !== waiting) return;
  latest = { ...(NUMBERS ? numbersOf(results, table) : classesOf(results, table)), classes: table.classes, header: table.header, asked: table.asked, target };
  $("answer").textContent = `${table.asked.length} ${table.asked.length === 1 ? "answer" : "answers"}`;
  const unread = table.unread.length ? ` Not of the kind of its column, and left out: ${table.unread.slice(0, 3).join(", ")}.` : "";
  $("detail").textContent = `from ${table.known.length} examples, in ${Math.round(performance.now() - started)} ms.${unread}`;
  showAnswers();
  document.body.dataset.answered = String(number);
}

// What is shown and written of each row that was asked: `words` its answer, `sure` how sure, `cells` for the file.
function classesOf(results, { asked, classes }) {
  const C = classes.length, probability = asked.map((_, q) => [...results.probabilities.data.slice(q * C, (q + 1) * C)]);
  const answers = probability.map((p) => p.indexOf(Math.max(...p)));
  return { probability, answers, heads: ["sure"], fileHeads: ["probability"], words: answers.map((k) => classes[k]),
    sure: answers.map((k, q) => percent(probability[q][k])), cells: answers.map((k, q) => [probability[q][k].toFixed(4)]) };
}

function numbersOf(results, { asked, offset, unit }) {
  const mean = asked.map((_, q) => results.mean.data[q] * unit + offset), deviation = asked.map((_, q) => results.deviation.data[q] * unit);
  const ends = mean.map((m, q) => [m - 1.96 * deviation[q], m + 1.96 * deviation[q]]);
  // As many digits as the deviation tells apart.
  const places = deviation.map((d) => (d > 0 ? Math.min(12, Math.max(0, 1 - Math.floor(Math.log10(d)))) : 4));
  const written = (v, q) => (Math.abs(v) < 1e15 ? v.toFixed(places[q]) : v.toPrecision(6));
  return { mean, deviation, heads: ["95% between"], fileHeads: ["low", "high"], words: mean.map(written),
    sure: ends.map(([low, high], q) => `${written(low, q)} and ${written(high, q)}`), cells: ends.map((pair, q) => pair.map((v) => written(v, q))) };
}

function showAnswers() {
  const { header, target, asked, heads, words, sure } = latest, cell = (textContent, kind = "td", className = "") => make(kind, { textContent, className });
  const others = header.map((_, f) => f).filter((f) => f !== target);
  $("answers").replaceChildren(
    make("thead", {}, make("tr", {}, cell(header[target], "th"), cell(heads[0], "th"), ...others.map((f) => cell(header[f], "th")))),
    make("tbody", {}, ...asked.map((row, q) => make("tr", {}, cell(words[q], "td", "given"), cell(sure[q]), ...others.map((f) => cell(row[f]))))));
  $("download").hidden = false;
}

// ---- the examples by class, and a row more -----------------------------------------------------------------------------

function rewrite(rows) {
  $("csv").value = writeCsv(rows, separatorOf($("csv").value));
  changed();
}

function showClasses(table, target) {
  const remove = (name) => rewrite(parseCsv($("csv").value).filter((row, i) => i === 0 || row[target] !== name));
  $("kinds").replaceChildren(...(table?.classes ?? []).map((name, k) => {
    const count = table.y.filter((y) => y === k).length, button = make("button", { type: "button", className: "icon", textContent: "✕", onclick: () => remove(name) });
    button.setAttribute("aria-label", `Remove ${name} and its ${count} ${count === 1 ? "row" : "rows"}`);
    return make("li", {}, make("span", { className: "name", textContent: name, title: name }), make("span", { className: "figure", textContent: String(count) }), button);
  }));
}

// Fields of one row, kept while somebody types: they are made again only for other columns.
function showFields(table, target) {
  if (!table || table.header.length > MOST_FIELDS) { $("row-section").hidden = true; return; }
  const words = (f) => (f === target ? (table.classes ?? []) : (table.columns[f]?.words ?? []));
  const like = JSON.stringify([target, table.header, table.header.map((_, f) => words(f))]);
  $("row-section").hidden = false;
  if (showFields.like === like) return;
  showFields.like = like;
  const fields = table.header.map((name, f) => {
    const list = make("datalist", { id: `words-${f}` }, ...words(f).slice(0, 100).map((value) => make("option", { value })));
    const input = make("input", { type: "text", autocomplete: "off", placeholder: f === target ? "?" : "" });
    input.setAttribute("list", list.id);
    if (f === target ? NUMBERS : table.columns[f]?.kind === "numbers") input.inputMode = "decimal";
    return make("label", {}, make("span", { textContent: name || `column ${f + 1}`, title: name }), input, list);
  });
  $("row").replaceChildren(...fields, make("button", { type: "submit", textContent: "Add the row" }));
}

$("row").addEventListener("submit", (event) => {
  event.preventDefault();
  const target = Number($("target").value), cells = [...$("row").querySelectorAll("input")].map((input) => input.value);
  if (cells.every((cell) => cell.trim() === "")) return;
  if (cells[target].trim() === "") cells[target] = "?";
  rewrite([...parseCsv($("csv").value), cells]);
  $("csv").scrollTop = $("csv").scrollHeight;
});

// ---- the table as text -------------------------------------------------------------------------------------------------

function readColumns() {
  const header = parseCsv($("csv").value.slice(0, 100_000))[0] ?? [], before = $("target").selectedOptions[0]?.textContent;
  $("target").replaceChildren(...header.map((name, f) => make("option", { value: f, textContent: name || `column ${f + 1}` })));
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
  const rows = latest.asked.map((row, q) => [...row.map((cell, f) => (f === latest.target ? latest.words[q] : cell)), ...latest.cells[q]]);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([writeCsv([[...latest.header, ...latest.fileHeads], ...rows], ",")], { type: "text/csv" }));
  link.download = "answers.csv";
  link.click();
});
$("csv").value = facts.table?.csv ?? START;
readColumns();
load().then(() => { document.body.dataset.ready = "yes"; return answerTable(); }).catch(failed).finally(() => { document.body.dataset.waiting = "no"; });
