// Keys of the labelling page: each presses the button of that key. Further keys wait for the next picture.

let answered = null;
document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  const button = document.getElementById(`key-${event.key.toLowerCase()}`);
  const step = document.querySelector("[data-label-step]")?.dataset.labelStep;
  if (!button || step === undefined || step === answered) return;
  answered = step;
  event.preventDefault();
  button.click();
});
