// Wires the page: files in, cards out. What was judged is in `cards`, and gone with the page.

import { get, post, useToken, Problem } from "./client.js";
import { Card, shortName } from "./cards.js";

const AT_ONCE = 3; // requests
const at = (id) => document.getElementById(id);
const cards = [];
const queue = [];
let running = 0, attributors = [], gallery = null, limits = null;

const say = (text) => (at("said").textContent = text);
const chosen = () => attributors.find((each) => each.name === at("attributor").value) ?? attributors[0];

async function open() {
  let server;
  try {
    if ((await get("/health")).token && !at("token").value) return ask("");
    server = await get("/v1/server");
  } catch (problem) {
    if (problem.status !== 401) throw problem;
    return ask("That is not the token.");
  }
  limits = server.limits;
  document.body.classList.toggle("no-pdf", !server.pdf);
  attributors = (await get("/v1/attributors")).attributors;
  gallery = server.gallery === null ? null : await get("/v1/gallery");
  at("entry").hidden = true;
  at("desk").hidden = false;
  at("attributor").replaceChildren(...attributors.map(({ name }) => new Option(shortName(name), name)));
  at("choice").hidden = attributors.length < 2;
  describe();
}

function ask(why) {
  at("entry-says").textContent = why;
  at("entry").hidden = false;
  at("token").focus();
}

function describe() {
  const one = chosen(), size = (limits.max_bytes / 2 ** 20).toFixed(0);
  const known = gallery ? `Compared with ${gallery.models.length} known models. ` : "";
  at("question").textContent = one ? `Did ${shortName(one.name)} make it?` : "Which known model made it?";
  at("about").textContent = (one ? `${one.promise} ` : "") + known;
  const reads = one ? one.reads : { kind: "picture", formats: ["PNG", "JPEG", "WebP", "BMP", "TIFF"] };
  const shape = reads.shape?.length === 3 ? `${reads.shape[2]} × ${reads.shape[1]} pixels${reads.larger ? " or more" : ""}, best as the generator wrote them; ` : "";
  at("accepts").textContent = `${reads.formats.join(", ")}. ${shape ? `Pictures of ${shape}u` : "U"}p to ${size} MB each, several at once if you like.`;
  at("limits").textContent = "A verdict is about one model. Models that share its last layers are attributed together, and traces can be removed or imitated.";
}

function add(files) {
  const made = [...files].map((file) => new Card(file, at("card")));
  for (const card of made) {
    cards.unshift(card);
    wire(card);
    enqueue(card);
  }
  at("cards").prepend(...made.map((card) => card.item));
  at("visit").hidden = cards.length === 0;
  if (made.length) say(made.length === 1 ? `${made[0].file.name} is being judged.` : `${made.length} files are being judged.`);
  count();
}

function enqueue(card) {
  card.stop = new AbortController();
  card.attributor = chosen();
  if (card.file.size > limits.max_bytes) {
    card.failed(new Problem(413, "too_large", `The file has ${(card.file.size / 2 ** 20).toFixed(1)} MB; the limit is ${(limits.max_bytes / 2 ** 20).toFixed(0)} MB.`));
    return;
  }
  card.waiting();
  queue.push(card);
  next();
}

function next() {
  while (running < AT_ONCE && queue.length) {
    running += 1;
    judge(queue.shift()).finally(() => {
      running -= 1;
      count();
      next();
    });
  }
}

async function judge(card) {
  if (card.stop.signal.aborted) return;
  const options = { signal: card.stop.signal, onProgress: (share) => card.progress(share), onBusy: (words) => card.waiting(`The server is busy: ${words}`) };
  try {
    const report = card.attributor ? await post(`/v1/attribute?attributor=${encodeURIComponent(card.attributor.name)}`, [card.file], options) : null;
    const ranked = gallery && isPicture(card) ? await post("/v1/identify", [card.file], options) : null;
    card.done(report, ranked, card.attributor);
    say(`${card.file.name}: ${card.part(".verdict").textContent}.`);
  } catch (problem) {
    if (problem.error === "stopped") return;
    card.failed(problem);
    say(`${card.file.name} could not be judged: ${problem.message}`);
  }
}

const isPicture = (card) => (card.attributor?.reads.kind ?? "picture") === "picture";

function wire(card) {
  card.part(".remove").addEventListener("click", () => {
    const next = card.item.nextElementSibling ?? card.item.previousElementSibling;
    drop(card);
    (next?.querySelector("article") ?? at("files")).focus();
    say(`${card.file.name} was removed.`);
    count();
  });
  card.part(".retry").addEventListener("click", () => {
    enqueue(card);
    card.article.focus();
  });
  card.part(".json").addEventListener("click", () => keep(JSON.stringify(card.toJson(), null, 1), `${card.file.name}.json`, "application/json"));
  for (const form of ["html", "pdf"])
    card.part(form === "pdf" ? ".pdf" : ".page").addEventListener("click", (event) => page(event.currentTarget, [card], card.attributor, `${card.file.name}.${form}`, form));
}

function drop(card) {
  card.stop?.abort();
  cards.splice(cards.indexOf(card), 1);
  card.remove();
}

// The server has kept nothing, so the files are sent and judged again.
async function page(button, some, attributor, name, form) {
  button.disabled = true;
  say("The report is being made.");
  try {
    const made = await post(`/v1/report?attributor=${encodeURIComponent(attributor.name)}&form=${form}`, some.map((card) => card.file), { as: "file" });
    keep(made, name, made.type);
    say("The report was downloaded.");
  } catch (problem) {
    say(`There is no report: ${problem.message}`);
    at("counts").textContent = `There is no report: ${problem.message}`;
  } finally {
    button.disabled = false;
    button.focus();
  }
}

function keep(text, name, type) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function count() {
  const found = {};
  for (const card of cards) found[card.state] = (found[card.state] ?? 0) + 1;
  const names = { busy: "being judged", refused: "refused", failed: "failed" };
  at("counts").textContent = Object.entries(found).map(([state, number]) => `${number} ${names[state] ?? state}`).join(", ");
  at("visit").hidden = cards.length === 0;
  const bytes = cards.reduce((sum, card) => sum + card.file.size, 0);
  at("all-page").disabled = !attributors.length || !!found.busy || cards.length > (limits?.max_files ?? 0) || bytes > (limits?.max_bytes ?? 0);
  at("all-page").title = at("all-page").disabled && !found.busy ? `One report takes at most ${limits?.max_files} files.` : "";
  at("all-pdf").disabled = at("all-page").disabled;
  at("all-pdf").title = at("all-page").title;
  at("all-json").disabled = !!found.busy;
}

at("files").addEventListener("change", (event) => {
  add(event.target.files);
  event.target.value = "";
});
at("attributor").addEventListener("change", describe);
at("entry").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(at("token").value);
  open().catch(broken);
});
for (const [id, form] of [["all-page", "html"], ["all-pdf", "pdf"]])
  at(id).addEventListener("click", (event) => page(event.currentTarget, [...cards].reverse(), chosen(), `morelli-report.${form}`, form));
at("all-json").addEventListener("click", () => keep(JSON.stringify([...cards].reverse().map((card) => card.toJson()), null, 1), "morelli.json", "application/json"));
at("forget").addEventListener("click", () => {
  for (const card of [...cards]) drop(card);
  queue.length = 0;
  count();
  at("files").focus();
  say("Everything was forgotten.");
});

let depth = 0; // of elements that a drag has entered
const over = (change) => at("drop").classList.toggle("over", (depth = Math.max(0, depth + change)) > 0);
addEventListener("dragenter", (event) => (event.preventDefault(), over(1)));
addEventListener("dragleave", () => over(-1));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  over(-depth);
  if (!at("desk").hidden && event.dataTransfer?.files.length) add(event.dataTransfer.files);
});
addEventListener("paste", (event) => {
  if (!at("desk").hidden && event.clipboardData?.files.length) add(event.clipboardData.files);
});

function broken(problem) {
  at("about").textContent = `The server cannot be asked: ${problem.message}`;
}

open().catch(broken);
