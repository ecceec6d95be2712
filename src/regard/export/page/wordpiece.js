"use strict";
// Texts to tokens, as BERT's uncased tokenizer cuts them: Wu et al. 2016, arXiv:1609.08144, as released with BERT.

const LONGEST_WORD = 100;
const SPECIAL = /(\[(?:PAD|UNK|CLS|SEP|MASK)\])/;
const PUNCTUATION = /[!-/:-@[-`{-~\p{P}]/u;
const IDEOGRAPH = /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/gu;

class WordPiece {
  // Words in the order of their ids, one a line; `length` is the most tokens of a text, its first and last included.
  constructor(words, length) {
    this.ids = new Map(words.split("\n").map((word, id) => [word, id]));
    this.length = length;
  }
  // {ids, whole}: whether the text was taken to its end.
  encode(text) {
    const ids = [];
    for (const part of text.toWellFormed().split(SPECIAL))
      if (SPECIAL.test(part)) ids.push(this.ids.get(part));
      else for (const word of this.wordsOf(part)) ids.push(...this.pieces(word));
    const most = this.length - 2;
    return { ids: [this.ids.get("[CLS]"), ...ids.slice(0, most), this.ids.get("[SEP]")], whole: ids.length <= most };
  }
  wordsOf(text) {
    const clean = text.replace(/[\t\n\r]/g, " ").replace(/[\ufffd\p{Cc}\p{Cf}\p{Cs}\p{Co}]/gu, "").replace(/\p{White_Space}/gu, " ");
    const apart = clean.replace(IDEOGRAPH, " $& ").normalize("NFD").replace(/\p{Mn}/gu, "");
    // Letter by letter: a whole text would have a sigma of another form at the end of its words.
    const lower = Array.from(apart, (c) => c.toLowerCase());
    return lower.map((c) => (PUNCTUATION.test(c) ? ` ${c} ` : c)).join("").split(/\p{White_Space}+/u).filter((word) => word);
  }
  // The longest pieces that there are, from left to right.
  pieces(word) {
    const letters = Array.from(word), found = [], unknown = [this.ids.get("[UNK]")];
    if (letters.length > LONGEST_WORD) return unknown;
    for (let begin = 0; begin < letters.length; ) {
      let end = letters.length, id;
      for (; end > begin; end--) {
        id = this.ids.get((begin ? "##" : "") + letters.slice(begin, end).join(""));
        if (id !== undefined) break;
      }
      if (id === undefined) return unknown;
      found.push(id);
      begin = end;
    }
    return found;
  }
}
