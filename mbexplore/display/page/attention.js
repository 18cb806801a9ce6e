// Attention: the model view (`explore`, `thumbs`), a head's map or band (`map`), and its `arcs`.
// Colours are the root of a weight's share of the largest, so that faint links show.

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

// The model views already asked for, by text, model and wishes.
const modelViews = new Map();

parts.explore = (part, page) => {
  const { state } = page;
  const panes = part.panes.map((one) => draw(one, page));
  const right = el("div", { class: "held-head" }, ...panes);
  const left = el("div", { class: "model-view" });
  const grid = el("div", { class: "explore" }, left, right);
  grid.style.setProperty("--heads", part.wishes.mean ? 1 : page.model().heads);
  const key = JSON.stringify([state.model, state.text, part.wishes]);
  const look = {
    timer: null,
    at(layer, head) {
      clearTimeout(look.timer);
      look.timer = setTimeout(async () => {
        const asked = look.timer;
        const answer = await page.look({ layer, head }).catch(() => null);
        if (asked !== look.timer || !answer) return;
        right.replaceChildren(...answer.parts[0].panes.map((one) => draw(one, page)));
        right.classList.add("looking");
      }, 90);
    },
    away() {
      clearTimeout(look.timer);
      look.timer = null;
      if (!right.classList.contains("looking")) return;
      right.replaceChildren(...panes);
      right.classList.remove("looking");
    },
  };
  const save = (ending) => page.busy(page.ask("save", "model_view", ending, state.model, state.text, part.wishes));
  const fill = ({ parts: [found], formats, command }) => {
    const saving = savingOf(part.wishes.mean ? "Save all layers" : "Save all heads", formats, { save, say: page.say });
    saving.append(el("button", {
      class: "quiet", title: command, onclick: () => navigator.clipboard.writeText(command),
    }, "Copy command"));
    left.replaceChildren(parts.thumbs({ ...found, look }, page), saving);
  };
  if (modelViews.has(key)) fill(modelViews.get(key));
  else {
    const { words, special, mean } = part.wishes;
    page.busy(page.ask("model_view", state.model, state.text, words, special, mean)).then((answer) => {
      if (modelViews.size > 8) modelViews.clear();
      modelViews.set(key, answer);
      fill(answer);
    }, (error) => left.replaceChildren(el("p", { class: "note" }, error.message)));
  }
  return grid;
};

parts.thumbs = (part, page) => {
  const heads = part.layers[0].maps.length, { state } = page;
  const held = { layer: state.layer, head: heads === 1 ? 0 : state.head };
  const grid = el("div", {
    class: "thumbs", tabindex: "0", role: "group", "data-key": "thumbs",
    "aria-label": `Every head; held: layer ${state.layer}, head ${state.head}. Arrows move.`,
  });
  grid.style.setProperty("--heads", heads);
  grid.append(el("span", { class: "corner" }, heads === 1 ? "layer" : "layer, head"), ...part.layers[0].maps.map((_, head) =>
    el("span", { class: "head-name" }, heads === 1 ? "mean" : String(head))));
  const canvases = [];
  part.layers.forEach(({ kind, maps }, layer) => {
    grid.append(el("span", { class: `layer-name kind ${kind}` }, `${layer} ${kind}`));
    maps.forEach((map, head) => {
      const here = layer === held.layer && head === held.head;
      const button = el("button", {
        class: `thumb ${kind}${here ? " held" : ""}`, tabindex: "-1", "data-layer": String(layer),
        "data-head": String(head), title: `layer ${layer} head ${head}, ${kind}`,
        "aria-label": `layer ${layer} head ${head}, ${kind}`, "aria-pressed": String(here),
        onmouseenter: () => (here ? part.look?.away() : part.look?.at(layer, head)),
        onclick: () => page.hold(heads === 1 ? { layer } : { layer, head }),
      });
      const shades = bytesOf(map);
      canvases.push(() => {
        button.replaceChildren(imageOf(shades, part.size, part.size, palette(kind)));
      });
      grid.append(button);
    });
  });
  grid.addEventListener("mouseleave", () => part.look?.away());
  grid.addEventListener("keydown", (event) => {
    const step = ARROWS[event.key];
    if (!step) return;
    event.preventDefault();
    page.hold({
      layer: clamp(state.layer + step[0], part.layers.length),
      head: clamp(state.head + step[1], page.model().heads),
    });
  });
  const paint = () => canvases.forEach((one) => one());
  paint();
  onTheme(grid, paint);
  return grid;
};

parts.map = (part, page) => {
  const [rows, columns] = part.shape;
  const values = part.exact ? new Float32Array(bytesOf(part.data).buffer) : null;
  const shades = part.exact
    ? Uint8Array.from(values, (v) => Math.round(Math.sqrt(Math.max(v, 0) / part.scale) * 255))
    : bytesOf(part.data);
  const valueAt = (r, c) => values
    ? values[r * columns + c] : (shades[r * columns + c] / 255) ** 2 * part.scale;
  const canvas = el("canvas", {
    tabindex: "0", role: "img", "data-key": "map",
    "aria-label": `${part.title}. Arrows move, Enter holds the row${part.zoom ? ", plus zooms in, minus out" : ""}.`,
  });
  const frame = el("div", { class: "canvas" }, canvas);
  const readout = el("p", { class: "readout", "aria-live": "polite" }, "\u00a0");
  const out = part.zoom && part.zoomed
    ? el("button", { class: "quiet", onclick: () => page.hold({ rows: "", columns: "" }) }, "Whole map")
    : null;
  const id = `map ${part.title} ${rows} ${columns}`;
  let cursor = leftAt(page, id, rows, columns), drag = null, at = () => null;

  const name = ([text, token], pool) => (pool > 1 ? `${text} ${token}–${token + pool - 1}` : `${text} ${token}`);
  const tell = () => {
    if (!cursor) return;
    const [r, c] = cursor, [tall, wide] = part.pool;
    const column = part.zoom ? name(part.columnPlaces[c], wide) : `${part.columnPlaces[c][0]} tokens away`;
    const weight = part.exact ? number(valueAt(r, c)) : `about ${number(valueAt(r, c))}`;
    readout.textContent = `${name(part.rowPlaces[r], tall)} → ${column} · ${weight}`;
  };

  const paint = (width) => {
    const measure = document.createElement("canvas").getContext("2d");
    measure.font = FONT;
    // A label among many needs its place beside it.
    const called = ([text, token], many) => (many ? `${cut(text, 9)} ${token}` : cut(text, 14));
    const many = Math.max(rows, part.zoom ? columns : 1) * (LABEL + 2) > Math.min(width, 560);
    const manyRows = many, manyColumns = many && part.zoom;
    const widest = (places, named) => Math.max(...places.map((one) => measure.measureText(called(one, named)).width));
    const left = Math.ceil(Math.min(widest(part.rowPlaces, manyRows), 92)) + 8;
    const side = Math.max(160, Math.min(width - left - 8, 680));
    const cell = side / Math.max(columns, part.zoom ? rows : 1);
    const cellWidth = part.zoom ? cell : side / columns;
    const cellHeight = part.zoom ? cell : Math.max(Math.min(18, 560 / rows), 1.2);
    const apart = LABEL + 1, sparse = 2.2 * LABEL; // where a pixel is many tokens, a few names do
    const everyRow = Math.max(1, Math.ceil((part.pool[0] > 1 ? sparse : apart) / cellHeight));
    const upright = widest(part.columnPlaces, manyColumns) + 4 > cellWidth;
    const everyColumn = upright ? Math.max(1, Math.ceil((part.pool[1] > 1 ? sparse : apart + 1) / cellWidth)) : 1;
    const middle = part.zoom ? 0 : (columns - 1) / 2; // so that offset 0 keeps its label
    const isNamed = (_, c) => (c - middle) % everyColumn === 0;
    const columnWidth = widest(part.columnPlaces.filter(isNamed), manyColumns);
    const top = upright ? Math.ceil(Math.min(columnWidth, 92)) + 8 : LABEL + 8;
    const over = (size) => Math.max(1, (LABEL + 3 - size) / 2); // by which a name is larger than its cell
    const context = sized(canvas, Math.ceil(left + cellWidth * columns + over(upright ? cellWidth : LABEL)),
      Math.ceil(top + cellHeight * rows + over(cellHeight)));
    const ink = getComputedStyle(frame).color;
    const colours = palette(part.hue);
    context.imageSmoothingEnabled = false;
    context.drawImage(imageOf(shades, rows, columns, colours), left, top, cellWidth * columns, cellHeight * rows);
    context.strokeStyle = ink;
    context.globalAlpha = 0.35;
    context.strokeRect(left, top, cellWidth * columns, cellHeight * rows);
    context.globalAlpha = 1;
    context.font = FONT;
    context.fillStyle = ink;
    context.textBaseline = "middle";
    context.textAlign = "right";
    part.rowPlaces.forEach((one, r) => r % everyRow ||
      context.fillText(called(one, manyRows), left - 4, top + (r + 0.5) * cellHeight, left - 5));
    part.columnPlaces.forEach((one, c) => {
      if (!isNamed(one, c)) return;
      context.save();
      context.translate(left + (c + 0.5) * cellWidth, top - 4);
      if (upright) context.rotate(-Math.PI / 2);
      else context.translate(0, -LABEL / 2);
      context.textAlign = upright ? "left" : "center";
      context.fillText(called(one, manyColumns), 0, 0, (upright ? top : cellWidth) - 4);
      context.restore();
    });
    if (part.window) {
      context.strokeStyle = ink;
      context.lineWidth = 1.25;
      context.beginPath();
      for (const edge of [0, 1]) {
        part.window.forEach((span, r) => {
          const x = left + span[edge] * cellWidth, y = top + r * cellHeight;
          if (!r) context.moveTo(x, y);
          context.lineTo(x, y);
          context.lineTo(x, y + cellHeight);
        });
      }
      context.stroke();
    }
    if (values && cellWidth >= 36 && cellHeight >= 15) {
      // Nearly nothing beside the rest is told from nothing; where all is small, by how much.
      const short = (value) => value >= 0.0005 && part.scale >= 0.01 ? value.toFixed(3).replace(/^0/, "")
        : part.scale >= 0.01 || cellWidth < 44 ? "~0" : value.toExponential(1).replace("-", MINUS);
      context.textAlign = "center";
      for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) {
        const value = valueAt(r, c);
        if (!value) continue;
        context.fillStyle = inkOn(colours[shades[r * columns + c]]);
        context.fillText(short(value),
          left + (c + 0.5) * cellWidth, top + (r + 0.5) * cellHeight, cellWidth - 2);
      }
    }
    const box = (r, c, tall, wide, thick) => {
      context.strokeStyle = ink;
      context.lineWidth = thick;
      context.strokeRect(left + c * cellWidth, top + r * cellHeight, wide * cellWidth, tall * cellHeight);
    };
    if (part.held !== null) box(part.held, 0, 1, columns, 1.5);
    if (cursor) box(cursor[0], cursor[1], 1, 1, 2);
    if (drag?.to) {
      const [r0, r1] = [drag.from[0], drag.to[0]].sort((a, b) => a - b);
      const [c0, c1] = [drag.from[1], drag.to[1]].sort((a, b) => a - b);
      box(r0, c0, r1 - r0 + 1, c1 - c0 + 1, 2);
    }
    at = (event) => {
      const c = Math.floor((event.offsetX - left) / cellWidth), r = Math.floor((event.offsetY - top) / cellHeight);
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
    return `${places[first][1]}:${Math.min(after, page.chips.length)}`;
  };
  const zoom = (r0, r1, c0, c1) => page.hold({
    rows: span(part.rowPlaces, part.pool[0], r0, r1), columns: span(part.columnPlaces, part.pool[1], c0, c1),
  });
  const hold = () => cursor && page.hold({ token: part.rowPlaces[cursor[0]][1] });

  canvas.addEventListener("pointerdown", (event) => {
    const from = at(event);
    if (!from) return;
    drag = { from, to: null };
    canvas.setPointerCapture(event.pointerId); // a drag may overshoot the edge
  });
  canvas.addEventListener("pointermove", (event) => {
    const to = at(event);
    if (drag && to && part.zoom && (to[0] !== drag.from[0] || to[1] !== drag.from[1])) drag.to = to;
    move(to);
  });
  canvas.addEventListener("pointerup", () => {
    const done = drag;
    drag = null;
    if (!done) return;
    if (!done.to) return hold();
    const [r0, r1] = [done.from[0], done.to[0]].sort((a, b) => a - b);
    const [c0, c1] = [done.from[1], done.to[1]].sort((a, b) => a - b);
    if (r1 - r0 < 2 && c1 - c0 < 2) return repaint();
    zoom(r0, r1, c0, c1);
  });
  canvas.addEventListener("pointerleave", () => { drag = null; });
  canvas.addEventListener("keydown", (event) => {
    const step = ARROWS[event.key], [r, c] = cursor ?? [0, 0];
    if (step) move([clamp(r + step[0], rows), clamp(c + step[1], columns)]);
    else if (event.key === "Enter" || event.key === " ") hold();
    else if (event.key === "-" && out) out.click();
    else if ((event.key === "+" || event.key === "=") && part.zoom) {
      const half = [Math.ceil(rows / 4), Math.ceil(columns / 4)];
      zoom(clamp(r - half[0], rows), clamp(r + half[0], rows), clamp(c - half[1], columns), clamp(c + half[1], columns));
    } else return;
    event.preventDefault();
  });
  canvas.classList.add(part.zoom ? "zooms" : "holds");
  responsive(frame, paint);
  tell();
  const scale = scaleOf({ low: 0, high: part.scale, unit: "" }, part.hue);
  scale.title = "colours follow the square root, so that faint links show";
  return figure(part, scale, frame, readout, part.note ? el("p", { class: "note" }, part.note) : null, out);
};

parts.arcs = (part, page) => {
  const canvas = el("canvas", {
    tabindex: "0", role: "img", "data-key": "arcs",
    "aria-label": `${part.title}. Arrows move along a column and across, Enter holds the token.`,
  });
  const frame = el("div", { class: "canvas tall" }, canvas);
  const readout = el("p", { class: "readout", "aria-live": "polite" }, "\u00a0");
  const ROW = 17, count = part.places.length;
  const most = Math.max(1e-9, ...part.links.map((link) => link[2]));
  let cursor = part.held === null ? null : [part.held, 0]; // place, and 0 for queries, 1 for keys
  let at = () => null;

  const linked = () => part.links.filter((link) => !cursor || link[cursor[1]] === cursor[0]);
  const paint = (width) => {
    const measure = document.createElement("canvas").getContext("2d");
    measure.font = `13px system-ui, sans-serif`;
    const words = part.places.map(([text]) => cut(text, 16));
    const room = Math.ceil(Math.min(Math.max(...words.map((w) => measure.measureText(w).width)) + 10, width / 3));
    const across = Math.min(width, 560), from = room, to = across - room - 44;
    const context = sized(canvas, across, count * ROW + 8);
    const ink = getComputedStyle(frame).color, strong = css(shade(part.hue, 0.72));
    const y = (place) => place * ROW + ROW / 2 + 4;
    const shown = linked();
    context.strokeStyle = strong;
    for (const [query, key, weight] of shown) {
      const share = Math.sqrt(weight / most);
      context.globalAlpha = cursor ? 0.35 + 0.65 * share : 0.06 + 0.7 * share * share;
      context.lineWidth = cursor ? 1 + 3 * share : 0.6 + 2 * share;
      const middle = (from + to) / 2;
      context.beginPath();
      context.moveTo(from + 4, y(query));
      context.bezierCurveTo(middle, y(query), middle, y(key), to - 4, y(key));
      context.stroke();
    }
    context.globalAlpha = 1;
    context.textBaseline = "middle";
    const reached = cursor ? new Map(shown.map((link) => [link[1 - cursor[1]], link[2]])) : null;
    words.forEach((word, place) => {
      for (const side of [0, 1]) {
        const here = cursor && cursor[0] === place && cursor[1] === side;
        const linkedTo = cursor && cursor[1] !== side && reached.has(place);
        context.font = `${here || linkedTo ? "600 " : ""}13px system-ui, sans-serif`;
        context.fillStyle = ink;
        context.globalAlpha = !cursor || here || linkedTo ? 1 : 0.65;
        context.textAlign = side ? "left" : "right";
        context.fillText(word, side ? to : from, y(place), room - 4);
        if (linkedTo) {
          context.textAlign = side ? "right" : "left";
          context.font = "600 12px system-ui, sans-serif";
          const text = number(reached.get(place));
          if (side) context.fillText(text, across - 2, y(place));
        }
      }
    });
    context.globalAlpha = 1;
    at = (event) => {
      const place = Math.floor((event.offsetY - 4) / ROW);
      if (place < 0 || place >= count) return null;
      if (event.offsetX <= from + 12) return [place, 0];
      return event.offsetX >= to - 12 ? [place, 1] : null;
    };
  };
  const name = (place) => part.places[place].join(" ");
  const tell = () => {
    if (!cursor) { readout.textContent = "\u00a0"; return; }
    const side = cursor[1];
    const told = linked().sort((a, b) => b[2] - a[2]).slice(0, 8)
      .map((link) => `${name(link[1 - side])} ${number(link[2])}`);
    readout.textContent = `${name(cursor[0])} ${side ? "is seen by" : "looks at"} ${told.join(" · ") || "nothing that much"}`;
  };
  const move = (to) => {
    if (String(to) === String(cursor)) return;
    cursor = to;
    tell();
    paint(frame.clientWidth);
  };
  const rest = part.held === null ? null : [part.held, 0];
  canvas.addEventListener("pointermove", (event) => move(at(event) ?? rest));
  canvas.addEventListener("pointerleave", () => move(rest));
  canvas.addEventListener("click", () => cursor && page.hold({ token: part.places[cursor[0]][1] }));
  canvas.addEventListener("keydown", (event) => {
    const step = ARROWS[event.key], [place, side] = cursor ?? [0, 0];
    if (step) move([clamp(place + step[0], count), clamp(side + step[1], 2)]);
    else if (event.key === "Enter" && cursor) page.hold({ token: part.places[cursor[0]][1] });
    else return;
    event.preventDefault();
  });
  canvas.classList.add("holds");
  responsive(frame, paint);
  tell();
  return figure(part, null, frame, readout, el("p", { class: "note" }, part.note));
};
