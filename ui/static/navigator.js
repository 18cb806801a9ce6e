// The view that chooses a head, beside the one that shows it and its own settings: made once for a text, a model and
// the settings that both have, and kept as it is while heads are chosen.

let beside = { key: "" }; // the last one, the place of what it chooses, and what both are for

const besideNavigator = (name, controls, shown, page, settings) => {
  const { state } = page, key = JSON.stringify([name, state.model, state.text, settings]);
  if (beside.key !== key) {
    const left = el("div", { class: "model-view" }), right = el("div", { class: "held-head" });
    const grid = el("div", { class: "explore" }, left, el("div", {}, controls, right));
    const mine = (beside = { key, grid, right });
    grid.style.setProperty("--heads", page.model().heads);
    page.busy(page.ask(name, state.model, state.text, ...settings)).then(({ parts: found }) => {
      left.replaceChildren(...found.filter((one) => one.kind === "thumbs").map((one) => draw({ ...one, isBeside: true }, page)));
    }, (error) => {
      left.replaceChildren(el("p", { class: "note" }, error.message));
      mine.key = ""; // asked for again with the next head
    });
  }
  if (!beside.grid.isConnected) repaint(beside.grid); // it may have missed a change of theme
  if (controls.parentElement !== beside.right.parentElement) beside.right.before(controls);
  beside.right.replaceChildren(...shown);
  return beside.grid;
};
