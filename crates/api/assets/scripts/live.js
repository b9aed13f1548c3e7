
// Clicks as they come: rows are put on top of the table that the server wrote. Everything is put in as text.
"use strict";
(() => {
  const feed = document.querySelector("[data-live]");
  if (!feed || !window.EventSource) return;
  const state = document.querySelector("[data-live-state]");
  const table = feed.querySelector("[data-live-table]");
  const body = table.querySelector("tbody");
  const most = Number(feed.dataset.liveRows) || 12;
  const showsLinks = "liveLinks" in feed.dataset;

  const element = (name, className, ...children) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    made.append(...children);
    return made;
  };
  const anchor = (href, className, ...children) => {
    const made = element("a", className, ...children);
    made.setAttribute("href", href);
    return made;
  };
  /** An id is a word; anything else leads nowhere. */
  const id = (text) => /^[a-z]+_[0-9a-z]+$/i.test(text ?? "") ? text : "";

  const cell = (className, ...children) => element("td", className, ...children);

  const row = (click) => {
    const time = document.createElement("time");
    time.dateTime = click.at;
    time.textContent = "just now";
    const kind = ["good", "bad", "wait"].find((known) => known === click.kind) ?? "plain";
    return element("tr", "fresh",
      cell("nowrap", anchor(`/clicks/${id(click.id)}`, "", time)),
      cell("", showsLinks ? anchor(`/links/${id(click.link_id)}`, "mono", click.slug ?? "")
        : element("span", "mono", click.slug ?? "")),
      cell("", click.place ?? "", element("span", "sub", click.device ?? "")),
      cell("", element("span", `chip ${kind}`, click.text ?? "")));
  };

  const say = (kind, text) => {
    state.hidden = false;
    state.className = `live-state small ${kind}`;
    state.textContent = text;
  };

  const show = (click) => {
    const href = `/clicks/${id(click.id)}`;
    // one that was amended comes again
    const before = [...body.rows].find((known) => known.querySelector("a")?.getAttribute("href") === href);
    const made = row(click);
    if (before) before.replaceWith(made); else body.prepend(made);
    while (body.rows.length > most) body.lastElementChild.remove();
    table.hidden = false;
    feed.querySelector("[data-live-empty]")?.remove();
    document.clickwireTimes?.(made);
  };

  const source = new EventSource(feed.dataset.live);
  source.addEventListener("open", () => say("on", "Live"));
  const told = (event) => {
    say("on", "Live");
    try { show(JSON.parse(event.data)); } catch { /* what cannot be read is not shown */ }
  };
  for (const name of ["link.clicked", "link.click.amended"]) source.addEventListener(name, told);
  source.addEventListener("gap", () => say("off", "Some clicks were left out: reload to see all"));
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) say("off", "Not live: reload to see newer clicks");
    else say("off", "Connecting again …");
  });
})();
