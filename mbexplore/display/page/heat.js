// A small matrix: words in its cells, a scale, and of a long text the part that is drawn large.

const CELL = { least: 4, withText: 54, most: 180, high: 24, low: 7 }; // px
const TALL = { withText: 440, plain: 300 }; // px of all rows together

// Bounds of a colour scale and where a value stands on it, 0 to 1.
const shareOn = (part) => {
  const f = part.log ? (v) => Math.log(Math.max(v, part.low)) : (v) => v;
  const low = f(part.low), high = f(part.high);
  return (value) => {
    const share = high > low ? (f(value) - low) / (high - low) : 0;
    return part.darkest_low ? 1 - share : share;
  };
};

// A matrix with its first row at the bottom as one with its first row at the top, which canvases want.
const fromTop = (part) => {
  if (!part.upward) return part;
  const turned = (rows) => rows && [...rows].reverse();
  const { overview, mark } = part;
  return {
    ...part, upward: false, values: turned(part.values), rows: turned(part.rows), texts: turned(part.texts),
    hue: Array.isArray(part.hue) ? turned(part.hue) : part.hue, row_hues: turned(part.row_hues),
    row_values: turned(part.row_values ?? part.rows.map((_, i) => i)),
    overview: overview && { ...overview, values: turned(overview.values) },
    mark: mark && [mark[0] === null ? null : part.rows.length - 1 - mark[0], mark[1]],
  };
};

// The colour of each of some values, row after row; null for what is not there.
const coloursOf = (part, values) => {
  const share = shareOn(part), flat = values.flat(), columns = values[0].length;
  const hue = (i) => (Array.isArray(part.hue) ? part.hue[Math.floor(i / columns)] : part.hue);
  return (i) => (flat[i] === null ? null : shade(hue(i), share(flat[i])));
};

// The whole of a long text, small: which tokens are drawn large, and a way to others.
const overviewOf = (part, page) => {
  const { values, pool, total, start, stop } = part.overview, wide = stop - start, pixels = values[0].length;
  const canvas = el("canvas", { class: "holds", "aria-hidden": "true" });
  const range = el("span", {});
  const name = (first) => {
    const last = first + wide - 1, every = pool > 1 ? `, ${pool} tokens to a pixel` : "";
    range.textContent = `Drawn below: tokens ${first.toLocaleString("en")} to ${last.toLocaleString("en")} of ${total.toLocaleString("en")}. This strip is the whole text${every}.`;
  };
  const input = el("input", {
    type: "range", min: "0", max: String(total - wide), value: String(start), "aria-label": `${part.title}: first token drawn large`,
    "data-key": `overview ${part.title.replace(/[^a-z ]/gi, "")}`,
    oninput: () => name(Number(input.value)),
    onchange: () => page.hold({ first: Number(input.value) }),
  });
  const box = el("div", { class: "overview" }, canvas, input, el("p", { class: "readout" }, range));
  const paint = (width) => {
    const tall = Math.max(20, Math.min(48, 3 * values.length)), x = (token) => (token / total) * width;
    const context = sized(canvas, width, tall + 4);
    context.imageSmoothingEnabled = false;
    context.drawImage(imageOf(values.length, pixels, coloursOf(part, values)), 0, 2, x(pixels * pool), tall);
    context.strokeStyle = getComputedStyle(box).color;
    context.lineWidth = 2;
    context.strokeRect(x(start) + 1, 1, Math.max(3, x(stop) - x(start) - 2), tall + 2);
  };
  canvas.addEventListener("click", (event) => {
    const middle = Math.round((event.offsetX / canvas.clientWidth) * total);
    page.hold({ first: Math.max(0, Math.min(middle - (wide >> 1), total - wide)) });
  });
  page.window = [start, stop];
  name(start);
  responsive(box, paint);
  return box;
};

// What a click on a cell selects, by the names of the parameters.
const selectionOf = (part, row, column) => {
  const values = [part.row_values ? part.row_values[row] : row, part.column_hold[column]];
  const filled = (word) => (typeof word === "string" ? word.replace("{row}", values[0]).replace("{column}", values[1]) : word);
  return Object.fromEntries([
    ...part.select.map((name, axis) => [name, values[axis]]).filter(([name, value]) => name && value !== null),
    ...Object.entries(part.select_more).map(([name, word]) => [name, filled(word)]),
  ]);
};

// Whether a cell's text only repeats its value.
const isNumber = (text) => /^[+−-]?\d/.test(text ?? "");

parts.heat = (whole, page) => {
  const part = fromTop(whole), { values, texts, row_hues: hues } = part;
  const rows = part.rows.length, columns = part.columns.length, holds = part.select.some(Boolean);
  const textWidth = texts ? Math.min(CELL.withText, widest(texts.flat()) + 8) : 0;
  // The column of the value farthest from nothing: of a wide map it is visible at first.
  const strongest = () => {
    const most = part.columns.map((_, c) => Math.max(...values.map((row) => Math.abs(row[c] ?? 0))));
    return most.indexOf(Math.max(...most));
  };
  const { frame, readout, cells, at, move, select, cursor } = matrix(part, page, {
    rows, columns, axes: [part.row_axis, part.column_axis], mark: part.mark ?? [null, null],
    kind: holds ? "holds" : null, key: `heat ${part.title.replace(/[^a-z ]/gi, "")}`,
    label: `${part.title}: arrows move${holds ? ", Enter holds" : ""}`,
    names: () => part,
    cell: (room) => [
      Math.min(Math.max(room / columns, CELL.least, textWidth), CELL.most),
      Math.max(CELL.low, Math.min(CELL.high, (texts ? TALL.withText : TALL.plain) / rows)),
    ],
    colours: () => coloursOf(part, values),
    inkOf: (row, style) => (hues && hues[row] !== "plain" ? style.getPropertyValue(`--${hues[row]}`) : null),
    textWidth: texts ? 0 : Infinity,
    textAt: (i) => (values[Math.floor(i / columns)][i % columns] === null ? "" : texts[Math.floor(i / columns)][i % columns]),
    first: strongest,
    tell: (r, c) => [
      part.rows[r], `${part.column_axis} ${part.columns[c]}`.trim(), isNumber(texts?.[r][c]) ? null : texts?.[r][c],
      values[r][c] === null ? null : `${number(values[r][c])} ${part.unit}`,
    ].filter(Boolean).join(" · "),
    select: (r, c) => {
      const held = selectionOf(part, r, c);
      if (holds && Object.keys(held).length) page.hold(held);
    },
  });
  cells.addEventListener("click", (event) => at(event) && select());
  const hue = Array.isArray(part.hue) ? part.hue[0] : part.hue;
  onSelected(frame, ({ layer }) => {
    const row = part.rows.indexOf(`layer ${layer}`);
    if (row >= 0) move([row, cursor()?.[1] ?? part.mark?.[1] ?? 0]);
  });
  const legends = el("span", { class: "legends" }, part.scale ? scaleOf(part, hue) : null, legendOfKinds(hues));
  return figure(part, legends, part.overview ? overviewOf(part, page) : null, frame, readout);
};
