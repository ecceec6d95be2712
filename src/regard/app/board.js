// All that a user gave lives here; the server gets it with each question and keeps nothing.
const board = element.querySelector('.board');
const mode = board.dataset.mode;
const find = (selector) => board.querySelector(selector);
const make = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  Object.assign(made, attributes);
  made.append(...children);
  return made;
};
const SIDE = 168, PEN = 9, LARGEST = 640;
let waiting = null, asking = 0, found = null;

// ---- pads: a drawing, or a picture ----

function drawing(label) {
  const canvas = make('canvas', { width: SIDE, height: SIDE });
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', label + ': draw here');
  const pen = canvas.getContext('2d', { willReadFrequently: true });
  const clear = () => { pen.fillStyle = '#fff'; pen.fillRect(0, 0, SIDE, SIDE); canvas.inked = false; };
  clear();
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * SIDE / box.width, (event.clientY - box.top) * SIDE / box.height];
  };
  let last = null;
  const stroke = (event) => {
    if (!last) return;
    const here = at(event);
    pen.strokeStyle = '#000'; pen.lineWidth = PEN; pen.lineCap = pen.lineJoin = 'round';
    pen.beginPath(); pen.moveTo(...last); pen.lineTo(...here); pen.stroke();
    last = here; canvas.inked = true;
  };
  canvas.addEventListener('pointerdown', (event) => { canvas.setPointerCapture(event.pointerId); last = at(event); stroke(event); });
  canvas.addEventListener('pointermove', stroke);
  for (const end of ['pointerup', 'pointercancel']) canvas.addEventListener(end, () => { if (last) { last = null; soon(); } });
  const pad = make('div', { className: 'pad' }, canvas);
  pad.append(make('button', { type: 'button', textContent: '×', title: 'Clear this drawing', onclick: () => { clear(); soon(); } }));
  pad.picture = () => canvas.inked ? canvas.toDataURL('image/png') : null;
  return pad;
}

async function picture(file) {
  // Large photographs are made smaller here: the models look at 64 to 320 pixels.
  const bitmap = await createImageBitmap(file, { imageOrientation: 'from-image' });
  const scale = Math.min(1, LARGEST / Math.max(bitmap.width, bitmap.height));
  const canvas = make('canvas', { width: Math.max(1, Math.round(bitmap.width * scale)), height: Math.max(1, Math.round(bitmap.height * scale)) });
  const pen = canvas.getContext('2d');
  pen.fillStyle = '#fff'; pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const content = canvas.toDataURL('image/png');
  const pad = make('div', { className: 'pad' }, make('img', { src: content, alt: file.name }));
  pad.append(make('button', { type: 'button', textContent: '×', title: 'Remove ' + file.name, onclick: () => { pad.remove(); soon(); } }));
  pad.picture = () => content;
  return pad;
}

async function addPictures(pads, files) {
  const wrong = [];
  for (const file of files) {
    try { pads.append(await picture(file)); } catch { wrong.push(file.name); }
  }
  if (wrong.length) say('No picture that this browser reads: ' + wrong.join(', ') + '. JPEG, PNG, WebP and GIF are.', true);
  soon();
}

function picker(pads, label) {
  const input = make('input', { type: 'file', accept: 'image/*', multiple: true, hidden: true });
  input.setAttribute('aria-label', label);
  input.onchange = () => { addPictures(pads, [...input.files]); input.value = ''; };
  return [input, make('button', { type: 'button', className: 'small', textContent: 'Add pictures', onclick: () => input.click() })];
}

function takesDrops(place, pads) {
  place.addEventListener('dragover', (event) => { event.preventDefault(); place.classList.add('over'); });
  place.addEventListener('dragleave', () => place.classList.remove('over'));
  place.addEventListener('drop', (event) => { event.preventDefault(); place.classList.remove('over'); addPictures(pads, [...event.dataTransfer.files]); });
}

// ---- classes, and what is asked ----

function addClass(name) {
  const number = find('.classes').children.length + 1;
  const label = make('input', { type: 'text', value: name ?? '', placeholder: 'name of class ' + number, oninput: soon });
  label.setAttribute('aria-label', 'name of class ' + number);
  const pads = make('div', { className: 'pads' });
  const card = make('div', { className: 'card' }, label, pads);
  const bar = make('div', { className: 'bar' });
  if (mode === 'draw') {
    pads.append(drawing('example of class ' + number));
    bar.append(make('button', { type: 'button', className: 'small', textContent: 'Another drawing', onclick: () => pads.append(drawing('example of class ' + number)) }));
  }
  bar.append(...picker(pads, 'pictures of class ' + number));
  bar.append(make('button', { type: 'button', className: 'small', textContent: 'Remove', onclick: () => { card.remove(); soon(); } }));
  card.append(bar);
  card.content = () => ({ name: label.value || label.placeholder, images: [...pads.children].map((pad) => pad.picture()).filter(Boolean) });
  takesDrops(card, pads);
  find('.classes').append(card);
}

function box(name, title, text) {
  const area = make('textarea', { value: text, spellcheck: false });
  area.setAttribute('aria-label', title);
  const input = make('input', { type: 'file', hidden: true });
  input.onchange = async () => { area.value = await input.files[0].text(); input.value = ''; };
  const place = make('div', { className: 'query' }, make('h3', { textContent: title }), area,
    make('div', { className: 'bar' }, input, make('button', { type: 'button', className: 'small', textContent: 'Open a file', onclick: () => input.click() })));
  place.addEventListener('dragover', (event) => { event.preventDefault(); place.classList.add('over'); });
  place.addEventListener('dragleave', () => place.classList.remove('over'));
  place.addEventListener('drop', async (event) => { event.preventDefault(); place.classList.remove('over'); if (event.dataTransfer.files[0]) area.value = await event.dataTransfer.files[0].text(); });
  area.dataset.name = name;
  return place;
}

function question() {
  if (mode === 'path') return find('.asked .query').question();
  if (mode === 'text') return Object.fromEntries([...board.querySelectorAll('textarea')].map((area) => [area.dataset.name, area.value]));
  return {
    classes: [...find('.classes').children].map((card) => card.content()).filter((one) => one.images.length),
    queries: [...find('.asked .pads').children].map((pad) => pad.picture()).filter(Boolean),
  };
}

// ---- ways that a robot is shown: strokes are ways, clicks are places to start from ----

function plane() {
  const SIDE_OF_PLANE = 320, RADIUS = 6, STEP = 0.1, CLICK = 0.1;
  const canvas = make('canvas', { width: SIDE_OF_PLANE, height: SIDE_OF_PLANE, tabIndex: 0, className: 'plane' });
  canvas.setAttribute('role', 'application');
  canvas.setAttribute('aria-label', 'A square. Draw ways with a pointer and click places to start from. By keyboard: arrows move the pen, Enter begins and ends a way, s puts a place to start from, Backspace takes back.');
  const shade = getComputedStyle(board);
  const given = []; // {way: [[x, y], ..]} or {start: [x, y]}, in the order in which they were made
  let way = null, pen = [0, 0], hasKeys = false;
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width * 2 - 1, 1 - (event.clientY - box.top) / box.height * 2].map((v) => Math.max(-1, Math.min(1, v)));
  };
  const pixel = ([x, y]) => [(x + 1) / 2 * SIDE_OF_PLANE, (1 - y) / 2 * SIDE_OF_PLANE];
  const long = (points) => points.slice(1).reduce((sum, p, i) => sum + Math.hypot(p[0] - points[i][0], p[1] - points[i][1]), 0);
  function show() {
    const brush = canvas.getContext('2d');
    brush.clearRect(0, 0, SIDE_OF_PLANE, SIDE_OF_PLANE);
    brush.lineCap = brush.lineJoin = 'round';
    for (const one of [...given, ...(way ? [{ way }] : [])]) {
      if (one.way) {
        brush.strokeStyle = brush.fillStyle = shade.getPropertyValue('--way') || '#6478f0'; brush.lineWidth = 4;
        brush.beginPath(); one.way.forEach((p, i) => brush[i ? 'lineTo' : 'moveTo'](...pixel(p))); brush.stroke();
        brush.beginPath(); brush.arc(...pixel(one.way.at(-1)), RADIUS, 0, 7); brush.fill();
      } else {
        brush.strokeStyle = shade.getPropertyValue('--start') || '#d2713f'; brush.lineWidth = 3;
        brush.beginPath(); brush.arc(...pixel(one.start), RADIUS, 0, 7); brush.stroke();
      }
    }
    if (hasKeys) { brush.fillStyle = shade.color; brush.beginPath(); brush.arc(...pixel(pen), 3, 0, 7); brush.fill(); }
  }
  const done = () => {
    if (!way) return;
    given.push(long(way) < CLICK ? { start: way.at(-1) } : { way });
    way = null; show(); soon();
  };
  canvas.addEventListener('pointerdown', (event) => { canvas.setPointerCapture(event.pointerId); hasKeys = false; way = [at(event)]; show(); });
  canvas.addEventListener('pointermove', (event) => { if (way && !hasKeys) { way.push(at(event)); show(); } });
  for (const end of ['pointerup', 'pointercancel']) canvas.addEventListener(end, done);
  canvas.addEventListener('blur', () => { hasKeys = false; show(); });
  canvas.addEventListener('keydown', (event) => {
    const move = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] }[event.key];
    if (!move && !['Enter', 's', 'Backspace'].includes(event.key)) return;
    event.preventDefault(); hasKeys = true;
    if (move) { pen = pen.map((v, i) => Math.max(-1, Math.min(1, v + move[i]))); if (way) way.push(pen); }
    else if (event.key === 's') { given.push({ start: pen }); soon(); }
    else if (event.key === 'Backspace') { way ? way = null : given.pop(); soon(); }
    else if (way) done();
    else way = [pen];
    show();
  });
  const place = make('div', { className: 'query' }, canvas, make('div', { className: 'bar' },
    make('button', { type: 'button', className: 'small', textContent: 'Take back', onclick: () => { given.pop(); show(); soon(); } }),
    make('button', { type: 'button', className: 'small', textContent: 'Clear', onclick: () => { given.length = 0; show(); } })));
  place.question = () => ({ paths: given.filter((one) => one.way).map((one) => one.way), starts: given.filter((one) => one.start).map((one) => one.start) });
  show();
  return place;
}

// ---- asking ----

function say(text, wrong = false) {
  const state = find('.state');
  state.textContent = text;
  state.classList.toggle('wrong', wrong);
}

function soon() {
  // An answer while one draws, as soon as there is enough to answer by.
  clearTimeout(waiting);
  if (mode === 'text') return;
  const asked = question();
  if (mode === 'path') { if (asked.paths.length && asked.starts.length) waiting = setTimeout(ask, 350); return; }
  if (asked.classes.length > 1 && asked.queries.length) waiting = setTimeout(ask, 350);
}

function inWords(one) {
  if (one.said !== undefined) return one.said;
  if (one.value !== undefined) return shortened(one.value) + (one.deviation === null ? '' : ' ± ' + shortened(one.deviation));
  return one.answered ? one.label : one.label + ', or perhaps none of these';
}

const shortened = (number) => String(Number(number.toPrecision(4)));

async function ask() {
  clearTimeout(waiting);
  const number = ++asking;
  say('Thinking ...');
  let answer;
  try { answer = await server.answer(JSON.stringify(question())); } catch (error) { answer = { error: 'The server does not answer: is "regard app" still running? ' + (error.message ?? '') }; }
  if (number !== asking) return;
  for (const name of ['.save', '.answers', '.take']) find(name).disabled = Boolean(answer.error);
  const out = find('.out');
  if (answer.error) { say(answer.error, true); out.hidden = true; return; }
  found = answer.answers;
  say(found.map(inWords).join('; '));
  out.hidden = false;
  out.onload = () => { out.style.height = out.contentDocument.documentElement.scrollHeight + 24 + 'px'; };
  out.srcdoc = answer.html;
}

function download(name, content) {
  const link = make('a', { href: URL.createObjectURL(content), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

find('.add').onclick = () => addClass();
find('.ask').onclick = ask;
find('.answers').onclick = () => download('answers.json', new Blob([JSON.stringify(found, null, 1)], { type: 'application/json' }));
async function fetched(make, done) {
  say('Writing the file ...');
  let made;
  try { made = await make(JSON.stringify(question())); } catch (error) { made = { error: 'The server does not answer. ' + (error.message ?? '') }; }
  if (made.error) { say(made.error, true); return; }
  download(made.name, new Blob([Uint8Array.from(atob(made.content), (letter) => letter.charCodeAt(0))]));
  say(done);
}

find('.save').onclick = () => fetched(server.save, mode === 'path' ? 'Saved: Demonstrations.load of regard.domains.acting reads it.' : 'Saved: regard.load_estimator reads it.');
if (mode === 'path') find('.save').textContent = 'Save what was shown';
find('.take').onclick = () => fetched(server.take, 'Saved: open offline.html in any browser, without a network too.');
find('.take').hidden = !props.offline;

if (mode === 'path') {
  find('.asked').append(plane());
} else if (mode === 'text') {
  find('.asked').append(box('support', 'Labelled examples', props.support), box('queries', props.regression ? 'To be predicted' : 'To be labelled', props.query));
} else {
  for (let i = 0; i < 3; i++) addClass();
  const pads = make('div', { className: 'pads' });
  const place = make('div', { className: 'query' }, make('h3', { textContent: 'What is this?' }), pads);
  if (mode === 'draw') pads.append(drawing('the query'));
  place.append(make('div', { className: 'bar' }, ...picker(pads, 'pictures to be labelled')));
  takesDrops(place, pads);
  find('.asked').append(place);
}
board.dataset.ready = 'yes';
