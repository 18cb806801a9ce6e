// A tour of six steps for whoever is here for the first time. It offers itself once, covers nothing
// until it is wanted, and is remembered.

const TOUR = [
  [[".tokens.chips"], "The text", "These are the tokens that the model reads. Click one to select it; m, or the corner of its chip, masks it, and the model predicts what stands there."],
  [[".answer", "#mb-view"], "The answer", "What the model predicts, and its next choices: each shows what speaks for the answer rather than it."],
  [[".tabs"], "Questions", "Each group of tabs answers a question about the same text: what, from where, when, and by which part of the model."],
  [[".ladder"], "Layers", "One layer, head and token are selected for all views. Play goes from layer to layer; arrow keys do too."],
  [['[data-view="model-view"]', ".tabs"], "Break it", "Under All heads, switch heads, layers or tokens off by clicks, and see the answer move."],
  [[".foot", ".guide"], "Go on", "Save any view, or copy its command or link. How to read this explains the view, and has something to try."],
];
const TOURED = "mbexplore tour";

const tourOf = (main) => {
  let at = -1;
  const name = () => {
    const isKnown = localStorage.getItem(TOURED) !== null;
    button.textContent = isKnown ? "Tour" : "New here? Take the tour";
    button.classList.toggle("new", !isKnown);
  };
  // The first of these that can be seen.
  const target = () => (TOUR[at]?.[0] ?? []).map((one) => main.querySelector(one))
    .find((one) => one?.getClientRects().length && one.offsetHeight);
  const clear = () => main.querySelectorAll(".toured").forEach((one) => one.classList.remove("toured"));
  const end = () => {
    at = -1;
    clear();
    box.hidden = true;
    localStorage.setItem(TOURED, "seen");
    name();
    button.focus({ preventScroll: true });
  };
  const to = (step) => {
    if (step < 0) return;
    if (step >= TOUR.length) return end();
    at = step;
    clear();
    const [, title, text] = TOUR[at], last = at === TOUR.length - 1;
    box.hidden = false;
    box.setAttribute("aria-label", `Tour, step ${at + 1} of ${TOUR.length}: ${title}`);
    head.textContent = `${at + 1} of ${TOUR.length} \u00b7 ${title}`;
    body.textContent = text;
    back.hidden = at === 0;
    next.textContent = last ? "Done" : "Next";
    target()?.classList.add("toured");
    target()?.scrollIntoView({ block: "center" });
    place();
    next.focus({ preventScroll: true });
  };
  // Below what it speaks of, or above where there is no room; on the screen in any case.
  const place = () => {
    const spot = target()?.getBoundingClientRect();
    if (box.hidden || !spot) return;
    const { offsetWidth: wide, offsetHeight: tall } = box, below = spot.bottom + 10;
    const top = below + tall < innerHeight ? below : Math.max(10, spot.top - tall - 10);
    box.style.top = `${Math.min(top, innerHeight - tall - 10)}px`;
    box.style.left = `${Math.max(10, Math.min(spot.left, innerWidth - wide - 10))}px`;
  };

  const head = el("strong", {}), body = el("p", {});
  const back = el("button", { onclick: () => to(at - 1) }, "Back");
  const next = el("button", { class: "next", onclick: () => to(at + 1) }, "Next");
  const close = el("button", { class: "quiet", "aria-label": "End the tour", onclick: end }, "\u00d7");
  const box = el("div", {
    class: "tour", role: "dialog", hidden: true,
    onkeydown: (event) => {
      const act = { Escape: end, ArrowRight: () => to(at + 1), ArrowLeft: () => to(at - 1) }[event.key];
      if (!act) return;
      act();
      event.preventDefault();
    },
  }, el("div", {}, head, close), body, el("div", {}, back, next));
  const button = el("button", { class: "quiet tours", onclick: () => to(0) });
  addEventListener("resize", place);
  addEventListener("scroll", place, true);
  name();
  main.append(box);
  return button;
};
