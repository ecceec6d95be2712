"use strict";
// Tables as text: CSV, and what its columns hold, read as `regard.domains.tables.TableReader` reads them.

// Cells without a value, in any column and among numbers, as in `regard.domains.tables.kinds`.
const MISSING = new Set(["", "?", "NA", "NaN", "nan", "N/A", "null", "None", "<NA>", "NaT", "n/a", "NULL", "#N/A", "N.A."]);
const MISSING_AMONG_NUMBERS = new Set(["-", "--", "---", "\u2013", "\u2014", ".", "..", "...", "*", "na", "n.a.", "n.a", "n/a", "none",
  "nil", "missing", "unknown", "nan", "null", "<na>", "#na", "#n/a", "#value!", "#ref!", "#div/0!", "#null!", "#num!", "#name?"]);
const FAR = 1e30;

const isMissing = (cell) => MISSING.has(cell) || MISSING.has(cell.trim());
const isNumber = (cell) => cell.trim() !== "" && Number.isFinite(Number(cell));

// The one that the first line has most of, outside of quotes.
function separatorOf(text) {
  const first = text.slice(0, 100_000).replace(/"[^"]*"/g, "").split("\n", 1)[0];
  return [",", ";", "\t"].sort((a, b) => first.split(b).length - first.split(a).length)[0];
}

// RFC 4180.
function parseCsv(text) {
  const separator = separatorOf(text), rows = [[]];
  let cell = "", quoted = false, begun = false;
  const end = () => { rows.at(-1).push(begun ? cell : cell.trim()); cell = ""; begun = false; };
  for (let i = text.charCodeAt(0) === 0xfeff ? 1 : 0; i < text.length; i++) {
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

function writeCsv(rows, separator) {
  const quote = (cell) => (/[",;\t\r\n]|^\s|\s$/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
  return rows.map((row) => row.map(quote).join(separator) + "\n").join("");
}

// ---- columns: what `learnColumn` tells from the examples makes numbers of any cell, NaN where it has no value ---------

const DATE = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d(?:\.\d+)?))?)?Z?$/;

// Parts of a written date, each a number; null where it is none.
function dateParts(cell) {
  const found = DATE.exec(cell.trim());
  if (!found) return null;
  const [year, month, day, hour, minute, second] = found.slice(1).map((digits) => Number(digits ?? 0));
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day || hour > 23 || minute > 59 || second >= 60) return null;
  const hours = hour + minute / 60 + second / 3600;
  return [1970 + (date.getTime() / 3_600_000 + hours) / (365.2425 * 24), month, day, (date.getUTCDay() + 6) % 7, hours];
}

// Codes of words are their places in order; 1 and 1.0 are one word.
const word = (cell) => (isNumber(cell) ? String(Number(cell)) : cell);

// null for a column without a value, or {kind, read, words}: read gives the numbers of a cell, null if it is of another kind.
function learnColumn(cells) {
  const present = cells.filter((cell) => !isMissing(cell));
  if (!present.length) return null;
  const among = (cell) => MISSING_AMONG_NUMBERS.has(cell.trim().toLowerCase());
  const known = (parse, width) => (cell) => (isMissing(cell) || among(cell) ? Array(width).fill(NaN) : parse(cell));
  const numbers = present.filter(isNumber).length;
  if (numbers && 2 * numbers >= present.length - present.filter(among).length)
    return { kind: "numbers", width: 1, read: known((cell) => (isNumber(cell) ? [Number(cell)] : null), 1), words: [] };
  const dates = present.map(dateParts).filter((parts) => parts);
  if (2 * dates.length > present.length) {
    const varies = [0, 1, 2, 3, 4].filter((p) => p === 0 || new Set(dates.map((parts) => parts[p])).size > 1);
    const parse = (cell) => { const parts = dateParts(cell); return parts && varies.map((p) => parts[p]); };
    return { kind: "dates", width: varies.length, read: known(parse, varies.length), words: [] };
  }
  const words = [...new Set(present.map(word))].sort(), code = new Map(words.map((each, i) => [each, i]));
  return { kind: "words", width: 1, read: (cell) => (isMissing(cell) ? [NaN] : [code.get(word(cell)) ?? NaN]), words };
}

// Scaled here, in double precision: the model computes in single, where 1e9 + 0.1 is 1e9.
function scaling(values) {
  const seen = values.filter((v) => !Number.isNaN(v)), size = seen.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  const unit = size > 0 ? 2 ** Math.min(Math.ceil(Math.log2(size)), 1023) : 1;
  const mean = seen.reduce((a, b) => a + b / unit, 0) / Math.max(seen.length, 1);
  const spread = Math.sqrt(seen.reduce((a, b) => a + (b / unit - mean) ** 2, 0) / Math.max(seen.length, 1));
  const by = spread > 1e-12 * Math.abs(mean) ? spread : 1;
  return (v) => Math.max(-FAR, Math.min(FAR, (v / unit - mean) / by));
}
