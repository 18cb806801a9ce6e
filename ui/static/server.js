// Asking the server: one endpoint at a time, with progress and a way to stop.

const PATIENCE = 500; // milliseconds before progress is shown

// "40 s", "12 min", "3 h".
const duration = (seconds) => {
  const [size, unit] = seconds < 90 ? [1, "s"] : seconds < 5400 ? [60, "min"] : [3600, "h"];
  return `${Math.round(seconds / size)} ${unit}`;
};

// What the page asks with: `ask(endpoint, ...data)` gives an answer or throws the sentence to say;
// `busy(work)` waits for one, and tells in `bar` how far it is when that takes long; `main` has the
// class "busy" meanwhile.
const connect = (session, main, bar) => {
  let going = 0; // works that take long
  const endpoint = `${window.gradio_config.root}${window.gradio_config.api_prefix ?? ""}/run/`;

  const ask = async (name, ...data) => {
    let reply;
    try {
      reply = await fetch(endpoint + name, {
        method: "POST", headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ data, session_hash: session }),
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
    const stop = el("button", { class: "quiet", onclick: () => ask("stop").catch(() => null) }, "Stop");
    const far = el("span", {}); // the button itself stays, so that no click on it is lost
    const later = setTimeout(() => {
      going++;
      main.classList.add("busy");
      const now = () => performance.now() / 1000, began = now() - PATIENCE / 1000;
      let counted = null; // when counting began, at what, and of how many
      const poll = async () => {
        const { done, total } = await ask("progress").catch(() => ({}));
        if (polling === null) return;
        if (counted?.total !== total) counted = { at: now(), from: done, total };
        const spent = now() - counted.at, left = (spent / (done - counted.from)) * (total - done);
        const told = [total && `${done.toLocaleString("en")} of ${total.toLocaleString("en")}`, `${(now() - began).toFixed(0)} s`,
          total && spent > 2 && Number.isFinite(left) && `about ${duration(left)} left`];
        far.textContent = told.filter(Boolean).join(" · ");
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
