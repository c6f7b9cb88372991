// One card for each file: from waiting to a verdict, in words, with what it rests on.

import { brief, histogram, length } from "./plots.js";

const SHOWN = 5; // candidates of a ranking
const percent = (share) => `${brief(100 * share)} %`;
const HEADINGS = { attributed: "Attributed", "not attributed": "Not attributed", inconclusive: "Inconclusive" };
export const shortName = (name) => name.replace(/\.(attributor|gallery)$/, "");

export class Card {
  constructor(file, template) {
    this.file = file;
    this.report = this.identification = null;
    this.item = template.content.firstElementChild.cloneNode(true);
    this.article = this.part("article");
    const name = this.part(".name");
    name.textContent = file.name;
    name.id = `name-${crypto.getRandomValues(new Uint32Array(1))[0]}`;
    this.article.setAttribute("aria-labelledby", name.id);
    for (const button of this.item.querySelectorAll("button")) button.setAttribute("aria-describedby", name.id);
    this.show();
  }

  part(selector) {
    return this.item.querySelector(selector);
  }

  show() {
    this.address = URL.createObjectURL(this.file);
    const image = this.part("img");
    this.part(".kind").textContent = this.file.name.includes(".") ? this.file.name.split(".").pop().slice(0, 6).toUpperCase() : "file";
    image.addEventListener("load", () => {
      image.hidden = false;
      image.classList.toggle("small", image.naturalWidth <= 144);
      this.part(".kind").hidden = true;
    });
    if (this.file.type.startsWith("image/")) image.src = this.address;
  }

  is(state, heading, words = []) {
    this.state = state;
    this.article.className = state.replace(" ", "-");
    this.article.setAttribute("aria-busy", String(state === "busy"));
    this.part(".verdict").textContent = heading;
    this.part(".words").replaceChildren(...words.filter(Boolean).map((text) => Object.assign(document.createElement("span"), { textContent: text })));
    this.part("progress").hidden = state !== "busy";
    this.part(".retry").hidden = state !== "failed";
    for (const name of [".page", ".pdf", ".json"]) this.part(name).hidden = ["busy", "failed"].includes(state);
  }

  waiting(words = "Waiting") {
    this.is("busy", words);
    this.part("progress").value = 0;
  }

  progress(share) {
    const bar = this.part("progress");
    if (share < 1) {
      bar.value = share;
      this.part(".verdict").textContent = `Sending, ${Math.round(100 * share)} %`;
    } else {
      bar.removeAttribute("value");
      this.part(".verdict").textContent = "Judging";
    }
  }

  failed(problem) {
    this.is("failed", "Could not be judged", [problem.message]);
  }

  done(report, identification, attributor) {
    this.report = report;
    this.identification = identification;
    const refused = (report ?? identification).refused[0];
    const verdicts = report ? report.verdicts : [];
    if (refused && !verdicts.length) this.is("refused", "Not a sample that is read here", [refused.reason]);
    else if (verdicts.length > 1) this.several(report, attributor);
    else if (verdicts.length) this.one(verdicts[0], attributor);
    else this.identified();
    const found = identification?.samples[0];
    if (found) this.rank(found, identification.gallery);
    this.facts(verdicts[0]?.facts ?? found?.facts);
    for (const name of [".page", ".pdf"]) this.part(name).hidden = !verdicts.length;
  }

  one(verdict, attributor) {
    const p = verdict.p_value, ratio = verdict.likelihood_ratio, words = [verdict.reason];
    const least = 1 / (attributor.held_out + 1);
    if (p !== null && p <= 1.0001 * least) words.push(`None of ${attributor.held_out} held-out samples of the model is this unlike it (p-value ${brief(p)}, the least possible).`);
    else if (p !== null) words.push(`${percent(p)} of the model's own samples are at least this unlike it (p-value ${brief(p)}).`);
    if (ratio) words.push(`${ratio.words} (likelihood ratio ${brief(10 ** ratio.log10)})`);
    this.is(verdict.outcome, HEADINGS[verdict.outcome], words);
    const own = attributor.scores[verdict.notes.condition ?? ""] ?? Object.values(attributor.scores)[0];
    if (verdict.score === null || !own) return;
    this.plot(histogram(own, verdict.score), `Its score beside ${attributor.held_out} samples of ${shortName(attributor.name)} that were held out (heights: square root of counts).`);
  }

  several(report, attributor) {
    const counts = Object.entries(report.summary).filter(([, count]) => count);
    const least = report.verdicts.filter((verdict) => verdict.p_value !== null).sort((a, b) => a.p_value - b.p_value)[0];
    const words = [`${report.verdicts.length} rows or windows: ${counts.map(([name, count]) => `${count} ${name}`).join(", ")}.`];
    if (least) words.push(`The least p-value is ${brief(least.p_value)}, of number ${least.row + 1}.`);
    this.is(report.summary["not attributed"] ? "not attributed" : report.summary.attributed ? "attributed" : "inconclusive", counts.length > 1 ? "Mixed" : HEADINGS[counts[0][0]], words);
    if (least && attributor.scores[least.notes.condition ?? ""]) this.plot(histogram(attributor.scores[least.notes.condition ?? ""], least.score), "The one that is least like the model, beside held-out own samples.");
  }

  identified() {
    const found = this.identification.samples[0];
    this.is(found.identified ? "attributed" : "inconclusive", found.identified ?? "None of these", [pNone(found)]);
  }

  plot(drawn, caption) {
    const figure = this.part(".scores");
    figure.querySelector("svg")?.remove();
    figure.prepend(drawn);
    figure.querySelector("figcaption").textContent = caption;
    figure.hidden = false;
  }

  rank(found, gallery) {
    const section = this.part(".ranking"), table = section.querySelector("table");
    section.querySelector("h4").textContent = found.identified ? `Identified: ${found.identified}` : `Not identified; the nearest of ${gallery.entries} known models`;
    const most = Math.max(...found.candidates.map((each) => each.score), 1e-9);
    const head = row("th", ["Model", "Distance", "", "p-value"]);
    const rows = found.candidates.slice(0, SHOWN).map((each, i) => {
      const made = row("td", ["", "", brief(each.score), each.p_value === null ? "–" : brief(each.p_value)]);
      const name = Object.assign(document.createElement("th"), { scope: "row", textContent: each.name });
      made.firstChild.replaceWith(name);
      made.children[1].append(length(Math.max(0, each.score / most)));
      made.children[1].className = "length";
      if (i === 0 && found.identified) made.className = "first";
      return made;
    });
    const top = document.createElement("thead"), rest = document.createElement("tbody");
    top.append(head);
    rest.append(...rows);
    table.replaceChildren(top, rest);
    const more = found.candidates.length > SHOWN ? ` ${found.candidates.length - SHOWN} more are in the JSON.` : "";
    section.querySelector("p").textContent = [pNone(found), ...gallery.warnings].filter(Boolean).join(" ") + more;
    section.hidden = false;
  }

  facts(facts) {
    if (!facts) return;
    const list = this.part("dl"), shown = { format: "Format", size: "Size", mode: "Mode", coding: "Coding", rate: "Rate", sha256: "SHA-256" };
    const pairs = Object.entries(shown).filter(([key]) => facts[key] != null).map(([key, name]) => [name, Array.isArray(facts[key]) ? facts[key].join(" × ") : facts[key]]);
    for (const note of facts.notes ?? []) pairs.push(["Note", note]);
    pairs.push(...provenance(facts.provenance));
    list.replaceChildren(...pairs.flatMap(([name, value]) => [Object.assign(document.createElement("dt"), { textContent: name }), Object.assign(document.createElement("dd"), { textContent: value })]));
    this.part("details").hidden = pairs.length === 0;
  }

  toJson() {
    return { file: this.file.name, report: this.report, identification: this.identification };
  }

  remove() {
    URL.revokeObjectURL(this.address);
    this.item.remove();
  }
}

const pNone = (found) => (found.p_value === null ? "" : `p-value ${brief(found.p_value)} of the proposition that it is none of these.`);

function row(kind, texts) {
  const made = document.createElement("tr");
  made.append(...texts.map((text, i) => Object.assign(document.createElement(kind), { textContent: text, className: i > 1 ? "n" : "" })));
  return made;
}

// What the file claims of itself; absence is said, too, where it was looked for.
function provenance(found) {
  if (!found) return [];
  const signed = found.c2pa && [found.c2pa.state, found.c2pa.claim_generator, found.c2pa.signer && `signed by ${found.c2pa.signer}`, found.c2pa.ai_generated ? "says it is AI-generated" : ""];
  const pairs = [["C2PA", signed ? signed.filter(Boolean).join(", ") : "no manifest"]];
  pairs.push(["Known tools", found.tools?.length ? found.tools.join(", ") : "none named in its metadata"]);
  return pairs;
}
