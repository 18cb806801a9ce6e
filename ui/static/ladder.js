// The ladder of layers: one playhead for every view, the words that the lens reads on the chips, and
// the head on which a view opens.

const PACE = 700; // milliseconds between two layers
const LAYERED = ["From where", "When", "Which part"]; // groups of views that differ from layer to layer
const TALKATIVE = 512; // tokens up to which playing shows the lens' words unasked

const ladderBox = (page, main, editor) => {
  const { state } = page, layers = () => page.model().kinds;
  const isStill = matchMedia("(prefers-reduced-motion: reduce)");
  let timer = null, ofModel = null;

  const to = async (layer, push) => page.hold({ layer: clamp(layer, layers().length) }, push);
  const next = () => to((state.layer + 1) % layers().length, false);
  const stop = () => {
    clearTimeout(timer);
    timer = null;
    play.update();
  };
  const go = async () => {
    await next();
    if (timer === null) return;
    if (state.layer === layers().length - 1) stop();
    else timer = setTimeout(go, PACE);
  };
  // Where nothing should move by itself, each press goes one layer on.
  const start = () => {
    if (isStill.matches) return next();
    if (timer !== null) return stop();
    if (editor.chips.length <= TALKATIVE && !words.checked) words.click();
    timer = setTimeout(go, 0);
    play.update();
  };

  const play = el("button", { class: "quiet play", title: "from layer to layer (space)", onclick: start });
  play.update = () => (play.textContent = isStill.matches ? "Next layer" : timer === null ? "\u25b6 Play" : "\u25a0 Pause");
  isStill.addEventListener("change", stop);
  const rungs = el("div", {
    class: "rungs", role: "radiogroup", "aria-label": "Layer",
    onkeydown: (event) => {
      const step = ARROWS[event.key], ends = { Home: 0, End: layers().length - 1 };
      if (event.key === " ") start();
      else if (event.key in ends) to(ends[event.key]).then(focus);
      else if (step) to(state.layer + (step[1] || -step[0])).then(focus); // up and right are deeper
      else return;
      event.preventDefault();
    },
  });
  const focus = () => rungs.children[state.layer]?.focus();
  const draw = () => rungs.replaceChildren(...layers().map((kind, layer) => el("button", {
    class: `rung ${kind}`, role: "radio", "aria-label": `layer ${layer}, ${kind}`, onclick: () => to(layer),
  }, String(layer))));

  // ---- what the lens reads at every token after the layer
  const found = { key: "", words: [] };
  const fetchWords = async () => {
    const [parts, blocked] = page.off(), key = JSON.stringify([state.model, state.text, parts, blocked]);
    if (found.key !== key) {
      Object.assign(found, { key, words: [] });
      const answer = await page.busy(page.ask("lens_words", state.model, state.text, parts, blocked)).catch(() => null);
      if (answer && found.key === key) found.words = answer.words;
      if (!answer) Object.assign(found, { key: "" });
    }
  };
  const say = async () => {
    if (words.checked) await fetchWords();
    editor.label((words.checked && found.words[state.layer + 1]) || null);
  };
  const words = el("input", { type: "checkbox", id: "mb-lens-words", onchange: say });

  const why = el("p", { class: "chosen", "aria-live": "polite" });
  const tell = (view) => {
    const opened = openedOf(state), isThere = opened && opened.layer === state.layer && opened.head === state.head;
    why.hidden = !opened || !hasHead(view);
    why.title = opened?.line ?? "";
    if (opened) why.replaceChildren(isThere ? opened.line : el("button", {
      class: "link", onclick: () => page.hold({ layer: opened.layer, head: opened.head }),
    }, `Head ${opened.layer}.${opened.head} is what the answer needs most`));
  };

  const legend = el("span", {});
  const box = el("div", { class: "ladder" }, rungs, legend, play,
    el("label", { class: "switch", title: "Below each token, the word that the lens reads there after the selected layer" },
      words, "lens words"));
  box.why = why;
  const isSelected = () => state.isChosen || openedOf(state) !== null;
  // The layer as it is selected now, in everything that shows it.
  box.mark = () => {
    if (isSelected()) tellSelected(main, { layer: state.layer, head: state.head });
  };
  box.update = (view) => {
    box.hidden = !LAYERED.includes(view.group) && !hasHead(view);
    if (ofModel !== state.model) draw();
    ofModel = state.model;
    legend.replaceChildren(legendOfKinds(layers()) ?? "");
    [...rungs.children].forEach((rung, layer) => {
      rung.setAttribute("aria-checked", String(layer === state.layer && isSelected()));
      rung.tabIndex = layer === state.layer ? 0 : -1;
    });
    play.update();
    tell(view);
    box.mark();
    say();
  };
  return box;
};

// Whether a view is of a layer or a head, or shows them all for one to be chosen.
const hasHead = (view) => view.controls.some((one) => one.kind === "held" && one.name !== "token") || view.name === "model-view";

// The head that this text's answer needs most, as the server found it, or null.
const openedOf = ({ opened, model, text }) =>
  (opened?.line && opened.key === JSON.stringify([model, text]) ? opened : null);

// Selects that head for a view of layers or heads where nobody has chosen one; gives whether it did.
const openerOf = ({ state, ask, busy }) => async (view) => {
  if (!hasHead(view)) return false;
  const { model, text } = state, key = JSON.stringify([model, text]);
  if (state.opened?.key !== key) {
    const found = await busy(ask("opening", model, text)).catch(() => null);
    if (found) state.opened = { ...found, key };
  }
  const opened = openedOf(state);
  if (opened) Object.assign(state, { layer: opened.layer, head: opened.head });
  return opened !== null;
};
