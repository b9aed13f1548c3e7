
// Buttons that copy a field. Without scripts they are not there, and one click into the field selects it.
"use strict";
(() => {
  for (const field of document.querySelectorAll("input.copy")) field.addEventListener("focus", () => field.select());
  if (!navigator.clipboard) return;
  for (const button of document.querySelectorAll("button[data-copy]")) {
    const field = document.getElementById(button.dataset.copy);
    if (!field) continue;
    const words = button.textContent;
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(field.value ?? field.textContent);
        button.textContent = "Copied";
      } catch {
        field.select?.();
        button.textContent = "Press Ctrl+C";
      }
      setTimeout(() => { button.textContent = words; }, 2000);
    });
  }
})();
