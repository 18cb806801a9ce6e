// A route: tokens from left to right, layers upwards, a dot where the difference is, a curve for each
// head that moves it on. A dot selects its layer and token, a curve opens what shows the head.

const ROUTE = { row: [22, 38], tall: 400, names: 84, column: 190, idle: 0.45, foot: 38, side: 22, apart: 15, beside: 14, font: "600 12px system-ui, sans-serif" }; // px

// Places labels one after another: beside the end of a curve or its beginning, wherever each covers least.
const labelPlacer = (width, dots, curves) => {
  const along = ({ from, to, middle }, t) => [0, 1].map((i) => (1 - 2 * t) * (1 - t) * from[i] + 4 * t * (1 - t) * middle[i] + t * (2 * t - 1) * to[i]);
  const drawn = [...dots, ...curves.flatMap((curve) => [1, 2, 3, 4, 5, 6, 7, 8, 9].map((t) => along(curve, t / 10)))];
  const placed = [], high = ROUTE.apart;
  return ({ from, to, row, label }) => {
    const side = to[0] < from[0] ? -1 : 1, wide = widest([label], ROUTE.font);
    const spots = [0, 1, -1, 2, -2].flatMap((shift) => [[to, side], [from, -side]].map(([[x, y], way]) => {
      const left = x + way * ROUTE.beside - (way < 0 ? wide : 0), level = y + (row + shift) * high;
      const within = (a, b) => a > left - 9 && a < left + wide + 9 && Math.abs(b - level) < high / 2;
      const cost = 100 * (left < ROUTE.names || left + wide > width) + drawn.filter(([a, b]) => within(a, b)).length + Math.abs(shift) / 10
        + 10 * placed.filter((one) => Math.abs(one.level - level) < high - 1 && one.left < left + wide && left < one.right).length;
      return { left, right: left + wide, level, cost };
    }));
    const best = spots.reduce((a, b) => (b.cost < a.cost ? b : a));
    placed.push(best);
    return best;
  };
};

parts.route = (part, page) => {
  const rows = part.rows.length, ends = part.edges.flatMap((edge) => [edge.key, edge.query]);
  const shares = part.columns.map((_, i) => (ends.includes(i) ? 1 : Math.max(...part.values.map((row) => Math.abs(row[i] ?? 0)))));
  const readout = el("p", { class: "readout", "aria-live": "polite" }, "\u00a0");
  const tell = (text) => (readout.textContent = text);
  const frame = el("div", { class: "canvas" });
  const name = (row, column) => `${part.columns[column]} after ${part.rows[row]}: ${number(part.values[row][column])} ${part.unit}`;

  // What can be pointed at, and clicked where `act` is there.
  const active = (node, label, key, act) => {
    const tellThis = () => tell(label);
    node.setAttribute("aria-label", label);
    node.setAttribute("data-key", key);
    node.addEventListener("pointerenter", tellThis);
    if (!act) return node;
    node.setAttribute("role", "button");
    node.setAttribute("tabindex", "0");
    node.addEventListener("focus", tellThis);
    node.addEventListener("click", act);
    node.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      act();
    });
    return node;
  };

  const paint = (width) => {
    const high = Math.min(Math.max(ROUTE.tall / rows, ROUTE.row[0]), ROUTE.row[1]);
    const room = shares.map((share) => (share >= part.least ? 1 : ROUTE.idle)), all = room.reduce((a, b) => a + b);
    // The longest name of a head has room beside the last token that a curve ends at.
    const least = ROUTE.beside + widest(part.edges.map((edge) => edge.label), ROUTE.font) + 4, last = Math.max(...ends);
    const half = room.slice(last).reduce((a, b) => a + b, -room[last] / 2) / all;
    const side = Math.max(ROUTE.side, part.edges.length ? (least - half * (width - ROUTE.names)) / (1 - half) : 0);
    const step = Math.min((width - ROUTE.names - side) / all, ROUTE.column);
    const x = (column) => ROUTE.names + step * (room.slice(0, column).reduce((a, b) => a + b, 0) + room[column] / 2), y = (row) => (rows - row - 0.5) * high + 4;
    const root = svg("svg", { width, height: rows * high + ROUTE.foot + 8, role: "group", "aria-label": part.title });
    const { text } = pen(root);
    part.rows.forEach((row, i) => text([ROUTE.names - 10, y(i) + 4], "end", row, `row-name ${part.row_hues[i] ?? ""}`));
    part.columns.forEach((column, i) => {
      const letters = Math.max(1, Math.floor((step * room[i] - 4) / 7)), kind = i === part.mark ? "column-name own" : "column-name";
      if (room[i] < 1 && letters < Math.min(column.length, 3)) return; // no room for it, and nothing is there
      column.split(" / ").forEach((each, line) =>
        text([x(i), rows * high + 20 + 15 * line], "middle", cut(line ? `/ ${each}` : each, letters + 2 * line), kind).append(svg("title", {}, column)));
    });
    const dots = [], carried = [];
    part.values.forEach((values, row) => values.forEach((value, column) => {
      const size = Math.min(Math.abs(value ?? 0), 1), isCarried = size >= part.least;
      if (value === null) return;
      const above = part.values[row + 1]?.[column] ?? 0;
      if (isCarried && value > 0 && above >= part.least) {
        root.append(svg("line", {
          x1: x(column), x2: x(column), y1: y(row), y2: y(row + 1), class: "stream", "stroke-width": 1 + 7 * Math.min(value, above, 1),
        }));
      }
      const dot = svg("circle", { cx: x(column), cy: y(row), r: isCarried ? 3 + 6 * Math.sqrt(size) : 1.5, class: isCarried ? "node" : "bare" });
      if (isCarried) {
        carried.push([x(column), y(row)]);
        dot.style.fill = css(shade("signed", (value / part.high + 1) / 2));
        const layer = part.row_hold[row], token = part.column_hold[column];
        const held = { ...(layer === null || layer === undefined ? {} : { layer }), ...(token === null || token === undefined ? {} : { token }) };
        active(dot, name(row, column), `node ${part.rows[row]} ${token}`, page.isSaved ? null : () => page.hold(held));
      }
      dots.push(dot);
    }));
    const curves = part.edges.map((edge) => {
      const row = edge.number - (edge.count - 1) / 2, bend = row * Math.min(ROUTE.apart, high * 0.42);
      const from = [x(edge.key), y(edge.row)], to = [x(edge.query), y(edge.row + 1)];
      return { from, to, row, label: edge.label, middle: [(from[0] + to[0]) / 2, (from[1] + to[1]) / 2 + bend] };
    });
    const place = labelPlacer(width, carried, curves);
    const labels = part.edges.map((edge, i) => {
      const { from, to, middle } = curves[i], act = page.open && (() => page.open(edge.open)), kind = `edge ${edge.hue}${edge.backup ? " backup" : ""}`;
      const path = edge.key === edge.query ? null : svg("path", {
        d: `M${from} Q${[0, 1].map((j) => 2 * middle[j] - (from[j] + to[j]) / 2)} ${to}`, "stroke-width": 1.5 + 7 * Math.max(edge.share, 0), class: kind,
      });
      if (path) root.append(path); // below all labels
      const { left, level } = place(curves[i]);
      const label = svg("g", { class: kind }, svg("text", { x: left, y: level + 4, class: "named" }, edge.label));
      path?.addEventListener("pointerenter", () => tell(edge.about));
      if (act) path?.addEventListener("click", act);
      return active(label, edge.about, `edge ${edge.name} ${edge.number}`, act);
    });
    root.append(...dots, ...labels);
    frame.replaceChildren(root);
  };
  responsive(frame, paint);
  const scale = scaleOf({ low: -part.high, high: part.high, unit: part.unit }, "signed");
  return figure(part, el("span", { class: "legends" }, scale, legendOfKinds(part.row_hues)), frame, readout);
};
