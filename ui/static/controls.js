// The controls of a view, each made from what ui/protocol.py says of a wish, and the foot that
// saves what is shown.

// A whole number between 0 and `top`; `set` is called with what a person makes of it.
const stepper = (name, top, value, set) => {
  const input = el("input", {
    type: "number", min: "0", max: String(top), id: `mb-${name}`, inputmode: "numeric",
    onchange: () => set(clamp(Math.trunc(Number(input.value)), top + 1)),
  });
  input.value = value;
  return el("label", { for: `mb-${name}` }, name, input);
};

const control = (one, value, set, models) => (controlsOf[one.kind] ?? typed)(one, value, set, `mb-wish-${one.name}`, models);

const controlsOf = {
  switch: (one, value, set, id) => el("label", { class: "switch" },
    el("input", { type: "checkbox", id, checked: value, onchange: (e) => set(e.target.checked) }), one.label),

  choice: (one, value, set, id) => el("fieldset", { class: "choice" }, el("legend", {}, one.label),
    ...one.choices.map((choice) => el("label", {},
      el("input", {
        type: "radio", name: id, id: `${id}-${choice}`, checked: choice === value, onchange: () => set(choice),
      }), el("span", {}, choice === "kl" ? "KL" : String(choice))))),

  model(one, value, set, id, models) {
    const select = el("select", { id, onchange: () => set(select.value) },
      el("option", { value: "" }, "the same model"),
      ...models.map((m) => el("option", { value: m.name }, m.name)));
    select.value = value;
    return el("label", { class: "number", for: id }, one.label, select);
  },
};

// A number or a line of text.
const typed = (one, value, set, id) => {
  const isNumber = one.kind === "number";
  const input = el("input", {
    type: one.kind, id, min: "0", dir: "auto", placeholder: one.hint,
    onchange: () => set(isNumber ? Math.trunc(Number(input.value)) : input.value),
  });
  input.value = value ?? "";
  return el("label", { class: one.name === "other" ? "text wide" : one.kind, for: id }, one.label, input);
};

// Redraws a group of controls; the one that had the keyboard's focus has it again.
const refill = (group, children) => {
  const focused = document.activeElement?.id;
  group.replaceChildren(...children);
  group.hidden = !children.length;
  if (focused && group.querySelector(`#${CSS.escape(focused)}`)) document.getElementById(focused).focus();
};

// Buttons that save a view, and the command and the address that bring it back. `save(ending)`
// gives a file, `link()` an address and whether the text is in it; `say` tells what went wrong.
const footOf = ({ formats, command }, { save, link, say }) => {
  if (!formats.length) return [];
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
  const copied = el("span", { class: "copied", role: "status" });
  const copy = async (text, told) => {
    await navigator.clipboard.writeText(text);
    copied.textContent = told;
    setTimeout(() => (copied.textContent = ""), 4000);
  };
  const copyLink = () => {
    const { href, isWhole } = link();
    copy(href, isWhole ? "copied" : "copied without the text, which is too long for a link");
  };
  return [
    el("div", { class: "save", role: "group", "aria-label": "Save this view" }, el("span", {}, "Save"),
      ...formats.map((ending) => el("button", {
        class: "quiet", "data-key": `save-${ending}`, onclick: () => download(ending),
      }, ending.toUpperCase()))),
    el("div", { class: "command" }, el("code", {}, command),
      el("button", { class: "quiet", onclick: () => copy(command, "copied") }, "Copy"),
      el("button", { class: "quiet", onclick: copyLink }, "Copy link"), copied),
  ];
};
