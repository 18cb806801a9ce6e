// Parts of the model that are switched off by clicks: heads among the maps of all heads, layers by
// their names, tokens below them. Each click asks for one answer.

// Whether a head, or all attention of its layer, is switched off.
const isOff = ({ parts: off = [] }, layer, head) => [`${layer}.${head}`, `${layer}.attention`].some((name) => off.includes(name));

const breaking = (part, page) => {
  const off = new Set(part.parts), blocked = new Set(part.blocked);
  const isOn = () => page.isBreaking ?? off.size + blocked.size > 0;
  const hold = () => page.hold({ parts: [...off].join(", "), blocked: [...blocked].sort((a, b) => a - b).join(", ") });
  // Off, unless all of them are off already.
  const flip = (names) => {
    const isBack = names.every((name) => off.has(name));
    for (const name of names) isBack ? off.delete(name) : off.add(name);
    return hold();
  };
  const block = (token) => {
    blocked.delete(token) || blocked.add(token);
    return hold();
  };

  const nameOf = (layer, properties, text) => {
    const names = [`${layer}.attention`, `${layer}.mlp`], isGone = names.every((name) => off.has(name));
    return el("button", {
      ...properties, class: `${properties.class}${isGone ? " off" : ""}`, tabindex: "-1", "data-key": `layer ${layer}`,
      title: "In the mode below: switch the whole layer off",
      onclick: () => (isOn() ? flip(names) : page.hold({ layer })),
    }, text);
  };

  const mode = el("button", {
    class: "quiet mode", "data-key": "mode", "aria-pressed": String(isOn()),
    title: "Clicks switch heads, layers and tokens off; x does it to the selected head",
    onclick: () => {
      page.isBreaking = !isOn();
      mode.setAttribute("aria-pressed", String(isOn()));
      tokens.hidden = !isOn();
    },
  }, "Switch off by clicks");
  const gone = [...off].map((name) => el("button", {
    class: "quiet gone", title: `switch ${name} on again`, onclick: () => flip([name]),
  }, `${name} \u00d7`));
  const hidden = [...blocked].map((token) => el("button", {
    class: "quiet gone", title: "let others attend to it again", onclick: () => block(token),
  }, `${part.tokens[token]} ${token} \u00d7`));
  const all = el("button", {
    class: "quiet", "data-key": "all on",
    onclick: () => { off.clear(); blocked.clear(); hold(); },
  }, "all on");
  const some = [...gone, ...hidden];
  const bar = el("div", { class: "breaking" }, mode, ...some, some.length ? all : null);

  const tokens = el("div", { class: "hide-tokens", hidden: !isOn() },
    el("span", {}, "No other token attends to:"),
    roving(el("div", { class: "tokens" }, ...part.tokens.map((token, i) => el("button", {
      class: `token${blocked.has(i) ? " off" : ""}`, dir: "auto", "data-key": `block ${i}`,
      "aria-pressed": String(blocked.has(i)), onclick: () => block(i),
    }, token)))));
  return { isOn, flip, nameOf, bar, tokens };
};
