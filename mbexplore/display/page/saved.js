// Blocks in a page by itself: nothing to ask and nothing to select, but everything to point at.

const showSaved = (root, json) => {
  const blocks = JSON.parse(json);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const paint = () => {
    document.body.classList.toggle("dark", dark.matches);
    root.querySelectorAll(".painted").forEach((one) => one.dispatchEvent(new Event("mbexplore:theme")));
  };
  const page = { cursors: new Map(), chips: [], state: {}, hold() {}, isSaved: true };
  paint();
  root.replaceChildren(...blocks.map((block) => draw(block, page)));
  dark.addEventListener("change", paint);
};
