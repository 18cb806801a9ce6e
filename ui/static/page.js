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
  const SHORT = 24; // tokens that the editor shows at once
  const NAMED = 6; // heads that an answer names, offered in the corpus
  const LONGEST = 50000; // characters of a text that an address carries

  const state = {
    model: about.models[0].name, text: about.examples[0], view: about.views[0].name,
    layer: 0, head: 0, token: -1, settings: {}, maskedWords: [], picture: {},
  };
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
  const SHARED = ["answer", "contrast", "other", "parts", "blocked"]; // settings that all views have in common
  const settingsOf = (name) => (state.settings[SHARED.includes(name) ? "" : state.view] ??= {});
  const setting = ({ name, default: usual }) => settingsOf(name)[name] ?? usual;

  const address = () => {
    const query = new URLSearchParams({ model: model().link, view: state.view });
    for (const name of ["layer", "head", "token"]) {
      if (name === "token" ? state.token >= 0 : state.isChosen) query.set(name, state[name]);
    }
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
    state.isChosen = query.has("layer") || query.has("head");
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
  const message = el("p", { id: "mb-message", class: "message", role: "alert" });
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

  // A new text or model: tokens, then the answer and the view. `hidden` are the words behind its
  // masks; `push` tells whether the way back leads to what was there before.
  const run = async (hidden, push = true) => {
    const mine = begin();
    if (main.classList.contains("busy")) await ask("stop").catch(() => null); // what is no longer wanted
    if (push) missing = "";
    if (editor.isEdited()) {
      forgetWindows();
      state.token = -1;
      state.maskedWords = hidden ?? [];
    }
    state.text = editor.text;
    toAddress(push);
    say(null);
    body.classList.toggle("stale", shown !== key());
    let found = { tokens: [], full_length: 0 };
    try {
      found = await busy(ask("tokens", state.model, state.text));
      if (mine !== turn) return;
    } catch (error) {
      if (mine !== turn) return;
      say(error);
    }
    editor.show(found.tokens, found.full_length);
    answer.show(null);
    pinned = { key: "" };
    await show();
    compare();
  };
  // Transformers opens the weights itself, which takes time that the view had better have.
  const compare = async () => {
    const { text, got } = pinned, isThere = got && !(await got).refused && text === aboutText();
    const compared = isThere && await ask("answers", state.model, state.text, true).catch(() => null);
    if (compared && text === aboutText()) answer.parity(compared.parity);
  };
  // The answers above the view: those of the text as the view shows it, with parts of the model off or not.
  let pinned = { key: "" };
  const aboutText = () => JSON.stringify([state.model, state.text]);
  const OFF = ["parts", "blocked", "replacement"]; // what the endpoint takes, in its order
  const off = () => OFF.map((name) => view().controls.find((one) => one.name === name)).map((one) => (one ? setting(one) : ""));
  const pin = () => {
    const [parts, blocked, replacement] = off(), isWhole = !parts && !blocked;
    const more = isWhole ? [] : [parts, blocked, replacement || "zero"], text = aboutText(), key = JSON.stringify([text, more]);
    if (key === pinned.key || !editor.chips.length) return;
    const got = busy(ask("answers", state.model, state.text, false, ...more)).catch((error) => ({ refused: error.message }));
    pinned = { key, text, got };
    got.then((found) => {
      if (pinned.key !== key) return;
      if (found.refused) answer.offer(nextSteps(found.refused));
      else answer.show(found.answers, found.without);
    });
  };
  // What can be done with a text that has no mask.
  const nextSteps = (refused) => {
    if (!refused.includes("no [MASK]")) return [];
    const { chips } = editor, words = chips.flatMap((chip, i) => (!chip.special && !chip.mask && /\p{L}/u.test(chip.text) ? [i] : []));
    if (!words.length || chips.some((chip) => chip.mask)) return [];
    const place = words.includes(state.token) ? state.token : words.at(-1);
    return [[`Mask \u201c${chips[place].text}\u201d`, () => { editor.focus(place); editor.mask(place, place); }]];
  };

  // ---- the view
  const body = el("div", { class: "body", id: "mb-view", role: "tabpanel", tabindex: "-1" });
  const controls = el("div", { class: "controls" });
  const purpose = el("p", { class: "about" });
  const line = el("p", { class: "line" });
  const foot = el("div", { class: "foot" });
  const held = el("div", { class: "holding", role: "group", "aria-label": "Held" });
  const openView = (name, push = true) => {
    state.view = name;
    if (editor.isEdited()) return run(undefined, push);
    toAddress(push);
    return show();
  };
  const tabs = tabBar(about.views.filter((one) => one.title), openView);
  tabs.append(purpose);

  const page = {
    state, model, ask, busy, off,
    begin: () => begin(),
    failed: (error) => void say(error),
    // The address of what `open` opens.
    addressOf({ view: name, settings, text = state.text }) {
      const query = new URLSearchParams({ model: model().link, view: name });
      for (const [one, value] of Object.entries(settings)) query.set(one, ["layer", "head", "token"].includes(one) ? value : JSON.stringify(value));
      query.set("text", text);
      return `#${query}`;
    },
    titleOf: (name) => views[name].title,
    // The values of a view's controls, with changes; of the view that is shown by default.
    values: (changes = {}, name = state.view) => views[name].controls.map((one) =>
      one.name in changes ? changes[one.name] : one.kind === "held" ? state[one.name] : setting(one)),
    // Opens a view as a link has it: with these settings and no others, of this text or another.
    open({ view: name, settings, text = state.text }) {
      const { layer = state.layer, head = state.head, token = -1, ...others } = settings;
      state.isChosen ||= "layer" in settings || "head" in settings;
      Object.assign(state, { view: name, layer, head, token });
      for (const { name: one } of view().controls) delete settingsOf(one)[one];
      for (const [one, value] of Object.entries(others)) settingsOf(one)[one] = value;
      if (text !== state.text) editor.set(text);
      openView(name);
      body.focus({ preventScroll: true });
      main.scrollIntoView({ block: "start" });
    },
    cursors: new Map(), // where the cursor stands in a map, by the map: a redraw leaves it there
    // Sets layer, head, token, or settings of the view that is shown, and draws it anew.
    hold(changes, push = performance.now() - selectedAt > 1000) {
      const { token } = changes;
      const [from, to] = page.window ?? [0, Infinity];
      // A token outside of the window that was moved takes the window with it; so does another text.
      if (token < from || token >= to || "other" in changes) delete settingsOf("first").first;
      const shared = ["layer", "head", "token"];
      if (views[changes.view]?.title) { // what is clicked may be of another view
        state.view = changes.view;
        body.focus({ preventScroll: true });
      }
      // A second token, such as a key, belongs to what was selected when it was.
      if (shared.some((name) => name in changes)) {
        for (const one of view().controls) if (one.beside) delete settingsOf(one.name)[one.name];
      }
      for (const [name, value] of Object.entries(changes)) {
        if (shared.includes(name)) state[name] = value;
        else if (name !== "view") settingsOf(name)[name] = value;
      }
      // The way back leads through what was selected, but not through each of many keys pressed in a row.
      state.isChosen ||= "layer" in changes || "head" in changes;
      const isSeen = view().controls.some((one) => one.name in changes); // else the answer stays
      const shown = editor.isEdited() ? run() : isSeen ? show() : drawFrame(); // what is asked is on its way first
      toAddress(push || "queries" in changes);
      selectedAt = performance.now();
      trigger("select", { layer: state.layer, head: state.head, token: state.token });
      return shown;
    },
  };
  const editor = textEditor(main, page, { run, failed: say });
  const answer = answerBar(page, editor, { failed: say });

  const guide = guideBox(page), ladder = ladderBox(page, main, editor);
  const lead = el("div", { class: "settings" }, held, ladder, line, ladder.why, controls);
  const opener = openerOf(page);
  const isHeld = () => state.token >= 0 && state.token < editor.chips.length;
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
  const toCorpus = (layer, head) => el("button", {
    class: "quiet", onclick: () => page.hold({ view: "corpus", layer, head, neuron: null, feature: null }),
  }, `${layer}.${head} in the corpus`);
  // What is held, each number with the word that it stands for; then the view's own settings.
  const drawControls = () => {
    const used = view().controls.filter(matters), { kinds, heads } = model(), kind = kinds[state.layer];
    const place = isHeld() ? state.token : -1;
    const numbers = { // how many there are, which is held, and what that is
      layer: [kinds.length, state.layer, kind, `kind ${kind}`],
      head: [heads, state.head, "", ""],
      token: [editor.chips.length, place, editor.chips[place]?.text ?? "none", place < 0 ? "none" : "word"],
    };
    const nodes = used.filter((one) => one.kind === "held" && numbers[one.name][0]).map((one) => {
      const [count, value, word, style] = numbers[one.name], node = shownAs({ ...one, label: one.name, count }, value);
      Object.assign(node.lastChild, { textContent: word, className: style });
      return node;
    });
    // A token that is held can be let go: then the view chooses, the first mask for example.
    const letGo = once("let go", () => el("button", { class: "quiet", onclick: () => page.hold({ token: -1 }) }, "let go"));
    const canLetGo = place >= 0 && used.some((one) => one.kind === "held" && one.name === "token");
    const inCorpus = once(["in the corpus", state.layer, state.head], () => toCorpus(state.layer, state.head));
    const namesHead = view().name !== "corpus" && nodes.length > 0 && used.some((one) => one.kind === "held" && one.name !== "token");
    refill(held, [...nodes, ...(canLetGo ? [letGo] : []), ...(namesHead ? [inCorpus] : [])]);
    refill(controls, used.filter((one) => one.kind !== "held" && one.label).map((one) => shownAs(one, setting(one))));
  };

  const drawFrame = () => {
    tabs.update(state.view);
    models.value = state.model;
    const m = model();
    facts.textContent = `${m.kinds.length} layers × ${m.heads} heads · ${(m.parameters / 1e6).toFixed(1)}M parameters · ${m.dtype} on ${m.device}`;
    editor.held();
    answer.draw();
    purpose.textContent = purpose.title = view().about;
    guide.update(view());
    ladder.update(view());
    if (!view().navigator && controls.parentElement !== lead) lead.append(controls);
    drawControls();
  };

  // Heads that an answer names: what a click on a cell selects tells.
  const headsIn = (part, found = new Map()) => {
    const { layer, head } = part?.hold ?? {};
    if (layer != null && head != null) found.set(`${layer}.${head}`, [layer, head]);
    const inner = Array.isArray(part) && typeof part[0] !== "object" ? [] : Object.values(part ?? {});
    for (const one of inner) if (one && typeof one === "object") headsIn(one, found);
    return found;
  };

  let shown = ""; // the view, model and text of the answer that is drawn
  const key = () => JSON.stringify([state.view, state.model, state.text]);
  const drawAnswer = (found) => {
    shown = key();
    body.classList.remove("stale", "failed");
    line.textContent = found.line;
    page.window = null;
    // A strip of a short text stands in the editor: its tokens have its colours.
    const strip = found.parts.find((part) => part.kind === "strip" && part.values.length === editor.chips.length) ?? null;
    const seen = found.parts.filter((part) => part !== strip || strip.values.length > SHORT);
    const drawn = seen.map((part) => draw(part, page)), { navigator } = view();
    const wanted = navigator
      ? [besideNavigator(navigator, controls, drawn, page, page.values({ parts: "", blocked: "" }, navigator))] : drawn;
    if (!navigator || body.firstElementChild !== wanted[0]) body.replaceChildren(...wanted);
    ladder.mark();
    answer.tint(strip);
    const named = view().name === "corpus" ? [] : [...headsIn(found.parts).values()].slice(0, NAMED);
    foot.replaceChildren(...footOf(found, { save, picture, link, say }), ...named.map((one) => toCorpus(...one)));
  };

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
    const { name, early } = view(), isNew = shown !== key() && Object.keys(early).length > 0;
    const [first, ...rest] = isNew ? [early, {}] : [{}];
    const get = (changes) => busy(ask(name, state.model, state.text, ...page.values(changes)));
    // What is asked is on its way while the frame is drawn, unless a head has to be found before.
    const begun = state.isChosen && editor.chips.length ? get(first) : null;
    drawFrame();
    if (!editor.chips.length) return clear();
    say(null);
    pin();
    body.classList.toggle("stale", shown !== key());
    try {
      if (!begun && await opener(view()) && mine === turn) drawFrame();
      if (mine !== turn) return;
      for (const changes of [first, ...rest]) {
        const found = await (changes === first && begun ? begun : get(changes));
        if (mine !== turn) return;
        isPart = changes === early;
        drawAnswer(isPart ? { ...found, formats: [] } : found);
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
    const settings = Object.fromEntries(view().controls.map((one, i) => [one.name, page.values()[i]]));
    return busy(ask("save", state.view, ending, state.model, state.text, settings, state.picture));
  };
  const picture = pictureBox(about.picture, state.picture);
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
  keepFocus(main);
  main.append(
    el("header", { class: "top" }, el("h1", {}, "mbexplore"),
      el("label", { class: "model", for: "mb-model" }, el("span", {}, "model"), models), progress,
      el("div", { class: "examples" }, el("span", {}, "Try"),
        ...about.examples.map((text) => el("button", {
          class: "link", onclick: () => { editor.set(text); run(); },
        }, text))), tourOf(main), theme),
    editor.root, message, answer.root, el("div", { class: "asked" }, tabs, guide),
    el("section", { class: "view", "aria-label": "View" },
      lead, body, foot, facts));
  const restore = () => {
    forgetWindows();
    fromAddress();
    editor.set(state.text);
    nameTheme();
    run(undefined, false);
  };
  window.addEventListener("popstate", restore);
  restore();
};
