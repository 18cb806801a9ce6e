// A picture whose cells tell their numbers: pointing at one outlines it and names it.
//
// mountPicture(element, data) takes an element that holds the picture as an <img>, and `data`, which
// views/picture_page.py describes.
const mountPicture = (() => {
  "use strict";

  const GAP = 14; // pixels between the pointer and what is said of it

  const make = (name, parent) => {
    const element = document.createElement("div");
    element.className = `picture-${name}`;
    element.hidden = true;
    return parent.appendChild(element);
  };

  // The cell at a place of the picture, both as shares of its size; null where there is none.
  function find(parts, x, y) {
    const part = parts.find(({ box: [left, top, right, bottom] }) =>
      left <= x && x < right && top <= y && y < bottom);
    if (!part) return null;
    const [left, top, right, bottom] = part.box;
    const [wide, tall] = [(right - left) / part.columns.length, (bottom - top) / part.rows.length];
    const [column, row] = [Math.floor((x - left) / wide), Math.floor((y - top) / tall)];
    const value = part.values[row]?.[column] ?? null;
    const place = { left: left + column * wide, top: top + row * tall, wide, tall };
    return value === null ? null : { part, row, column, value, place };
  }

  function sentence({ part, row, column, value }) {
    const where = [part.rows[row], part.columns[column]].filter(Boolean).join(", ");
    const lines = part.what ? [part.title, where, part.what] : [where, part.title || "value"];
    const number = Number.isInteger(value) ? value.toLocaleString("en") : value;
    return `${lines.filter(Boolean).join("\n")}  ${number}`;
  }

  return (root, data) => {
    root.classList.add("picture");
    const image = root.querySelector("img");
    const [outline, tip] = [make("cell", root), make("tip", root)];
    tip.setAttribute("role", "status");

    const leave = () => (outline.hidden = tip.hidden = true);
    const point = (event) => {
      const { left, top, width, height } = image.getBoundingClientRect();
      const [x, y] = [event.clientX - left, event.clientY - top];
      const found = find(data.parts, x / width, y / height);
      if (!found) return leave();
      const { place } = found;
      Object.assign(outline.style, {
        left: `${100 * place.left}%`, top: `${100 * place.top}%`,
        width: `${100 * place.wide}%`, height: `${100 * place.tall}%`,
      });
      tip.textContent = sentence(found);
      outline.hidden = tip.hidden = false;
      // To the left of or above the pointer where the picture ends.
      const fits = (at, size, whole) => (at + GAP + size <= whole ? at + GAP : at - GAP - size);
      tip.style.left = `${Math.max(0, fits(x, tip.offsetWidth, width))}px`;
      tip.style.top = `${Math.max(0, fits(y, tip.offsetHeight, height))}px`;
    };
    root.addEventListener("pointermove", point);
    root.addEventListener("pointerdown", point);
    root.addEventListener("pointerleave", leave);
    root.dataset.ready = "true";
  };
})();
