// The tabs, grouped by the question that views answer: of the groups the chosen one shows its views.

// `choose(name, push)` opens a view; `update(name)` tells which one is open. A group opens the view
// where the person was in it, and the way back leads past that where another one is chosen next.
const tabBar = (views, choose) => {
  let isPassing = false;
  const groups = [...new Set(views.map((one) => one.group))].map((name) => {
    const inside = views.filter((one) => one.group === name), isAlone = inside.length === 1;
    let last = inside[0].name; // where the person was
    const tabs = inside.map((one) => el("button", {
      role: "tab", id: `mb-tab-${one.name}`, "data-view": one.name, "aria-controls": "mb-view", title: one.about,
      onclick: () => {
        choose(one.name, !isPassing);
        isPassing = false;
      },
    }, one.title));
    const list = roving(el("div", { class: "views", role: "tablist", "aria-label": name }, ...tabs));
    const question = isAlone ? null : el("button", {
      class: "question", "aria-expanded": "false", "data-group": name,
      onclick: () => {
        choose(last, true);
        isPassing = true;
      },
    }, name);
    const update = (view) => {
      const isOpen = inside.some((one) => one.name === view);
      if (isOpen) last = view;
      question?.setAttribute("aria-expanded", String(isOpen));
      list.hidden = !isOpen && !isAlone;
      for (const tab of tabs) {
        const isChosen = tab.dataset.view === view;
        tab.setAttribute("aria-selected", String(isChosen));
        tab.tabIndex = isChosen || (isAlone && !isOpen) ? 0 : -1;
      }
    };
    return { node: el("div", { class: "group" }, question, list), update };
  });
  const root = el("nav", { class: "tabs", "aria-label": "Views" }, ...groups.map((one) => one.node));
  // On a narrow page the bar scrolls to the tab that is open, also when the page becomes narrow.
  const reveal = () => {
    const chosen = root.querySelector('[aria-selected="true"]');
    if (chosen) root.scrollLeft = chosen.offsetLeft - (root.clientWidth - chosen.offsetWidth) / 2;
  };
  root.update = (view) => {
    groups.forEach((one) => one.update(view));
    reveal();
  };
  new ResizeObserver(reveal).observe(root);
  return root;
};
