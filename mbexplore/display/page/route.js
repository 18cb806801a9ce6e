// A route: tokens from left to right, layers upwards, a dot where the difference is, a curve for each
// head that moves it on. A dot selects its layer and token, a curve opens what shows the head.

const ROUTE = { row: [22, 38], tall: 400, names: 84, column: 190, idle: 0.45, foot: 38, side: 22, apart: 15 }; // px

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
    const step = Math.min((width - ROUTE.names - ROUTE.side) / all, ROUTE.column);
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
    const dots = [];
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
        dot.style.fill = css(shade("signed", (value / part.high + 1) / 2));
        const layer = part.row_hold[row], token = part.column_hold[column];
        const held = { ...(layer === null || layer === undefined ? {} : { layer }), ...(token === null || token === undefined ? {} : { token }) };
        active(dot, name(row, column), `node ${part.rows[row]} ${token}`, page.isSaved ? null : () => page.hold(held));
      }
      dots.push(dot);
    }));
    const labels = part.edges.map((edge) => {
      const bend = (edge.number - (edge.count - 1) / 2) * Math.min(ROUTE.apart, high * 0.42), act = page.open && (() => page.open(edge.open));
      const from = [x(edge.key), y(edge.row)], to = [x(edge.query), y(edge.row + 1)], kind = `edge ${edge.hue}${edge.backup ? " backup" : ""}`;
      const isLoop = edge.key === edge.query, middle = [(from[0] + to[0]) / 2, (from[1] + to[1]) / 2 + bend];
      const at = isLoop ? [to[0] + 14, to[1] + bend] : middle;
      const path = isLoop ? null : svg("path", {
        d: `M${from} Q${[0, 1].map((i) => 2 * middle[i] - (from[i] + to[i]) / 2)} ${to}`, "stroke-width": 1.5 + 7 * Math.max(edge.share, 0), class: kind,
      });
      if (path) root.append(path); // below all labels
      const label = svg("g", { class: kind }, svg("text", { x: at[0], y: at[1] + 4, "text-anchor": isLoop ? "start" : "middle", class: "named" }, edge.label));
      path?.addEventListener("pointerenter", () => tell(edge.about));
      if (act) path?.addEventListener("click", act);
      return active(label, edge.about, `edge ${edge.name} ${edge.number}`, act);
    });
    root.append(...dots, ...labels);
    const focused = frame.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    frame.replaceChildren(root);
    if (focused) frame.querySelector(`[data-key="${focused}"]`)?.focus({ preventScroll: true });
  };
  responsive(frame, paint);
  const scale = scaleOf({ low: -part.high, high: part.high, unit: part.unit }, "signed");
  return figure(part, el("span", { class: "legends" }, scale, legendOfKinds(part.row_hues)), frame, readout);
};
