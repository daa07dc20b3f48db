/* Studies on the page: sections of text tied to a viewer, keys, anchors, printing, the filter. */

class Study {
  constructor(root) {
    this.root = root;
    this.sections = [...root.querySelectorAll("[data-region]")];
    this.status = root.querySelector(".status");
    for (const section of this.sections) {
      section.addEventListener("mouseenter", () => this.viewer && this.viewer.preview(section.dataset.region));
      section.addEventListener("mouseleave", () => this.viewer && this.viewer.preview(null));
      section.addEventListener("click", (e) => this.clicked(section, e));
    }
  }

  async open() {
    if (this.opened) return this.opened;
    const source = document.getElementById(this.root.dataset.payload || "");
    this.opened = source ? this.load(source) : Promise.resolve();
    return this.opened;
  }

  async load(source) {
    const host = this.root.querySelector(".viewer");
    try {
      const voxels = await Voxels.decode(JSON.parse(source.textContent));
      this.viewer = new Viewer(host, voxels, (name, at) => this.select(name, at));
      for (const still of this.root.querySelectorAll("canvas.still")) {
        const name = still.closest("[data-region]").dataset.region;
        if (voxels.regions.has(name)) this.viewer.still(still, name);
      }
      if (this.wanted) this.select(this.wanted);
      this.root.dataset.ready = "true";
    } catch (error) {
      host.querySelector(".loading").textContent = `The slices can't be shown in this browser (${error.message || error}).`;
    }
  }

  clicked(section, event) {
    // opening the reference, or marking text to copy it, chooses nothing
    if (section.contains(event.target.closest("details"))) return;
    const marked = window.getSelection();
    if (!event.target.closest("button") && String(marked) && section.contains(marked.anchorNode)) return;
    const again = section.classList.contains("selected") && event.target.closest("button");
    this.select(again ? null : section.dataset.region, null, section);
    for (const sentence of this.root.querySelectorAll(".sentence.picked")) sentence.classList.remove("picked");
    const sentence = event.target.closest(".sentence");
    if (sentence && !again) sentence.classList.add("picked");
  }

  /* `at`: stay at this voxel (picked in the picture); `chosen`: the section clicked, where a region has two. */
  select(name, at, chosen) {
    const section = chosen || this.sections.find((s) => s.dataset.region === name);
    for (const other of this.sections) {
      const mine = Boolean(name) && other === section;
      other.classList.toggle("selected", mine);
      const button = other.querySelector("button.pick");
      if (button) button.setAttribute("aria-pressed", mine);
    }
    if (section && name) section.scrollIntoView({ block: "nearest" });
    if (!this.viewer) {
      this.wanted = name;
      return;
    }
    this.viewer.select(name);
    if (at) this.viewer.goTo(at);
    const z = this.viewer.at[2] + 1;
    this.status.textContent = name ? `${capital(name)} shown, axial slice ${z} of ${this.viewer.voxels.shape[2]}` : "All regions shown";
  }

  next(by) {
    const open = this.sections.filter((s) => s.querySelector("button.pick:not([disabled])"));
    const now = open.findIndex((s) => s.classList.contains("selected"));
    const target = open[now < 0 && by < 0 ? open.length - 1 : now + by];
    if (!target) return false;
    this.select(target.dataset.region, null, target);
    if (document.activeElement.matches("button.pick")) target.querySelector("button.pick").focus();
    return true;
  }

  key(event) {
    const actions = {
      ArrowDown: () => this.next(1),
      ArrowUp: () => this.next(-1),
      ArrowRight: () => this.viewer && this.viewer.step(null, 1),
      ArrowLeft: () => this.viewer && this.viewer.step(null, -1),
      PageUp: () => this.viewer && this.viewer.step(null, 5),
      PageDown: () => this.viewer && this.viewer.step(null, -5),
      Escape: () => this.select(null),
    };
    if (!actions[event.key] || actions[event.key]() === false) return;
    event.preventDefault();
  }
}

const studies = [...document.querySelectorAll("article.study")].map((root) => new Study(root));
let current = studies[0];

for (const study of studies) {
  const fold = study.root.closest("details.case");
  study.root.addEventListener("pointerdown", () => (current = study));
  if (!fold || fold.open) study.open();
  if (fold) fold.addEventListener("toggle", () => fold.open && (current = study).open());
}

document.addEventListener("keydown", (event) => {
  const fold = current && current.root.closest("details.case");
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, select, textarea") || !current || (fold && !fold.open)) return;
  current.key(event);
});

/* #STUDY or #STUDY/REGION opens there, so that a place can be sent to a colleague. */
function follow() {
  const [id, region] = location.hash.slice(1).split("/").map(decodeURIComponent);
  const study = studies.find((s) => s.root.dataset.study === id);
  if (!study) return;
  const fold = study.root.closest("details.case");
  if (fold) fold.open = true;
  current = study;
  if (region) study.select(region);
  if (fold) fold.scrollIntoView();
}
window.addEventListener("hashchange", follow);
follow();

/* Paper has no folds: references are opened for printing and closed again. */
let folded = [];
window.addEventListener("beforeprint", () => {
  const all = document.querySelectorAll("article.study details:not([open]), details.panel:not([open]), section.panel details:not([open])");
  folded = [...all].filter((d) => d.offsetParent);
  for (const fold of folded) fold.open = true;
});
window.addEventListener("afterprint", () => folded.forEach((fold) => (fold.open = false)));

const search = document.querySelector("#filter");
if (search) {
  const cases = [...document.querySelectorAll("details.case")];
  const mistakes = document.querySelector("#mistakes");
  const apply = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const item of cases) {
      const text = item.textContent.toLowerCase();
      item.hidden = !words.every((w) => text.includes(w)) || (mistakes && mistakes.checked && !item.dataset.mistakes);
      if (!item.hidden) shown += 1;
    }
    document.querySelector("#shown").textContent = `${shown} of ${cases.length} studies`;
  };
  search.addEventListener("input", apply);
  if (mistakes) mistakes.addEventListener("change", apply);
}
