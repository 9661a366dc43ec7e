"use strict";
const data = JSON.parse(document.getElementById("content").textContent);
const images = data.images, classes = data.classes, total = images.label.length;
const PAGE = 60;
const $ = (id) => document.getElementById(id);
const state = { gallery: "worst", label: null, answer: null, by: null, value: null, shown: PAGE, open: null };
const marks = new Map(); // number of the image -> "drop" or the right class
let kept = true; // whether all marks are in a file that was downloaded

// Whatever users named is set as text, never as HTML.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") element.addEventListener("click", value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

const percent = (share) => (share > 0.9999 && share < 1 ? ">99.99 %" : `${(share * 100).toFixed(share > 0.995 || share < 0.005 ? 2 : 1)} %`);
const source = (thumb) => `data:image/${thumb.startsWith("iVBOR") ? "png" : "jpeg"};base64,${thumb}`;
const wrong = (i) => images.label[i] !== images.predicted[i];
const picture = (thumb, name) => make("img", { src: source(thumb), alt: name, class: data.pixelated ? "pixels" : null });

const everything = [...Array(total).keys()];
const byConfidence = (sign) => (a, b) => sign * (images.confidence[a] - images.confidence[b]) || a - b;
const galleries = {
  worst: ["worst", "wrong, the surest first", () => everything.filter(wrong).sort(byConfidence(-1))],
  unsure: ["unsure", "the least sure first", () => [...everything].sort(byConfidence(1))],
  rejected: ["not accepted", "not accepted, the surest first", () => everything.filter((i) => !images.accepted[i]).sort(byConfidence(-1))],
  suspects: ["suspects", "labels worth a look, the likeliest to be wrong first: the model is sure of another (of a weak model, many are its own mistakes)", () => everything.filter((i) => images.suspect[i] !== null).sort((a, b) => images.suspect[a] - images.suspect[b] || a - b)],
  all: ["all", "all", () => everything],
};
const ordered = Object.fromEntries(Object.entries(galleries).map(([name, [, , order]]) => [name, order()]));

function chosen() {
  const slice = state.by === null ? null : data.slices[state.by];
  const value = slice ? slice.values.indexOf(state.value) : -1;
  const found = ordered[state.gallery].filter(
    (i) =>
      (state.label === null || images.label[i] === state.label) &&
      (state.answer === null || images.predicted[i] === state.answer) &&
      (slice === null || slice.of[i] === value),
  );
  return state.gallery === "all" && state.answer !== null ? found.sort(byConfidence(-1)) : found;
}

function card(i) {
  const verdict = wrong(i) ? make("span", { class: "wrong" }, `${classes[images.predicted[i]]} ${percent(images.confidence[i])}`) : make("span", { class: "right" }, `right ${percent(images.confidence[i])}`);
  const children = [picture(images.thumb[i], ""), make("span", {}, classes[images.label[i]]), verdict];
  if (!images.accepted[i]) children.push(make("span", {}, "not accepted"));
  if (marks.has(i)) children.push(make("span", { class: "wrong" }, `marked: ${marks.get(i)}`));
  return make("button", { type: "button", class: marks.has(i) ? "card marked" : "card", "data-image": i, "aria-label": `${images.id[i]}: is ${classes[images.label[i]]}, answered ${classes[images.predicted[i]]} ${percent(images.confidence[i])}${images.accepted[i] ? "" : ", not accepted"}`, onclick: () => open(i) }, ...children);
}

function draw() {
  const found = chosen();
  const filters = [state.label === null ? null : `is ${classes[state.label]}`, state.answer === null ? null : `answered ${classes[state.answer]}`, state.by === null ? null : `${state.by} ${state.value}`];
  $("count").textContent = [`${found.length} of ${total} images: ${galleries[state.gallery][1]}`, ...filters.filter((one) => one !== null)].join("; ");
  $("grid").replaceChildren(...found.slice(0, state.shown).map(card));
  $("more").hidden = found.length <= state.shown;
  for (const button of $("galleries").children) button.setAttribute("aria-pressed", String(button.dataset.gallery === state.gallery));
  $("by-class").value = state.label ?? "";
  $("by-answer").value = state.answer ?? "";
  $("by-slice").value = state.by === null ? "" : JSON.stringify([state.by, state.value]);
}

function show(changes, jump = false) {
  Object.assign(state, { shown: PAGE }, changes);
  draw();
  if (!jump) return;
  $("images").scrollIntoView();
  $("grid").firstElementChild?.focus({ preventScroll: true });
}

const none = { label: null, answer: null, by: null, value: null };
for (const name of Object.keys(galleries)) {
  const button = make("button", { type: "button", "data-gallery": name, onclick: () => show({ gallery: name }) }, ordered[name].length < total ? `${galleries[name][0]} (${ordered[name].length})` : galleries[name][0]);
  $("galleries").append(button);
}
for (const id of ["by-class", "by-answer"]) {
  $(id).append(make("option", { value: "" }, "any"), ...classes.map((name, number) => make("option", { value: number }, name)));
}
$("by-slice").append(make("option", { value: "" }, "any"));
for (const [by, slice] of Object.entries(data.slices)) {
  const options = slice.values.map((value) => make("option", { value: JSON.stringify([by, value]) }, `${by}: ${value}`));
  $("by-slice").append(make("optgroup", { label: by }, ...options));
}
const numberOf = (text) => (text === "" ? null : Number(text));
$("by-class").addEventListener("change", (event) => show({ label: numberOf(event.target.value) }));
$("by-answer").addEventListener("change", (event) => show({ answer: numberOf(event.target.value) }));
$("by-slice").addEventListener("change", (event) => {
  const [by, value] = event.target.value === "" ? [null, null] : JSON.parse(event.target.value);
  show({ by, value });
});
$("reset").addEventListener("click", () => show({ gallery: "all", ...none }));
$("more").addEventListener("click", () => {
  const before = state.shown;
  state.shown += PAGE;
  draw();
  $("grid").children[before]?.focus();
});
for (const button of document.querySelectorAll("button[data-class]")) button.addEventListener("click", () => show({ gallery: "all", ...none, label: Number(button.dataset.class) }, true));
for (const button of document.querySelectorAll("button[data-by]")) {
  const { by, value } = button.dataset;
  if (data.slices[by]?.values.includes(value)) button.addEventListener("click", () => show({ gallery: "all", ...none, by, value }, true));
  else button.hidden = true;
}

// The confusion matrix, or of many classes the pairs that are confused most.
function confusion() {
  const cell = (label, answer, count, most) => {
    const button = make("button", { type: "button", class: count ? null : "zero", "aria-label": `${count} of ${classes[label]} answered ${classes[answer]}`, onclick: () => show({ gallery: "all", ...none, label, answer }, true) }, String(count));
    const element = make("td", {}, button);
    element.style.backgroundColor = `rgba(var(--cell), ${count ? 0.08 + 0.4 * Math.sqrt(count / most) : 0})`;
    return element;
  };
  if (data.confusion.counts) {
    const head = make("tr", {}, make("th", {}, "is \\ answered"), ...classes.map((name) => make("th", { scope: "col" }, name)));
    const rows = data.confusion.counts.map((counts, label) => {
      const most = Math.max(1, counts.reduce((sum, count) => sum + count, 0));
      return make("tr", {}, make("th", { scope: "row" }, classes[label]), ...counts.map((count, answer) => cell(label, answer, count, most)));
    });
    return make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
  }
  const head = make("tr", {}, ...["is", "answered", "images"].map((name) => make("th", { scope: "col" }, name)));
  const most = Math.max(1, ...data.confusion.pairs.map((pair) => pair[2]));
  const rows = data.confusion.pairs.map(([label, answer, count]) => make("tr", {}, make("td", {}, classes[label]), make("td", {}, classes[answer]), cell(label, answer, count, most)));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
}
$("confusion").append(confusion());

// One image: its answer, where the network looked, its neighbours, and the marks.
function open(i) {
  state.open = i;
  $("detail-title").textContent = images.id[i];
  $("large").src = source(images.thumb[i]);
  $("large").className = data.pixelated ? "pixels" : "";
  $("large").alt = images.id[i];
  const said = wrong(i) ? "Answered" : "Rightly answered";
  $("answer").textContent = `${said} ${classes[images.predicted[i]]} with ${percent(images.confidence[i])}; labelled ${classes[images.label[i]]}. ${images.accepted[i] ? "Accepted." : "Not accepted."}`;
  $("top").replaceChildren(...images.top[i].map(([number, share]) => make("li", {}, `${classes[number]} ${percent(share)}`)));
  const reasons = [`Set of likely classes: ${images.set[i].map((number) => classes[number]).join(", ") || "none"}${images.set[i].length < images.set_size[i] ? ` and ${images.set_size[i] - images.set[i].length} more` : ""}.`];
  if (images.suspect[i] !== null) reasons.push(`Its label is worth a look: it fits by ${images.suspect[i].toFixed(2)}, where 0 is not at all and 1 entirely.`);
  $("why").textContent = reasons.join(" ");
  $("right-label").value = ""; // a person says it, not the model
  $("neighbours").replaceChildren(
    ...images.near[i].map((n) => make("div", {}, picture(data.train.thumb[n], data.train.id[n]), make("div", { class: data.train.label[n] === images.label[i] ? "" : "wrong" }, classes[data.train.label[n]]))),
  );
  if (!images.near[i].length) $("neighbours").textContent = "None: this network has no embedding.";
  const heat = data.heat.maps[i];
  $("heat-switch").hidden = !heat;
  $("heat-told").textContent = heat ? "" : data.heat.told;
  $("heat").style.display = "none"; // until the image is there to lie upon
  $("unmark").hidden = !marks.has(i);
  if (!$("detail").open) $("detail").showModal();
}

// Lies over the middle square, of which the network sees `crop` of the side.
function drawHeat() {
  const heat = data.heat.maps[state.open], canvas = $("heat"), image = $("large");
  canvas.style.display = heat && $("show-heat").checked ? "block" : "none";
  if (!heat) return;
  const [height, width, encoded] = heat, values = atob(encoded);
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d"), pixels = context.createImageData(width, height);
  for (let k = 0; k < values.length; k++) {
    const value = values.charCodeAt(k);
    pixels.data.set([255, 255 - value, 0, value], 4 * k);
  }
  context.putImageData(pixels, 0, 0);
  const side = Math.min(image.clientWidth, image.clientHeight) * data.heat.crop;
  Object.assign(canvas.style, { width: `${side}px`, height: `${side}px`, left: `${(image.clientWidth - side) / 2}px`, top: `${(image.clientHeight - side) / 2}px` });
}
$("show-heat").addEventListener("change", drawHeat);
$("large").addEventListener("load", drawHeat);

// The images before and after it, in the order of the gallery.
function step(by) {
  const found = chosen(), next = found[found.indexOf(state.open) + by];
  if (next !== undefined) open(next);
}
$("previous").addEventListener("click", () => step(-1));
$("next").addEventListener("click", () => step(1));
$("detail").addEventListener("keydown", (event) => {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (by && event.target.tagName !== "SELECT") step(by);
});

$("right-label").append(make("option", { value: "" }, "choose"), ...classes.map((name, number) => make("option", { value: number }, name)));
function mark(what) {
  if (what === null) marks.delete(state.open);
  else marks.set(state.open, what);
  kept = marks.size === 0;
  $("marks").className = marks.size ? "some" : "";
  $("marked").textContent = `${marks.size} image${marks.size === 1 ? "" : "s"} marked.`;
  $("detail").close();
  draw();
  $("grid").querySelector(`[data-image="${state.open}"]`)?.focus(); // the one that had it is drawn anew
}
$("mark").addEventListener("click", () => {
  const number = numberOf($("right-label").value);
  if (number === null) $("right-label").focus();
  else mark(classes[number]);
});
$("drop").addEventListener("click", () => mark("drop"));
$("unmark").addEventListener("click", () => mark(null));

const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
$("download").addEventListener("click", () => {
  const rows = [...marks].sort((a, b) => a[0] - b[0]).map(([i, what]) => [images.id[i], what, `marked on the page; was ${classes[images.label[i]]}`, "test"]);
  const text = [["id", "label", "why", "split"], ...rows].map((row) => row.map(quoted).join(",")).join("\n") + "\n";
  const link = make("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: "corrections.csv" });
  link.click();
  kept = true;
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});

addEventListener("beforeunload", (event) => {
  if (!kept) event.preventDefault();
});

// The map.
const canvas = $("places"), hover = $("hover");
const colour = (number) => `hsl(${Math.round((360 * number * 0.618034) % 360)}, 65%, ${[50, 62, 40][number % 3]}%)`;
let pointed = null;
const at = (i) => [12 + (images.place[i][0] / 1000) * (canvas.width - 24), 12 + (1 - images.place[i][1] / 1000) * (canvas.height - 24)];
function plot() {
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  for (const i of everything) {
    const [x, y] = at(i);
    context.beginPath();
    context.arc(x, y, wrong(i) ? 4 : 2.5, 0, 2 * Math.PI);
    context.fillStyle = colour(images.label[i]);
    context.fill();
    if (wrong(i)) {
      context.strokeStyle = colour(images.predicted[i]);
      context.lineWidth = 2;
      context.stroke();
    }
  }
  if (pointed !== null) {
    const [x, y] = at(pointed);
    context.strokeStyle = getComputedStyle(canvas).color;
    context.lineWidth = 2;
    context.strokeRect(x - 7, y - 7, 14, 14);
  }
}
function point(i) {
  if (i === pointed) return;
  pointed = i;
  hover.style.display = i === null ? "none" : "block";
  if (i !== null) hover.replaceChildren(picture(images.thumb[i], ""), make("div", {}, `${classes[images.label[i]]}, answered ${classes[images.predicted[i]]} with ${percent(images.confidence[i])}`));
  plot();
}
function closest(event) {
  const box = canvas.getBoundingClientRect(), scale = canvas.width / box.width;
  const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
  let best = null, least = 400;
  for (const i of everything) {
    const [px, py] = at(i), distance = (px - x) ** 2 + (py - y) ** 2;
    if (distance < least) [best, least] = [i, distance];
  }
  return best;
}
if (images.place.length) {
  plot();
  canvas.addEventListener("mousemove", (event) => point(closest(event)));
  canvas.addEventListener("mouseleave", () => point(null));
  canvas.addEventListener("click", (event) => {
    const i = closest(event);
    if (i !== null) open(i);
  });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      point(((pointed ?? -step) + step + total) % total);
    } else if (event.key === "Enter" && pointed !== null) {
      event.preventDefault(); // or the key would go on to the button that has the focus by then, and close it
      open(pointed);
    }
  });
  const named = classes.slice(0, 30).map((name, number) => {
    const swatch = make("span", { class: "swatch" });
    swatch.style.backgroundColor = colour(number);
    return make("span", {}, swatch, name);
  });
  $("colours").append(...named);
} else canvas.hidden = true;

$("odd").append(
  ...data.train.odd.map((n) => make("figure", {}, picture(data.train.thumb[n], data.train.id[n]), make("figcaption", {}, `${classes[data.train.label[n]]}: ${data.train.id[n]}`))),
);
$("odd-told").hidden = !data.train.odd.length;

draw();
