// The page's frame: text, model, tabs, what is held, the view, the address.
// Every answer comes from a named endpoint of this server; see ui/app.py.

const start = (root, about) => {
  if (!about || root.querySelector(".mbexplore").childElementCount) return;
  const main = root.querySelector(".mbexplore");
  const views = Object.fromEntries(about.views.map((view) => [view.name, view]));
  const EARLY = 250; // milliseconds after which an answer that is not whole is better than none
  const LONGEST = 50000; // characters of a text that an address carries

  const state = {
    model: about.models[0].name, text: about.examples[0], view: about.views[0].name,
    layer: 0, head: 0, token: -1, wishes: {}, hidden: [],
  };
  let chips = []; // of the text on the desk
  let turn = 0; // of the drawing; a later one makes an earlier one stale

  // ---- asking the server
  const progress = el("span", { class: "progress", role: "status" });
  const { ask, busy } = connect(about.session, main, progress);

  const say = (error) => {
    message.replaceChildren();
    if (!error) return;
    message.append(error.message);
    if (!chips.length && /keep its beginning/.test(error.message)) { // and not that of a second text
      message.append(" ", el("button", { class: "quiet", onclick: keepBeginning }, "Keep the beginning"));
    }
  };

  // ---- the address
  const model = () => about.models.find((m) => m.name === state.model);
  const view = () => views[state.view];
  const wish = (control) => state.wishes[state.view]?.[control.name] ?? control.default;

  const address = () => {
    const query = new URLSearchParams({ model: state.model, view: state.view });
    for (const name of ["layer", "head", "token"]) if (state[name] >= 0) query.set(name, state[name]);
    for (const control of view().controls) {
      if (control.kind === "held") continue;
      const value = wish(control);
      if (JSON.stringify(value) !== JSON.stringify(control.default)) query.set(control.name, JSON.stringify(value));
    }
    if (state.text.length <= LONGEST) query.set("text", state.text);
    return `#${query}`;
  };
  const toAddress = (push) => {
    if (address() === location.hash) return;
    history[push ? "pushState" : "replaceState"](null, "", address());
  };
  const fromAddress = () => {
    const query = new URLSearchParams(location.hash.slice(1));
    if (about.models.some((m) => m.name === query.get("model"))) state.model = query.get("model");
    if (views[query.get("view")]?.title) state.view = query.get("view");
    if (query.has("text")) state.text = query.get("text");
    const whole = (name) => (/^\d+$/.test(query.get(name) ?? "") ? Number(query.get(name)) : null);
    state.layer = clamp(whole("layer") ?? state.layer, model().kinds.length);
    state.head = clamp(whole("head") ?? state.head, model().heads);
    state.token = whole("token") ?? -1;
    state.hidden = [];
    const wishes = (state.wishes[state.view] = {});
    for (const control of view().controls) {
      if (!query.has(control.name) || control.kind === "held") continue;
      try { wishes[control.name] = JSON.parse(query.get(control.name)); } catch { /* a broken link */ }
    }
  };

  // Which part of a long text each view draws large means nothing for another text, nor do cursors.
  const forgetWindows = () => {
    page.cursors.clear();
    for (const wishes of Object.values(state.wishes)) delete wishes.first;
  };

  // ---- the text
  const area = el("textarea", {
    id: "mb-text", rows: 2, spellcheck: "false", dir: "auto", "aria-describedby": "mb-message",
    oninput: () => fit(),
    onkeydown: (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      run();
    },
  });
  const fit = () => {
    area.style.height = "auto";
    area.style.height = `${Math.min(area.scrollHeight + 2, 140)}px`;
  };
  const message = el("p", { id: "mb-message", class: "message", role: "alert" });
  const count = el("p", { class: "count" });
  const tokens = roving(el("div", {
    class: "tokens chips", role: "group", "aria-label": "Tokens: Enter masks or unmasks, Shift and Enter a range",
  }));
  const models = el("select", {
    id: "mb-model",
    onchange: () => {
      state.model = models.value;
      forgetWindows();
      state.layer = clamp(state.layer, model().kinds.length);
      state.head = clamp(state.head, model().heads);
      run();
    },
  }, ...about.models.map((m) => el("option", { value: m.name }, m.name)));
  const facts = el("span", { class: "facts" });

  let anchor = null; // where a shift-click's range starts
  tokens.addEventListener("click", async (event) => {
    const chip = event.target.closest("button");
    if (!chip || chip.getAttribute("aria-disabled")) return;
    const last = Number(chip.dataset.token);
    const first = event.shiftKey && anchor !== null ? anchor : last;
    anchor = last;
    begin();
    try {
      const changed = await busy(ask("toggle", state.model, state.text, first, last, state.hidden));
      area.value = changed.text;
      fit();
      await run(changed.hidden);
      tokens.querySelector(`[data-token="${Math.min(last, chips.length - 1)}"]`)?.focus();
    } catch (error) {
      main.dataset.drawn = "";
      say(error);
    }
  });

  const keepBeginning = async () => {
    begin();
    try {
      area.value = await busy(ask("beginning", state.model, area.value));
      fit();
      await run();
    } catch (error) {
      main.dataset.drawn = "";
      say(error);
    }
  };

  const drawChips = () => {
    tokens.replaceChildren(...chips.map((chip, i) => {
      const kinds = ["chip", chip.mask && "mask", chip.special && "special", chip.joined && "joined", i === state.token && "held"];
      return el("button", {
        class: kinds.filter(Boolean).join(" "), "data-token": String(i), dir: "auto", tabindex: i ? "-1" : "0",
        "aria-pressed": chip.special ? null : String(chip.mask),
        "aria-disabled": chip.special ? "true" : null,
        title: chip.special ? `token ${i}` : `token ${i}: click to ${chip.mask ? "unmask" : "mask"}`,
      }, chip.text);
    }));
    const many = `${chips.length.toLocaleString("en")} of ${model().limit.toLocaleString("en")} tokens`;
    count.textContent = chips.length ? `${many} · click one to mask it, Shift-click a range` : "";
  };

  // Of many chips the held one is in sight; only their own box scrolls for it.
  const showChip = () => {
    const chip = tokens.children[state.token];
    if (!chip) return;
    const top = chip.offsetTop - tokens.offsetTop, room = tokens.clientHeight - chip.offsetHeight;
    if (top < tokens.scrollTop || top > tokens.scrollTop + room) tokens.scrollTop = top - room / 2;
  };

  // A new text or model: tokens, then the view. `hidden` are the words behind its masks; `push`
  // tells whether the way back leads to what was there before.
  const run = async (hidden, push = true) => {
    const mine = begin();
    if (main.classList.contains("busy")) await ask("stop").catch(() => null); // what is no longer wanted
    if (area.value !== state.text) {
      forgetWindows();
      state.token = -1;
      state.hidden = hidden ?? [];
    }
    state.text = area.value;
    toAddress(push);
    say(null);
    body.classList.toggle("stale", shown !== key());
    try {
      const found = await busy(ask("tokens", state.model, state.text));
      if (mine !== turn) return;
      chips = found.tokens;
    } catch (error) {
      if (mine !== turn) return;
      chips = [];
      say(error);
    }
    drawChips();
    await show();
  };

  // ---- the view
  const body = el("div", { class: "body", id: "mb-view", role: "tabpanel", tabindex: "-1" });
  const controls = el("div", { class: "controls" });
  const purpose = el("p", { class: "about" });
  const line = el("p", { class: "line" });
  const foot = el("div", { class: "foot" });
  const held = el("div", { class: "holding", role: "group", "aria-label": "Held" });
  const tabs = el("div", { class: "tabs", role: "tablist" },
    ...about.views.filter((one) => one.title).map((one) => el("button", {
      role: "tab", "data-view": one.name, "aria-controls": "mb-view",
      onclick: () => { state.view = one.name; toAddress(true); show(); },
    }, one.title)));
  roving(tabs);

  const page = {
    state, about, model, ask, busy, say: (error) => say(error),
    get chips() { return chips; },
    cursors: new Map(), // where the cursor stands in a map, by the map: a redraw leaves it there
    // What the view that is shown would say with some wishes changed; holds nothing.
    look: (changes) => ask(state.view, state.model, state.text, ...values(changes)),
    // Sets layer, head, token, or wishes of the view that is shown, and draws it anew.
    hold(changes) {
      const wishes = (state.wishes[state.view] ??= {}), { token } = changes;
      const [from, to] = page.window ?? [0, Infinity];
      // A token outside of the window that was moved takes the window with it; so does another text.
      if (token < from || token >= to || "other" in changes) delete wishes.first;
      const shared = ["layer", "head", "token"];
      // A second token, such as a key, belongs to what was selected when it was.
      if (shared.some((name) => name in changes)) {
        for (const one of view().controls) if (one.beside) delete wishes[one.name];
      }
      for (const [name, value] of Object.entries(changes)) {
        if (shared.includes(name)) state[name] = value;
        else wishes[name] = value;
      }
      toAddress(false);
      return show();
    },
  };

  const isHeld = () => state.token >= 0 && state.token < chips.length;
  // The held token; where none is, the first mask, or else the first token.
  const place = () => (isHeld() ? state.token : Math.max(0, chips.findIndex((chip) => chip.mask)));
  // Whether a wish makes a difference beside the others.
  const matters = (one) => !(one.of_token && model().answers_texts) &&
    Object.entries(one.only).every(([name, which]) =>
      which.includes(wish(view().controls.find((other) => other.name === name))));
  const made = new Map(); // the controls of each view, by what they are
  const once = (name, make) => {
    const id = JSON.stringify([state.view, name]);
    if (!made.has(id)) made.set(id, make());
    return made.get(id);
  };
  const step = (name, count, value, ...word) => {
    const node = once(`${name} of ${count}`, () => {
      const number = stepper(name, count - 1, (to) => page.hold({ [name]: to }));
      return word.length ? named(number, el("span", { dir: "auto" })) : number;
    });
    node.update(value, ...word);
    return node;
  };
  // Where no token means all of them, one that is held can be let go.
  const heldToken = () => {
    const { none } = view(), isNone = none && !isHeld();
    return [
      step("token", chips.length, isNone ? "" : place(), isNone ? none : chips[place()].text, isNone ? "none" : "word"),
      none && !isNone && once("let go", () =>
        el("button", { class: "quiet", onclick: () => page.hold({ token: -1 }) }, `${none} tokens`)),
    ];
  };
  const drawHeld = () => {
    const used = new Set(view().controls.filter((c) => c.kind === "held" && matters(c)).map((c) => c.name));
    const { kinds, heads } = model(), kind = kinds[state.layer];
    refill(held, [
      used.has("layer") && step("layer", kinds.length, state.layer, kind, `kind ${kind}`),
      used.has("head") && step("head", heads, state.head),
      ...(used.has("token") && chips.length ? heldToken() : []),
    ].filter(Boolean));
  };
  const drawControls = () => refill(controls, view().controls
    .filter((one) => one.kind !== "held" && one.label && matters(one))
    .map((one) => {
      const node = once(one.name, () => control(one, (to) => page.hold({ [one.name]: to }), about.models));
      node.update(wish(one));
      return node;
    }));

  const drawFrame = () => {
    for (const tab of tabs.children) {
      const chosen = tab.dataset.view === state.view;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
      if (chosen) tabs.scrollLeft = tab.offsetLeft - tabs.offsetLeft - (tabs.clientWidth - tab.offsetWidth) / 2;
    }
    models.value = state.model;
    const m = model();
    facts.textContent = `${m.kinds.length} layers × ${m.heads} heads · ${(m.parameters / 1e6).toFixed(1)}M parameters · ${m.dtype} on ${m.device}`;
    for (const chip of tokens.children) chip.classList.toggle("held", Number(chip.dataset.token) === state.token);
    showChip();
    purpose.textContent = view().about;
    drawHeld();
    drawControls();
  };

  let shown = ""; // the view, model and text of the answer that is drawn
  const key = () => JSON.stringify([state.view, state.model, state.text]);
  const drawAnswer = (answer, isWhole) => {
    shown = key();
    body.classList.remove("stale");
    line.textContent = answer.line;
    page.window = null;
    const focused = document.activeElement;
    const inside = body.contains(focused) ? focused.dataset.key : null;
    const drawn = answer.parts.map((part) => draw(part, page)), { navigator } = view();
    body.replaceChildren(...(navigator
      ? [besideNavigator(navigator, drawn, page, values({}, views[navigator]))] : drawn));
    if (inside) body.querySelector(`[data-key="${inside}"]`)?.focus({ preventScroll: true });
    foot.replaceChildren(...footOf(isWhole ? answer : { ...answer, formats: [] }, { save, link, say }));
  };

  const values = (changes = {}, of = view()) => of.controls.map((one) =>
    one.name in changes ? changes[one.name] : one.kind === "held" ? state[one.name] : wish(one));

  // A new drawing begins; `data-drawn` comes back when it is whole.
  const begin = () => {
    delete main.dataset.drawn;
    return ++turn;
  };
  const clear = () => {
    body.replaceChildren();
    foot.replaceChildren();
    line.textContent = "";
    shown = "";
    main.dataset.drawn = "";
  };

  // What a view can tell early is drawn while the whole of it is made, and stays if that is stopped.
  const show = async () => {
    const mine = begin();
    drawFrame();
    if (!chips.length) return clear();
    say(null);
    body.classList.toggle("stale", shown !== key());
    const { name, quick } = view(), asked = [name, state.model, state.text, ...values()];
    const earlier = [name, state.model, state.text, ...values(quick)]; // as things are now, not then
    let isWhole = false, isEarly = false;
    const early = setTimeout(async () => {
      if (!Object.keys(quick).length || mine !== turn) return;
      const answer = await ask(...earlier).catch(() => null);
      if (!answer || isWhole || mine !== turn) return;
      drawAnswer(answer, false);
      isEarly = true;
    }, EARLY);
    try {
      const answer = await busy(ask(...asked));
      if (mine !== turn) return;
      drawAnswer(answer, true);
      main.dataset.drawn = "";
    } catch (error) {
      if (mine !== turn) return;
      if (!isEarly && view().navigator) drawAnswer({ parts: [], line: "" }, false);
      else if (!isEarly) clear();
      main.dataset.drawn = "";
      say(error);
    } finally {
      isWhole = true;
      clearTimeout(early);
    }
  };

  // ---- files and links
  const save = (ending) => {
    const wishes = Object.fromEntries(view().controls.map((one, i) => [one.name, values()[i]]));
    return busy(ask("save", state.view, ending, state.model, state.text, wishes));
  };
  const link = () => ({ href: location.href, isWhole: state.text.length <= LONGEST });

  // ---- the theme
  const theme = el("button", {
    class: "quiet theme",
    onclick: () => {
      document.body.classList.toggle("dark");
      nameTheme();
    },
  });
  const nameTheme = () => {
    theme.textContent = isDark() ? "Light" : "Dark";
    for (const painted of main.querySelectorAll(".painted")) painted.dispatchEvent(new Event("mbexplore:theme"));
  };

  // ---- all together
  main.append(
    el("header", { class: "top" }, el("h1", {}, "mbexplore"),
      el("label", { class: "model", for: "mb-model" }, el("span", {}, "model"), models), facts, progress, theme),
    el("section", { class: "text", "aria-label": "Text" },
      el("div", { class: "entry" },
        el("label", { for: "mb-text", class: "hidden" }, "Text, with [MASK] where a word is to be predicted"),
        area, el("button", { class: "run", onclick: () => run() }, "Run")),
      el("div", { class: "examples" }, el("span", {}, "Try"),
        ...about.examples.map((text) => el("button", {
          class: "link", onclick: () => { area.value = text; fit(); run(); },
        }, text))),
      message, tokens, count),
    el("nav", {}, tabs), purpose, held, el("section", { class: "view" }, controls, line, body, foot));
  const restore = () => {
    forgetWindows();
    fromAddress();
    area.value = state.text;
    fit();
    nameTheme();
    run(undefined, false);
  };
  window.addEventListener("popstate", restore);
  restore();
};
