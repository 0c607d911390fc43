/** Elements by id, and elements made in one expression. */

export const byId = (id) => document.getElementById(id);

/** `element("p", {class: "hint"}, "text", child, …)`; null children are left out. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** Text as nodes: what stands in backticks is a command. */
const prose = (text) =>
  text.split("`").map((part, i) => (i % 2 ? element("code", {}, part) : part));

/** Shows an error with its way out in an element of role "alert"; null hides it. */
export function showError(box, error) {
  box.hidden = !error;
  box.replaceChildren();
  if (!error) return;
  box.append(element("strong", {}, ...prose(error.message)));
  if (error.hint) box.append(element("span", {}, ...prose(error.hint)));
}
