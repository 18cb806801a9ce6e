// Asking the server: one endpoint at a time, with progress and a way to stop.

const PATIENCE = 500; // milliseconds before progress is shown

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
    const stop = el("button", { class: "quiet", onclick: () => ask("stop") }, "Stop");
    const far = el("span", {}); // the button itself stays, so that no click on it is lost
    const later = setTimeout(() => {
      going++;
      main.classList.add("busy");
      const began = performance.now() - PATIENCE;
      const poll = async () => {
        const { done, total } = await ask("progress").catch(() => ({}));
        const seconds = ((performance.now() - began) / 1000).toFixed(0);
        if (polling === null) return;
        far.textContent = total ? `${number(done)} of ${number(total)} · ${seconds} s` : `${seconds} s`;
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
