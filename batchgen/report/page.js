"use strict";
(() => {
const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const CHUNK = 60, ROWS = 20, PLAYERS = 8;
const VIEWS = ["gallery", "compare", "problems", "cost", "contact"];
const SHAPE = { failed: "✗", rejected: "✗", lost: "✗", uncertain: "?", pending: "○", rendering: "◔", downloading: "↓", removed: "–", done: "✓" };
const calm = matchMedia("(prefers-reduced-motion: reduce)");

// ---- the clips --------------------------------------------------------------

const clips = data.clips.map((row, order) => {
  const [width, height] = row.a.split(":").map(Number);
  const clip = { ...row, order, ratio: width / height || 16 / 9, base: data.runs[row.r].base };
  clip.name = row.s;
  clip.labels = row.l.map((value, axis) => (value < 0 ? "" : data.axes[axis][1][value]));
  const own = clip.labels.slice(0, data.named).filter(Boolean), half = Math.ceil(own.length / 2);
  [clip.one, clip.two] = own.length > data.named / 2 ? [own.slice(0, half).join("  "), own.slice(half).join("  ")] : [clip.s, own.join("  ")];
  if (row.k) clip.two += `  take ${row.k}`;
  clip.url = row.f && !row.v ? address(clip.base + row.f) : "";
  clip.link = clip.url || row.j || "";
  clip.file = row.v ? row.f : row.f?.slice(7);
  clip.poster = row.p ? address(clip.base + row.p) : "";
  return clip;
});
const byHash = new Map(clips.map((clip) => [clip.h, clip]));
const statuses = [...new Set(clips.map((clip) => clip.t))];
const facets = [
  { name: "status", values: statuses, of: (clip) => statuses.indexOf(clip.t) },
  ...(clips.some((clip) => clip.g || clip.w) ? [{ name: "attention", values: ["flagged", "not as ordered"], of: (clip) => (clip.w ? 1 : clip.g ? 0 : -1) }] : []),
  ...data.axes.map(([name, values], axis) => ({ name, values, of: (clip) => clip.l[axis] })),
];

// A path, part by part: nothing in a file's name is a scheme, a query or a fragment.
function address(path) { return "./" + path.split("/").map(encodeURIComponent).join("/"); }
function money(micros) {
  const digits = micros % 10000 ? 4 : 2;
  return "$" + (micros / 1e6).toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}
function spell(seconds) { return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`; }
function node(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// ---- what is wished for: kept in the address, picks also in the browser ------

const wish = { view: "gallery", query: "", sort: "order", only: false, chosen: new Map(), rows: "*", columns: "", across: "6" };
const picks = new Map();
const store = `batchgen.picks ${data.key}`;

function remember() {
  try { localStorage.setItem(store, JSON.stringify([...picks])); } catch { /* the address has them */ }
  const found = new URLSearchParams();
  if (wish.view !== "gallery") found.set("view", wish.view);
  if (wish.query) found.set("q", wish.query);
  if (wish.sort !== "order") found.set("sort", wish.sort);
  if (wish.only) found.set("only", "1");
  if (wish.rows !== "*") found.set("rows", wish.rows);
  if (wish.columns && wish.columns !== standard()) found.set("columns", wish.columns);
  if (wish.across !== "6") found.set("across", wish.across);
  for (const [name, values] of wish.chosen) for (const value of values) found.append(`f.${name}`, value);
  if (picks.size) found.set("picks", [...picks.keys()].join("."));
  const text = found.toString();
  if (text !== location.hash.slice(1)) history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
}
function recall() {
  const found = new URLSearchParams(location.hash.slice(1));
  wish.view = VIEWS.includes(found.get("view")) ? found.get("view") : "gallery";
  wish.query = found.get("q") || "";
  wish.sort = found.get("sort") || "order";
  wish.only = found.has("only");
  wish.rows = found.get("rows") || "*";
  wish.columns = found.get("columns") || standard();
  wish.across = found.get("across") || "6";
  wish.chosen.clear();
  for (const facet of facets) {
    const values = found.getAll(`f.${facet.name}`).filter((value) => facet.values.includes(value));
    if (values.length) wish.chosen.set(facet.name, new Set(values));
  }
  try { for (const [hash, note] of JSON.parse(localStorage.getItem(store) || "[]")) if (byHash.has(hash)) picks.set(hash, String(note)); } catch { /* none kept */ }
  for (const hash of (found.get("picks") || "").split(".")) if (byHash.has(hash) && !picks.has(hash)) picks.set(hash, "");
}
function standard() {
  const few = data.axes.filter(([, values]) => values.length <= 8).map(([name]) => name);
  return few.includes("aspect_ratio") ? "aspect_ratio" : few.at(-1) || (data.axes[0] || [""])[0];
}

// ---- which clips are shown -----------------------------------------------------

let shown = [];
const SORTS = {
  order: (a, b) => a.order - b.order,
  cost: (a, b) => b.c - a.c || a.order - b.order,
  render: (a, b) => (b.y || 0) - (a.y || 0) || a.order - b.order,
  newest: (a, b) => (b.z || 0) - (a.z || 0) || a.order - b.order,
};

function select() {
  const words = wish.query.toLowerCase().split(/\s+/).filter(Boolean);
  const tests = facets.map((facet) => {
    const values = wish.chosen.get(facet.name);
    return values ? new Set([...values].map((value) => facet.values.indexOf(value))) : null;
  });
  const counts = facets.map((facet) => new Int32Array(facet.values.length));
  shown = [];
  for (const clip of clips) {
    if (wish.only && !picks.has(clip.h)) continue;
    if (words.length) {
      clip.hay ||= `${clip.s}\n${clip.h}\n${clip.labels.join("\n")}\n${data.prompts[clip.q]}`.toLowerCase();
      if (!words.every((word) => clip.hay.includes(word))) continue;
    }
    // A count says what a click would show, so its own facet does not narrow it.
    let misses = 0, missed = -1;
    const values = facets.map((facet) => facet.of(clip));
    for (let n = 0; n < tests.length && misses < 2; n += 1) {
      if (tests[n] && !tests[n].has(values[n])) { misses += 1; missed = n; }
    }
    const away = clip.t === "removed" && !wish.chosen.has("status");
    if (!misses && !away) shown.push(clip);
    if (misses < 2) values.forEach((value, n) => { if (value >= 0 && (!misses || n === missed) && (!away || n === 0)) counts[n][value] += 1; });
  }
  if (wish.sort !== "order") shown.sort(SORTS[wish.sort] || SORTS.order);
  return counts;
}

// ---- the rail ------------------------------------------------------------------

const boxes = [];
function rail() {
  facets.forEach((facet, number) => {
    const list = node("div", { className: "values" });
    if (facet.values.length > 9) Object.assign(list, { tabIndex: 0 }).setAttribute("role", "group"), list.setAttribute("aria-label", facet.name);
    boxes[number] = facet.values.map((value) => {
      const box = node("input", { type: "checkbox" });
      const count = node("output");
      const label = node("label", { className: "choice", title: value }, box, node("span", { textContent: value || "none" }), count);
      box.addEventListener("change", () => {
        const values = wish.chosen.get(facet.name) || new Set();
        if (box.checked) values.add(value); else values.delete(value);
        if (values.size) wish.chosen.set(facet.name, values); else wish.chosen.delete(facet.name);
        refresh();
      });
      list.append(label);
      return { box, count, label, value };
    });
    $("facets").append(node("fieldset", {}, node("legend", { textContent: facet.name.replaceAll("_", " ") }), list));
  });
}
function tick(counts) {
  facets.forEach((facet, number) => boxes[number].forEach(({ box, count, label, value }, index) => {
    box.checked = wish.chosen.get(facet.name)?.has(value) || false;
    count.textContent = counts[number][index].toLocaleString("en-US");
    label.classList.toggle("none", !counts[number][index]);
  }));
  const total = clips.filter((clip) => clip.t !== "removed").length;
  $("count").textContent = `${shown.length.toLocaleString("en-US")} of ${total.toLocaleString("en-US")} clips`;
  $("clear").hidden = !(wish.chosen.size || wish.query || wish.only);
  $("picked").textContent = picks.size;
  $("only").checked = wish.only;
  $("names").disabled = $("csv").disabled = !picks.size;
}

// ---- one card ------------------------------------------------------------------

function blank(clip) {
  const bad = ["failed", "rejected", "lost", "uncertain"].includes(clip.t);
  const there = clip.url || clip.v;
  const head = clip.url ? "cannot be played here" : clip.v ? "in a bucket" : `${SHAPE[clip.t] || ""} ${clip.t}`;
  const why = there ? `${clip.a.length < 6 ? clip.a : `${clip.a.replace(":", " × ")}`}. ${data.prompts[clip.q]}` : clip.e ? reason(clip) : data.prompts[clip.q];
  return node("span", { className: bad ? "blank bad" : "blank" }, node("b", { textContent: head }), node("span", { textContent: why }));
}
function reason(clip) { return clip.e[0] === clip.t ? clip.e[1] : `${clip.e[0]}: ${clip.e[1]}`; }
function shot(clip) {
  const made = node("button", { type: "button", className: "shot" });
  made.dataset.hash = clip.h;
  made.style.setProperty("--ratio", clip.ratio);
  made.setAttribute("aria-label", `Open ${clip.s}, ${clip.t}`);
  if (!(clip.url || (clip.v && clip.poster)) || clip.broken) made.append(blank(clip));
  else if (clip.poster) {
    const image = node("img", { src: clip.poster, alt: "", loading: "lazy", decoding: "async" });
    image.addEventListener("error", () => { clip.poster = ""; image.remove(); if (clip.url) frame(clip, made); else made.prepend(blank(clip)); });
    made.append(image);
  } else frame(clip, made);
  if (clip.w || clip.g) made.append(node("span", { className: "badge", textContent: clip.w ? "! not as ordered" : "! flagged" }));
  return made;
}
function card(clip) {
  const star = node("button", { type: "button", className: "star" });
  star.dataset.pick = clip.h;
  const words = node("div", {}, node("div", { className: "one", textContent: clip.one, title: clip.s }), node("div", { className: "two", textContent: clip.two || "\u00a0" }),
    node("div", { className: "cost", textContent: `${money(clip.c)} · ${clip.d} s` }));
  const made = node("li", { className: "card" }, shot(clip), node("div", { className: "words" }, words, star));
  if (clip.broken || (clip.v && clip.link)) words.append(opener(clip));
  made.style.setProperty("--ratio", clip.ratio);
  made.dataset.card = clip.h;
  if (clip.ratio > 1.2) made.classList.add("broad");
  mark(made, clip);
  return made;
}
function opener(clip) { return node("a", { href: clip.link, rel: "noopener", target: "_blank", textContent: "open file" }); }
function mark(made, clip) {
  const star = made.querySelector(".star"), on = picks.has(clip.h);
  made.classList.toggle("picked", on);
  star.textContent = on ? "★" : "☆";
  star.setAttribute("aria-pressed", on);
  star.setAttribute("aria-label", `Pick ${clip.s}`);
}

// ---- first frames, where there are no posters: two hidden players draw them -----

const waiting = [], kept = new Map(), idle = [];
let players = 0;
function frame(clip, place) {
  if (kept.has(clip.h)) { place.prepend(copy(kept.get(clip.h))); return; }
  waiting.push([clip, place]);
  if (waiting.length === 1) setTimeout(draw);
}
function copy(source) {
  const made = node("canvas", { width: source.width, height: source.height });
  made.getContext("2d").drawImage(source, 0, 0);
  return made;
}
function draw() {
  if (!idle.length && players < 2) { players += 1; idle.push(node("video", { muted: true, preload: "auto" })); }
  while (idle.length && waiting.length) {
    const [clip, place] = waiting.shift();
    if (place.isConnected) film(idle.pop(), clip, place);
  }
}
function film(player, clip, place) {
  const end = () => {
    player.onloadeddata = player.onerror = null;
    player.removeAttribute("src"); player.load();
    idle.push(player); draw();
  };
  player.onloadeddata = () => {
    const tall = 300, canvas = node("canvas", { width: Math.round(tall * clip.ratio), height: tall });
    canvas.getContext("2d").drawImage(player, 0, 0, canvas.width, tall);
    if (kept.size > 400) kept.delete(kept.keys().next().value);
    kept.set(clip.h, canvas);
    place.prepend(copy(canvas));
    end();
  };
  player.onerror = () => { unplayable(clip); end(); };
  player.src = clip.url;
}
function unplayable(clip) {
  clip.broken = true;
  for (const place of document.querySelectorAll(`[data-hash="${clip.h}"]`)) if (!place.querySelector(".blank, img, canvas")) place.prepend(blank(clip));
  for (const place of document.querySelectorAll(`[data-card="${clip.h}"] .words > div`)) if (!place.querySelector("a")) place.append(opener(clip));
}

// ---- the one player --------------------------------------------------------------

const video = $("video");
let playing = null, soon = 0;
function play(place) {
  const clip = byHash.get(place.dataset.hash);
  if (!clip?.url || clip.broken || $("dialog").open) return;
  if (playing === place) return;
  stop();
  playing = place;
  video.muted = true; video.controls = false; video.tabIndex = -1; video.dataset.of = clip.h;
  video.setAttribute("aria-hidden", "true");
  place.append(video);
  video.src = clip.url;
  video.play().catch(() => { /* stopped before it began, or told by `error` */ });
}
function stop() {
  clearTimeout(soon);
  if (!playing && !video.hasAttribute("src")) return;
  playing = null;
  video.pause(); video.removeAttribute("src"); video.load();
  video.removeAttribute("aria-hidden");
  $("park").append(video);
}
video.addEventListener("error", () => {
  const clip = byHash.get(video.dataset.of);
  if (!clip || !video.hasAttribute("src")) return;
  const staged = $("dialog").open;
  stop(); unplayable(clip);
  if (staged) stage(clip);
});
function shotOf(event) { return event.target.closest?.(".shot"); }
function left(place) { clearTimeout(soon); if (playing === place) stop(); }
function later(place) { clearTimeout(soon); soon = setTimeout(() => play(place), 90); }
document.addEventListener("pointerover", (event) => { const place = shotOf(event); if (place && event.pointerType === "mouse" && !calm.matches && place !== playing) later(place); });
document.addEventListener("pointerout", (event) => { const place = shotOf(event); if (place && !place.contains(event.relatedTarget)) left(place); });
document.addEventListener("focusin", (event) => { const place = shotOf(event); if (place?.matches(":focus-visible") && !calm.matches) later(place); });
document.addEventListener("focusout", (event) => { if (shotOf(event)) left(shotOf(event)); });

// ---- the gallery: sixty cards at a time ---------------------------------------------

let drawn = 0;
function more() {
  if (wish.view !== "gallery" || drawn >= shown.length) return;
  const part = document.createDocumentFragment();
  for (const clip of shown.slice(drawn, drawn + CHUNK)) part.append(card(clip));
  drawn = Math.min(drawn + CHUNK, shown.length);
  $("grid").append(part);
}
function gallery() {
  stop(); waiting.length = 0; drawn = 0;
  $("grid").replaceChildren();
  if (!shown.length) $("grid").append(node("li", { className: "empty", textContent: "No clip fits. Clear a filter or search for something else." }));
  more();
}
const near = new IntersectionObserver((seen) => { if (seen.some((one) => one.isIntersecting)) { more(); again($("more")); } }, { rootMargin: "900px" });
function again(place) { near.unobserve(place); if (drawn < shown.length) requestAnimationFrame(() => near.observe(place)); }

// ---- compare: two axes -----------------------------------------------------------------

let lines = [], lined = 0;
function compare() {
  stop(); waiting.length = 0;
  const column = data.axes.findIndex(([name]) => name === wish.columns);
  const row = data.axes.findIndex(([name]) => name === wish.rows);
  const others = data.axes.map((_, axis) => axis).filter((axis) => axis !== column && (axis < data.named || !data.named));
  const keys = row >= 0 && row !== column ? [row] : others;
  const groups = new Map();
  for (const clip of shown) {
    const name = keys.map((axis) => clip.labels[axis]).filter(Boolean).join("  ") || (keys.length ? "none of these" : "all clips");
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(clip);
  }
  const used = new Set(shown.map((clip) => (column < 0 ? -1 : clip.l[column])));
  const values = (column < 0 ? [] : data.axes[column][1]).map((value, index) => [value, index]).filter(([, index]) => used.has(index));
  if (used.has(-1)) values.push(["–", -1]);
  lines = [...groups].map(([name, members]) => ({ name, cells: values.map(([, index]) => members.filter((clip) => (column < 0 ? -1 : clip.l[column]) === index)) }));
  const head = node("tr", {}, node("td"), ...values.map(([value]) => node("th", { scope: "col", textContent: value })));
  $("pivot").replaceChildren(node("thead", {}, head), node("tbody"));
  lined = 0;
  moreRows();
}
function moreRows() {
  if (wish.view !== "compare") return;
  for (const line of lines.slice(lined, lined + ROWS)) {
    const button = node("button", { type: "button", textContent: "Play row" });
    button.addEventListener("click", () => together(made, button));
    const made = node("tr", {}, node("th", { scope: "row" }, line.name, button));
    for (const cell of line.cells) {
      const list = node("ul", { className: "grid" }, ...cell.slice(0, 12).map(card));
      made.append(node("td", {}, cell.length ? list : node("span", { className: "none", textContent: "–" })));
    }
    $("pivot").tBodies[0].append(made);
  }
  lined += ROWS;
}
const nearRows = new IntersectionObserver((seen) => { if (seen.some((one) => one.isIntersecting) && lined < lines.length) moreRows(); }, { rootMargin: "600px" });

// Players of their own for one row, started together and gone when it stops.
let row = null;
function silence() {
  if (!row) return;
  for (const player of row.players) { player.pause(); player.removeAttribute("src"); player.load(); player.remove(); }
  row.button.textContent = "Play row";
  row = null;
}
async function together(made, button) {
  const own = row?.button === button;
  silence(); stop();
  if (own) return;
  const places = [...made.querySelectorAll(".shot")].filter((place) => byHash.get(place.dataset.hash).url).slice(0, PLAYERS);
  row = { button, players: places.map((place) => {
    const player = node("video", { muted: true, playsInline: true, preload: "auto", src: byHash.get(place.dataset.hash).url });
    player.setAttribute("aria-hidden", "true");
    place.append(player);
    return player;
  }) };
  const mine = row;
  button.textContent = "Stop row";
  await Promise.all(mine.players.map((player) => new Promise((ready) => {
    player.addEventListener("canplaythrough", ready, { once: true });
    player.addEventListener("error", ready, { once: true });
  })));
  let left = mine.players.length;
  const begin = () => { left = mine.players.length; for (const player of mine.players) { player.currentTime = 0; player.play().catch(() => { left -= 1; }); } };
  for (const player of mine.players) player.addEventListener("ended", () => { left -= 1; if (left <= 0 && row === mine) begin(); });
  if (row === mine) begin();
}

// ---- the contact sheet ---------------------------------------------------------------

let sheeted = null;
function contact() {
  const key = shown.map((clip) => clip.h).join();
  $("sheet").style.setProperty("--across", wish.across);
  if (sheeted === key) return;
  sheeted = key;
  waiting.length = 0;
  const part = document.createDocumentFragment();
  for (const clip of shown.filter((one) => one.url || one.v)) {
    const place = shot(clip);
    const shape = clip.a.length < 6 ? clip.a : (data.settings[clip.x].aspect_ratio || "");
    const made = node("figure", { className: "frame" }, place, node("figcaption", {}, clip.s + " ", node("span", { textContent: shape })));
    part.append(made);
  }
  // Cells are alike, so that rows stand straight; with one format they have its shape.
  const shapes = shown.map((clip) => clip.ratio), least = Math.min(...shapes, 99), most = Math.max(...shapes, 0);
  $("sheet").style.setProperty("--cell", Math.min(Math.max(1, least), most || 1));
  for (const image of part.querySelectorAll("img")) image.loading = "eager";
  $("sheet").replaceChildren(part);
  if (!$("sheet").children.length) $("sheet").append(node("p", { className: "empty", textContent: "No clip with a file fits." }));
}
addEventListener("beforeprint", contact);

// ---- the dialog ------------------------------------------------------------------------

const dialog = $("dialog");
let open = null;
function show(clip) {
  stop(); silence();
  open = clip;
  if (!dialog.open) dialog.showModal();
  stage(clip);
  $("d-name").textContent = clip.s;
  $("d-status").textContent = [`${SHAPE[clip.t] || ""} ${clip.t}`, ...(clip.e ? [reason(clip)] : []), ...(clip.g ? ["flagged by the service"] : []), ...(clip.w ? [`not as ordered: ${clip.w}`] : [])].join(" · ");
  $("d-status").className = clip.t === "done" && !clip.w && !clip.g ? "" : "warn";
  $("d-prompt").textContent = data.prompts[clip.q] || "none";
  $("d-note").value = picks.get(clip.h) || "";
  facts(clip);
  pressed();
  const at = shown.indexOf(clip);
  $("before").disabled = at <= 0;
  $("after").disabled = at < 0 || at >= shown.length - 1;
}
function stage(clip) {
  $("stage").replaceChildren();
  if (!clip.url || clip.broken) {
    const why = clip.url ? "This browser cannot play the file, or it is gone. " : clip.v ? `The clip is ${clip.file}. ` : "There is no file. ";
    const say = node("p", { textContent: why });
    if (clip.link) say.append(opener(clip));
    if (clip.v && clip.poster) $("stage").append(node("img", { src: clip.poster, alt: "" }));
    $("stage").append(say);
    return;
  }
  video.muted = false; video.controls = true; video.tabIndex = 0; video.dataset.of = clip.h;
  if (clip.poster) video.poster = clip.poster;
  $("stage").append(video);
  video.src = clip.url;
  if (!calm.matches) video.play().catch(() => { /* a press on play will do */ });
}
function facts(clip) {
  const list = $("d-facts");
  list.replaceChildren();
  const add = (name, value, kept = false, link = "") => {
    if (value === undefined || value === "") return;
    const cell = node("dd", {}, link ? node("a", { href: link, rel: "noopener", target: "_blank", textContent: value }) : String(value));
    if (kept) cell.append(copier(String(value)));
    list.append(node("dt", { textContent: name }), cell);
  };
  add("file", clip.file, true, clip.link);
  add("cost", `${money(clip.c)}${clip.n > 1 ? `, ${clip.n} attempts` : ""}`);
  data.axes.forEach(([name], axis) => add(name, clip.labels[axis]));
  for (const [name, value] of Object.entries(data.settings[clip.x])) if (!data.axes.some(([axis]) => axis === name)) add(name, value);
  if (clip.a.length > 5) add("pixels", clip.a.replace(":", " × "));
  if (clip.b) add("size", `${(clip.b / 1e6).toFixed(1)} MB`);
  add("times", [["queue", clip.u], ["render", clip.y], ["download", clip.o]].filter(([, value]) => value !== undefined).map(([name, value]) => `${name} ${spell(value)}`).join(", "));
  if (clip.z) add("finished", new Date(clip.z * 1000).toLocaleString());
  add("model", clip.m);
  add("hash", clip.h, true);
  add("prediction", clip.i, true);
}
function copier(text) {
  const button = node("button", { type: "button", textContent: "Copy" });
  button.dataset.copy = text;
  return button;
}
function pressed() {
  const on = picks.has(open.h);
  $("d-pick").setAttribute("aria-pressed", on);
  $("d-pick").textContent = on ? "★ Picked" : "☆ Pick";
}
function step(by) { const next = shown[shown.indexOf(open) + by]; if (next) show(next); }
dialog.addEventListener("close", () => {
  stop();
  video.removeAttribute("poster");
  const back = document.querySelector(`#${wish.view} [data-hash="${open?.h}"]`);
  open = null;
  back?.focus({ preventScroll: false });
  clearTimeout(soon);
});
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
$("close").addEventListener("click", () => dialog.close());
$("before").addEventListener("click", () => step(-1));
$("after").addEventListener("click", () => step(1));
$("d-pick").addEventListener("click", () => pick(open));
$("d-note").addEventListener("input", () => { if (!picks.has(open.h)) pick(open, false); picks.set(open.h, $("d-note").value); remember(); });

// ---- picks -------------------------------------------------------------------------------

function pick(clip, toggle = true) {
  if (!picks.has(clip.h)) picks.set(clip.h, "");
  else if (toggle) picks.delete(clip.h);
  for (const made of document.querySelectorAll(`[data-card="${clip.h}"]`)) mark(made, clip);
  if (open) pressed();
  $("picked").textContent = picks.size;
  $("names").disabled = $("csv").disabled = !picks.size;
  remember();
}
// No spreadsheet shall take a cell for a formula.
function cell(text) {
  const safe = text.replace(/^(?=[\s\u00a0]*[=+\-@\uff1d\uff0b\uff0d\uff20]|\t)/gm, "'");
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
function picksCsv() {
  const chosen = clips.filter((clip) => picks.has(clip.h));
  return "\ufeff" + ["slug,hash,note", ...chosen.map((clip) => [clip.s, clip.h, picks.get(clip.h)].map(cell).join(","))].join("\r\n") + "\r\n";
}
$("csv").addEventListener("click", () => {
  const url = URL.createObjectURL(new Blob([picksCsv()], { type: "text/csv" }));
  node("a", { href: url, download: "picks.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
});
$("names").addEventListener("click", () => clip_board($("names"), clips.filter((clip) => picks.has(clip.h) && clip.f).map((clip) => clip.file).join("\n")));
async function clip_board(button, text) {
  const said = button.textContent;
  try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; } catch { button.textContent = "Not allowed here"; }
  setTimeout(() => { button.textContent = said; }, 1500);
}

// ---- hands --------------------------------------------------------------------------------

document.addEventListener("click", (event) => {
  const at = (name) => event.target.closest?.(name);
  if (at(".shot")) show(byHash.get(at(".shot").dataset.hash));
  else if (at("[data-pick]")) pick(byHash.get(at("[data-pick]").dataset.pick));
  else if (at("[data-copy]")) clip_board(at("[data-copy]"), at("[data-copy]").dataset.copy);
  else if (at("[data-open]")) show(byHash.get(at("[data-open]").dataset.open));
  else if (at("[data-view]")) { wish.view = at("[data-view]").dataset.view; refresh(); scrollTo(0, 0); }
});
function neighbour(place, key) {
  const all = [...document.querySelectorAll(`#${wish.view} .shot`)], at = all.indexOf(place);
  if (key === "ArrowRight") return all[at + 1];
  if (key === "ArrowLeft") return all[at - 1];
  const here = place.getBoundingClientRect(), middle = here.left + here.width / 2, down = key === "ArrowDown";
  let best, least = Infinity;
  for (const one of all) {
    const box = one.getBoundingClientRect(), rise = down ? box.top - here.top : here.top - box.top;
    const far = rise * 4 + Math.abs(box.left + box.width / 2 - middle);
    if (rise > 20 && far < least) [best, least] = [one, far];
  }
  return best;
}
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches?.("input:not([type=checkbox]), select, textarea");
  if (dialog.open) {
    if (typing || event.target === video) return;
    if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
    else if (event.key.toLowerCase() === "p") pick(open);
    return;
  }
  if (event.key === "/" && !typing) { event.preventDefault(); $("search").focus(); return; }
  if (event.key === "Escape" && event.target === $("search")) { $("search").value = wish.query = ""; refresh(); return; }
  const place = shotOf(event);
  if (!place) return;
  if (event.key.startsWith("Arrow")) {
    const next = neighbour(place, event.key);
    if (next) { event.preventDefault(); next.focus(); next.scrollIntoView({ block: "nearest" }); }
  } else if (event.key === " ") {
    event.preventDefault();
    if (playing === place) stop(); else play(place);
  } else if (event.key.toLowerCase() === "p") pick(byHash.get(place.dataset.hash));
});
document.addEventListener("keyup", (event) => { if (event.key === " " && shotOf(event)) event.preventDefault(); });
let typed = 0;
$("search").addEventListener("input", () => { clearTimeout(typed); typed = setTimeout(() => { wish.query = $("search").value.trim(); refresh(); }, 60); });
$("sort").addEventListener("change", () => { wish.sort = $("sort").value; refresh(); });
$("only").addEventListener("change", () => { wish.only = $("only").checked; refresh(); });
$("rows").addEventListener("change", () => { wish.rows = $("rows").value; refresh(); });
$("columns").addEventListener("change", () => { wish.columns = $("columns").value; refresh(); });
$("across").addEventListener("change", () => { wish.across = $("across").value; refresh(); });
$("print").addEventListener("click", () => print());
$("clear").addEventListener("click", () => { wish.chosen.clear(); wish.query = ""; wish.only = false; refresh(); $("main").focus(); });
addEventListener("hashchange", () => { recall(); refresh(); });

// ---- all together ------------------------------------------------------------------------

function refresh() {
  silence();
  tick(select());
  for (const name of VIEWS) $(name).hidden = name !== wish.view;
  for (const tab of document.querySelectorAll("[data-view]")) if (tab.dataset.view === wish.view) tab.setAttribute("aria-current", "page"); else tab.removeAttribute("aria-current");
  const lists = ["gallery", "compare", "contact"].includes(wish.view);
  $("body").classList.toggle("wide", !lists);
  document.querySelector(".bar").hidden = !lists;
  $("sorting").hidden = wish.view === "compare";
  if (document.activeElement !== $("search")) $("search").value = wish.query;
  $("sort").value = wish.sort; $("rows").value = wish.rows; $("columns").value = wish.columns; $("across").value = wish.across;
  if (wish.view !== "contact") { sheeted = null; $("sheet").replaceChildren(); }
  if (wish.view === "gallery") { gallery(); again($("more")); } else { stop(); $("grid").replaceChildren(); }
  if (wish.view === "compare") compare(); else $("pivot").replaceChildren();
  if (wish.view === "contact") contact();
  remember();
}
function axisOption([name]) { return node("option", { value: name, textContent: name.replaceAll("_", " ") }); }
$("rows").append(node("option", { value: "*", textContent: "all other axes" }), ...data.axes.map(axisOption));
$("columns").append(...data.axes.map(axisOption));
document.querySelector(".tabs").hidden = false;
$("body").hidden = false;
if (matchMedia("(max-width: 52rem)").matches) document.querySelector("#rail details").open = false;
rail();
recall();
refresh();
nearRows.observe($("morerows"));
})();
