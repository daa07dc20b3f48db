// The contact sheet: which studies are shown, and in which order. A page with pictures holds its studies already; the index of
// a large store holds them as data, of which only as many become rows as are looked at.
"use strict";
(() => {
  const STEP = 200;
  const form = document.querySelector(".filters");
  const sheet = document.querySelector(".sheet");
  const nothing = document.querySelector(".nothing");
  const more = document.querySelector(".more");
  const kinds = [...form.querySelectorAll("button[data-tag]")];
  const data = document.getElementById("index");
  const entries = data ? JSON.parse(data.textContent).map(fromData) : [...sheet.children].map(fromNode);
  const chosen = new Set();
  let limit = STEP;

  function fromNode(node, place) {
    return { place, node, ...searched(node.dataset.id, node.dataset.tags, node.dataset.values) };
  }

  function fromData([id, tags, values, href, why], place) {
    return { place, href, why, node: null, ...searched(id, tags, values) };
  }

  function searched(id, tags, values) {
    return {
      id,
      low: id.toLowerCase(),
      tags: new Set(tags.split(" ").filter(Boolean).map(Number)),
      values: values.split(",").map((text) => (text === "" ? null : Number(text))),
    };
  }

  function element(name, type, text) {
    const made = document.createElement(name);
    made.className = type;
    made.textContent = text;
    return made;
  }

  function row(entry) {
    const node = element("li", "entry row", "");
    const [flags, notes] = ["flag", "note"].map((kind) => [...entry.tags].filter((tag) => kinds[tag].classList.contains(kind)));
    const name = element("h2", "", "");
    const link = element("a", "", entry.id);
    link.href = entry.href;
    name.append(link);
    const chips = element("p", "chips", "");
    chips.append(...flags.map((tag) => element("span", "chip flag", kinds[tag].dataset.name)));
    const words = element("div", "words", "");
    words.append(...entry.why.map((text) => element("p", "why", text)));
    if (notes.length) words.append(element("p", "notes", notes.map((tag) => kinds[tag].dataset.name).join(", ")));
    node.classList.toggle("flagged", flags.length > 0);
    node.append(name, chips, words);
    return node;
  }

  // studies without the number stand last either way
  function compare(a, b, key, sign) {
    if (key === "id") return sign * (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
    if (key === "") return a.place - b.place;
    const [x, y] = [a.values[key], b.values[key]];
    if (x === null || y === null) return (x === null) - (y === null) || a.place - b.place;
    return sign * (x - y) || a.place - b.place;
  }

  function show() {
    const find = form.elements.find.value.trim().toLowerCase();
    const sign = form.elements.down.checked ? -1 : 1;
    const key = form.elements.sort.value;
    const fits = entries
      .filter((entry) => entry.low.includes(find) && (!chosen.size || [...chosen].some((tag) => entry.tags.has(tag))))
      .sort((a, b) => compare(a, b, key, sign));
    const shown = fits.slice(0, limit);
    sheet.replaceChildren(...shown.map((entry) => (entry.node ??= row(entry))));
    tell(fits.length, shown.length);
  }

  function tell(fitting, shown) {
    const [n, all] = [fitting, entries.length].map((number) => number.toLocaleString("en"));
    form.querySelector(".count").value = `${n} of ${all} studies`;
    nothing.hidden = fitting > 0;
    more.hidden = shown === fitting;
    more.textContent = `Show more (${(fitting - shown).toLocaleString("en")} left)`;
  }

  function anew() {
    limit = STEP;
    show();
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-tag]");
    if (!button) return;
    const [on, tag] = [button.getAttribute("aria-pressed") !== "true", Number(button.dataset.tag)];
    button.setAttribute("aria-pressed", String(on));
    if (on) chosen.add(tag);
    else chosen.delete(tag);
    anew();
  });
  form.elements.find.addEventListener("input", anew);
  form.elements.sort.addEventListener("change", anew);
  form.elements.down.addEventListener("change", anew);
  form.elements.large.addEventListener("change", () => sheet.classList.toggle("large", form.elements.large.checked));
  more.addEventListener("click", () => {
    limit += STEP;
    show();
  });
  form.hidden = false;
  form.elements.large.parentNode.hidden = Boolean(data);
  // what is there already stays as it is, so that the page's anchor holds
  if (data) show();
  else tell(entries.length, entries.length);
  sheet.dataset.ready = "true";
})();
