// Attention: a head's map (`map`; several: `maps`), the small maps of every head (`thumbs`).
// Colours follow a root of a weight's share of the largest, so that faint weights show.

const bytesOf = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

// 256 colours of a hue in the theme of the moment, as [r, g, b].
const palette = (hue) => Array.from({ length: 256 }, (_, i) => shade(hue, i / 255));

// Shades 0..255 as an image of one pixel a cell.
const imageOf = (shades, rows, columns, colours) => {
  const canvas = el("canvas", { width: columns, height: rows });
  const context = canvas.getContext("2d"), image = context.createImageData(columns, rows);
  shades.forEach((s, i) => image.data.set([...colours[s], 255], 4 * i));
  context.putImageData(image, 0, 0);
  return canvas;
};

// What a map's pixels hold: exact numbers, or shades and the numbers about which they stand.
const pixelsOf = (part) => {
  const values = part.exact ? new Float32Array(bytesOf(part.data).buffer) : null;
  const shades = values
    ? Uint8Array.from(values, (v) => Math.round((Math.max(v, 0) / part.scale) ** (1 / part.root) * 255))
    : bytesOf(part.data);
  return { values, shades, at: (i) => (values ? values[i] : (shades[i] / 255) ** part.root * part.scale) };
};

// Maps beside each other under one title, one scale and one note.
parts.maps = (part, page) => {
  const [first] = part.parts;
  return figure(part, scaleOf({ low: 0, high: first.scale, unit: first.unit }, first.hue),
    el("div", { class: "row" }, ...part.parts.map((one) => draw({ ...one, isOne: true }, page))),
    noteOf(first, page.isSaved));
};

parts.map = (part, page) => {
  const [rows, columns] = part.shape, { values, shades, at: valueAt } = pixelsOf(part);
  const canZoom = part.zoom && !page.isSaved; // in a saved page there is nobody to ask for a part
  const canvas = el("canvas", {
    tabindex: "0", role: "img", "data-key": "map", class: canZoom ? "zooms" : "holds",
    "aria-label": `${part.title}. Arrows move${page.isSaved ? "" : ", Enter selects the query"}${canZoom ? ", plus zooms in, minus out" : ""}.`,
  });
  const frame = el("div", { class: "canvas" }, canvas);
  const readout = el("p", { class: "readout", "aria-live": "polite" }, "\u00a0");
  const id = `map ${part.title} ${rows} ${columns}`;
  let cursor = leftAt(page, id, rows, columns), drag = null, at = () => null;

  const name = ([text, token], pool) => (pool > 1 ? `${text} ${token}–${token + pool - 1}` : `${text} ${token}`);
  const tell = () => {
    if (!cursor) return;
    const [r, c] = cursor, [tall, wide] = part.pool;
    const column = part.zoom ? name(part.columnPlaces[c], wide) : `${part.columnPlaces[c][0]} tokens away`;
    const weight = number(valueAt(r * columns + c));
    readout.textContent = `${name(part.rowPlaces[r], tall)} → ${column} · ${part.exact ? "" : "about "}${weight}`;
  };
  const box = (grid, [r, c, tall, wide], thick) => {
    grid.context.lineWidth = thick;
    grid.context.strokeRect(grid.left + c * grid.wide, grid.top + r * grid.tall, wide * grid.wide, tall * grid.tall);
  };
  const corners = () => {
    const [r0, r1] = [drag.from[0], drag.to[0]].sort((a, b) => a - b);
    const [c0, c1] = [drag.from[1], drag.to[1]].sort((a, b) => a - b);
    return [r0, r1, c0, c1];
  };
  const paint = (width) => {
    const ink = getComputedStyle(frame).color, colours = palette(part.hue);
    const grid = layOut(part, canvas, width, ink);
    const { context, left, top, wide, tall } = grid;
    context.imageSmoothingEnabled = false;
    context.drawImage(imageOf(shades, rows, columns, colours), left, top, wide * columns, tall * rows);
    context.strokeStyle = ink;
    context.globalAlpha = 0.35;
    context.strokeRect(left, top, wide * columns, tall * rows);
    context.globalAlpha = 1;
    if (part.profile) paintProfile(grid, part);
    if (part.window) paintWindow(grid, part.window);
    if (values) paintNumbers(grid, part, valueAt, shades, colours);
    context.strokeStyle = ink;
    if (part.mark !== null) box(grid, [part.mark, 0, 1, columns], 1.5);
    if (cursor) box(grid, [...cursor, 1, 1], 2);
    if (drag?.to) {
      const [r0, r1, c0, c1] = corners();
      box(grid, [r0, c0, r1 - r0 + 1, c1 - c0 + 1], 2);
    }
    at = (event) => {
      const c = Math.floor((event.offsetX - left) / wide), r = Math.floor((event.offsetY - top) / tall);
      return r >= 0 && r < rows && c >= 0 && c < columns ? [r, c] : null;
    };
  };
  const repaint = () => paint(frame.clientWidth);
  const move = (to) => {
    if (!to) return;
    page.cursors.set(id, (cursor = to));
    tell();
    repaint();
  };
  // Tokens "A:B" of pixels first to last along one side.
  const span = (places, pool, first, last) => {
    const after = places[last + 1]?.[1] ?? places[last][1] + (places.length > 1 && pool > 1 ? pool : 1);
    return `${places[first][1]}:${Math.min(after, part.seq)}`;
  };
  const zoom = (r0, r1, c0, c1) => page.hold({
    queries: span(part.rowPlaces, part.pool[0], r0, r1), keys: span(part.columnPlaces, part.pool[1], c0, c1),
    tokens: "",
  });
  const select = () => cursor && page.hold({ token: part.rowPlaces[cursor[0]][1] });
  const unzoom = () => page.hold({ queries: "", keys: "", tokens: "" });
  const out = canZoom && part.zoomed ? el("button", { class: "quiet", onclick: unzoom }, "Whole map") : null;

  canvas.addEventListener("pointerdown", (event) => {
    const from = at(event);
    if (!from) return;
    drag = { from, to: null };
    canvas.setPointerCapture(event.pointerId); // a drag may overshoot the edge
  });
  canvas.addEventListener("pointerup", () => {
    if (!drag) return;
    const chosen = drag.to && corners();
    drag = null;
    if (!chosen) return select();
    const [r0, r1, c0, c1] = chosen;
    if (r1 - r0 < 2 && c1 - c0 < 2) return repaint();
    zoom(r0, r1, c0, c1);
  });
  canvas.addEventListener("pointerleave", () => { drag = null; });
  const nearer = () => {
    const [r, c] = cursor ?? [0, 0], half = [Math.ceil(rows / 4), Math.ceil(columns / 4)];
    zoom(clamp(r - half[0], rows), clamp(r + half[0], rows), clamp(c - half[1], columns), clamp(c + half[1], columns));
  };
  pointing(canvas, {
    rows, columns, move, select, cursor: () => cursor,
    at: (event) => {
      const to = at(event);
      if (drag && to && canZoom && String(to) !== String(drag.from)) drag.to = to;
      return to;
    },
    keys: canZoom ? { "+": nearer, "=": nearer, "-": () => out?.click() } : {},
  });
  responsive(frame, paint);
  tell();
  const scale = part.isOne ? null : scaleOf({ low: 0, high: part.scale, unit: part.unit }, part.hue);
  return figure(part, scale, frame, readout, part.isOne ? null : noteOf(part, page.isSaved), out);
};

// What a map's pixels are, where they aren't the weights themselves.
const noteOf = ({ pooled, exact, zoom }, isAlone) => {
  const rounded = isAlone ? "Numbers are rounded to 1/255 of the colour scale." : "Drag over a part to see its exact numbers.";
  const text = [pooled && `${pooled}.`, exact ? null : zoom ? rounded : "Numbers are rounded to the colour scale."];
  return text.some(Boolean) ? el("p", { class: "note" }, text.filter(Boolean).join(" ")) : null;
};

// Sizes a map's canvas, writes the names along it, and says where its cells are.
const layOut = (part, canvas, width, ink) => {
  const [rows, columns] = part.shape, { rowPlaces, columnPlaces, zoom, mark } = part;
  const measure = document.createElement("canvas").getContext("2d");
  measure.font = FONT;
  // A label among many needs its place beside it.
  const called = ([text, token], many) => (many ? `${cut(text, 9)} ${token}` : cut(text, 14));
  const many = Math.max(rows, zoom ? columns : 1) * (LABEL + 2) > Math.min(width, 560);
  const manyColumns = many && zoom, axis = LABEL + 6;
  const widest = (places, named) => Math.max(...places.map((one) => measure.measureText(called(one, named)).width));
  const left = axis + Math.ceil(Math.min(widest(rowPlaces, many), 92)) + 8;
  const side = Math.max(160, Math.min(width - left - 8, 680));
  const cell = side / Math.max(columns, zoom ? rows : 1);
  const wide = zoom ? cell : side / columns;
  const tall = zoom ? cell : Math.max(Math.min(18, 560 / rows), 1.2);
  const apart = LABEL + 1, sparse = 2.2 * LABEL; // where a pixel is many tokens, a few names do
  const everyRow = Math.max(1, Math.ceil((part.pool[0] > 1 ? sparse : apart) / tall));
  const upright = widest(columnPlaces, manyColumns) + 4 > wide;
  const everyColumn = upright ? Math.max(1, Math.ceil((part.pool[1] > 1 ? sparse : apart + 1) / wide)) : 1;
  const middle = zoom ? 0 : (columns - 1) / 2; // so that offset 0 keeps its label
  const isNamed = (_, c) => (c - middle) % everyColumn === 0;
  const columnWidth = widest(columnPlaces.filter(isNamed), manyColumns);
  const above = part.profile ? PROFILE + 4 : 0; // between the names and the map
  const top = above + axis + (upright ? Math.ceil(Math.min(columnWidth, 92)) + 8 : LABEL + 8);
  const over = (size) => Math.max(1, (LABEL + 3 - size) / 2); // by which a name is larger than its cell
  const context = sized(canvas, Math.ceil(left + wide * columns + over(upright ? wide : LABEL)),
    Math.ceil(top + tall * rows + over(tall)));
  context.font = FONT;
  context.fillStyle = ink;
  context.textBaseline = "middle";
  context.textAlign = "right";
  rowPlaces.forEach((one, r) => {
    const isMarked = r === mark, near = mark !== null && Math.abs(r - mark) < everyRow;
    if (!isMarked && (r % everyRow || near)) return;
    context.font = isMarked ? `bold ${FONT}` : FONT;
    context.fillText(called(one, many), left - 4, top + (r + 0.5) * tall, left - axis - 5);
  });
  context.font = FONT;
  columnPlaces.forEach((one, c) => {
    if (!isNamed(one, c)) return;
    context.save();
    context.translate(left + (c + 0.5) * wide, top - above - 4);
    if (upright) context.rotate(-Math.PI / 2);
    else context.translate(0, -LABEL / 2);
    context.textAlign = upright ? "left" : "center";
    context.fillText(called(one, manyColumns), 0, 0, (upright ? top - axis - above : wide) - 4);
    context.restore();
  });
  context.textAlign = "center";
  context.globalAlpha = 0.8;
  context.fillText(part.columnAxis, left + (wide * columns) / 2, LABEL / 2 + 1);
  context.translate(LABEL / 2 + 1, top + (tall * rows) / 2);
  context.rotate(-Math.PI / 2);
  context.fillText("query", 0, 0);
  context.rotate(Math.PI / 2);
  context.translate(-LABEL / 2 - 1, -top - (tall * rows) / 2);
  context.globalAlpha = 1;
  return { context, left, top, wide, tall, rows, columns };
};

// The two edges of the window, outside of which no weight is.
const paintWindow = ({ context, left, top, wide, tall }, spans) => {
  context.lineWidth = 1.25;
  context.beginPath();
  for (const edge of [0, 1]) {
    spans.forEach((span, r) => {
      const x = left + span[edge] * wide, y = top + r * tall;
      if (!r) context.moveTo(x, y);
      context.lineTo(x, y);
      context.lineTo(x, y + tall);
    });
  }
  context.stroke();
};

// The weights themselves, where cells are large enough: three digits of the largest.
const paintNumbers = ({ context, left, top, wide, tall, rows, columns }, part, valueAt, shades, colours) => {
  const places = clampTo(2 - Math.floor(Math.log10(part.scale)), 1, 7);
  const short = (value) => (value >= 0.5 * 10 ** -places ? value.toFixed(places).replace(/^0/, "") : "~0");
  if (tall < 15 || wide < context.measureText(short(part.scale)).width + 6) return;
  context.textAlign = "center";
  for (let i = 0; i < rows * columns; i++) {
    const value = valueAt(i), r = Math.floor(i / columns), c = i % columns;
    if (!value) continue;
    context.fillStyle = inkOn(colours[shades[i]]);
    context.fillText(short(value), left + (c + 0.5) * wide, top + (r + 0.5) * tall, wide - 2);
  }
};

const PROFILE = 44; // px

// The mean of every column, between the names and the map.
const paintProfile = ({ context, left, top, wide }, { profile, hue }) => {
  const most = Math.max(...profile, 1e-9);
  context.fillStyle = css(shade(hue, 0.6));
  profile.forEach((mean, c) => {
    const tall = (mean / most) * PROFILE;
    context.fillRect(left + c * wide, top - 2 - tall, Math.max(wide - 1, 1), tall);
  });
};

parts.thumbs = (part, page) => {
  const heads = part.names.length, depth = part.layers.length, { state } = page;
  const held = { layer: state.layer ?? depth - 1, head: heads === 1 ? 0 : state.head ?? 0 };
  const grid = el("div", {
    class: "thumbs", tabindex: "0", role: "group", "data-key": "thumbs",
    "aria-label": `Every head; selected: layer ${held.layer}, head ${held.head}. Arrows move.`,
  });
  const readout = el("p", { class: "readout", "aria-live": "polite" }, "\u00a0");
  const large = part.isBeside ? null : el("div", { class: "enlarged" }); // a map stands beside it already
  grid.style.setProperty("--heads", heads);
  grid.append(el("span", { class: "corner" }, heads === 1 ? "layer" : "layer, head"),
    ...part.names.map((name) => el("span", { class: "head-name" }, name.replace("head ", ""))));
  const title = (layer, head) => `Layer ${layer} ${part.names[head]} · max ${number(+part.layers[layer].highest[head].toPrecision(2))}`;
  const show = (layer, head) => {
    readout.textContent = title(layer, head);
    if (!large) return;
    large.replaceChildren(parts.map({
      kind: "map", title: title(layer, head), hue: part.layers[layer].kind, root: 2, exact: false,
      scale: part.layers[layer].highest[head], data: part.layers[layer].maps[head], shape: [part.size, part.size],
      unit: "attention weight (square-root colour scale)", columnAxis: "key", rowPlaces: part.places,
      columnPlaces: part.places, pool: [part.pool, part.pool], pooled: "", window: null, zoom: true, mark: null,
    }, { ...page, isSaved: true, hold() {} }));
  };
  const select = (layer, head) => {
    for (const one of grid.querySelectorAll(".thumb")) {
      const isIt = Number(one.dataset.layer) === layer && Number(one.dataset.head) === head;
      one.classList.toggle("held", isIt);
      one.setAttribute("aria-pressed", String(isIt));
    }
    Object.assign(held, { layer, head });
    show(layer, head);
    page.hold(heads === 1 ? { layer } : { layer, head });
  };
  const paints = [];
  for (let layer = depth - 1; layer >= 0; layer--) { // the deepest on top, as everywhere
    const { kind, maps } = part.layers[layer];
    grid.append(el("span", { class: `layer-name kind ${kind}` }, `${layer} ${kind}`));
    maps.forEach((map, head) => {
      const isIt = layer === held.layer && head === held.head;
      const button = el("button", {
        class: `thumb ${kind}${isIt ? " held" : ""}`, tabindex: "-1", "data-layer": String(layer),
        "data-head": String(head), title: title(layer, head),
        "aria-label": `${title(layer, head)}, ${kind}`, "aria-pressed": String(isIt),
        onmouseenter: () => show(layer, head),
        onclick: () => {
          grid.focus({ preventScroll: true }); // so that arrows go on from here
          select(layer, head);
        },
      });
      const shades = bytesOf(map);
      paints.push(() => button.replaceChildren(imageOf(shades, part.size, part.size, palette(kind))));
      grid.append(button);
    });
  }
  grid.addEventListener("mouseleave", () => show(held.layer, held.head));
  grid.addEventListener("keydown", (event) => {
    const step = ARROWS[event.key];
    if (!step) return;
    event.preventDefault();
    select(clamp(held.layer - step[0], depth), clamp(held.head + step[1], heads));
  });
  const paint = () => paints.forEach((one) => one());
  paint();
  onTheme(grid, paint);
  show(held.layer, held.head);
  const both = el("div", { class: large ? "explore" : "" }, el("div", {}, grid, readout), large);
  both.style.setProperty("--heads", heads);
  return figure({ ...part, kind: "every-head" }, null, both,
    el("p", { class: "note" }, `Rows of a map are queries, columns keys; ${part.unit}.`));
};
