// A small matrix in colour: row labels that stay, columns that scroll, a scale, a cursor.

const CELL = { least: 4, withText: 54, most: 180, high: 24, low: 7 }; // px
const TALL = { withText: 440, plain: 300 }; // px of all rows together
const LABEL_LETTERS = 18;
const WIDEST_CANVAS = 16000; // device px that every browser can draw

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
    row_hold: turned(part.row_hold ?? part.rows.map((_, i) => i)),
    overview: overview && { ...overview, values: turned(overview.values) },
    mark: mark && [mark[0] === null ? null : part.rows.length - 1 - mark[0], mark[1]],
  };
};

// The scale itself: a strip of its colours between its two ends.
const scaleOf = (part, hue) => {
  const at = (x) => (part.darkest_low ? 1 - x / 83 : x / 83);
  const canvas = el("canvas", { class: "ramp", "aria-hidden": "true" });
  const box = el("span", { class: "scale" }, number(part.low), canvas, `${number(part.high)} ${part.unit}`);
  const paint = () => {
    const context = sized(canvas, 84, 10);
    for (let x = 0; x < 84; x++) {
      context.fillStyle = css(shade(hue, at(x)));
      context.fillRect(x, 0, 1, 10);
    }
  };
  responsive(box, paint);
  return box;
};

// The whole of a long text, small: which tokens are drawn large, and a way to others.
const overviewOf = (part, page, hue, share) => {
  const { values, pool, total, start, stop } = part.overview, wide = stop - start;
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
    const pixels = values[0].length, tall = Math.max(20, Math.min(48, 3 * values.length));
    const small = el("canvas", { width: pixels, height: values.length });
    const brush = small.getContext("2d");
    values.forEach((row, r) => row.forEach((value, c) => {
      if (value === null) return;
      brush.fillStyle = css(shade(hue(r), share(value)));
      brush.fillRect(c, r, 1, 1);
    }));
    const context = sized(canvas, width, tall + 4), x = (token) => (token / total) * width;
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 2, (pixels * pool * width) / total, tall);
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

parts.heat = (whole, page) => {
  const part = fromTop(whole);
  const rows = part.rows.length, columns = part.columns.length;
  const hue = (row) => (Array.isArray(part.hue) ? part.hue[row] : part.hue);
  const share = shareOn(part), holds = part.hold.some(Boolean);
  const [markRow, markColumn] = part.mark ?? [null, null];
  const id = `heat ${part.title} ${rows} ${columns}`;
  let cursor = markRow !== null && markColumn !== null ? part.mark : leftAt(page, id, rows, columns);
  let cellWidth = 1, cellHeight = 1, labelHeight = 0;

  const names = el("canvas", { "aria-hidden": "true" });
  const cells = el("canvas", {
    tabindex: "0", role: "application", class: holds ? "holds" : null,
    "data-key": `heat ${part.title.replace(/[^a-z ]/gi, "")}`,
    "aria-label": `${part.title}: arrows move${holds ? ", Enter holds" : ""}`,
  });
  const scroller = el("div", { class: "scroller" }, cells);
  const frame = el("div", { class: "canvas heatmap" }, names, scroller);
  const readout = el("p", { class: "readout", "aria-live": "polite" }, "\u00a0");

  const measure = document.createElement("canvas").getContext("2d");
  measure.font = FONT;
  const widest = (texts) => Math.max(0, ...texts.map((t) => measure.measureText(cut(t, LABEL_LETTERS)).width));
  const nameWidth = widest(part.rows);
  if (markColumn !== null) measure.font = `bold ${FONT}`; // the marked column's name is
  const columnWidth = widest(part.columns);
  measure.font = FONT;
  const textWidth = part.texts ? Math.min(CELL.withText, widest(part.texts.flat()) + 8) : 0;

  const tell = () => {
    if (!cursor) return;
    const [r, c] = cursor, value = part.values[r][c];
    const word = part.texts?.[r][c];
    readout.textContent = [part.rows[r], `${part.axis} ${part.columns[c]}`.trim(),
      isNumber(word) ? null : word, value === null ? null : `${number(value)} ${part.unit}`,
    ].filter(Boolean).join(" · ");
  };

  const paint = (width) => {
    const left = Math.ceil(Math.min(nameWidth, width / 3)) + 8;
    const room = width - left;
    cellWidth = Math.min(Math.max((room - 2) / columns, CELL.least, textWidth), CELL.most);
    cellHeight = Math.max(CELL.low, Math.min(CELL.high, (part.texts ? TALL.withText : TALL.plain) / rows));
    const upright = columnWidth + 8 > cellWidth;
    labelHeight = upright ? Math.ceil(Math.min(columnWidth, 110)) + 10 : LABEL + 10;
    const foot = labelHeight + (part.axis ? LABEL + 6 : 0);
    const full = Math.ceil(cellWidth * columns) + 2, height = Math.ceil(cellHeight * rows) + foot;
    const style = getComputedStyle(frame);
    paintNames(sized(names, left, height), left, style);
    const context = sized(cells, full, height, WIDEST_CANVAS);
    context.font = FONT;
    context.textBaseline = "middle";
    paintCells(context);
    paintColumns(context, upright, style.color);
    outline(context, style.color);
  };

  const paintNames = (context, left, style) => {
    context.font = FONT;
    context.textBaseline = "middle";
    context.textAlign = "right";
    const every = Math.ceil((LABEL + 1) / cellHeight);
    part.rows.forEach((name, r) => {
      if (r % every) return;
      const kind = part.row_hues?.[r] ?? "plain";
      context.fillStyle = kind === "plain" ? style.color : style.getPropertyValue(`--${kind}`);
      context.fillText(cut(name, LABEL_LETTERS), left - 6, (r + 0.5) * cellHeight, left - 6);
    });
  };

  const paintCells = (context) => part.values.forEach((row, r) => row.forEach((value, c) => {
    if (value === null) return;
    const colour = shade(hue(r), share(value));
    const x = c * cellWidth, y = r * cellHeight;
    const left = Math.floor(x), top = Math.floor(y); // whole pixels: no seams between cells
    context.fillStyle = css(colour);
    context.fillRect(left, top, Math.ceil(x + cellWidth) - left, Math.ceil(y + cellHeight) - top);
    const word = part.texts?.[r][c];
    if (!word || cellHeight < 13) return;
    context.fillStyle = inkOn(colour);
    context.textAlign = "center";
    context.fillText(cutTo(context, word, cellWidth - 5), x + cellWidth / 2, y + cellHeight / 2);
  }));

  const paintColumns = (context, upright, ink) => {
    const step = Math.max(1, Math.ceil((upright ? LABEL + 2 : 0) / cellWidth));
    context.fillStyle = ink;
    let last = -Infinity; // where the name before stands
    part.columns.forEach((name, c) => {
      const marked = c === markColumn;
      if (c % step && !marked) return;
      if (!marked && markColumn !== null && step > 1 && Math.abs(c - markColumn) < step) return;
      const edge = upright ? LABEL / 2 + 1 : 0; // half a letter's height, so that none is cut
      const x = clampTo((c + 0.5) * cellWidth, edge, columns * cellWidth - edge);
      if (upright && !marked && x - last < LABEL + 1) return;
      last = x;
      context.save();
      context.font = marked ? `bold ${FONT}` : FONT;
      context.translate(x, rows * cellHeight + 6);
      if (upright) context.rotate(-Math.PI / 2);
      context.textAlign = upright ? "right" : "center";
      context.fillText(cut(name, LABEL_LETTERS), 0, upright ? 0 : LABEL / 2, upright ? 104 : undefined);
      context.restore();
    });
    context.textAlign = "center";
    context.fillText(part.axis, (columns * cellWidth) / 2, rows * cellHeight + labelHeight + LABEL / 2);
  };

  const outline = (context, ink) => {
    context.strokeStyle = ink;
    context.globalAlpha = 0.35; // where the map ends, though its cells may be as light as the ground
    context.strokeRect(0.5, 0.5, columns * cellWidth, rows * cellHeight);
    context.globalAlpha = 1;
    const box = (row, column, thick) => {
      context.lineWidth = thick;
      context.strokeRect(
        (column ?? 0) * cellWidth + 1, (row ?? 0) * cellHeight + 1,
        (column === null ? columns : 1) * cellWidth - 1, (row === null ? rows : 1) * cellHeight - 1);
    };
    if (part.mark) box(markRow, markColumn, 2);
    if (cursor) box(...cursor, 1.5);
  };

  const move = (to, byKey = false) => {
    if (!to || String(to) === String(cursor)) return;
    page.cursors.set(id, (cursor = to));
    tell();
    paint(frame.clientWidth);
    if (byKey) show(cursor[1]);
  };
  const at = (event) => {
    const r = Math.floor(event.offsetY / cellHeight), c = Math.floor(event.offsetX / cellWidth);
    return r >= 0 && r < rows && c >= 0 && c < columns ? [r, c] : null;
  };
  const show = (column) => {
    const x = column * cellWidth, seen = scroller.clientWidth;
    if (x < scroller.scrollLeft || x + cellWidth > scroller.scrollLeft + seen) {
      scroller.scrollLeft = x - (seen - cellWidth) / 2;
    }
  };
  // The column of the value farthest from nothing: of a wide map it is visible at first.
  const strongest = () => {
    const most = part.columns.map((_, c) => Math.max(...part.values.map((row) => Math.abs(row[c] ?? 0))));
    return most.indexOf(Math.max(...most));
  };
  const hold = () => {
    if (!cursor || !holds) return;
    const of = [part.row_hold, part.column_hold];
    const held = part.hold
      .map((setting, axis) => [setting, of[axis] ? of[axis][cursor[axis]] : cursor[axis]])
      .filter(([setting, value]) => setting && value !== null);
    const [row, column] = of.map((values, axis) => (values ? values[cursor[axis]] : cursor[axis]));
    for (const [setting, value] of Object.entries(part.hold_more ?? {})) {
      held.push([setting, typeof value === "string" ? value.replace("{row}", row).replace("{column}", column) : value]);
    }
    if (held.length) page.hold(Object.fromEntries(held));
  };
  pointing(cells, { rows, columns, at, move, select: hold, cursor: () => cursor ?? [markRow ?? 0, markColumn ?? 0] });
  cells.addEventListener("click", (event) => at(event) && hold());
  let first = true;
  responsive(frame, (width) => {
    paint(width);
    if (first) show(markColumn ?? strongest());
    first = false;
  });
  tell();
  return figure(part, part.scale === false ? null : scaleOf(part, hue(0)),
    part.overview ? overviewOf(part, page, hue, share) : null, frame, readout);
};

const clampTo = (value, low, high) => Math.max(low, Math.min(value, high));

// Whether a cell's text only repeats its value.
const isNumber = (text) => /^[+−-]?\d/.test(text ?? "");

// As much of a text as fits into so many pixels.
const cutTo = (context, text, room) => {
  if (context.measureText(text).width <= room) return text;
  let letters = [...text];
  while (letters.length && context.measureText(`${letters.join("")}…`).width > room) letters.pop();
  return letters.length ? `${letters.join("")}…` : "";
};
