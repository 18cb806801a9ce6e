// The answer above every view: the headline, its rivals as buttons, parity with transformers as a
// badge. A rival colours the text by what carries the answer rather than it.

const answerBar = (page, editor, { failed }) => {
  const { state } = page;
  let found = []; // [{ position, candidates: [{ word, name, percent }], was: with every part }]
  let without = null; // names of the parts that are switched off
  let rival = null; // the name of the candidate that colours the text
  let turn = 0;

  const title = el("p", { class: "answered", dir: "auto" });
  const fall = el("p", { class: "fall", "aria-live": "polite" });
  const rivals = el("div", { class: "rivals", role: "group", "aria-label": "Candidates: each colours the text by the answer less it" });
  const badge = el("span", { class: "parity" });
  const legend = el("div", { class: "legend-row" });
  const next = el("div", { class: "next" });
  const root = el("section", { class: "answer", "aria-label": "Answer" }, title, fall, rivals, legend, next, badge);

  const current = () => found.find((one) => one.position === state.token) ?? found[0];
  const draw = () => {
    const shown = current();
    title.replaceChildren(...(shown ? [el("strong", {}, shown.candidates[0].word), ` ${shown.candidates[0].percent}`] : []));
    fall.replaceChildren(...(shown?.was ? [
      `without ${without.length > 3 ? `${without.length} parts` : without.join(", ")}; ${shown.was.word} ${shown.was.percent} with every part`,
      el("button", { class: "quiet", "data-key": "all parts", onclick: () => page.hold({ parts: "", blocked: "" }) }, "all on"),
    ] : []));
    rivals.replaceChildren(...(shown?.candidates ?? []).slice(1).map((one) => el("button", {
      class: "rival", dir: "auto", "data-key": `rival ${one.word}`, "aria-pressed": String(one.name === rival), disabled: without !== null,
      title: `Colour the text by ${shown.candidates[0].word} less ${one.word}`, onclick: () => choose(one),
    }, one.word, el("small", {}, ` ${one.percent}`))));
    rivals.hidden = rivals.childElementCount === 0;
  };

  const scale = (part) => scaleOf({ low: part.hue === "signed" ? -part.high : 0, high: part.high, unit: part.unit.split(",")[0] }, part.hue);
  // The text in the colours of a strip, with what they mean; null for none.
  const colour = (part, ...more) => {
    editor.colour(part && { values: part.values, high: part.high, hue: part.hue });
    legend.replaceChildren(...(part ? [el("span", { title: part.title }, part.title.replace("What carries ", "")), scale(part), ...more] : []));
  };
  const choose = async (one) => {
    const mine = ++turn, shown = current();
    rival = one.name === rival ? null : one.name;
    draw();
    if (rival === null) return colour(null);
    try {
      const changes = { contrast: rival, answer: "", token: shown.position ?? -1 };
      const answer = await page.busy(page.ask("attribute", state.model, state.text, ...page.values(changes, "attribute")));
      const strip = answer.parts.find((part) => part.kind === "strip");
      if (mine !== turn || !strip) return;
      const name = `${shown.candidates[0].word} rather than ${one.word}`;
      colour({ ...strip, title: name }, el("button", {
        class: "quiet", onclick: () => page.open({ view: "why", settings: { rival, token: state.token } }),
      }, `Why not ${one.word}?`));
    } catch (error) {
      failed(error);
    }
  };

  return {
    root,
    // The answers of a text, and what the model is without; null while there are none.
    show(answers, off = null) {
      [found, without] = [answers ?? [], off];
      root.classList.toggle("without", off !== null);
      if (answers === null) {
        turn++;
        rival = null;
        badge.replaceChildren();
        next.replaceChildren();
        colour(null);
      }
      draw();
      editor.answer(found.filter((one) => one.position !== null && editor.chips[one.position]?.mask)
        .map(({ position, candidates: [best] }) => ({ position, ...best })));
    },
    parity(one) {
      badge.replaceChildren(...(one ? [el("span", { class: `badge ${one.good ? "good" : "bad"}`, title: one.more },
        `${one.good ? "\u2713" : "\u2715"} ${one.text}`)] : []));
    },
    // Buttons for what can be done next: [[name, action], ...].
    offer(actions) {
      next.replaceChildren(...actions.map(([name, act]) => el("button", { class: "offer", onclick: act }, name)));
    },
    // A view's own colours of the text stand in the way of none that a person has chosen.
    tint(part) {
      if (rival === null) colour(part);
    },
    draw,
  };
};

// The next thing where a view has nothing to show yet.
parts.offer = (part, page) => el("button", {
  class: "offer",
  onclick: async ({ target }) => {
    if (target.ariaDisabled) return; // one at a time; a disabled button would lose the focus
    target.ariaDisabled = "true";
    const { model, text } = page.state;
    const found = await page.busy(page.ask("counterfactual", model, text, part.of)).catch(page.failed);
    if (found) page.hold(found.settings);
    else target.ariaDisabled = null;
  },
}, "Take the smallest change that moves the answer");
