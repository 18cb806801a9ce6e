// The view that chooses a head, beside the one that shows it: made once for a text, a model and
// the settings that both have.

const navigators = new Map();

const besideNavigator = (name, shown, page, settings) => {
  const { state } = page, key = JSON.stringify([name, state.model, state.text, settings]);
  const left = el("div", { class: "model-view" });
  const grid = el("div", { class: "explore" }, left, el("div", { class: "held-head" }, ...shown));
  grid.style.setProperty("--heads", page.model().heads);
  const fill = ({ parts: found }) => {
    const focused = left.contains(document.activeElement);
    left.replaceChildren(...found.filter((one) => one.kind === "thumbs").map((one) => draw({ ...one, isBeside: true }, page)));
    if (focused) left.querySelector(".thumbs")?.focus({ preventScroll: true });
  };
  if (navigators.has(key)) fill(navigators.get(key));
  else {
    page.busy(page.ask(name, state.model, state.text, ...settings)).then((answer) => {
      if (navigators.size > 8) navigators.clear();
      navigators.set(key, answer);
      fill(answer);
    }, (error) => left.replaceChildren(el("p", { class: "note" }, error.message)));
  }
  return grid;
};
