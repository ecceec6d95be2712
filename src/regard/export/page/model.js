"use strict";
// The model inside this file: unpacked once, then `answer(task)` is one pass. Nothing is fetched.

const facts = JSON.parse(document.getElementById("facts").textContent);
const $ = (id) => document.getElementById(id);

function make(kind, properties, ...children) {
  const made = Object.assign(document.createElement(kind), properties);
  made.append(...children);
  return made;
}

async function unpacked(element) {
  const packed = Uint8Array.from(atob(element.textContent), (c) => c.charCodeAt(0));
  element.remove();
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// One session for each model inside; `session` is the first, null until it is there.
let session = null;
const sessions = [];
async function load() {
  const models = [...document.querySelectorAll("script.model")];
  const [wasm, glue, ...contents] = await Promise.all([$("wasm"), $("glue"), ...models].map(unpacked));
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(new Blob([glue], { type: "text/javascript" })) };
  ort.env.logLevel = "error";
  for (const model of contents)
    sessions.push(await ort.InferenceSession.create(model, { executionProviders: ["wasm"], graphOptimizationLevel: "all" }));
  session = sessions[0];
}

const tensors = {
  uint8: (values, shape) => new ort.Tensor("uint8", Uint8Array.from(values), shape),
  float32: (values, shape) => new ort.Tensor("float32", Float32Array.from(values), shape),
  bool: (values, shape) => new ort.Tensor("bool", Uint8Array.from(values), shape),
  int64: (values, shape) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), shape),
};

let running = Promise.resolve();
// Inputs {name: [kind, values, shape]} to outputs {name: {data, dims}}; one pass at a time.
function run(inputs, which = 0) {
  const next = running.then(async () => {
    const feeds = {}, session = sessions[which];
    for (const name of session.inputNames) {
      const [kind, values, shape] = inputs[name];
      feeds[name] = tensors[kind](values, shape);
    }
    return session.run(feeds);
  });
  running = next.catch(() => {});
  return next;
}

const percent = (p) => (p > 0.995 && p < 1 ? ">99%" : p < 0.005 && p > 0 ? "<1%" : `${Math.round(100 * p)}%`);

function failed(error) {
  $("answer").textContent = "This browser cannot run the page.";
  $("detail").textContent = `It needs WebAssembly with SIMD, as all browsers since 2023 have. (${error.message ?? error})`;
}
