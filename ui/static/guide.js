// A view's guide, folded: what is to be seen, how it is read, a button that tries something, papers.

const PAPER = { target: "_blank", rel: "noreferrer" };

const guideBox = (page) => {
  const box = el("details", { class: "guide" });
  let drawn = null; // the view whose guide is there, so that it stays open as long as that view does

  const attempt = ({ view, values, text }) => el("button", {
    class: "quiet try", onclick: () => page.open({ view, settings: values, text: text ?? undefined }),
  }, "Try it");

  box.update = ({ name, guide }) => {
    if (drawn === name) return;
    drawn = name;
    const last = guide.lines.length - 1;
    box.hidden = last < 0;
    box.open = false;
    box.replaceChildren(
      el("summary", {}, "How to read this"),
      el("dl", {}, ...guide.lines.flatMap(([term, line], i) => [
        el("dt", {}, term), el("dd", {}, line, ...(i === last ? [" ", attempt(guide)] : [])),
      ]), ...(guide.papers.length ? [el("dt", {}, "Papers"), el("dd", {}, ...papersOf(guide))] : [])));
  };
  return box;
};

const papersOf = ({ papers }) => papers.flatMap(({ authors, year, title, url }, i) => [
  i ? "; " : null, el("a", { ...PAPER, href: url, title }, `${authors} ${year}`),
]);
