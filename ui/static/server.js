// Asking the server: one answer at a time, with progress and a way to stop.

const PATIENCE = 500; // milliseconds before progress is shown

// `ask(name, ...data)` gives an answer or throws the sentence to show; `busy(work)` waits for one
// and shows in `bar` how far it is when that takes long; `main` has the class "busy" meanwhile.
const connect = (server, session, main, bar) => {
  let going = 0; // works that take long

  const ask = async (name, ...data) => {
    const answer = await server.ask([name, session, ...data]).catch(() => undefined);
    if (answer === undefined) { // Gradio gives nothing where there was no answer
      const isGone = await fetch(location.pathname, { method: "HEAD" }).then(() => false, () => true);
      throw new Error(isGone ? "The server does not answer; start `mbexplore ui` again and reload."
        : "This failed in mbexplore itself; the terminal says why.");
    }
    if (answer?.error) throw new Error(answer.error);
    return answer;
  };

  const busy = async (work) => {
    let polling = null;
    const stop = el("button", { class: "quiet", onclick: () => ask("stop").catch(() => null) }, "Stop");
    const far = el("span", {}); // the button itself stays, so that no click on it is lost
    const later = setTimeout(() => {
      going++;
      main.classList.add("busy");
      const now = () => performance.now() / 1000, began = now() - PATIENCE / 1000;
      const poll = async () => {
        const { done, total } = await ask("progress").catch(() => ({}));
        if (polling === null) return;
        const parts = [total && `${done.toLocaleString("en")} of ${total.toLocaleString("en")}`, `${(now() - began).toFixed(0)} s`];
        far.textContent = parts.filter(Boolean).join(" · ");
        stop.hidden = !total;
        if (!stop.isConnected) bar.replaceChildren(far, stop);
      };
      polling = setInterval(poll, PATIENCE);
      poll();
    }, PATIENCE);
    try {
      return await work;
    } finally {
      clearTimeout(later);
      if (polling !== null) {
        clearInterval(polling);
        polling = null;
        bar.replaceChildren();
        main.classList.toggle("busy", --going > 0);
      }
    }
  };

  return { ask, busy };
};
