// Points on two measures: a reader chooses any two, and a click on a point selects it.

const NEAR = 14; // px between the pointer and the point that it is on

parts.scatter = (part, page) => {
  const readout = el("p", { class: "readout", "aria-live": "polite" }, "\u00a0");
  const frame = el("div", {
    class: "canvas", tabindex: "0", role: "application",
    "data-key": `scatter ${part.title.replace(/[^a-z ]/gi, "")}`,
    "aria-label": `${part.title}: left and right move, Enter opens`,
  });
  const said = (name) => name.replaceAll("_", " ");
  const axes = { x: part.x, y: part.y };
  const shown = (name, value) =>
    (part.shares.includes(name) && value !== null ? `${number(+(100 * value).toPrecision(3))}%` : number(value));
  const pairs = (values) => part.names.map((_, i) => [values[axes.x]?.[i] ?? null, values[axes.y]?.[i] ?? null])
    .map((pair, i) => [...pair, i]).filter(([a, b]) => a !== null && b !== null);
  let cursor = null, places = []; // the point that is pointed at; x, y and number of every point

  const tell = () => {
    const value = (name) => `${said(name)} ${shown(name, part.measures[name][cursor])}`;
    readout.textContent = cursor === null ? "\u00a0" : [part.names[cursor], value(axes.x), value(axes.y)].join(" · ");
  };

  const paint = (width) => {
    const { left, right, top, foot, tall: low } = { ...CHART, tall: 280 }, height = low + foot;
    const ours = pairs(part.measures), theirs = pairs(part.theirs);
    const [xs, ys] = [0, 1].map((axis) => roomy(extentOf([...ours, ...theirs].map((p) => p[axis]))));
    const x = scaleTo(xs, false, left, width - right), y = scaleTo(ys, false, low, top);
    const root = svg("svg", { width, height, "aria-hidden": "true" });
    const { stroke, text } = pen(root);
    const circle = (place, r, kind) => root.append(svg("circle", { cx: x(place[0]), cy: y(place[1]), r, class: kind }));
    for (const tick of ticks(ys, false, 5)) {
      stroke(left, y(tick), width - right, y(tick), "grid");
      text([left - 6, y(tick) + 4], "end", shown(axes.y, tick));
    }
    for (const tick of ticks(xs, false, Math.max(2, Math.floor((width - left) / 80)))) {
      stroke(x(tick), top, x(tick), low, "grid");
      text([x(tick), low + 17], "middle", shown(axes.x, tick));
    }
    text([(left + width) / 2, height - 6], "middle", said(axes.x), "axis");
    text([0, 0], "middle", said(axes.y), "axis").setAttribute("transform", `translate(12 ${(low + top) / 2}) rotate(-90)`);
    for (const place of theirs) circle(place, 3.5, "ring");
    for (const place of ours) circle(place, 5, `dot ${part.hues[place[2]]}`);
    for (const [kind, which] of [["marked", part.mark], ["pointed", cursor]]) {
      const place = ours.find((one) => one[2] === which);
      if (!place) continue;
      circle(place, 9, kind);
      text([x(place[0]) + (x(place[0]) > width / 2 ? -13 : 13), y(place[1]) + 4], x(place[0]) > width / 2 ? "end" : "start", part.names[which], "named");
    }
    places = ours.map(([a, b, i]) => [x(a), y(b), i]).sort((a, b) => a[0] - b[0]);
    frame.replaceChildren(root);
  };

  const move = (to) => {
    if (to === cursor) return;
    cursor = to;
    frame.style.cursor = to !== null && part.hold.length && !page.isSaved ? "pointer" : "";
    tell();
    paint(frame.clientWidth);
  };
  const open = () => { if (cursor !== null && part.hold[cursor]) page.hold(part.hold[cursor]); };
  const under = (event) => {
    const box = frame.getBoundingClientRect(), at = [event.clientX - box.left, event.clientY - box.top];
    const away = ([a, b]) => Math.hypot(a - at[0], b - at[1]);
    const best = places.reduce((found, one) => (found && away(found) <= away(one) ? found : one), null);
    return best && away(best) <= NEAR ? best[2] : null;
  };
  frame.addEventListener("mousemove", (event) => move(under(event)));
  frame.addEventListener("mouseleave", () => move(null));
  frame.addEventListener("click", (event) => { move(under(event)); open(); });
  frame.addEventListener("keydown", (event) => {
    const step = ARROWS[event.key]?.[1], at = places.findIndex((one) => one[2] === (cursor ?? part.mark));
    if (step) move(places[clamp(at + step, places.length)]?.[2] ?? null);
    else if (event.key === "Enter" || event.key === " ") open();
    else return;
    event.preventDefault();
  });
  // On the page the choice is a setting of the view, which its link and its files have too.
  const chooser = (axis, sign) => {
    const parameter = part.axes[axis === "x" ? 0 : 1];
    const choice = el("select", {
      "aria-label": `${sign} axis`, "data-key": `${axis} of ${part.title}`,
      onchange: () => {
        axes[axis] = choice.value;
        if (parameter && !page.isSaved) page.hold({ [parameter]: choice.value });
        else { tell(); paint(frame.clientWidth); }
      },
    }, ...Object.keys(part.measures).map((name) => el("option", { value: name }, said(name))));
    choice.value = axes[axis];
    return el("label", {}, `${sign} `, choice);
  };
  responsive(frame, paint);
  const kinds = [...new Set(part.hues)].filter((hue) => hue !== "plain");
  const legend = el("span", { class: "legend points" }, ...kinds.map((hue) => el("span", { class: hue }, hue)),
    part.theirs_name ? el("span", { class: "ring" }, part.theirs_name) : null);
  return figure(part, legend, el("div", { class: "axes" }, chooser("y", "up"), chooser("x", "across")), frame, readout);
};
