// The controls of a view, each made from what ui/controls.py says of a parameter, and the foot that
// saves what is shown. A control of a view stays the same element, so that no click on it and no
// half-written word in it is lost; `update(value)` tells it what holds now.

// An element with its `update`; a value that holds already leaves it as a person has it.
const updated = (node, write) => {
  let last;
  node.update = (value, ...rest) => {
    if (value !== last) write((last = value), ...rest);
  };
  return node;
};

// A whole number between 0 and `top`; `set` is called with what a person makes of it, `empty` for an
// empty field.
const stepper = (name, top, set, empty = 0) => {
  const input = el("input", {
    type: "number", min: "0", max: String(top), id: `mb-${name}`, inputmode: "numeric",
    onchange: () => {
      const isEmpty = input.value.trim() === "";
      if (!isEmpty) input.value = clamp(Math.trunc(Number(input.value)), top + 1);
      set(isEmpty ? empty : Number(input.value));
    },
  });
  return updated(el("label", { for: `mb-${name}` }, name, input), (value) => (input.value = value));
};

// A stepper with a word beside it that says what the number stands for.
const named = (number, word) => {
  const node = el("span", { class: "pair" }, number, word);
  node.update = (value, text, kind) => {
    number.update(value);
    word.textContent = text;
    word.className = kind;
  };
  return node;
};

const control = (one, set, models) => (controlsOf[one.kind] ?? typed)(one, set, `mb-setting-${one.name}`, models);

const controlsOf = {
  switch(one, set, id) {
    const input = el("input", { type: "checkbox", id, onchange: () => set(input.checked) });
    return updated(el("label", { class: "switch" }, input, one.label), (value) => (input.checked = value));
  },

  choice(one, set, id) {
    const radios = one.choices.map((choice) =>
      el("input", { type: "radio", name: id, id: `${id}-${choice}`, onchange: () => set(choice) }));
    const names = one.choices.map((choice) => (choice === "kl" ? "KL" : String(choice)));
    return updated(
      el("fieldset", { class: "choice" }, el("legend", {}, one.label),
        ...radios.map((radio, i) => el("label", {}, radio, el("span", {}, names[i])))),
      (value) => radios.forEach((radio, i) => (radio.checked = one.choices[i] === value)));
  },

  model(one, set, id, models) {
    const select = el("select", { id, onchange: () => set(select.value) },
      el("option", { value: "" }, "the same model"),
      ...models.map((m) => el("option", { value: m.name }, m.name)));
    return updated(el("label", { class: "number", for: id }, one.label, select), (value) => (select.value = value));
  },
};

// A number or a line of text.
const typed = (one, set, id) => {
  const isDecimal = one.kind === "decimal", isNumber = isDecimal || one.kind === "number";
  const input = el("input", {
    type: isNumber ? "number" : one.kind, id, min: "0", step: isDecimal ? "any" : null, dir: "auto", placeholder: one.hint,
    onchange: () => set(isDecimal ? Number(input.value) : isNumber ? Math.trunc(Number(input.value)) : input.value),
  });
  return updated(el("label", { class: one.name === "other" ? "text wide" : isNumber ? "number" : one.kind, for: id }, one.label, input),
    (value) => (input.value = value ?? ""));
};

// Puts elements into a group; what is there already is not touched.
const refill = (group, wanted) => {
  [...group.children].filter((node) => !wanted.includes(node)).forEach((node) => node.remove());
  wanted.forEach((node, i) => group.children[i] === node || group.insertBefore(node, group.children[i] ?? null));
  group.hidden = !wanted.length;
};

// Puts a text on the clipboard, also on plain http, where the clipboard's own interface is missing.
const toClipboard = async (text) => {
  if (navigator.clipboard) return navigator.clipboard.writeText(text).then(() => true, () => false);
  const area = el("textarea", { style: "position:fixed;opacity:0" });
  area.value = text;
  document.body.append(area);
  area.select();
  const isCopied = document.execCommand("copy");
  area.remove();
  return isCopied;
};

// Buttons that save something under each ending; `save(ending)` gives the file.
const savingOf = (name, formats, { save, say }) => {
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
  return el("div", { class: "save", role: "group", "aria-label": name }, el("span", {}, name),
    ...formats.map((ending) => el("button", {
      class: "quiet", "data-key": `${name} ${ending}`, onclick: () => download(ending),
    }, ending.toUpperCase())));
};

// Buttons that save a view, and the command and the address that bring it back. `save(ending)`
// gives a file, `link()` an address and whether the text is in it; `say` tells what went wrong.
const footOf = ({ formats, command }, { save, link, say }) => {
  if (!formats.length) return [];
  const copied = el("span", { class: "copied", role: "status" });
  const copy = async (text, done) => {
    const isCopied = await toClipboard(text);
    copied.textContent = isCopied ? done : "copying failed; select the text instead";
    setTimeout(() => (copied.textContent = ""), 4000);
  };
  const copyLink = () => {
    const { href, isWhole } = link();
    copy(href, isWhole ? "copied" : "copied without the text, which is too long for a link");
  };
  return [
    savingOf("Save", formats, { save, say }),
    el("div", { class: "command" }, el("code", {}, command),
      el("button", { class: "quiet", onclick: () => copy(command, "copied") }, "Copy"),
      el("button", { class: "quiet", onclick: copyLink }, "Copy link"), copied),
  ];
};
