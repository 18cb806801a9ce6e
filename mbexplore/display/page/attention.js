// Attention: a head's map (`map`; several: `maps`), the small maps of every head (`thumbs`).
// Colours follow a root of a weight's share of the largest, so that faint weights show.

const bytesOf = (text) => {
  const letters = atob(text), bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
};

// The colour of each of some shades 0..255, in the theme of the moment.
const coloured = (shades, hue) => {
  const colours = Array.from({ length: 256 }, (_, i) => shade(hue, i / 255));
  return (i) => colours[shades[i]];
};

// What a map's pixels hold: exact numbers, or shades and the numbers about which they stand.
const pixelsOf = (part) => {
  const values = part.exact ? new Float32Array(bytesOf(part.data).buffer) : null;
  const shades = values
    ? Uint8Array.from(values, (v) => Math.round((Math.max(v, 0) / part.scale) ** (1 / part.root) * 255))
    : bytesOf(part.data);
  return { shades, at: (i) => (values ? values[i] : (shades[i] / 255) ** part.root * part.scale) };
};

// Maps beside each other under one title, one scale and one note.
parts.maps = (part, page) => {
  const [first] = part.parts;
  return figure(part, scaleOf({ low: 0, high: first.scale, unit: first.unit }, first.hue),
    el("div", { class: "row" }, ...part.parts.map((one) => draw({ ...one, isOne: true }, page))),
    noteOf(first, page.isSaved));
};

// The names along a map; a label among many needs its place beside it.
const namesOf = ({ shape: [rows, columns], rowPlaces, columnPlaces, zoom, mark, marked }, width) => {
  const many = Math.max(rows, zoom ? columns : 1) * (LABEL + 2) > Math.min(width, 560);
  const called = (isMany) => ([text, token]) => (isMany ? `${cut(text, 9)} ${token}` : cut(text, 14));
  const rowNames = rowPlaces.map((place, r) => called(many)(r === mark && marked ? marked : place)); // of a pooled row too
  return { rows: rowNames, columns: columnPlaces.map(called(many && zoom)) };
};

// The weights themselves, where cells are large enough: three digits of the largest.
const shortOn = (most) => {
  const places = clampTo(2 - Math.floor(Math.log10(most)), 1, 7);
  return (value) => (!value ? "" : value >= 0.5 * 10 ** -places ? value.toFixed(places).replace(/^0/, "") : "~0");
};

parts.map = (part, page) => {
  const [rows, columns] = part.shape, { shades, at: valueAt } = pixelsOf(part), short = shortOn(part.scale);
  const canZoom = part.zoom && !page.isSaved; // in a saved page there is nobody to ask for a part
  let drag = null;

  const name = ([text, token], pool) => (pool > 1 ? `${text} ${token}–${token + pool - 1}` : `${text} ${token}`);
  const corners = () => {
    const [r0, r1] = [drag.from[0], drag.to[0]].sort((a, b) => a - b);
    const [c0, c1] = [drag.from[1], drag.to[1]].sort((a, b) => a - b);
    return [r0, r1, c0, c1];
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
  const unzoom = () => page.hold({ queries: "", keys: "", tokens: "" });
  const out = canZoom && part.zoomed ? el("button", { class: "quiet", onclick: unzoom }, "Whole map") : null;
  const nearer = () => {
    const [r, c] = grid.cursor() ?? [0, 0], half = [Math.ceil(rows / 4), Math.ceil(columns / 4)];
    zoom(clamp(r - half[0], rows), clamp(r + half[0], rows), clamp(c - half[1], columns), clamp(c + half[1], columns));
  };

  const sparse = (pool) => (pool > 1 ? 2.2 * LABEL : LABEL + 2); // where a pixel is many tokens, a few names do
  const grid = matrix(part, page, {
    rows, columns, axes: ["query", part.columnAxis], mark: [part.mark, null],
    kind: canZoom ? "zooms" : "holds", key: "map", apart: part.pool.map(sparse),
    middle: part.zoom ? 0 : (columns - 1) / 2, // so that offset 0 keeps its label
    label: `${part.title}. Arrows move${page.isSaved ? "" : ", Enter selects the query"}${canZoom ? ", plus zooms in, minus out" : ""}.`,
    names: (width) => namesOf(part, width),
    cell: (room) => {
      const side = clampTo(room, 160, 680), cell = side / Math.max(rows, columns);
      return part.zoom ? [cell, cell] : [side / columns, Math.max(Math.min(18, 560 / rows), 1.2)];
    },
    colours: () => coloured(shades, part.hue),
    textWidth: part.exact ? widest([short(part.scale)]) + 6 : Infinity,
    textAt: (i) => short(valueAt(i)),
    tell: (r, c) => {
      const [tall, wide] = part.pool, weight = number(valueAt(r * columns + c));
      const column = part.zoom ? name(part.columnPlaces[c], wide) : `${part.columnPlaces[c][0]} tokens away`;
      return `${name(part.rowPlaces[r], tall)} → ${column} · ${part.exact ? "" : "about "}${weight}`;
    },
    select: (r) => page.hold({ token: part.rowPlaces[r][1] }),
    keys: canZoom ? { "+": nearer, "=": nearer, "-": () => out?.click() } : {},
    over: (drawn) => {
      if (part.window) paintWindow(drawn, part.window);
      if (!drag?.to) return;
      const [r0, r1, c0, c1] = corners();
      drawn.box(r0, c0, r1 - r0 + 1, c1 - c0 + 1, 2);
    },
    onMove: (to) => { if (drag && to && canZoom && String(to) !== String(drag.from)) drag.to = to; },
  });

  grid.cells.addEventListener("pointerdown", (event) => {
    const from = grid.at(event);
    if (!from) return;
    drag = { from, to: null };
    grid.cells.setPointerCapture(event.pointerId); // a drag may overshoot the edge
  });
  grid.cells.addEventListener("pointerup", () => {
    if (!drag) return;
    const chosen = drag.to && corners();
    drag = null;
    if (!chosen) return grid.select();
    const [r0, r1, c0, c1] = chosen;
    if (r1 - r0 < 2 && c1 - c0 < 2) return grid.repaint();
    zoom(r0, r1, c0, c1);
  });
  grid.cells.addEventListener("pointerleave", () => { drag = null; });
  const scale = part.isOne ? null : scaleOf({ low: 0, high: part.scale, unit: part.unit }, part.hue);
  return figure(part, scale, grid.frame, grid.readout, part.isOne ? null : noteOf(part, page.isSaved), out);
};

// What a map's pixels are, where they aren't the weights themselves.
const noteOf = ({ pooled, exact, zoom }, isAlone) => {
  const rounded = isAlone ? "Numbers are rounded to 1/255 of the colour scale." : "Drag over a part to see its exact numbers.";
  const text = [pooled && `${pooled}.`, exact ? null : zoom ? rounded : "Numbers are rounded to the colour scale."];
  return text.some(Boolean) ? el("p", { class: "note" }, text.filter(Boolean).join(" ")) : null;
};

// The two edges of the window, outside of which no weight is.
const paintWindow = ({ context, wide, tall }, spans) => {
  context.lineWidth = 1.25;
  context.beginPath();
  for (const edge of [0, 1]) {
    spans.forEach((span, r) => {
      const x = span[edge] * wide, y = r * tall;
      if (!r) context.moveTo(x, y);
      context.lineTo(x, y);
      context.lineTo(x, y + tall);
    });
  }
  context.stroke();
};

parts.thumbs = (part, page) => {
  const heads = part.names.length, depth = part.layers.length, { state } = page;
  const held = { layer: state.layer ?? depth - 1, head: heads === 1 ? 0 : state.head ?? 0 };
  const breaker = part.tokens?.length && !page.isSaved && !part.isBeside ? breaking(part, page) : null;
  const grid = el("div", {
    class: "thumbs", tabindex: "0", role: "group", "data-key": "thumbs",
    "aria-label": `Every head; selected: layer ${held.layer}, head ${held.head}. Arrows move${breaker ? ", x switches it off" : ""}.`,
  });
  const readout = el("p", { class: "readout", "aria-live": "polite" }, "\u00a0");
  const large = part.isBeside ? null : el("div", { class: "enlarged" }); // a map stands beside it already
  grid.style.setProperty("--heads", heads);
  grid.append(el("span", { class: "corner" }, heads === 1 ? "layer" : "layer, head"),
    ...part.names.map((name) => el("span", { class: "head-name" }, name.replace("head ", ""))));
  const title = (layer, head) => `Layer ${layer} ${part.names[head]} · max ${number(part.layers[layer].highest[head])}`;
  const show = (layer, head) => {
    readout.textContent = title(layer, head);
    if (!large) return;
    large.replaceChildren(parts.map({
      kind: "map", title: title(layer, head), hue: part.layers[layer].kind, root: 2, exact: false,
      scale: part.layers[layer].highest[head], data: part.layers[layer].maps[head], shape: [part.size, part.size],
      unit: "attention weight (square-root colour scale)", columnAxis: "key", rowPlaces: part.places,
      columnPlaces: part.places, pool: [part.pool, part.pool], pooled: "", window: null, zoom: true, mark: part.mark, marked: part.marked,
    }, { ...page, isSaved: true, hold() {} }));
  };
  const hold = (layer, head) => {
    for (const one of grid.querySelectorAll(".thumb")) {
      const isIt = Number(one.dataset.layer) === layer && Number(one.dataset.head) === head;
      one.classList.toggle("held", isIt);
      one.setAttribute("aria-pressed", String(isIt));
    }
    Object.assign(held, { layer, head });
    show(layer, head);
  };
  const select = (layer, head) => {
    hold(layer, head);
    page.hold(heads === 1 ? { layer } : { layer, head });
  };
  onSelected(grid, ({ layer, head }) => {
    const one = heads === 1 ? 0 : head;
    if (layer < depth && one < heads && (layer !== held.layer || one !== held.head)) hold(layer, one);
  });
  const paints = [];
  for (let layer = depth - 1; layer >= 0; layer--) { // the deepest on top, as everywhere
    const { kind, maps } = part.layers[layer];
    const name = { class: `layer-name kind ${kind}` };
    grid.append(breaker ? breaker.nameOf(layer, name, `${layer} ${kind}`) : el("span", name, `${layer} ${kind}`));
    maps.forEach((map, head) => {
      const isIt = layer === held.layer && head === held.head, off = isOff(part, layer, head);
      const button = el("button", {
        class: `thumb ${kind}${isIt ? " held" : ""}${off ? " off" : ""}`, tabindex: "-1", "data-layer": String(layer),
        "data-head": String(head), title: title(layer, head),
        "aria-label": `${title(layer, head)}, ${kind}${off ? ", switched off" : ""}`, "aria-pressed": String(isIt),
        onmouseenter: () => show(layer, head),
        onclick: () => {
          grid.focus({ preventScroll: true }); // so that arrows go on from here
          if (breaker?.isOn()) breaker.flip([`${layer}.${head}`]);
          else select(layer, head);
        },
      });
      const shades = bytesOf(map);
      paints.push(() => button.replaceChildren(imageOf(part.size, part.size, coloured(shades, kind))));
      grid.append(button);
    });
  }
  grid.addEventListener("mouseleave", () => show(held.layer, held.head));
  grid.addEventListener("keydown", (event) => {
    const step = ARROWS[event.key];
    if (event.key === "x" && breaker) breaker.flip([`${held.layer}.${held.head}`]);
    if (!step) return;
    event.preventDefault();
    select(clamp(held.layer - step[0], depth), clamp(held.head + step[1], heads));
  });
  const paint = () => paints.forEach((one) => one());
  paint();
  onTheme(grid, paint);
  show(held.layer, held.head);
  const both = el("div", { class: large ? "explore" : "" },
    el("div", {}, breaker?.bar, grid, readout, breaker?.tokens), large);
  both.style.setProperty("--heads", heads);
  return figure({ ...part, kind: "every-head" }, legendOfKinds(part.layers.map((one) => one.kind)), both,
    el("p", { class: "note" }, `Rows of a map are queries, columns keys; ${part.unit}.`));
};
