// The text: one editor in which the tokens are the text. A click selects a token, the corner of its
// chip and `m` mask it, Shift and a click mask a range; a click beside the tokens, and `e`, edit it.

// `page` has the state and asks the server; `run(words)` runs a text with the words behind its
// masks; `failed(error)` says why something could not be done.
const textEditor = (main, page, { run, failed }) => {
  const { state } = page;
  let chips = [], length = 0; // of the text that is shown; its tokens before it was cut
  let answers = new Map(); // by the position of a mask: its likeliest word and probability
  let colours = null; // { values, high, hue } of the tokens
  let labels = null; // words below the tokens
  let anchor = null; // where a range begins

  const isEdited = () => area.value !== state.text; // typed and not run yet: whatever comes next runs it
  const update = () => {
    main.classList.toggle("edited", isEdited());
    root.classList.toggle("editing", document.activeElement === area || isEdited() || !chips.length);
    fit();
  };
  const fit = () => {
    area.style.height = "auto";
    if (root.classList.contains("editing")) area.style.height = `${Math.min(area.scrollHeight + 2, 140)}px`;
  };
  const area = el("textarea", {
    id: "mb-text", rows: 1, spellcheck: "false", dir: "auto", "aria-describedby": "mb-message",
    placeholder: "Type a text with [MASK] in it", oninput: update, onfocus: update, onblur: update,
    onkeydown: (event) => {
      if (event.isComposing || event.shiftKey) return;
      if (event.key === "Escape") set(state.text);
      else if (event.key !== "Enter") return;
      else run().then(() => tokens.contains(document.activeElement) && focus());
      event.preventDefault();
      focus();
    },
  });
  const set = (text) => {
    area.value = text;
    update();
  };

  // A token, or the first mask; the first token where there is none.
  const focus = (place = Math.max(0, chips.findIndex((chip) => chip.mask))) =>
    tokens.children[Math.min(place, chips.length - 1)]?.focus({ preventScroll: true });
  const tokens = roving(el("div", {
    class: "tokens chips", role: "group", "aria-label": "Tokens: Enter selects, m masks, Shift and Enter mask a range, e edits the text",
  }));
  const mask = async (first, last) => {
    if ([first, last].some((i) => chips[i].special)) return;
    page.begin();
    try {
      const changed = await page.busy(page.ask("toggle", state.model, state.text, first, last, state.maskedWords));
      set(changed.text);
      await run(changed.masked_words);
      anchor = last;
      if (tokens.contains(document.activeElement)) focus(last);
    } catch (error) {
      main.dataset.drawn = "";
      failed(error);
    }
  };
  tokens.addEventListener("click", (event) => {
    const chip = event.target.closest("button");
    if (isEdited()) return run(); // the chip is of the text before
    if (!chip) return area.focus();
    const place = Number(chip.dataset.token), from = anchor ?? (state.token >= 0 ? state.token : place);
    anchor = place;
    if (event.shiftKey) return mask(from, place);
    if (event.target.closest(".corner")) return mask(place, place);
    page.hold({ token: place });
  });
  main.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
    const place = Number(event.target.closest(".chip")?.dataset.token ?? state.token);
    if (event.key === "m" && chips[place]) mask(place, place);
    else if (event.key === "e") area.focus();
    else return;
    event.preventDefault();
  });

  const draw = () => {
    tokens.replaceChildren(...chips.map((chip, i) => {
      const isHeld = i === state.token, found = answers.get(i), text = found?.word ?? chip.text;
      const kinds = ["chip", chip.mask && "mask", chip.special && "special", chip.joined && "joined", isHeld && "held"];
      const verb = chip.mask ? "unmask" : "mask";
      return el("button", {
        class: kinds.filter(Boolean).join(" "), "data-token": String(i), dir: "auto", tabindex: i ? "-1" : "0", "data-said": labels?.[i],
        "aria-pressed": String(isHeld), "aria-keyshortcuts": chip.special ? null : "m",
        title: [`token ${i}: ${chip.text}`, !chip.special && `m: ${verb}`].filter(Boolean).join(" · "),
      }, text, found ? el("small", {}, ` ${found.percent}`) : null,
      isHeld && !chip.special ? el("span", { class: "corner" }, verb) : null);
    }));
    paint();
    const many = chips.length.toLocaleString("en"), all = Math.max(length, page.model().limit).toLocaleString("en");
    const isCut = length > chips.length;
    count.classList.toggle("cut", isCut);
    count.textContent = !chips.length ? "" : isCut
      ? `The first ${many} of ${all} tokens: the model takes no more` : `${many} of ${all} tokens`;
    offerMore();
  };
  const offerMore = () => (more.hidden = root.classList.contains("editing")
    || !(root.classList.contains("open") || tokens.scrollWidth > tokens.clientWidth + 1));
  const paint = () => [...tokens.children].forEach((chip, i) => {
    const isPlain = !colours || chips[i].mask;
    const share = isPlain ? 0 : (colours.values[i] ?? 0) / colours.high;
    const colour = shade(colours?.hue ?? "plain", colours?.hue === "signed" ? (share + 1) / 2 : share);
    chip.style.background = isPlain ? "" : css(colour);
    chip.style.color = isPlain ? "" : inkOn(colour);
  });
  onTheme(tokens, paint);

  // Of many chips the held one is visible, or the first mask; only their own box scrolls for it.
  const reveal = () => {
    const place = state.token >= 0 ? state.token : chips.findIndex((chip) => chip.mask);
    const chip = tokens.children[place];
    if (!chip) return;
    const box = tokens.getBoundingClientRect(), one = chip.getBoundingClientRect();
    if (one.left < box.left || one.right > box.right) tokens.scrollLeft += (one.left + one.right - box.left - box.right) / 2;
    if (one.top < box.top || one.bottom > box.bottom) tokens.scrollTop += (one.top + one.bottom - box.top - box.bottom) / 2;
  };

  const count = el("span", { class: "count" });
  const more = el("button", {
    class: "quiet more", "aria-expanded": "false", hidden: true,
    onclick: () => {
      const isOpen = root.classList.toggle("open");
      more.setAttribute("aria-expanded", String(isOpen));
      more.textContent = isOpen ? "One line" : "All lines";
      reveal();
    },
  }, "All lines");
  const root = el("section", { class: "editor", "aria-label": "Text" },
    el("div", { class: "entry" },
      el("label", { for: "mb-text", class: "hidden" }, "Text, with [MASK] where a word is to be predicted"),
      tokens, area),
    count, more,
    el("button", { class: "quiet edit", onclick: () => area.focus() }, "Edit"),
    el("button", { class: "run", onclick: () => run() }, "Run"));
  new ResizeObserver(() => {
    if (!chips.length) return;
    offerMore();
    reveal();
  }).observe(root);

  return {
    root, isEdited, set, mask, focus,
    get text() { return area.value; },
    get chips() { return chips; },
    // The tokens of a text, [] for none; `full` are those before it was cut.
    show(found, full) {
      [chips, length, answers, colours, labels, anchor] = [found, full, new Map(), null, null, null];
      update();
      draw();
      reveal();
    },
    // What stands in the chips of the masks: [{ position, word, percent }].
    answer(found) {
      answers = new Map(found.map((one) => [one.position, one]));
      draw();
      reveal();
    },
    // Colours of the tokens, { values, high, hue }; null for none.
    colour(found) {
      if (!found && !colours) return; // of many tokens it takes its time
      colours = found;
      paint();
    },
    // Words below the tokens, one each; null for none.
    label(words) {
      if (labels === words) return;
      labels = words;
      draw();
    },
    // The token that is selected is another one.
    held() {
      const was = tokens.querySelector(".held");
      if (Number(was?.dataset.token ?? -1) === state.token) return;
      const isInside = tokens.contains(document.activeElement);
      draw();
      reveal();
      if (isInside) focus(state.token);
    },
  };
};
