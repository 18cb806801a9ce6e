// Attention maps on a canvas: thumbnails of all, and one of them large with its numbers.
//
// mountAttention(element, data) shows `data`, which views/attention.py describes. Weights are bytes,
// 255 times the square root of a weight, deflated and in base64, layer by layer.
const mountAttention = (() => {
  "use strict";

  const LARGE = 600; // pixels that the large map has at most in each direction
  const LABELS = 96; // pixels for the names of rows and columns
  const OVERVIEW = 320; // pixels that the thumbnails of one layer have together at most
  const LINE = 12; // pixels between two labels

  async function inflate(text) {
    const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

  // The colours of levels 0 to 255 between the stops [place, "#rrggbb"], as pixels of an image.
  function ramp(stops) {
    const colours = new Uint8ClampedArray(256 * 4);
    for (let level = 0; level < 256; level++) {
      const at = level / 255;
      const next = Math.max(1, stops.findIndex(([place]) => at <= place));
      const [low, high] = [stops[next - 1], stops[next]];
      const share = (at - low[0]) / (high[0] - low[0]);
      const [from, to] = [channels(low[1]), channels(high[1])];
      const mixed = from.map((value, i) => value + share * (to[i] - value));
      colours.set([...mixed, 255], 4 * level);
    }
    return new Uint32Array(colours.buffer);
  }

  // A canvas of one pixel a weight, coloured up to the map's own largest.
  function paint(codes, width, height, colours) {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    const image = new ImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    const most = codes.reduce((a, b) => Math.max(a, b), 1);
    for (let i = 0; i < codes.length; i++) {
      pixels[i] = colours[Math.round((255 * codes[i]) / most)];
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }

  // Sets a canvas to a size in CSS pixels and gives a context that draws in them.
  function open(canvas, width, height) {
    const dots = window.devicePixelRatio || 1;
    [canvas.width, canvas.height] = [Math.round(width * dots), Math.round(height * dots)];
    [canvas.style.width, canvas.style.height] = [`${width}px`, `${height}px`];
    const context = canvas.getContext("2d");
    context.setTransform(dots, 0, 0, dots, 0, 0);
    context.clearRect(0, 0, width, height);
    return context;
  }

  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const shorten = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  const visible = (label) => label.trim().replace(/\s/g, "␣") || "␣";
  const weightText = (code) => {
    const weight = (code / 255) ** 2;
    return code === 0 ? "less than 0.00001" : weight.toPrecision(weight >= 0.1 ? 3 : 2);
  };

  // The places of one pixel of an axis, as a person reads them.
  function placeText(axis, pixel) {
    const first = pixel * axis.pool;
    const last = Math.min(first + axis.pool, axis.labels.length) - 1;
    const name = (i) => (axis.starts ? `${visible(axis.labels[i])} ${axis.starts[i]}` : axis.labels[i]);
    return first === last ? name(first) : `${name(first)} … ${name(last)}`;
  }

  class AttentionMaps {
    constructor(root, data) {
      [this.root, this.data] = [root, data];
      this.colours = Object.fromEntries(
        Object.entries(data.colours).map(([kind, stops]) => [kind, ramp(stops)]),
      );
      this.codes = data.layers.map(() => null); // of each layer, once it is unpacked
      [this.layer, this.map] = data.selected || [0, 0];
      this.cursor = null;
      this.build();
    }

    build() {
      const make = (tag, name, parent) => {
        const element = document.createElement(tag);
        element.className = `attention-${name}`;
        return parent.appendChild(element);
      };
      this.root.replaceChildren();
      this.root.classList.add("attention");
      if (this.data.layers.length * this.data.maps.length > 1) {
        const side = make("div", "side", this.root);
        this.overview = make("canvas", "overview", side);
        this.overview.tabIndex = 0;
        this.overview.setAttribute("role", "application");
        make("p", "hint", side).textContent = "Click a map, or use the arrow keys.";
      }
      const main = make("div", "main", this.root);
      this.title = make("p", "title", main);
      this.large = make("canvas", "map", main);
      this.large.tabIndex = 0;
      this.large.setAttribute("role", "application");
      if (this.data.pooled) make("p", "hint", main).textContent = this.data.pooled;
      this.tip = make("div", "tip", this.root);
      this.tip.setAttribute("role", "status");
      this.tip.hidden = true;
      this.listen();
    }

    listen() {
      const arrows = {
        ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
      };
      const onArrow = (canvas, move) =>
        canvas.addEventListener("keydown", (event) => {
          if (!(event.key in arrows)) return;
          event.preventDefault();
          move(...arrows[event.key]);
        });
      onArrow(this.large, (down, right) => {
        const { row, column } = this.cursor || { row: 0, column: 0 };
        this.point(
          clamp(row + down, 0, this.data.height - 1), clamp(column + right, 0, this.data.width - 1),
        );
      });
      this.large.addEventListener("pointermove", (event) => {
        const { x, y, cellWidth, cellHeight } = this.frame;
        const row = Math.floor((event.offsetY - y) / cellHeight);
        const column = Math.floor((event.offsetX - x) / cellWidth);
        const inside =
          row >= 0 && row < this.data.height && column >= 0 && column < this.data.width;
        inside ? this.point(row, column) : this.leave();
      });
      for (const event of ["pointerleave", "blur"]) {
        this.large.addEventListener(event, () => this.leave());
      }
      if (!this.overview) return;
      onArrow(this.overview, (down, right) => this.select(
        clamp(this.layer + down, 0, this.data.layers.length - 1),
        clamp(this.map + right, 0, this.data.maps.length - 1),
      ));
      this.overview.addEventListener("click", (event) => {
        const { x, y, step } = this.grid;
        const layer = Math.floor((event.offsetY - y) / step);
        const map = Math.floor((event.offsetX - x) / step);
        if (this.data.layers[layer] && this.data.maps[map]) this.select(layer, map);
      });
    }

    // Unpacks and paints layer by layer, the selected one first.
    async start() {
      if (typeof DecompressionStream === "undefined") {
        this.title.textContent =
          "This browser can't unpack the maps; open the page in Chrome 80, Firefox 113, Safari " +
          "16.4 or newer.";
        return;
      }
      this.codes[this.layer] = await inflate(this.data.layers[this.layer].data);
      this.drawLarge();
      if (!this.overview) return;
      this.layOutOverview();
      for (let layer = 0; layer < this.data.layers.length; layer++) {
        this.codes[layer] ||= await inflate(this.data.layers[layer].data);
        this.drawThumbnails(layer);
      }
      this.root.dataset.ready = "true";
    }

    mapCodes(layer, map) {
      const size = this.data.width * this.data.height;
      return this.codes[layer].subarray(map * size, (map + 1) * size);
    }

    select(layer, map) {
      const before = this.layer;
      [this.layer, this.map] = [layer, map];
      if (!this.codes[layer]) return; // still being unpacked
      this.leave();
      this.drawLarge();
      for (const each of new Set([before, layer])) this.drawThumbnails(each);
    }

    layOutOverview() {
      const { layers, maps } = this.data;
      const step = clamp(Math.floor(OVERVIEW / maps.length), 22, 84);
      this.grid = { x: 78, y: 20, step };
      this.thumbs = open(
        this.overview, this.grid.x + step * maps.length + 4, this.grid.y + step * layers.length + 4,
      );
      this.thumbs.font = "11px system-ui, sans-serif";
      const ink = getComputedStyle(this.root).color;
      this.thumbs.textAlign = "center";
      maps.forEach((name, i) => {
        const short = step < 50 ? name.replace(/^head /, "") : name;
        this.thumbs.fillStyle = ink;
        this.thumbs.fillText(short, this.grid.x + (i + 0.5) * step, 11);
        this.thumbs.fillStyle = this.data.marks[i];
        this.thumbs.fillRect(this.grid.x + i * step + 1, 15, step - 2, 3);
      });
    }

    drawThumbnails(layer) {
      const { x, y, step } = this.grid;
      const { name, kind } = this.data.layers[layer];
      const context = this.thumbs;
      const top = y + layer * step;
      context.fillStyle = this.data.tints[kind];
      context.fillRect(x - 76, top, step * this.data.maps.length + 78, step);
      context.fillStyle = this.data.hues[kind];
      context.textAlign = "right";
      context.font = `${kind === "global" ? "bold " : ""}11px system-ui, sans-serif`;
      context.fillText(name, x - 8, top + step / 2 + 4);
      context.imageSmoothingEnabled = step < this.data.width;
      this.data.maps.forEach((_, i) => {
        const image = paint(
          this.mapCodes(layer, i), this.data.width, this.data.height, this.colours[kind],
        );
        context.drawImage(image, x + i * step + 1, top + 1, step - 2, step - 2);
        if (layer !== this.layer || i !== this.map) return;
        context.strokeStyle = "#1f2933";
        context.lineWidth = 2;
        context.strokeRect(x + i * step + 1, top + 1, step - 2, step - 2);
      });
    }

    drawLarge() {
      const { width, height, rows, columns, maps } = this.data;
      const layer = this.data.layers[this.layer];
      this.title.textContent = `${layer.title} · ${maps[this.map]}`;
      this.title.style.color = this.data.hues[layer.kind];
      const side = (count) => clamp(LARGE / count, 0, 44);
      let [cellWidth, cellHeight] = [width, height].map((count) =>
        side(count) >= 1 ? Math.floor(side(count)) : side(count),
      );
      if (rows.labels.length === columns.labels.length) {
        cellWidth = cellHeight = Math.min(cellWidth, cellHeight);
      }
      this.frame = { x: LABELS, y: 4, cellWidth, cellHeight };
      this.image = paint(this.mapCodes(this.layer, this.map), width, height, this.colours[layer.kind]);
      this.drawMap();
    }

    drawMap() {
      const { width, height, rows, columns } = this.data;
      const { x, y, cellWidth, cellHeight } = this.frame;
      const [wide, tall] = [width * cellWidth, height * cellHeight];
      const context = open(this.large, x + wide + 4, y + tall + LABELS);
      context.imageSmoothingEnabled = false;
      context.drawImage(this.image, x, y, wide, tall);
      context.strokeStyle = "#8a94a0";
      context.lineWidth = 0.5;
      context.strokeRect(x, y, wide, tall);
      this.drawWindow(context);
      this.drawLabels(context, rows, height, cellHeight, (at) => {
        context.translate(x - 6, y + at + 4);
        context.textAlign = "right";
      });
      this.drawLabels(context, columns, width, cellWidth, (at) => {
        context.translate(x + at + 4, y + tall + 6);
        context.rotate(-Math.PI / 2);
        context.textAlign = "right";
      });
      if (this.cursor) this.drawCursor(context);
    }

    drawWindow(context) {
      const { edges } = this.data.layers[this.layer];
      if (!edges) return;
      const { x, y, cellWidth, cellHeight } = this.frame;
      context.setLineDash([4, 3]);
      context.strokeStyle = "#1f2933";
      context.lineWidth = 0.8;
      for (const side of [0, 1]) {
        context.beginPath();
        edges.forEach((pair, row) => {
          context.lineTo(x + pair[side] * cellWidth, y + row * cellHeight);
          context.lineTo(x + pair[side] * cellWidth, y + (row + 1) * cellHeight);
        });
        context.stroke();
      }
      context.setLineDash([]);
    }

    drawLabels(context, axis, count, cell, place) {
      const step = Math.ceil(LINE / cell);
      const numbered = axis.starts && (step > 1 || axis.pool > 1);
      context.font = "11px system-ui, sans-serif";
      context.fillStyle = getComputedStyle(this.root).color;
      for (let pixel = 0; pixel < count; pixel += step) {
        const at = pixel * axis.pool;
        const name = shorten(visible(axis.labels[at]), 9);
        context.save();
        place((pixel + 0.5) * cell);
        context.fillText(numbered ? `${name} ${axis.starts[at]}` : name, 0, 0);
        context.restore();
      }
    }

    drawCursor(context) {
      const { x, y, cellWidth, cellHeight } = this.frame;
      const { row, column } = this.cursor;
      context.fillStyle = "rgba(31, 41, 51, 0.12)";
      context.fillRect(x, y + row * cellHeight, this.data.width * cellWidth, cellHeight);
      context.fillRect(x + column * cellWidth, y, cellWidth, this.data.height * cellHeight);
      context.strokeStyle = "#1f2933";
      context.lineWidth = 1.5;
      context.strokeRect(x + column * cellWidth, y + row * cellHeight, cellWidth, cellHeight);
    }

    point(row, column) {
      if (!this.codes[this.layer]) return;
      this.cursor = { row, column };
      this.drawMap();
      const { rows, columns, width } = this.data;
      const code = this.mapCodes(this.layer, this.map)[row * width + column];
      const weight = rows.pool * columns.pool > 1 ? "largest weight" : "weight";
      this.tip.textContent =
        `${rows.name}  ${placeText(rows, row)}\n` +
        `${columns.name}  ${placeText(columns, column)}\n` +
        `${weight}  ${weightText(code)}`;
      this.tip.hidden = false;
      const [map, root] = [this.large, this.root].map((each) => each.getBoundingClientRect());
      const left = map.left - root.left + this.frame.x + (column + 1) * this.frame.cellWidth + 10;
      const top = map.top - root.top + this.frame.y + (row + 1) * this.frame.cellHeight + 10;
      const most = Math.max(0, root.width - this.tip.offsetWidth);
      this.tip.style.left = `${Math.min(left, most)}px`;
      this.tip.style.top = `${top}px`;
    }

    leave() {
      if (!this.cursor) return;
      this.cursor = null;
      this.tip.hidden = true;
      this.drawMap();
    }
  }

  return (root, data) => {
    const maps = new AttentionMaps(root, data);
    maps.start();
    return maps;
  };
})();
