// Give names to elements that Gradio leaves without one, so that screen readers can say what a control or a picture is.

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
