// What is quicker with a script; every page works without it.
"use strict";

// Ctrl-K, or Command-K, goes to the search.
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    const search = document.getElementById("search");
    if (search) {
      event.preventDefault();
      search.focus();
      search.select();
    }
  }
});

// Lines to be pasted get a button that copies them.
const addCopyButtons = (root) => {
  if (!navigator.clipboard) return;
  for (const line of root.querySelectorAll("[data-copy]:not([data-ready])")) {
    line.dataset.ready = "";
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", "Copy " + line.dataset.copy);
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(line.querySelector("code").textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    line.append(button);
  }
};

// All tags of a page are chosen at once, and how many are is said.
const watchChoice = (root) => {
  for (const form of root.querySelectorAll("form[data-choice]:not([data-ready])")) {
    form.dataset.ready = "";
    const boxes = () => [...form.querySelectorAll("input[name=tag]")];
    const all = form.querySelector("[data-all]");
    const said = form.querySelector("[data-chosen]");
    const button = form.querySelector("button[data-needs-choice]");
    const tell = () => {
      const chosen = boxes().filter((box) => box.checked).length;
      if (said) said.textContent = chosen ? chosen + " selected" : "";
      if (button) button.disabled = chosen === 0;
    };
    if (all) {
      all.hidden = false;
      all.querySelector("input").addEventListener("change", (event) => {
        for (const box of boxes()) box.checked = event.target.checked;
        tell();
      });
    }
    form.addEventListener("change", tell);
    tell();
  }
};

const prepare = (root) => { addCopyButtons(root); watchChoice(root); };
document.addEventListener("DOMContentLoaded", () => prepare(document));
document.addEventListener("htmx:load", (event) => prepare(event.target));
