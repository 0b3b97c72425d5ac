// Missing in Gradio: names for screen readers, arrow keys between tabs, and hiding the broken picture of a damaged file.

const NAMES = [
  // [selector, name made from the label of the nearest block]
  ["input[type=file]:not([aria-label])", (label) => `Upload: ${label}`],
  ["video:not([aria-label])", (label) => `Webcam: ${label}`],
  ["button:not([aria-label]):not([title]):empty", (label) => label],
  ["img:not([alt]), [data-testid=image] img[alt='']", (label) => label],
];

function nameAll() {
  for (const [selector, name] of NAMES) {
    for (const one of document.querySelectorAll(selector)) {
      const block = one.closest(".block");
      const label = block?.querySelector("[data-testid=block-label], label span, label")?.textContent.trim() || "picture";
      if (one.tagName === "IMG") one.alt = name(label);
      else one.setAttribute("aria-label", name(label));
    }
  }
  for (const one of document.querySelectorAll(".live:not([aria-live])")) one.setAttribute("aria-live", "polite");
}

let waiting = false;
new MutationObserver(() => {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => ((waiting = false), nameAll()));
}).observe(document.documentElement, { childList: true, subtree: true });
nameAll();

// The keys of the tab pattern: https://www.w3.org/WAI/ARIA/apg/patterns/tabs/
document.addEventListener("keydown", (event) => {
  const tab = event.target.closest?.("[role=tab]");
  if (!tab || event.ctrlKey || event.altKey || event.metaKey) return;
  const tabs = [...tab.closest("[role=tablist]").querySelectorAll("[role=tab]:not(:disabled)")];
  const here = tabs.indexOf(tab);
  const next = { ArrowRight: here + 1, ArrowLeft: here - 1 + tabs.length, Home: 0, End: tabs.length - 1 }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  tabs[next % tabs.length].focus();
  tabs[next % tabs.length].click();
});

// If the browser can't show a file, the answer beside it gives the reason. These events don't bubble: listen on the way down.
for (const kind of ["error", "load"]) {
  document.addEventListener(kind, ({ target }) => {
    if (target.matches?.("[data-testid=image] img, .seen img")) target.classList.toggle("unreadable", kind === "error");
  }, true);
}
