// Blocks by themselves: nothing to ask, but everything to point at, and something to select.

const showParts = (main, parts, select = () => {}) => {
  const root = main.querySelector(".blocks") ?? main;
  const page = { cursors: new Map(), chips: [], state: {}, hold: select, isSaved: true };
  keepFocus(main);
  root.replaceChildren(...parts.map((part) => draw(part, page)));
  repaint(main);
};

// A page in one file.
const showSaved = (main, json) => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const paint = () => {
    document.body.classList.toggle("dark", dark.matches);
    repaint(main);
  };
  dark.addEventListener("change", paint);
  document.body.classList.toggle("dark", dark.matches);
  showParts(main, JSON.parse(json));
};

// A Gradio component whose value is blocks.
const showBlocks = (root, props, trigger, watch) => {
  const show = () => {
    const main = root.querySelector(".mbexplore");
    if (main && props.value?.parts) showParts(main, props.value.parts, (held) => trigger("select", held));
  };
  watch("value", show);
  show();
};
