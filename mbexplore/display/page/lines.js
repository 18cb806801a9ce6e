// Curves over one axis, with a cursor that tells every curve's value.

const CHART = { tall: 206, left: 74, right: 26, top: 12, foot: 44, bareFoot: 26 }; // px

const extentOf = (values, log) => {
  const used = log ? values.filter((v) => v > 0) : values;
  const low = Math.min(...used), high = Math.max(...used);
  if (low < high) return [low, high];
  return log ? [low, high * 10] : [low - 1, high + 1];
};

// Bounds drawn out to round numbers, so that a curve never runs along the edge of its chart.
const roomy = ([low, high], log) => {
  if (log) return [low / 1.3, high * 1.3];
  const [a, b] = ticks([low, high], false, 5), step = b - a || 1;
  return [Math.floor(low / step + 1e-9) * step, Math.ceil(high / step - 1e-9) * step];
};

const scaleTo = ([low, high], log, from, to) => {
  const f = log ? Math.log10 : (v) => v;
  return (v) => from + ((f(v) - f(low)) / (f(high) - f(low))) * (to - from);
};

// A tick of a logarithmic axis is short: 1e-7.
const tickName = (value, log) =>
  !log ? number(value)
    : value < 0.001 || value >= 1e6 ? value.toExponential(0).replace("e+", "e").replace("-", MINUS)
      : value.toLocaleString("en");

parts.lines = (part) => {
  const readout = el("p", { class: "readout", "aria-live": "polite" }, "\u00a0");
  const frame = el("div", {
    class: "canvas", tabindex: "0", role: "application",
    "data-key": `lines ${part.title.replace(/[^a-z ]/gi, "")}`,
    "aria-label": `${part.title}: left and right move`,
  });
  const placed = (places) => Object.entries(places).map(([name, at]) => ({ name, at }));
  const marks = placed(part.marks), levels = placed(part.levels);
  const named = part.ticks;
  const points = part.series.flatMap((s) => s.points).filter(([x, y]) => x !== null && y !== null);
  const xs = extentOf([...points.map((p) => p[0]), ...marks.map((m) => m.at)], part.log_x);
  const ys = roomy(extentOf([...points.map((p) => p[1]), ...levels.map((m) => m.at)], part.log_y), part.log_y);
  const places = [...new Set(points.map((p) => p[0]))].sort((a, b) => a - b);
  let cursor = null, x = null;

  const tell = () => {
    const near = (one) => one.points.find((p) => p[0] === cursor);
    const values = part.series.filter(near).map((one) => `${one.name} ${number(near(one)[1])}`);
    const where = named ? named[cursor] : `${part.x} ${number(cursor)}`;
    readout.textContent = [where, ...values].join(" · ");
  };

  const paint = (width) => {
    const { left, right, top } = CHART, foot = part.x ? CHART.foot : CHART.bareFoot;
    const low = CHART.tall, height = low + foot;
    x = scaleTo(xs, part.log_x, left, width - right);
    const y = part.y_down ? scaleTo(ys, part.log_y, top, low) : scaleTo(ys, part.log_y, low, top);
    const root = svg("svg", { width, height, "aria-hidden": "true" });
    const { stroke, text } = pen(root);
    for (const tick of ticks(ys, part.log_y, 5)) {
      stroke(left, y(tick), width - right, y(tick), "grid");
      text([left - 6, y(tick) + 4], "end", tickName(tick, part.log_y));
    }
    const room = Math.max(2, Math.floor((width - left) / 66));
    const step = named ? Math.ceil(named.length / room) : 0;
    const at = named ? named.map((_, i) => i).filter((i) => i % step === 0) : ticks(xs, part.log_x, room);
    for (const tick of at) {
      text([x(tick), low + 17], "middle", named ? cut(named[tick], 10) : tickName(tick, part.log_x));
    }
    text([(left + width) / 2, height - 6], "middle", part.x, "axis");
    text([0, 0], "middle", part.y, "axis")
      .setAttribute("transform", `translate(12 ${(low + top) / 2}) rotate(-90)`);
    // A level's name stands at the end that is farther from every curve above it.
    const reached = (from, to) => part.series.flatMap((one) => one.points)
      .filter(([a, b]) => a !== null && b !== null && x(a) >= from && x(a) <= to).map((p) => y(p[1]));
    const away = (level, from) => Math.min(...reached(from, from + 0.4 * width).map((one) => Math.abs(one - y(level.at) + 10)));
    for (const level of levels) {
      const isLeft = away(level, left) > away(level, 0.6 * width - right);
      stroke(left, y(level.at), width - right, y(level.at), "mark");
      text([isLeft ? left + 5 : width - right - 5, y(level.at) - 5], isLeft ? "start" : "end", level.name, "named");
    }
    // A mark's name stands at the end that is farther from every curve beside it.
    for (const mark of marks) {
      const isRight = x(mark.at) > width / 2, at = x(mark.at);
      const near = isRight ? reached(at - 0.4 * width, at) : reached(at, at + 0.4 * width);
      const isLow = Math.min(...near) - top < low - Math.max(...near);
      stroke(x(mark.at), top, x(mark.at), low, "mark");
      text([x(mark.at) + (isRight ? -5 : 5), isLow ? low - 6 : top + 4], isRight ? "end" : "start", mark.name, "named");
    }
    for (const one of part.series) {
      const kept = one.points.filter(([a, b]) => a !== null && b !== null && (!part.log_y || b > 0));
      const path = kept.map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(" ");
      const curve = svg("polyline", { points: path, class: `curve ${one.hue}` });
      if (one.dashed) curve.setAttribute("stroke-dasharray", "5 4");
      root.append(curve);
      if (one.dots) for (const [a, b] of kept) {
        root.append(svg("circle", { cx: x(a), cy: y(b), r: 3, class: `dot ${one.hue}` }));
      }
    }
    if (cursor !== null) stroke(x(cursor), top, x(cursor), low, "hair");
    root.append(...root.querySelectorAll(".named")); // over the curves
    frame.replaceChildren(root);
  };

  const move = (to) => {
    if (to === undefined || to === cursor) return;
    cursor = to;
    tell();
    paint(frame.clientWidth);
  };
  frame.addEventListener("mousemove", (event) => {
    const left = event.clientX - frame.getBoundingClientRect().left;
    const away = (place) => Math.abs(x(place) - left);
    move(places.reduce((best, place) => (away(place) < away(best) ? place : best), places[0]));
  });
  frame.addEventListener("keydown", (event) => {
    const step = ARROWS[event.key]?.[1];
    if (!step) return;
    move(places[cursor === null ? 0 : clamp(places.indexOf(cursor) + step, places.length)]);
    event.preventDefault();
  });
  responsive(frame, paint);
  if (named) onSelected(frame, ({ layer }) => move(places.find((place) => named[place] === `layer ${layer}`)));
  const legend = part.series.length < 2 ? null : el("span", { class: "legend" },
    ...part.series.map((s) => el("span", { class: `${s.hue}${s.dashed ? " dashed" : ""}${s.dots ? " dots" : ""}` }, s.name)));
  return figure(part, legend, frame, readout);
};
