// Attention as arcs from the left column, of queries, to the right one, of keys.

parts.arcs = (part, page) => {
  const canvas = el("canvas", {
    tabindex: "0", role: "img", "data-key": "arcs", class: "holds",
    "aria-label": `${part.title}. Arrows move along a column and across, Enter selects the query.`,
  });
  const frame = el("div", { class: "canvas tall" }, canvas);
  const readout = el("p", { class: "readout", "aria-live": "polite" }, "\u00a0");
  const ROW = 17, AXIS = LABEL + 8, count = part.places.length, off = new Set(); // heads left out
  const hues = new Map(part.heads);
  const rest = part.mark === null ? null : [part.mark, 0];
  let cursor = rest; // place, and 0 for queries, 1 for keys
  let at = () => null;

  const linked = () => part.links.filter((link) =>
    !off.has(link[3]) && (!cursor || link[cursor[1]] === cursor[0]));
  const y = (place) => AXIS + place * ROW + ROW / 2;
  const paint = (width) => {
    const measure = document.createElement("canvas").getContext("2d");
    measure.font = "13px system-ui, sans-serif";
    const words = part.places.map(([text]) => cut(text, 16));
    const room = Math.ceil(Math.min(Math.max(...words.map((w) => measure.measureText(w).width)) + 10, width / 3));
    const across = Math.min(width, 560), from = room, to = across - room - 44;
    const context = sized(canvas, across, AXIS + count * ROW + 4), ink = getComputedStyle(frame).color;
    const shown = linked();
    context.font = FONT;
    context.fillStyle = ink;
    context.textAlign = "right";
    context.fillText("query", from, LABEL);
    context.textAlign = "left";
    context.fillText("key", to, LABEL);
    for (const [query, key, weight, head] of shown) paintArc(context, [from + 4, y(query)], [to - 4, y(key)], weight, head);
    context.globalAlpha = 1;
    context.textBaseline = "middle";
    const reached = new Map();
    if (cursor) for (const link of shown) {
      const end = link[1 - cursor[1]];
      reached.set(end, Math.max(reached.get(end) ?? 0, link[2]));
    }
    words.forEach((word, place) => {
      for (const side of [0, 1]) {
        const here = cursor && cursor[0] === place && cursor[1] === side;
        const isEnd = cursor && cursor[1] !== side && reached.has(place);
        context.font = `${here || isEnd ? "600 " : ""}13px system-ui, sans-serif`;
        context.fillStyle = ink;
        context.globalAlpha = !cursor || here || isEnd ? 1 : 0.65;
        context.textAlign = side ? "left" : "right";
        context.fillText(word, side ? to : from, y(place), room - 4);
        if (isEnd && side) {
          context.textAlign = "right";
          context.font = "600 12px system-ui, sans-serif";
          context.fillText(number(reached.get(place)), across - 2, y(place));
        }
      }
    });
    context.globalAlpha = 1;
    at = (event) => {
      const place = Math.floor((event.offsetY - AXIS) / ROW);
      if (place < 0 || place >= count) return null;
      if (event.offsetX <= from + 12) return [place, 0];
      return event.offsetX >= to - 12 ? [place, 1] : null;
    };
  };
  const paintArc = (context, [x0, y0], [x1, y1], weight, head) => {
    const share = Math.sqrt(weight / part.high), middle = (x0 + x1) / 2;
    const hue = hues.get(head);
    context.strokeStyle = !hue ? css(shade(part.hue, 0.72)) : isDark() ? `color-mix(in srgb, ${hue}, white 45%)` : hue;
    context.globalAlpha = cursor ? 0.35 + 0.65 * share : 0.06 + 0.7 * share * share;
    context.lineWidth = cursor ? 1 + 3 * share : 0.6 + 2 * share;
    context.beginPath();
    context.moveTo(x0, y0);
    context.bezierCurveTo(middle, y0, middle, y1, x1, y1);
    context.stroke();
  };
  const name = (place) => part.places[place].join(" ");
  const tell = () => {
    if (!cursor) { readout.textContent = "\u00a0"; return; }
    const side = cursor[1];
    const ends = linked().sort((a, b) => b[2] - a[2]).slice(0, 8)
      .map((link) => `${name(link[1 - side])} ${number(link[2])}${hues.size ? ` (head ${link[3]})` : ""}`);
    readout.textContent = `${name(cursor[0])} ${side ? "attended by" : "attends to"} ${ends.join(" · ") || "nothing that is drawn"}`;
  };
  const repaint = () => { tell(); paint(frame.clientWidth); };
  const move = (to, byKey = false) => {
    if (String(to ?? rest) === String(cursor)) return;
    cursor = to ?? rest;
    repaint();
    if (byKey) show(cursor[0]);
  };
  const show = (place) => {
    const top = y(place) - ROW, room = frame.clientHeight - 2 * ROW;
    if (top < frame.scrollTop || top > frame.scrollTop + room) frame.scrollTop = top - room / 2;
  };
  const select = () => cursor && page.hold({ token: part.places[cursor[0]][1] });
  pointing(canvas, { rows: count, columns: 2, at: (event) => at(event), move, select, cursor: () => cursor });
  canvas.addEventListener("pointerleave", () => move(rest));
  canvas.addEventListener("click", select);
  const switches = part.heads.map(([head, hue]) => {
    const button = el("button", {
      class: "head", "aria-pressed": "true",
      onclick: () => {
        off.delete(head) || off.add(head);
        button.setAttribute("aria-pressed", String(!off.has(head)));
        repaint();
      },
    }, `head ${head}`);
    button.style.borderColor = hue;
    return button;
  });
  let first = true;
  responsive(frame, (width) => {
    paint(width);
    if (first && rest) show(rest[0]); // of a long text the selected token is visible
    first = false;
  });
  tell();
  return figure(part, null, switches.length ? el("div", { class: "heads" }, ...switches) : null, frame, readout,
    part.part ? el("p", { class: "note" }, part.part) : null);
};
