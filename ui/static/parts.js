// Drawings of the parts that ui/parts.py makes: `parts[kind](part, page)` gives an element.
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

const isDark = () => document.body.classList.contains("dark");

// Colour scales, the same hues as the package's pictures; in the dark they start from the ground.
const STOPS = {
  light: {
    global: ["#ffffff", "#6aaed6", "#0b4f8a", "#062a4f"],
    local: ["#ffffff", "#f5a15a", "#a84300", "#5c2300"],
    plain: ["#ffffff", "#a9b3bd", "#4d5966", "#1f2933"],
    signed: ["#5c2300", "#a84300", "#f5a15a", "#ffffff", "#6aaed6", "#0b4f8a", "#062a4f"],
  },
  dark: {
    global: ["#1b2026", "#17507f", "#5ba7e0", "#d6ebfb"],
    local: ["#1b2026", "#7a3a0c", "#ee9a52", "#fde8d4"],
    plain: ["#1b2026", "#4d5966", "#a9b3bd", "#f1f4f7"],
    signed: ["#fde8d4", "#ee9a52", "#7a3a0c", "#1b2026", "#17507f", "#5ba7e0", "#d6ebfb"],
  },
};

const hex = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

// share 0..1 -> [r, g, b]
const shade = (hue, share) => {
  const stops = STOPS[isDark() ? "dark" : "light"][hue].map(hex);
  const at = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const low = Math.min(Math.floor(at), stops.length - 2);
  return stops[low].map((c, i) => Math.round(c + (stops[low + 1][i] - c) * (at - low)));
};

const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;
const inkOn = ([r, g, b]) => (0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#14181d" : "#ffffff");

const number = (value) => {
  if (value === null) return "none";
  const size = Math.abs(value);
  if (value !== 0 && (size < 0.001 || size >= 100000)) return value.toExponential(2);
  return value.toLocaleString("en", { maximumSignificantDigits: 4 });
};

// Calls `paint(width)` now and whenever the element's width or the theme changes.
const responsive = (element, paint) => {
  let last = 0;
  const again = (force) => {
    const width = Math.floor(element.clientWidth);
    if (width && (force || width !== last)) paint((last = width));
  };
  new ResizeObserver(() => again(false)).observe(element);
  document.addEventListener("mbexplore:theme", () => element.isConnected && again(true));
};

// A canvas sized in CSS pixels, sharp on any screen.
const sized = (canvas, width, height) => {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return context;
};

const titled = (part, ...children) =>
  el("figure", { class: `part ${part.kind}` },
    part.title ? el("figcaption", {}, part.title) : null, ...children);

const LABEL = 11; // px, of labels on a canvas
const FONT = `${LABEL}px system-ui, sans-serif`;
const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

const parts = {
  note: (part) => el("p", { class: "note" }, part.text),
  heading: (part) => el("h3", { dir: "auto" }, part.text),
  row: (part, page) => el("div", { class: "row" }, ...part.parts.map((p) => draw(p, page))),
  column: (part, page) => el("div", { class: "column" }, ...part.parts.map((p) => draw(p, page))),

  picture: (part) =>
    titled(part, el("img", { alt: part.alt, src: `data:image/svg+xml;base64,${part.svg}` })),

  table(part, page) {
    const head = part.columns.map((c) =>
      el("th", { scope: "col", class: c.left ? "left" : "" }, c.name));
    const cells = (row) => row.map((one, i) => {
      const inside = one.hold
        ? el("button", { class: "link", onclick: () => page.hold(one.hold) }, one.text)
        : el("span", {}, one.text);
      inside.dir = "auto";
      const td = el("td", { class: part.columns[i].left ? "left" : "" }, inside);
      if (one.bar !== undefined) {
        td.classList.add("bar", one.hue);
        td.style.setProperty("--share", one.bar);
      }
      return td;
    });
    const body = part.rows.map((row) => el("tr", {}, ...cells(row)));
    return titled(part, el("div", { class: "scroll" },
      el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...body))));
  },

  strip(part, page) {
    const top = Math.max(...part.values.map((v) => Math.abs(v ?? 0)), 1e-12);
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
    responsive(tokens, () => chips.forEach((chip, i) => {
      const share = (part.values[i] ?? 0) / top;
      const colour = shade(part.hue, part.hue === "signed" ? (share + 1) / 2 : share);
      chip.style.background = css(colour);
      chip.style.color = inkOn(colour);
    }));
    return titled(part, tokens, readout);
  },

  heat(part, page) {
    const canvas = el("canvas", { tabindex: "0", role: "img", "aria-label": part.title || "matrix" });
    const readout = el("p", { class: "readout", "aria-live": "polite" }, "\u00a0");
    const frame = el("div", { class: "canvas" }, canvas);
    const rows = part.rows.length, columns = part.columns.length;
    let cursor = part.mark, at = null;

    const share = (value) => (value - part.low) / (part.high - part.low);
    const hue = (row) => (Array.isArray(part.hue) ? part.hue[row] : part.hue);
    const tell = () => {
      if (!cursor) return;
      const [r, c] = cursor, word = part.texts?.[r][c];
      readout.textContent = [part.rows[r], part.columns[c], word,
        `${number(part.values[r][c])} ${part.unit}`].filter(Boolean).join(" · ");
    };
    const paint = (width) => {
      const measure = document.createElement("canvas").getContext("2d");
      measure.font = FONT;
      const widest = (labels) =>
        Math.max(0, ...labels.map((l) => measure.measureText(cut(l, 18)).width));
      const left = Math.ceil(Math.min(widest(part.rows), width / 3)) + 8;
      const cellWidth = Math.min((width - left - 1) / columns, 96);
      const cellHeight = Math.max(7, Math.min(24, 420 / rows));
      const upright = widest(part.columns) + 6 > cellWidth;
      const foot = upright ? Math.ceil(Math.min(widest(part.columns), 110)) + 10 : LABEL + 10;
      const context = sized(canvas, width, Math.ceil(cellHeight * rows + foot));
      context.font = FONT;
      context.textBaseline = "middle";
      const ink = getComputedStyle(frame).color;
      part.values.forEach((row, r) => row.forEach((value, c) => {
        if (value === null) return;
        const colour = shade(hue(r), share(value));
        const x = left + c * cellWidth, y = r * cellHeight;
        context.fillStyle = css(colour);
        context.fillRect(x, y, cellWidth + 0.5, cellHeight + 0.5);
        const word = part.texts?.[r][c];
        if (word && cellWidth > 34 && cellHeight > 12) {
          context.fillStyle = inkOn(colour);
          const room = Math.floor((cellWidth - 6) / 6);
          context.fillText(cut(word, room), x + 3, y + cellHeight / 2, cellWidth - 4);
        }
      }));
      context.fillStyle = ink;
      context.textAlign = "right";
      const everyRow = Math.ceil((LABEL + 1) / cellHeight);
      part.rows.forEach((label, r) => r % everyRow ||
        context.fillText(cut(label, 18), left - 5, (r + 0.5) * cellHeight, left - 5));
      const step = Math.max(1, Math.ceil((upright ? LABEL + 2 : 0) / cellWidth));
      part.columns.forEach((label, c) => {
        if (c % step) return;
        context.save();
        context.translate(left + (c + 0.5) * cellWidth, rows * cellHeight + 6);
        if (upright) context.rotate(-Math.PI / 2);
        context.textAlign = upright ? "right" : "center";
        context.fillText(cut(label, 18), 0, upright ? 0 : LABEL / 2, upright ? 104 : undefined);
        context.restore();
      });
      for (const [box, thick] of [[part.mark, 2.5], [cursor, 1.5]]) {
        if (!box) continue;
        context.strokeStyle = ink;
        context.lineWidth = thick;
        context.strokeRect(left + box[1] * cellWidth, box[0] * cellHeight, cellWidth, cellHeight);
      }
      at = (event) => {
        const c = Math.floor((event.offsetX - left) / cellWidth);
        const r = Math.floor(event.offsetY / cellHeight);
        return r >= 0 && r < rows && c >= 0 && c < columns ? [r, c] : null;
      };
    };
    const move = (to) => {
      if (!to || (cursor && to[0] === cursor[0] && to[1] === cursor[1])) return;
      cursor = to;
      tell();
      paint(frame.clientWidth);
    };
    const hold = () => {
      if (!cursor || !part.hold.some(Boolean)) return;
      const [row, column] = part.hold;
      page.hold({ ...(row && { [row]: cursor[0] }), ...(column && { [column]: cursor[1] }) });
    };
    canvas.addEventListener("mousemove", (event) => at && move(at(event)));
    canvas.addEventListener("click", (event) => { if (at) { move(at(event)); hold(); } });
    canvas.addEventListener("keydown", (event) => {
      const step = ARROWS[event.key];
      if (event.key === "Enter" || event.key === " ") hold();
      else if (step) {
        const [r, c] = cursor ?? [0, 0];
        move([clamp(r + step[0], rows), clamp(c + step[1], columns)]);
      } else return;
      event.preventDefault();
    });
    if (part.hold.some(Boolean)) canvas.classList.add("holds");
    responsive(frame, paint);
    tell();
    return titled(part, frame, readout);
  },

  lines(part) {
    const readout = el("p", { class: "readout", "aria-live": "polite" }, "\u00a0");
    const frame = el("div", { class: "canvas" });
    const points = part.series.flatMap((s) => s.points).filter(([x, y]) => x !== null && y !== null);
    const extent = (values, log) => {
      const used = log ? values.filter((v) => v > 0) : values;
      const low = Math.min(...used), high = Math.max(...used);
      return low < high ? [low, high] : [low - 1, high + 1];
    };
    const xs = extent([...points.map((p) => p[0]), ...part.marks.map((m) => m.at)], part.x.log);
    const ys = extent(points.map((p) => p[1]), part.y.log);
    const HEIGHT = 250, LEFT = 62, RIGHT = 14, TOP = 10, FOOT = 44;
    const scale = ([low, high], log, from, to) => {
      const f = log ? Math.log10 : (v) => v;
      return (v) => from + ((f(v) - f(low)) / (f(high) - f(low))) * (to - from);
    };
    const paint = (width) => {
      const x = scale(xs, part.x.log, LEFT, width - RIGHT);
      const y = scale(ys, part.y.log, HEIGHT - FOOT, TOP);
      const root = svg("svg", { width, height: HEIGHT, role: "img", "aria-label": part.title });
      const text = (at, anchor, label, extra = "") =>
        svg("text", { x: at[0], y: at[1], "text-anchor": anchor, class: `tick ${extra}` }, label);
      for (const tick of ticks(ys, part.y.log, 5)) {
        root.append(svg("line", { x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick), class: "grid" }));
        root.append(text([LEFT - 6, y(tick) + 4], "end", number(tick)));
      }
      const named = part.x.ticks;
      const room = Math.max(2, Math.floor((width - LEFT) / 56));
      const step = named ? Math.ceil(named.length / room) : 0;
      const at = named ? named.map((_, i) => i).filter((i) => i % step === 0) : ticks(xs, part.x.log, room);
      for (const tick of at) {
        root.append(text([x(tick), HEIGHT - FOOT + 17], "middle", named ? cut(named[tick], 9) : number(tick)));
      }
      root.append(text([(LEFT + width) / 2, HEIGHT - 6], "middle", part.x.label, "axis"));
      const label = text([0, 0], "middle", part.y.label, "axis");
      label.setAttribute("transform", `translate(12 ${(HEIGHT - FOOT + TOP) / 2}) rotate(-90)`);
      root.append(label);
      for (const mark of part.marks) {
        root.append(svg("line", { x1: x(mark.at), x2: x(mark.at), y1: TOP, y2: HEIGHT - FOOT, class: "mark" }));
        root.append(text([x(mark.at) + 4, TOP + 10], "start", mark.name));
      }
      for (const one of part.series) {
        const kept = one.points.filter(([a, b]) => a !== null && b !== null && (!part.y.log || b > 0));
        const places = kept.map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`);
        const line = svg("polyline", { points: places.join(" "), class: `curve ${one.hue}` });
        if (one.dashed) line.setAttribute("stroke-dasharray", "5 4");
        root.append(line);
        if (one.dots) for (const [a, b] of kept) {
          root.append(svg("circle", { cx: x(a), cy: y(b), r: 3, class: `dot ${one.hue}` }));
        }
      }
      root.addEventListener("mousemove", (event) => {
        const told = part.series.map((one) => {
          const near = one.points.reduce((best, p) =>
            Math.abs(x(p[0]) - event.offsetX) < Math.abs(x(best[0]) - event.offsetX) ? p : best, one.points[0]);
          return [named ? named[near[0]] : number(near[0]), `${one.name} ${number(near[1])}`];
        });
        readout.textContent = [told[0][0], ...told.map((t) => t[1])].join(" · ");
      });
      frame.replaceChildren(root);
    };
    responsive(frame, paint);
    const legend = part.series.length < 2 ? null : el("p", { class: "legend" },
      ...part.series.map((s) => el("span", { class: `${s.hue}${s.dashed ? " dashed" : ""}` }, s.name)));
    return titled(part, legend, frame, readout);
  },
};

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const clamp = (value, count) => Math.min(Math.max(value, 0), count - 1);

// Round places of an axis, at most `most` of them.
const ticks = ([low, high], log, most) => {
  if (log) {
    const first = Math.ceil(Math.log10(low) - 1e-9), last = Math.floor(Math.log10(high) + 1e-9);
    const step = Math.max(1, Math.ceil((last - first + 1) / most));
    const found = [];
    for (let e = first; e <= last; e += step) found.push(10 ** e);
    return found.length ? found : [low, high];
  }
  const raw = (high - low) / most, size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * size).find((s) => s >= raw);
  const found = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step / 1e6; v += step) found.push(+v.toPrecision(12));
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
