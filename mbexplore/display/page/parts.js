// Drawings of blocks: `parts[kind](part, page)` gives an element; display/browser.py makes the parts.
// All text goes in as text; nothing that comes from the server is ever parsed as markup.

const el = (tag, properties = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node && typeof value !== "string") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
};

const svg = (tag, properties = {}, ...children) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(properties)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};

// What draws on an svg: lines, and words that start, end or have their middle at a place.
const pen = (root) => ({
  stroke: (x1, y1, x2, y2, kind) => root.append(svg("line", { x1, y1, x2, y2, class: kind })),
  text: ([x, y], anchor, label, kind = "tick") =>
    root.appendChild(svg("text", { x, y, "text-anchor": anchor, class: kind }, label)),
});

const isDark = () => document.body.classList.contains("dark");

// Colour scales: STOPS is display/palette.py's, put before this script.
const hex = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
const SCALES = Object.fromEntries(Object.entries(STOPS).map(([theme, hues]) =>
  [theme, Object.fromEntries(Object.entries(hues).map(([hue, stops]) => [hue, stops.map(hex)]))]));

// share 0..1 -> [r, g, b]
const shade = (hue, share) => {
  const stops = SCALES[isDark() ? "dark" : "light"][hue];
  const at = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const low = Math.min(Math.floor(at), stops.length - 2);
  return stops[low].map((c, i) => Math.round(c + (stops[low + 1][i] - c) * (at - low)));
};

const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;
const light = (v) => (v <= 10 ? v / 3295 : ((v / 255 + 0.055) / 1.055) ** 2.4);

// Black or white, whichever has the larger contrast (WCAG 2): 4.58 at least on any colour.
const inkOn = ([r, g, b]) =>
  (0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b) > 0.179 ? "#000000" : "#ffffff");

const MINUS = "\u2212";
const number = (value) => {
  if (value === null) return "none";
  const size = Math.abs(value);
  const text = value !== 0 && (size < 0.001 || size >= 100000)
    ? value.toExponential(2) : value.toLocaleString("en", { maximumSignificantDigits: 4 });
  return text.replace("-", MINUS);
};

// The theme of the page, for everything in `main`: its colours, and all that is painted.
const repaint = (main) => {
  main.classList.toggle("dark", isDark());
  for (const painted of main.querySelectorAll(".painted")) painted.dispatchEvent(new Event("mbexplore:theme"));
};

// Calls `paint()` when the theme changes. The page tells every painted element, so that none that
// is gone is held by whoever would have to know it.
const onTheme = (element, paint) => {
  element.classList.add("painted");
  element.addEventListener("mbexplore:theme", paint);
};

// Calls `move({ layer, head })` when another layer or head is selected.
const onSelected = (element, move) => {
  element.classList.add("follows");
  element.addEventListener("mbexplore:selected", (event) => move(event.detail));
};
const tellSelected = (main, selected) => {
  for (const one of main.querySelectorAll(".follows")) one.dispatchEvent(new CustomEvent("mbexplore:selected", { detail: selected }));
};

// Keeps the keyboard's place in `main`: where what has the focus is drawn anew, hidden or gone, the focus goes
// to the element with its key, or else to the one that stands nearest to its place.
const FOCUSABLE = "a[href], button, input, select, textarea, summary, [tabindex]";
const keepFocus = (main) => {
  if (main.dataset.focus) return;
  main.dataset.focus = "kept";
  let last = null; // what had the focus, and its place in each element around it
  const canHave = (node) => node.isConnected && !node.disabled && node.getClientRects().length > 0;
  const heir = () => {
    const { key } = last.node.dataset, same = key && main.querySelector(`[data-key="${CSS.escape(key)}"]`);
    if (same && canHave(same)) return same;
    for (const [box, place] of last.places) {
      const stops = [...box.querySelectorAll(FOCUSABLE)];
      const found = stops.slice(place).find(canHave) ?? stops.slice(0, place).findLast(canHave);
      if (found) return found;
    }
    return null;
  };
  const look = () => {
    const { activeElement: active, body } = document;
    if (last && [body, last.node].includes(active) && !canHave(last.node)) heir()?.focus({ preventScroll: true });
  };
  main.addEventListener("focusin", ({ target: node }) => {
    const places = [];
    for (let box = node.parentElement; box && main.contains(box); box = box.parentElement) {
      places.push([box, [...box.querySelectorAll(FOCUSABLE)].indexOf(node)]);
    }
    last = { node, places };
  });
  // A click beside everything takes the focus away for good.
  main.addEventListener("pointerdown", ({ target }) => { if (!target.closest(FOCUSABLE)) last = null; });
  // What is gone is seen to at once, what is hidden when the frame is laid out.
  new MutationObserver(() => (last?.node.isConnected ? requestAnimationFrame(look) : look()))
    .observe(main, { subtree: true, childList: true, attributeFilter: ["class", "disabled", "hidden"] });
};

// What the colours of layers mean, where both kinds are there.
const legendOfKinds = (kinds) => {
  const found = ["global", "local"].filter((kind) => kinds?.includes(kind));
  return found.length < 2 ? null
    : el("span", { class: "kinds" }, ...found.map((kind) => el("span", { class: `kind ${kind}` }, kind)));
};

// Calls `paint(width)` now and whenever the element's width or the theme changes.
const responsive = (element, paint) => {
  let last = 0;
  const again = (force) => {
    const width = Math.floor(element.clientWidth);
    if (width && (force || width !== last)) paint((last = width));
  };
  new ResizeObserver(() => again(false)).observe(element);
  onTheme(element, () => again(true));
};

// A canvas sized in CSS pixels, sharp on any screen.
const sized = (canvas, width, height, most = Infinity) => {
  const ratio = Math.min(window.devicePixelRatio || 1, most / width);
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return context;
};

// A figure: its title with what explains its colours, and everything else under it. Two children,
// so that figures in one row share the line on which their drawings begin.
const figure = (part, beside, ...children) =>
  el("figure", { class: `part ${part.kind}`, "data-title": part.title || null },
    el("figcaption", {}, part.title, beside), el("div", {}, ...children));

// Leads the eye to the figure with a title.
const point = (title) => {
  const found = [...document.querySelectorAll(".mbexplore figure")].find((one) => one.dataset.title === title);
  if (!found) return;
  found.scrollIntoView({ block: "center" });
  found.tabIndex = -1;
  found.focus({ preventScroll: true });
};

const LONG = 28; // letters of a cell that may be broken into lines
const LABEL = 11; // px, of labels on a canvas
const FONT = `${LABEL}px system-ui, sans-serif`;
const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

const parts = {
  note: (part) => el("p", { class: "note" }, part.text),
  badge: (part) => el("p", { class: `badge ${part.good ? "good" : "bad"}` },
    `${part.good ? "\u2713" : "\u2715"} ${part.text}`),
  headline: (part) => el("p", { class: "headline", dir: "auto" }, part.text),
  heading: (part) => el("h3", { dir: "auto" }, part.text),
  row: (part, page) => el("div", { class: "row" }, ...part.parts.map((p) => draw(p, page))),
  column: (part, page) => el("div", { class: "column" }, ...part.parts.map((p) => draw(p, page))),

  // A phrase leads to what shows its numbers: another tab, or a figure of this view.
  story: (part, page) => el("ol", { class: "story" }, ...part.sentences.map((one) => el("li", { dir: "auto" },
    ...one.phrases.map((each) => {
      const show = each.figure ? () => point(each.figure) : page.open && (() => page.open(each.open));
      if (!show) return el("span", {}, each.text);
      const follow = (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return; // in a tab of its own
        event.preventDefault();
        show();
      };
      return el("a", { class: "phrase", href: page.addressOf?.(each.open) ?? "#", title: each.figure || page.titleOf?.(each.open.view), onclick: follow }, each.text);
    }),
    ...(page.open ? [] : one.commands.map((command) => el("code", {}, command)))))),

  table(part, page) {
    const head = part.columns.map((c) =>
      el(c.name.trim() ? "th" : "td", { scope: c.name.trim() ? "col" : null, class: c.left ? "left" : "" }, c.name));
    const cells = (row) => row.map((one, i) => {
      const inside = one.hold
        ? el("button", { class: "link", onclick: () => page.hold(one.hold) }, one.text)
        : el("span", {}, one.text);
      inside.dir = "auto";
      const td = el("td", { class: `${part.columns[i].left ? "left" : ""} ${one.strong ? "strong" : ""} ${one.text.length > LONG ? "long" : ""}` }, inside);
      if (one.bar !== undefined) {
        td.classList.add("bar", one.hue);
        td.style.setProperty("--share", Math.abs(one.bar));
        if (one.bar < 0) td.classList.add("less");
      }
      return td;
    });
    const body = part.rows.map((row) => el("tr", {}, ...cells(row)));
    return figure(part, null, el("div", { class: "scroll" },
      el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...body))));
  },

  strip(part, page) {
    const top = part.high;
    const readout = el("p", { class: "readout", "aria-live": "polite" }, "\u00a0");
    const tell = (i) => {
      readout.textContent = `token ${i} · ${part.tokens[i]} · ${number(part.values[i])} ${part.unit}`;
    };
    const chips = part.tokens.map((token, i) =>
      el("button", {
        class: i === part.mark ? "token mark" : "token", dir: "auto",
        onmouseenter: () => tell(i), onfocus: () => tell(i), onclick: () => page.hold({ token: i }),
      }, token));
    const tokens = roving(el("div", { class: "tokens" }, ...chips));
    const marked = chips[part.mark];
    responsive(tokens, () => {
      chips.forEach((chip, i) => {
        const share = (part.values[i] ?? 0) / top;
        const colour = shade(part.hue, part.hue === "signed" ? (share + 1) / 2 : share);
        chip.style.background = css(colour);
        chip.style.color = inkOn(colour);
      });
      // Of a long text the lines around the mark are seen first.
      if (marked) tokens.scrollTop = marked.offsetTop - tokens.offsetTop - (tokens.clientHeight - marked.offsetHeight) / 2;
    });
    const scale = scaleOf({ low: part.hue === "signed" ? -top : 0, high: top, unit: part.unit }, part.hue);
    return figure(part, scale, tokens, readout);
  },
};

// The place [row, column] where the cursor was left in a map, where the map still has it.
const leftAt = (page, id, rows, columns) => {
  const place = page.cursors.get(id);
  return place && place[0] < rows && place[1] < columns ? place : null;
};

// A canvas of cells: pointer and arrows move a cursor [row, column], a click and Enter select.
// `at(event)` is the cell under the pointer or null; `keys` does what other keys do.
const pointing = (canvas, { rows, columns, at, cursor, move, select, keys = {} }) => {
  canvas.addEventListener("pointermove", (event) => move(at(event)));
  canvas.addEventListener("keydown", (event) => {
    const step = ARROWS[event.key], [r, c] = cursor() ?? [0, 0];
    const act = event.key === "Enter" || event.key === " " ? select : keys[event.key];
    if (step) move([clamp(r + step[0], rows), clamp(c + step[1], columns)], true);
    else if (act) act();
    else return;
    event.preventDefault();
  });
};

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const clamp = (value, count) => Math.min(Math.max(value, 0), count - 1);

// Round places of an axis, at most `most` of them.
const ticks = ([low, high], log, most) => {
  if (log) {
    const first = Math.ceil(Math.log10(low) - 1e-9), last = Math.floor(Math.log10(high) + 1e-9);
    if (last - first < 1) { // less than two powers of ten
      const parted = [-1, 0, 1].flatMap((e) => [1, 2, 5].map((m) => m * 10 ** (first + e)));
      return parted.map((v) => +v.toPrecision(1)).filter((v) => v >= low * 0.999 && v <= high * 1.001);
    }
    const step = Math.max(1, Math.ceil((last - first + 1) / most));
    const found = [];
    for (let e = first; e <= last; e += step) found.push(10 ** e);
    return found.length ? found : [low, high];
  }
  const raw = (high - low) / most, size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * size).find((s) => s >= raw);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high + step / 1e6; i++) found.push(+(i * step).toPrecision(12));
  return found;
};

// One stop of the tab key for a group of buttons; arrows move inside it.
const roving = (group, step = (buttons, i, d) => clamp(i + d[1] + d[0], buttons.length)) => {
  const all = () => [...group.querySelectorAll("button")];
  all().forEach((button, i) => (button.tabIndex = i ? -1 : 0));
  group.addEventListener("focusin", (event) => {
    all().forEach((button) => (button.tabIndex = button === event.target ? 0 : -1));
  });
  group.addEventListener("keydown", (event) => {
    const direction = ARROWS[event.key], buttons = all();
    if (!direction) return;
    buttons[step(buttons, buttons.indexOf(document.activeElement), direction)]?.focus();
    event.preventDefault();
  });
  return group;
};

const draw = (part, page) => parts[part.kind](part, page);
