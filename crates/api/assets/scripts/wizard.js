// Parts that the server renders anew while something happens: fetched and put in place until they say that it is done.
"use strict";
(() => {
  const PAUSE_MS = 1000;
  /** Nobody watches longer than that; a reload goes on. */
  const WATCHED_MS = 15 * 60 * 1000;

  for (const place of document.querySelectorAll("[data-refresh]")) {
    const ends = Date.now() + WATCHED_MS;
    let shown = place.innerHTML;
    const again = () => setTimeout(look, document.hidden ? 5 * PAUSE_MS : PAUSE_MS);
    const look = async () => {
      if (Date.now() > ends || place.querySelector("[data-done]")) return;
      try {
        const response = await fetch(place.dataset.refresh, { credentials: "same-origin", redirect: "error" });
        if (response.ok) {
          const text = await response.text();
          // what is open, selected or focused stays so while nothing changes
          if (text !== shown) {
            shown = text;
            place.innerHTML = text;
            document.clickwireTimes?.(place);
          }
        }
      } catch {
        // away for a moment
      }
      again();
    };
    again();
  }
})();
