// The page's frame: text, model, tabs, what is selected, the view, the address.
// Every answer comes from this server; see ui/endpoints.py.

// The page as soon as there is what it is built from: at once, or after its first event.
const begin = (root, props, server, trigger, watch) => {
  const start = () => {
    const main = root.querySelector(".mbexplore");
    if (props.value?.models && main && !main.childElementCount) explore(main, props.value, server, trigger);
  };
  watch("value", start);
  start();
};

const newSession = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");

const explore = (main, about, server, trigger) => {
  const views = Object.fromEntries(about.views.map((view) => [view.name, view]));
  const LONGEST = 50000; // characters of a text that an address carries

  const state = {
    model: about.models[0].name, text: about.examples[0], view: about.views[0].name,
    layer: 0, head: 0, token: -1, settings: {}, maskedWords: [],
  };
  let chips = [], length = 0; // of the text that is shown; its tokens before it was cut
  let turn = 0; // of the drawing; a later one makes an earlier one stale
  let missing = ""; // a sentence on what a link names and this page has not
  let selectedAt = -Infinity; // when something was selected last

  // ---- asking the server
  const progress = el("span", { class: "progress", role: "status" });
  const { ask, busy } = connect(server, about.session ?? newSession(), main, progress);

  const say = (error) => (message.textContent = error?.message ?? missing);

  // ---- the address
  const model = () => about.models.find((m) => m.name === state.model);
  const view = () => views[state.view];
  const SHARED = ["answer", "contrast", "other"]; // settings that all views have in common
  const settingsOf = (name) => (state.settings[SHARED.includes(name) ? "" : state.view] ??= {});
  const setting = ({ name, default: usual }) => settingsOf(name)[name] ?? usual;

  const address = () => {
    const query = new URLSearchParams({ model: model().link, view: state.view });
    for (const name of ["layer", "head", "token"]) if (state[name] >= 0) query.set(name, state[name]);
    for (const control of view().controls) {
      if (control.kind === "held") continue;
      const value = setting(control);
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
    const wanted = query.get("model"), found = about.models.find((m) => [m.link, m.name].includes(wanted));
    if (found) state.model = found.name;
    missing = found || wanted === null ? ""
      : `The link's model, ${cut(wanted, 80)}, was not opened at the start; these are the answers of ${state.model}.`;
    if (views[query.get("view")]?.title) state.view = query.get("view");
    if (query.has("text")) state.text = query.get("text");
    const whole = (name) => (/^\d+$/.test(query.get(name) ?? "") ? Number(query.get(name)) : null);
    state.layer = clamp(whole("layer") ?? state.layer, model().kinds.length);
    state.head = clamp(whole("head") ?? state.head, model().heads);
    state.token = whole("token") ?? -1;
    state.maskedWords = [];
    for (const { name, kind } of view().controls) {
      if (kind === "held") continue;
      delete settingsOf(name)[name];
      try { if (query.has(name)) settingsOf(name)[name] = JSON.parse(query.get(name)); } catch { /* a broken link */ }
    }
  };

  // Which part of a long text each view draws large means nothing for another text, nor do cursors.
  const forgetWindows = () => {
    page.cursors.clear();
    for (const settings of Object.values(state.settings)) delete settings.first;
  };

  // ---- the text
  const area = el("textarea", {
    id: "mb-text", rows: 2, spellcheck: "false", dir: "auto", "aria-describedby": "mb-message",
    oninput: () => { fit(); main.classList.toggle("edited", isEdited()); },
    onkeydown: (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      run();
    },
  });
  const isEdited = () => area.value !== state.text; // typed and not run yet: whatever comes next runs it
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
    if (isEdited()) return run(); // the chip is of the text before
    if (!chip || chip.getAttribute("aria-disabled")) return;
    const last = Number(chip.dataset.token);
    const first = event.shiftKey && anchor !== null ? anchor : last;
    anchor = last;
    begin();
    try {
      const changed = await busy(ask("toggle", state.model, state.text, first, last, state.maskedWords));
      area.value = changed.text;
      fit();
      await run(changed.masked_words);
      tokens.querySelector(`[data-token="${Math.min(last, chips.length - 1)}"]`)?.focus();
    } catch (error) {
      main.dataset.drawn = "";
      say(error);
    }
  });

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
    const many = chips.length.toLocaleString("en"), all = Math.max(length, model().limit).toLocaleString("en");
    const isCut = length > chips.length;
    count.classList.toggle("cut", isCut);
    count.textContent = !chips.length ? "" : isCut
      ? `The first ${many} of ${all} tokens: the model takes no more`
      : `${many} of ${all} tokens · click one to mask it, Shift-click a range`;
  };

  // Of many chips the held one is visible, or the first mask; only their own box scrolls for it.
  const showChip = (place = state.token) => {
    const chip = tokens.children[place];
    if (!chip) return;
    const top = chip.offsetTop - tokens.offsetTop, room = tokens.clientHeight - chip.offsetHeight;
    if (top < tokens.scrollTop || top > tokens.scrollTop + room) tokens.scrollTop = top - room / 2;
  };

  // A new text or model: tokens, then the view. `hidden` are the words behind its masks; `push`
  // tells whether the way back leads to what was there before.
  const run = async (hidden, push = true) => {
    const mine = begin();
    if (main.classList.contains("busy")) await ask("stop").catch(() => null); // what is no longer wanted
    if (push) missing = "";
    if (isEdited()) {
      forgetWindows();
      state.token = -1;
      state.maskedWords = hidden ?? [];
    }
    state.text = area.value;
    main.classList.remove("edited");
    toAddress(push);
    say(null);
    body.classList.toggle("stale", shown !== key());
    try {
      const found = await busy(ask("tokens", state.model, state.text));
      if (mine !== turn) return;
      chips = found.tokens;
      length = found.full_length;
    } catch (error) {
      if (mine !== turn) return;
      chips = [];
      say(error);
    }
    drawChips();
    if (state.token < 0) showChip(chips.findIndex((chip) => chip.mask));
    await show();
  };

  // ---- the view
  const body = el("div", { class: "body", id: "mb-view", role: "tabpanel", tabindex: "-1" });
  const controls = el("div", { class: "controls" });
  const purpose = el("p", { class: "about" });
  const line = el("p", { class: "line" });
  const foot = el("div", { class: "foot" });
  const held = el("div", { class: "holding", role: "group", "aria-label": "Held" });
  const tabOf = (one) => el("button", {
    role: "tab", "data-view": one.name, "aria-controls": "mb-view", title: one.about,
    onclick: () => {
      state.view = one.name;
      if (isEdited()) return run();
      toAddress(true);
      show();
    },
  }, one.title);
  const shownViews = about.views.filter((one) => one.title);
  const tabs = roving(el("div", { class: "tabs", role: "tablist" },
    ...[...new Set(shownViews.map((one) => one.group))].map((group) => el("div", { class: "group", role: "presentation" },
      el("span", { "aria-hidden": "true" }, group),
      ...shownViews.filter((one) => one.group === group).map(tabOf)))));

  const page = {
    state, model, ask, busy,
    cursors: new Map(), // where the cursor stands in a map, by the map: a redraw leaves it there
    // Sets layer, head, token, or settings of the view that is shown, and draws it anew.
    hold(changes) {
      const { token } = changes;
      const [from, to] = page.window ?? [0, Infinity];
      // A token outside of the window that was moved takes the window with it; so does another text.
      if (token < from || token >= to || "other" in changes) delete settingsOf("first").first;
      const shared = ["layer", "head", "token"];
      // A second token, such as a key, belongs to what was selected when it was.
      if (shared.some((name) => name in changes)) {
        for (const one of view().controls) if (one.beside) delete settingsOf(one.name)[one.name];
      }
      for (const [name, value] of Object.entries(changes)) {
        if (shared.includes(name)) state[name] = value;
        else settingsOf(name)[name] = value;
      }
      // The way back leads through what was selected, but not through each of many keys pressed in a row.
      toAddress(performance.now() - selectedAt > 1000 || "queries" in changes);
      selectedAt = performance.now();
      trigger("select", { layer: state.layer, head: state.head, token: state.token });
      return isEdited() ? run() : show();
    },
  };

  const isHeld = () => state.token >= 0 && state.token < chips.length;
  // Whether a setting makes a difference beside the others.
  const matters = (one) => Object.entries(one.only).every(([name, which]) =>
      which.includes(setting(view().controls.find((other) => other.name === name))));
  const made = new Map(); // the controls of each view, by what they are
  const once = (name, make) => {
    const id = JSON.stringify([state.view, name]);
    if (!made.has(id)) made.set(id, make());
    return made.get(id);
  };
  const shownAs = (one, value) => {
    const node = once([one.name, one.count], () => control(one, (to) => page.hold({ [one.name]: to }), about.models));
    node.update(value);
    return node;
  };
  // What is held, each number with the word that it stands for; then the view's own settings.
  const drawControls = () => {
    const used = view().controls.filter(matters), { kinds, heads } = model(), kind = kinds[state.layer];
    const place = isHeld() ? state.token : -1;
    const numbers = { // how many there are, which is held, and what that is
      layer: [kinds.length, state.layer, kind, `kind ${kind}`],
      head: [heads, state.head, "", ""],
      token: [chips.length, place, chips[place]?.text ?? "none", place < 0 ? "none" : "word"],
    };
    const nodes = used.filter((one) => one.kind === "held" && numbers[one.name][0]).map((one) => {
      const [count, value, word, style] = numbers[one.name], node = shownAs({ ...one, label: one.name, count }, value);
      Object.assign(node.lastChild, { textContent: word, className: style });
      return node;
    });
    // A token that is held can be let go: then the view chooses, the first mask for example.
    const letGo = once("let go", () => el("button", { class: "quiet", onclick: () => page.hold({ token: -1 }) }, "let go"));
    const canLetGo = place >= 0 && used.some((one) => one.kind === "held" && one.name === "token");
    refill(held, canLetGo ? [...nodes, letGo] : nodes);
    refill(controls, used.filter((one) => one.kind !== "held" && one.label).map((one) => shownAs(one, setting(one))));
  };

  const drawFrame = () => {
    for (const tab of tabs.querySelectorAll("button")) {
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
    drawControls();
  };

  let shown = ""; // the view, model and text of the answer that is drawn
  const key = () => JSON.stringify([state.view, state.model, state.text]);
  const drawAnswer = (answer) => {
    shown = key();
    body.classList.remove("stale", "failed");
    line.textContent = answer.line;
    page.window = null;
    const focused = document.activeElement;
    const inside = body.contains(focused) ? focused.dataset.key : null;
    const drawn = answer.parts.map((part) => draw(part, page)), { navigator } = view();
    body.replaceChildren(...(navigator
      ? [besideNavigator(navigator, drawn, page, values({}, views[navigator]))] : drawn));
    if (inside) body.querySelector(`[data-key="${inside}"]`)?.focus({ preventScroll: true });
    foot.replaceChildren(...footOf(answer, { save, link, say }));
  };

  const values = (changes = {}, of = view()) => of.controls.map((one) =>
    one.name in changes ? changes[one.name] : one.kind === "held" ? state[one.name] : setting(one));

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

  // What a view has early is drawn first where nothing of it is there, and stays if the rest is stopped.
  const show = async () => {
    const mine = begin();
    let isPart = false; // what comes early is there, and no more
    drawFrame();
    if (!chips.length) return clear();
    say(null);
    body.classList.toggle("stale", shown !== key());
    const { name, early } = view(), isNew = shown !== key() && Object.keys(early).length > 0;
    try {
      for (const changes of isNew ? [early, {}] : [{}]) {
        const answer = await busy(ask(name, state.model, state.text, ...values(changes)));
        if (mine !== turn) return;
        isPart = changes === early;
        drawAnswer(isPart ? { ...answer, formats: [] } : answer);
      }
    } catch (error) {
      if (mine !== turn) return;
      body.classList.toggle("failed", !isPart); // what was there stays, dimmed
      if (view().navigator && shown !== key()) drawAnswer({ parts: [], line: "", formats: [] });
      foot.replaceChildren();
      say(error);
    } finally {
      if (mine === turn) main.dataset.drawn = "";
    }
  };

  // ---- files and links
  const save = (ending) => {
    const settings = Object.fromEntries(view().controls.map((one, i) => [one.name, values()[i]]));
    return busy(ask("save", state.view, ending, state.model, state.text, settings));
  };
  const link = () => ({ href: location.href, isWhole: state.text.length <= LONGEST });

  // ---- the theme
  const theme = el("button", {
    class: "quiet theme",
    onclick: () => {
      document.body.classList.toggle("dark");
      sessionStorage.setItem("mbexplore theme", isDark() ? "dark" : "light");
      nameTheme();
    },
  });
  const nameTheme = () => {
    theme.textContent = isDark() ? "Light" : "Dark";
    repaint(main);
  };
  const chosen = sessionStorage.getItem("mbexplore theme");
  if (chosen) document.body.classList.toggle("dark", chosen === "dark");

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
