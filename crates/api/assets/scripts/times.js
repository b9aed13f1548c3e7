// Moments are written in UTC by the server; here they read in the viewer's own zone. Without scripts UTC stays.
"use strict";
(() => {
  const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
  const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

  /** `3 min ago`, `in 2 h`; a date when it is more than a day away. The words are those of the server. */
  const near = (at, now) => {
    const distance = (now - at) / 1000;
    const seconds = Math.abs(distance);
    if (seconds < 5) return "just now";
    if (seconds >= 86400) return day.format(at);
    const span = seconds < 60 ? `${Math.floor(seconds)} s`
      : seconds < 3600 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`;
    return distance >= 0 ? `${span} ago` : `in ${span}`;
  };

  const tell = (root) => {
    const now = Date.now();
    for (const element of root.querySelectorAll("time[datetime]")) {
      const at = Date.parse(element.dateTime);
      if (Number.isNaN(at)) continue;
      element.title = exact.format(at);
      // what is due is told as `now` by the server, not as a moment gone by
      if (element.textContent !== "now") element.textContent = near(at, now);
    }
  };

  // the server writes days and plots by the clock that this says
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && !document.cookie.split("; ").includes(`clickwire_zone=${zone}`)) {
    document.cookie = `clickwire_zone=${zone}; path=/; max-age=31536000; samesite=lax`;
  }

  // for parts that come later, such as live rows
  document.clickwireTimes = tell;
  tell(document);
  setInterval(() => tell(document), 15000);
})();
