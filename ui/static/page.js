// The page's frame: text, model, tabs, what is held, controls, address, files.
// Every answer comes from a named endpoint of this server; see ui/app.py.

const start = (root, about) => {
  if (!about || root.querySelector(".mbexplore").childElementCount) return;
  const main = root.querySelector(".mbexplore");
  const endpoint = `${window.gradio_config.root}${window.gradio_config.api_prefix ?? ""}/run/`;
  const views = Object.fromEntries(about.views.map((view) => [view.name, view]));
  const LONGEST = 8000; // characters of a text that an address carries
  const PATIENCE = 500; // milliseconds before progress is shown

  const state = {
    model: about.models[0].name, text: about.examples[0], view: about.views[0].name,
    layer: 0, head: 0, token: -1, wishes: {}, hidden: [],
  };
  let chips = []; // of the text on the desk
  let turn = 0; // of the drawing; a later one makes an earlier one stale

  // ---- asking the server
  const ask = async (name, ...data) => {
    let reply;
    try {
      reply = await fetch(endpoint + name, {
        method: "POST", headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ data, session_hash: about.session }),
      });
    } catch {
      throw new Error("The server does not answer; start `mbexplore ui` again and reload.");
    }
    const answer = await reply.json().catch(() => ({}));
    if (!reply.ok) {
      throw new Error(answer.error ?? "This failed in mbexplore itself; the terminal says why.");
    }
    return answer.data[0];
  };

  const busy = async (work) => {
    let polling = null;
    const stop = el("button", { class: "quiet", onclick: () => ask("stop") }, "Stop");
    const far = el("span", {}); // the button itself stays, so that no click on it is lost
    const later = setTimeout(() => {
      main.classList.add("busy");
      const began = performance.now() - PATIENCE;
      const poll = async () => {
        const { done, total } = await ask("progress").catch(() => ({}));
        const seconds = ((performance.now() - began) / 1000).toFixed(0);
        if (polling === null) return;
        far.textContent = total ? `${done.toLocaleString("en")} of ${total.toLocaleString("en")} · ${seconds} s` : `${seconds} s`;
        stop.hidden = !total;
        if (!stop.isConnected) progress.replaceChildren(far, stop);
      };
      polling = setInterval(poll, PATIENCE);
      poll();
    }, PATIENCE);
    try {
      return await work;
    } finally {
      clearTimeout(later);
      clearInterval(polling);
      polling = null;
      progress.replaceChildren();
      main.classList.remove("busy");
    }
  };

  const say = (error) => {
    message.replaceChildren();
    if (!error) return;
    message.append(error.message);
    if (/keep its beginning/.test(error.message)) {
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

  // Which part of a long text each view draws large means nothing for another text.
  const forgetWindows = () => {
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
  const tokens = el("div", { class: "tokens chips", role: "group", "aria-label": "Tokens: a click masks or unmasks" });
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
  const progress = el("span", { class: "progress", role: "status" });

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
    area.value = await busy(ask("beginning", state.model, area.value));
    fit();
    run();
  };

  const drawChips = () => {
    tokens.replaceChildren(...chips.map((chip, i) => {
      const kind = chip.mask ? "chip mask" : chip.special ? "chip special" : "chip";
      return el("button", {
        class: i === state.token ? `${kind} held` : kind, "data-token": String(i), dir: "auto",
        "aria-pressed": chip.special ? null : String(chip.mask),
        "aria-disabled": chip.special ? "true" : null,
        title: chip.special ? `token ${i}` : `token ${i}: click to ${chip.mask ? "unmask" : "mask"}`,
      }, chip.text);
    }));
    roving(tokens);
    count.textContent = `${chips.length.toLocaleString("en")} of ${model().limit.toLocaleString("en")} tokens`;
  };

  // A new text or model: tokens, then the view. `hidden` are the words behind its masks.
  const run = async (hidden) => {
    const mine = begin();
    if (area.value !== state.text) {
      forgetWindows();
      state.token = -1;
      state.hidden = hidden ?? [];
    }
    state.text = area.value;
    toAddress(true);
    say(null);
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
    state, about, model, ask, busy,
    get chips() { return chips; },
    // What the view that is shown would say with some wishes changed; holds nothing.
    look: (changes) => ask(state.view, state.model, state.text, ...values(changes)),
    // Sets layer, head, token, or wishes of the view that is shown, and draws it anew.
    hold(changes) {
      const wishes = (state.wishes[state.view] ??= {}), { token } = changes;
      const [from, to] = page.window ?? [0, Infinity];
      // A token outside of the window that was moved takes the window with it; so does another text.
      if (token < from || token >= to || "other" in changes) delete wishes.first;
      for (const [name, value] of Object.entries(changes)) {
        if (["layer", "head", "token"].includes(name)) state[name] = value;
        else wishes[name] = value;
      }
      toAddress(false);
      return show();
    },
  };

  // The held token; where none is, the first mask, or else the first token.
  const place = () => {
    if (state.token >= 0 && state.token < chips.length) return state.token;
    return Math.max(0, chips.findIndex((chip) => chip.mask));
  };
  const stepper = (name, top, value) => {
    const input = el("input", {
      type: "number", min: "0", max: String(top), id: `mb-${name}`, inputmode: "numeric",
      onchange: () => page.hold({ [name]: clamp(Math.trunc(Number(input.value)), top + 1) }),
    });
    input.value = value;
    return el("label", { for: `mb-${name}` }, name, input);
  };
  const drawHeld = () => {
    const used = new Set(view().controls.filter((c) => c.kind === "held").map((c) => c.name));
    const kind = model().kinds[state.layer];
    const focused = document.activeElement?.id;
    held.replaceChildren(
      ...(used.has("layer") ? [el("span", { class: "pair" },
        stepper("layer", model().kinds.length - 1, state.layer),
        el("span", { class: `kind ${kind}` }, kind))] : []),
      ...(used.has("head") ? [stepper("head", model().heads - 1, state.head)] : []),
      ...(used.has("token") && chips.length
        ? [el("span", { class: "pair" }, stepper("token", chips.length - 1, place()),
          el("span", { class: "word", dir: "auto" }, chips[place()].text))]
        : []));
    held.hidden = !held.childElementCount;
    if (held.querySelector(`#${focused || "none"}`)) document.getElementById(focused).focus();
  };

  const control = (one) => {
    const id = `mb-wish-${one.name}`, value = wish(one);
    const set = (to) => page.hold({ [one.name]: to });
    if (one.kind === "switch") {
      return el("label", { class: "switch" },
        el("input", { type: "checkbox", id, checked: value, onchange: (e) => set(e.target.checked) }), one.label);
    }
    if (one.kind === "choice") {
      return el("fieldset", { class: "choice" }, el("legend", {}, one.label),
        ...one.choices.map((choice) => el("label", {},
          el("input", {
            type: "radio", name: id, id: `${id}-${choice}`, checked: choice === value, onchange: () => set(choice),
          }), el("span", {}, choice === "kl" ? "KL" : String(choice)))));
    }
    if (one.kind === "model") {
      const select = el("select", { id, onchange: () => set(select.value) },
        el("option", { value: "" }, "the same model"),
        ...about.models.map((m) => el("option", { value: m.name }, m.name)));
      select.value = value;
      return el("label", { class: "number", for: id }, one.label, select);
    }
    const input = el("input", {
      type: one.kind === "number" ? "number" : "text", id, min: "0", dir: "auto", placeholder: one.hint,
      onchange: () => set(one.kind === "number" ? Math.trunc(Number(input.value)) : input.value),
    });
    input.value = value ?? "";
    return el("label", { class: one.name === "other" ? "text wide" : one.kind, for: id }, one.label, input);
  };
  const drawControls = () => {
    const focused = document.activeElement?.id;
    controls.replaceChildren(...view().controls.filter((c) => c.kind !== "held" && c.label).map(control));
    controls.hidden = !controls.childElementCount;
    if (focused && controls.querySelector(`#${CSS.escape(focused)}`)) document.getElementById(focused).focus();
  };

  const drawFrame = () => {
    for (const tab of tabs.children) {
      const chosen = tab.dataset.view === state.view;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
      if (chosen) tabs.scrollLeft = tab.offsetLeft - tabs.offsetLeft - (tabs.clientWidth - tab.offsetWidth) / 2;
    }
    models.value = state.model;
    const m = model();
    facts.textContent = `${m.kinds.length} layers × ${m.heads} heads · ${m.parameters.toLocaleString("en")} parameters · ${m.dtype} on ${m.device}`;
    for (const chip of tokens.children) {
      chip.classList.toggle("held", Number(chip.dataset.token) === state.token);
    }
    purpose.textContent = view().about;
    drawHeld();
    drawControls();
  };

  const drawAnswer = (answer, whole) => {
    line.textContent = answer.line;
    page.window = null;
    const focused = document.activeElement;
    const inside = body.contains(focused) ? focused.dataset.key : null;
    body.replaceChildren(...answer.parts.map((part) => draw(part, page)));
    if (inside) body.querySelector(`[data-key="${inside}"]`)?.focus({ preventScroll: true });
    drawFoot(whole ? answer : { ...answer, formats: [] });
  };

  const values = (changes = {}) => view().controls.map((one) =>
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
    delete body.dataset.key;
    main.dataset.drawn = "";
  };

  const show = async () => {
    const mine = begin();
    drawFrame();
    if (!chips.length) return clear();
    try {
      const { name, quick } = view();
      if (Object.keys(quick).length && body.dataset.key !== key()) {
        const first = await busy(ask(name, state.model, state.text, ...values(quick)));
        if (mine !== turn) return;
        drawAnswer(first, false);
      }
      const answer = await busy(ask(name, state.model, state.text, ...values()));
      if (mine !== turn) return;
      say(null);
      drawAnswer(answer, true);
      body.dataset.key = key();
      main.dataset.drawn = "";
    } catch (error) {
      if (mine !== turn) return;
      clear();
      say(error);
    }
  };
  const key = () => JSON.stringify([state.view, state.model, state.text]);

  // ---- files and the command
  const drawFoot = (answer) => {
    foot.replaceChildren();
    if (!answer.formats.length) return;
    const save = async (ending) => {
      const wishes = Object.fromEntries(view().controls.map((one, i) => [one.name, values()[i]]));
      try {
        const file = await busy(ask("save", state.view, ending, state.model, state.text, wishes));
        const bytes = Uint8Array.from(atob(file.data), (c) => c.charCodeAt(0));
        const link = el("a", { href: URL.createObjectURL(new Blob([bytes])), download: file.name });
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 60000);
      } catch (error) {
        say(error);
      }
    };
    const copied = el("span", { class: "copied", role: "status" });
    const copy = async (text) => {
      await navigator.clipboard.writeText(text);
      copied.textContent = "copied";
      setTimeout(() => (copied.textContent = ""), 1500);
    };
    foot.append(
      el("div", { class: "save", role: "group", "aria-label": "Save this view" }, el("span", {}, "Save"),
        ...answer.formats.map((ending) => el("button", {
          class: "quiet", "data-key": `save-${ending}`, onclick: () => save(ending),
        }, ending.toUpperCase()))),
      el("div", { class: "command" }, el("code", {}, answer.command),
        el("button", { class: "quiet", onclick: () => copy(answer.command) }, "Copy"),
        el("button", { class: "quiet", onclick: () => copy(location.href) }, "Copy link"), copied));
  };

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
    document.dispatchEvent(new Event("mbexplore:theme"));
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
    run();
  };
  window.addEventListener("popstate", restore);
  restore();
};
