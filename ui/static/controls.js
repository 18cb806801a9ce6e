// The controls of a view, each made from what ui/controls.py says of a parameter, and the foot that
// saves what is shown. A control of a view stays the same element, so that no click on it and no
// half-written word in it is lost; `update(value)` tells it what holds now.

const control = (one, set, models) => {
  const id = `mb-${one.kind === "held" ? "" : "setting-"}${one.name}`;
  const [node, write] = (controlsOf[one.kind] ?? typed)(one, set, id, models);
  node.title = one.help;
  let last;
  node.update = (value) => { // a value that holds already leaves it as a person has it
    if (value !== last) write((last = value));
  };
  return node;
};

// Of each kind: an element, and what writes a value into it.
const controlsOf = {
  switch(one, set, id) {
    const input = el("input", { type: "checkbox", id, onchange: () => set(input.checked) });
    return [el("label", { class: "switch" }, input, one.label), (value) => (input.checked = value)];
  },

  choice(one, set, id) {
    const radios = one.choices.map((choice) =>
      el("input", { type: "radio", name: id, id: `${id}-${choice}`, onchange: () => set(choice) }));
    const names = one.choices.map((choice) => (choice === "kl" ? "KL" : String(choice)));
    return [
      el("fieldset", { class: "choice" }, el("legend", {}, one.label),
        ...radios.map((radio, i) => el("label", {}, radio, el("span", {}, names[i])))),
      (value) => radios.forEach((radio, i) => (radio.checked = one.choices[i] === value)),
    ];
  },

  lines(one, set, id) {
    const area = el("textarea", { id, rows: 2, dir: "auto", spellcheck: "false", onchange: () => set(area.value) });
    return [el("label", { class: "lines", for: id }, one.label, area), (value) => (area.value = value)];
  },

  model(one, set, id, models) {
    const select = el("select", { id, onchange: () => set(select.value) },
      el("option", { value: "" }, "the same model"),
      ...models.map((m) => el("option", { value: m.name }, m.name)));
    return [el("label", { class: "number", for: id }, one.label, select), (value) => (select.value = value)];
  },
};

// A number or a line of text; what is held is below `count`. Once emptied, no token is held, a layer
// or head stays, and a setting is what it was at first.
const typed = (one, set, id) => {
  const isText = one.kind === "text", isWhole = one.kind !== "decimal";
  let last;
  const read = () => {
    if (isText) return input.value;
    if (input.value.trim() === "") {
      write(one.kind !== "held" ? one.default : one.name === "token" ? -1 : last);
      return last;
    }
    const number = isWhole ? Math.trunc(Number(input.value)) : Number(input.value);
    return one.count ? (input.value = clamp(number, one.count)) : number;
  };
  const input = el("input", {
    type: isText ? "text" : "number", id, min: "0", max: one.count ? String(one.count - 1) : null,
    step: isWhole ? null : "any", dir: "auto", inputmode: isText || !isWhole ? null : "numeric",
    onchange: () => set(read()),
  });
  const kind = one.wide ? "text wide" : isText ? "text" : "number";
  const beside = el("span", { dir: "auto" }); // what the number stands for
  const write = (value) => (input.value = (last = value) === -1 && one.default === -1 ? "" : value);
  return [el("label", { class: kind, for: id }, one.label, input, beside), write];
};

// Puts elements into a group; what is there already is not touched.
const refill = (group, wanted) => {
  [...group.children].filter((node) => !wanted.includes(node)).forEach((node) => node.remove());
  wanted.forEach((node, i) => group.children[i] === node || group.insertBefore(node, group.children[i] ?? null));
  group.hidden = !wanted.length;
};

// What a saved picture is made for, folded: `chosen` holds what was set.
const pictureBox = (options, chosen) => el("details", { class: "picture" }, el("summary", {}, "Picture options"),
  el("div", { class: "controls" }, ...options.map((one) => {
    const node = control({ ...one, name: `picture-${one.name}` }, (value) => (chosen[one.name] = value));
    node.update(one.default);
    return node;
  })));

// Buttons that save a view, and the command and the address that bring it back. `save(ending)`
// gives a file, `link()` an address and whether the text is in it; `say` tells what went wrong.
const footOf = ({ formats, command }, { save, picture, link, say }) => {
  if (!formats.length) return [];
  const copied = el("span", { class: "copied", role: "status" });
  const copy = async (text, done) => {
    const isCopied = await navigator.clipboard?.writeText(text).then(() => true, () => false); // none on plain http
    copied.textContent = isCopied ? done : "copying failed; select the text instead";
    setTimeout(() => (copied.textContent = ""), 4000);
  };
  const copyLink = () => {
    const { href, isWhole } = link();
    copy(href, isWhole ? "copied" : "copied without the text, which is too long for a link");
  };
  const download = async (ending) => {
    try {
      const file = await save(ending);
      const bytes = Uint8Array.from(atob(file.data), (c) => c.charCodeAt(0));
      const anchor = el("a", { href: URL.createObjectURL(new Blob([bytes])), download: file.name });
      anchor.click();
      setTimeout(() => URL.revokeObjectURL(anchor.href), 60000);
    } catch (error) {
      say(error);
    }
  };
  return [
    el("div", { class: "save", role: "group", "aria-label": "Save" }, el("span", {}, "Save"),
      ...formats.map((ending) => el("button", {
        class: "quiet", "data-key": `Save ${ending}`, onclick: () => download(ending),
      }, ending.toUpperCase())), formats.includes("png") ? picture : null),
    el("div", { class: "command" }, el("code", {}, command),
      el("button", { class: "quiet", onclick: () => copy(command, "copied") }, "Copy"),
      el("button", { class: "quiet", onclick: copyLink }, "Copy link"), copied),
  ];
};
