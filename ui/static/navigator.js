// The view that chooses a head, beside the one that shows it: made once for a text, a model and
// the settings that both have; pointing at a head looks at it, a click selects it.

const navigators = new Map();

const besideNavigator = (name, shown, page, settings) => {
  const { state } = page, key = JSON.stringify([name, state.model, state.text, settings]);
  const right = el("div", { class: "held-head" }, ...shown);
  const left = el("div", { class: "model-view" });
  const grid = el("div", { class: "explore" }, left, right);
  grid.style.setProperty("--heads", page.model().heads);
  const look = {
    timer: null,
    at(layer, head) {
      clearTimeout(look.timer);
      look.timer = setTimeout(async () => {
        const asked = look.timer;
        const answer = await page.look({ layer, head }).catch(() => null);
        if (asked !== look.timer || !answer) return;
        right.replaceChildren(...answer.parts.map((one) => draw(one, page)));
        right.classList.add("looking");
      }, 90);
    },
    away() {
      clearTimeout(look.timer);
      look.timer = null;
      if (!right.classList.contains("looking")) return;
      right.replaceChildren(...shown);
      right.classList.remove("looking");
    },
  };
  const fill = ({ parts: found }) => {
    const focused = left.contains(document.activeElement);
    left.replaceChildren(...found.filter((one) => one.kind === "thumbs").map((one) => draw({ ...one, look }, page)));
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
