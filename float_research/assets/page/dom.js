"use strict";
// Elements, and numbers that JSON lacks. Of all pages.

const $ = (id) => document.getElementById(id);

/** An element with properties (`on…` handlers, `data-…` and `aria-…` attributes among them) and children or texts. */
function make(tag, properties = {}, ...children) {
  const element = tag.startsWith("svg:")
    ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4))
    : document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.includes("-") || tag.startsWith("svg:") || name === "role" || name === "for") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

function number(value) {
  if (value === "∞") return Infinity;
  if (value === "-∞") return -Infinity;
  return typeof value === "number" ? value : NaN;
}
