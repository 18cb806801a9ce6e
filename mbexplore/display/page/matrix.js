// A matrix in colour on a canvas: row names that stay, columns that scroll, a cursor and what is under it.

const LABEL_LETTERS = 18;
const WIDEST_CANVAS = 16000; // device px that every browser can draw

const measured = document.createElement("canvas").getContext("2d");
// The widest of some texts in px, each as it is written beside a matrix.
const widest = (texts, font = FONT) => {
  measured.font = font;
  return Math.max(0, ...texts.map((text) => measured.measureText(cut(text, LABEL_LETTERS)).width));
};

const clampTo = (value, low, high) => Math.max(low, Math.min(value, high));

// As much of a text as fits into so many pixels.
const cutTo = (context, text, room) => {
  if (context.measureText(text).width <= room) return text;
  let letters = [...text];
  while (letters.length && context.measureText(`${letters.join("")}…`).width > room) letters.pop();
  return letters.length ? `${letters.join("")}…` : "";
};

// An image of one pixel a cell, `colourAt(i)` from the upper left; null leaves the ground.
const imageOf = (rows, columns, colourAt) => {
  const canvas = el("canvas", { width: columns, height: rows });
  const context = canvas.getContext("2d"), image = context.createImageData(columns, rows), { data } = image;
  for (let i = 0; i < rows * columns; i++) {
    const colour = colourAt(i);
    if (!colour) continue;
    data[4 * i] = colour[0];
    data[4 * i + 1] = colour[1];
    data[4 * i + 2] = colour[2];
    data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas;
};

// The scale of colours: a strip of them between its two ends.
const scaleOf = (part, hue) => {
  const at = (x) => (part.darkest_low ? 1 - x / 83 : x / 83);
  const canvas = el("canvas", { class: "ramp", "aria-hidden": "true" });
  const unit = part.log ? `${part.unit} (logarithmic colour scale)` : part.unit;
  const box = el("span", { class: "scale" }, number(part.low), canvas, `${number(part.high)} ${unit}`);
  responsive(box, () => {
    const context = sized(canvas, 84, 10);
    context.drawImage(imageOf(1, 84, (x) => shade(hue, at(x))), 0, 0, 84, 10);
  });
  return box;
};

// Draws `part` as `about` says: { rows, columns, axes: [row, column], mark: [row, column],
// names(width): { rows, columns } as texts, cell(room): [width, height] in px, colours(): of a cell i, inkOf(row),
// textAt(i), textWidth: what a cell takes so that it is written, tell(row, column), select(row, column),
// key, label, kind: the canvas's; and for some: apart: px between names,
// middle: a column that keeps its name, first(): the column that is visible at first, keys,
// over(grid): what is drawn on top, onMove(to) }.
const matrix = (part, page, about) => {
  const { rows, columns, mark, apart = [LABEL + 1, LABEL + 2], middle = 0 } = about;
  const [markRow, markColumn] = mark, id = `${part.kind} ${part.title} ${rows} ${columns}`;
  let cursor = markRow !== null && markColumn !== null ? mark : leftAt(page, id, rows, columns);
  let wide = 1, tall = 1, colourAt = null, image = null, wasDark = null; // made anew in another theme

  const names = el("canvas", { "aria-hidden": "true" });
  const cells = el("canvas", {
    tabindex: "0", role: "application", class: about.kind, "data-key": about.key, "aria-label": about.label,
  });
  const scroller = el("div", { class: "scroller" }, cells);
  const frame = el("div", { class: "canvas heatmap" }, names, scroller);
  const readout = el("p", { class: "readout", "aria-live": "polite" }, "\u00a0");

  // The marked name stands whatever its turn, and none so near that the two would touch.
  const isNamed = (i, marked, step, from = 0) =>
    i === marked || ((i - from) % step === 0 && !(marked !== null && Math.abs(i - marked) < step));

  const axisWidth = about.axes[0] ? LABEL + 6 : 0;
  const paintRows = (context, texts, left, style) => {
    const step = Math.max(1, Math.ceil(apart[0] / tall));
    context.textBaseline = "middle";
    context.textAlign = "right";
    let last = -Infinity; // where the name above stands
    texts.forEach((name, r) => {
      const y = clampTo((r + 0.5) * tall, LABEL / 2 + 1, rows * tall); // the first is not cut
      if (!isNamed(r, markRow, step) || (r !== markRow && y - last < LABEL + 1)) return;
      last = y;
      context.font = r === markRow ? `bold ${FONT}` : FONT;
      context.fillStyle = about.inkOf?.(r, style) ?? style.color;
      context.fillText(cut(name, LABEL_LETTERS), left - 6, y, left - 6 - axisWidth);
    });
    context.font = FONT;
    context.fillStyle = style.color;
    context.textAlign = "center";
    context.translate(LABEL / 2 + 1, (tall * rows) / 2);
    context.rotate(-Math.PI / 2);
    context.fillText(about.axes[0], 0, 0);
  };

  const paintCells = (context) => {
    if (wasDark !== isDark()) {
      wasDark = isDark();
      colourAt = about.colours();
      image = imageOf(rows, columns, colourAt);
    }
    context.imageSmoothingEnabled = false;
    context.drawImage(image, 0, 0, wide * columns, tall * rows);
    if (tall < 13 || wide < about.textWidth) return;
    context.textAlign = "center";
    for (let i = 0; i < rows * columns; i++) {
      const word = about.textAt(i), r = Math.floor(i / columns), c = i % columns;
      if (!word) continue;
      context.fillStyle = inkOn(colourAt(i));
      context.fillText(cutTo(context, word, wide - 5), (c + 0.5) * wide, (r + 0.5) * tall);
    }
  };

  const paintColumns = (context, texts, upright, foot, ink) => {
    const step = Math.max(1, Math.ceil((upright ? apart[1] : 0) / wide));
    const edge = upright ? LABEL / 2 + 1 : 0; // half a letter's height, so that none is cut
    let last = -Infinity; // where the name before stands
    context.fillStyle = ink;
    texts.forEach((name, c) => {
      const x = clampTo((c + 0.5) * wide, edge, columns * wide - edge);
      if (!isNamed(c, markColumn, step, middle) || (upright && c !== markColumn && x - last < LABEL + 1)) return;
      last = x;
      context.save();
      context.font = c === markColumn ? `bold ${FONT}` : FONT;
      context.translate(x, rows * tall + 6);
      if (upright) context.rotate(-Math.PI / 2);
      context.textAlign = upright ? "right" : "center";
      context.fillText(cut(name, LABEL_LETTERS), 0, upright ? 0 : LABEL / 2, upright ? 104 : undefined);
      context.restore();
    });
    context.textAlign = "center";
    context.fillText(about.axes[1], (columns * wide) / 2, rows * tall + foot + LABEL / 2);
  };

  // Room for the names of rows: maps of one width below each other start at one place.
  frame.roomOfNames = (width) => Math.ceil(Math.min(widest(about.names(width).rows), width / 3)) + 8 + axisWidth;
  const others = () => [...(frame.closest(".column")?.querySelectorAll(".heatmap") ?? [])];
  const leftOf = (width) =>
    Math.max(...[frame, ...others().filter((one) => one.clientWidth === width)].map((one) => one.roomOfNames(width)));

  let left = 0;
  const paint = (width) => {
    const texts = about.names(width), style = getComputedStyle(frame);
    [wide, tall] = about.cell(width - left - 2);
    const columnWidth = widest(texts.columns, markColumn === null ? FONT : `bold ${FONT}`);
    const upright = columnWidth + 8 > wide;
    const foot = (upright ? Math.ceil(Math.min(columnWidth, 110)) : LABEL) + 10;
    const height = Math.ceil(tall * rows) + foot + (about.axes[1] ? LABEL + 6 : 0);
    paintRows(sized(names, left, height), texts.rows, left, style);
    const context = sized(cells, Math.ceil(wide * columns) + 2, height, WIDEST_CANVAS);
    context.font = FONT;
    context.textBaseline = "middle";
    paintCells(context);
    paintColumns(context, texts.columns, upright, foot, style.color);
    context.strokeStyle = style.color;
    context.globalAlpha = 0.35; // where the map ends, though its cells may be as light as the ground
    context.strokeRect(0.5, 0.5, columns * wide, rows * tall);
    context.globalAlpha = 1;
    const box = (r, c, down, across, thick) => {
      context.lineWidth = thick;
      context.strokeRect(c * wide + 1, r * tall + 1, across * wide - 1, down * tall - 1);
    };
    about.over?.({ context, wide, tall, box });
    context.strokeStyle = style.color;
    if (markRow !== null || markColumn !== null) {
      box(markRow ?? 0, markColumn ?? 0, markRow === null ? rows : 1, markColumn === null ? columns : 1, 2);
    }
    if (cursor) box(...cursor, 1, 1, 1.5);
  };

  const tell = () => { if (cursor) readout.textContent = about.tell(...cursor); };
  const repaint = () => paint(frame.clientWidth);
  const show = (column) => {
    const x = column * wide, seen = scroller.clientWidth;
    if (x < scroller.scrollLeft || x + wide > scroller.scrollLeft + seen) scroller.scrollLeft = x - (seen - wide) / 2;
  };
  const move = (to, byKey = false) => {
    if (!to || String(to) === String(cursor)) return;
    page.cursors.set(id, (cursor = to));
    tell();
    repaint();
    if (byKey) show(cursor[1]);
  };
  const at = (event) => {
    const r = Math.floor(event.offsetY / tall), c = Math.floor(event.offsetX / wide);
    return r >= 0 && r < rows && c >= 0 && c < columns ? [r, c] : null;
  };
  const select = () => cursor && about.select(...cursor);
  pointing(cells, {
    rows, columns, move, select, keys: about.keys, cursor: () => cursor ?? [markRow ?? 0, markColumn ?? 0],
    at: (event) => {
      const to = at(event);
      about.onMove?.(to);
      return to;
    },
  });
  let isFirst = true;
  responsive(frame, (width) => {
    left = leftOf(width); // here alone: each move of the cursor paints
    paint(width);
    if (isFirst) show(markColumn ?? about.first?.() ?? 0);
    isFirst = false;
  });
  tell();
  return { cells, frame, readout, at, move, repaint, select, cursor: () => cursor };
};
