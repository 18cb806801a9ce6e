// Links as arcs beside the text, which runs down the page: those to earlier tokens on the left,
// those to later ones on the right. Pointing at a token shows its links alone, with their numbers.
//
// mountArcs(element, data) shows `data`, which views/attention_page.py describes.
const mountArcs = (() => {
  "use strict";

  const SPACE = "http://www.w3.org/2000/svg";
  const SIDE = 320; // pixels that the longest arc takes at most
  const LABELS = 130; // pixels for the tokens
  const HEIGHT = 560; // pixels that a short text fills
  const LISTED = 14; // links that are told of a token, on each side
  const CROWDED = 0.06; // the share of the picture that arcs cover at most, before faint ones fade
  const STEEPEST = 12; // the highest power of a weight by which an arc fades

  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const visible = (label) => label.trim().replace(/\s/g, "␣") || "␣";
  const shorten = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  const weightText = (weight) => weight.toPrecision(weight >= 0.1 ? 3 : 2);

  const draw = (tag, attributes, parent) => {
    const element = document.createElementNS(SPACE, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return parent.appendChild(element);
  };
  const make = (tag, text, parent) => {
    const element = document.createElement(tag);
    element.textContent = text;
    return parent.appendChild(element);
  };

  class AttentionArcs {
    constructor(root, data) {
      [this.root, this.data] = [root, data];
      this.links = data.links.map(([head, query, key, weight]) => ({ head, query, key, weight }));
      this.most = this.links.reduce((most, link) => Math.max(most, link.weight), 0.1);
      this.from = data.labels.map(() => []);
      this.to = data.labels.map(() => []);
      for (const link of this.links) {
        this.from[link.query].push(link);
        this.to[link.key].push(link);
      }
      this.off = new Set(); // heads that are not shown
      this.pinned = data.query;
      this.chosen = null;
      this.build();
    }

    build() {
      this.root.replaceChildren();
      this.root.classList.add("arcs");
      if (this.data.heads.length > 1) this.buildHeads();
      this.picture = draw("svg", {
        class: "arcs-picture", tabindex: 0, role: "application",
        "aria-label": "Links between tokens: up and down hold a token, Escape lets it go",
      }, this.root);
      this.side = make("div", "", this.root);
      this.side.className = "arcs-side";
      this.side.setAttribute("role", "status");
      this.layOut();
      this.listen();
      this.drawAll();
      this.choose(this.pinned);
      this.root.dataset.ready = "true";
    }

    buildHeads() {
      const heads = make("div", "", this.root);
      heads.className = "arcs-heads";
      for (const { number, name, hue } of this.data.heads) {
        const button = make("button", name, heads);
        button.type = "button";
        button.style.borderColor = hue;
        button.setAttribute("aria-pressed", "true");
        button.addEventListener("click", () => {
          this.off.delete(number) || this.off.add(number);
          button.setAttribute("aria-pressed", String(!this.off.has(number)));
          this.drawAll();
          this.choose(this.chosen);
        });
      }
    }

    // Where tokens stand, and how far arcs reach: half circles where there is room for them.
    layOut() {
      const count = this.data.labels.length;
      this.step = clamp(HEIGHT / count, 17, 46);
      const reach = this.links.reduce((most, { query, key }) => Math.max(most, Math.abs(query - key)), 1);
      const round = (reach * this.step) / 2;
      this.out = (distance) =>
        round <= SIDE ? (distance * this.step) / 2 : SIDE * Math.sqrt(distance / reach);
      const side = Math.max(this.out(reach), 16) + 6;
      [this.left, this.right] = [side, side + LABELS];
      const [width, height] = [this.right + side, count * this.step + 8];
      for (const [name, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` })) {
        this.picture.setAttribute(name, value);
      }
      this.place = draw("rect", { x: this.left, width: LABELS, height: this.step, rx: 3 }, this.picture);
      this.all = draw("g", {}, this.picture);
      this.some = draw("g", {}, this.picture);
      const names = draw("g", {}, this.picture);
      this.names = this.data.labels.map((label, i) => {
        const [x, y] = [this.left + LABELS / 2, this.y(i)];
        const name = draw("text", { x, y }, names);
        name.textContent = shorten(visible(label), 16);
        return name;
      });
    }

    y(place) {
      return 4 + (place + 0.5) * this.step;
    }

    placeOf(event) {
      const { top } = this.picture.getBoundingClientRect();
      return clamp(Math.floor((event.clientY - top - 4) / this.step), 0, this.names.length - 1);
    }

    listen() {
      this.picture.addEventListener("pointermove", (event) => {
        const place = this.placeOf(event);
        if (place !== this.chosen) this.choose(place);
      });
      this.picture.addEventListener("pointerleave", () => this.choose(this.pinned));
      // A tap comes without a move before it, and after the pointer has left.
      this.picture.addEventListener("click", (event) => {
        const place = this.placeOf(event);
        this.choose((this.pinned = this.pinned === place ? null : place));
      });
      this.picture.addEventListener("keydown", (event) => {
        const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
        if (event.key === "Escape") this.choose((this.pinned = null));
        if (!step) return;
        event.preventDefault();
        const next = this.chosen === null ? 0 : this.chosen + step;
        this.choose((this.pinned = clamp(next, 0, this.names.length - 1)));
        this.names[this.pinned].scrollIntoView({ block: "nearest" });
      });
    }

    shown(links) {
      return links.filter(({ head }) => !this.off.has(head));
    }

    head(number) {
      return this.data.heads.find((head) => head.number === number);
    }

    drawAll() {
      this.all.replaceChildren();
      const links = this.shown(this.links);
      this.drawArcs(links, this.all, "arcs-out", this.most, this.fading(links));
    }

    // How much of an arc of some weight is left where there are so many: the weaker it is, the more
    // it fades, as steeply as it takes for all together to leave room on the picture.
    fading(links) {
      const room = CROWDED * this.picture.width.baseVal.value * this.picture.height.baseVal.value;
      const strongest = links.reduce((most, { weight }) => Math.max(most, weight), 1e-9);
      const inks = links.map(({ query, key, weight }) => {
        const { width, opacity } = this.stroke(weight, this.most);
        return width * opacity * Math.abs(query - key) * this.step;
      });
      for (let power = 0; ; power += 0.25) {
        const left = (weight) => (weight / strongest) ** power;
        const ink = links.reduce((sum, { weight }, i) => sum + inks[i] * left(weight), 0);
        if (ink <= room || power >= STEEPEST) return left;
      }
    }

    // A line is as wide and dark as its share of `most`.
    stroke(weight, most) {
      const strength = Math.sqrt(weight / most);
      return { width: Math.max(0.6, 3.2 * strength), opacity: 0.15 + 0.85 * strength };
    }

    // The strongest last, over the others.
    drawArcs(links, parent, name, most, left = () => 1) {
      for (const link of [...links].reverse()) this.drawArc(link, parent, name, most, left);
    }

    drawArc({ head, query, key, weight }, parent, name, most, left) {
      const { width, opacity } = this.stroke(weight, most);
      const out = this.out(Math.abs(query - key));
      const x = key <= query ? this.left : this.right;
      const [from, to] = [this.y(query), this.y(key)];
      const loop = `M${x} ${from - 4} A5 4 0 1 0 ${x} ${from + 4}`; // a token's look at itself
      const arc = `M${x} ${from} A${out} ${Math.abs(to - from) / 2} 0 0 1 ${x} ${to}`;
      draw("path", {
        class: name, d: query === key ? loop : arc, stroke: this.head(head).hue,
        "stroke-width": width.toFixed(2), opacity: (opacity * left(weight)).toFixed(3),
      }, parent);
    }

    // Shows the links of one token alone, or all of them.
    choose(place) {
      this.chosen = place;
      this.some.replaceChildren();
      const none = place === null;
      this.all.style.display = none ? "" : "none";
      this.place.style.display = none ? "none" : "";
      const from = none ? [] : this.shown(this.from[place]);
      const to = none ? [] : this.shown(this.to[place]).filter(({ query }) => query !== place);
      const most = [...from, ...to].reduce((most, { weight }) => Math.max(most, weight), 1e-9);
      this.drawArcs(to, this.some, "arcs-in", most);
      this.drawArcs(from, this.some, "arcs-out", most);
      const near = new Set([...from.map(({ key }) => key), ...to.map(({ query }) => query)]);
      this.names.forEach((name, i) => {
        const kind = i === place ? "arcs-here" : near.has(i) ? "arcs-near" : none ? "" : "arcs-far";
        if (name.className.baseVal !== kind) name.setAttribute("class", kind);
      });
      if (!none) this.place.setAttribute("y", this.y(place) - this.step / 2);
      this.tell(place, from, to);
    }

    tell(place, from, to) {
      this.side.replaceChildren();
      if (place === null) {
        make("p", "Point at a token to see its links alone; a click holds it.", this.side)
          .className = "arcs-hint";
        return;
      }
      make("h2", this.name(place), this.side);
      this.list("key", from, ({ key }) => key, "Looks at nothing that is shown.");
      this.list("query", to, ({ query }) => query, "No link shown leads to it.");
    }

    name(place) {
      return `${visible(this.data.labels[place])} ${this.data.starts[place]}`;
    }

    // A table of links: the head, the token at the other end, the weight.
    list(what, links, other, nothing) {
      if (links.length === 0) {
        make("p", nothing, this.side).className = "arcs-hint";
        return;
      }
      const table = make("table", "", this.side);
      const top = make("tr", "", table);
      const ends = what === "key" ? "looks at key" : "looked at by query";
      for (const text of [ends, "head", "weight"]) make("th", text, top);
      for (const link of links.slice(0, LISTED)) {
        const row = make("tr", "", table);
        make("td", this.name(other(link)), row);
        const cell = make("td", "", row);
        const chip = make("span", "", cell);
        chip.className = "arcs-chip";
        chip.style.background = this.head(link.head).hue;
        cell.append(link.head < 0 ? "mean" : String(link.head));
        make("td", weightText(link.weight), row);
      }
      const more = links.length - LISTED;
      if (more > 0) make("p", `and ${more} weaker`, this.side).className = "arcs-hint";
    }
  }

  return (root, data) => new AttentionArcs(root, data);
})();
