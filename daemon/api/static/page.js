// SPDX-License-Identifier: AGPL-3.0-or-later
// Keeps today's page fresh and adds keys to an evidence's page. Everything else works without this file.
"use strict";

const EVERY_MS = 5000;

// Takes over what differs and leaves the rest of the page alone, so that nothing flickers or loses its focus.
// An element with data-list has children with ids, kept in order; one without is taken over whole.
function merge(old, fresh) {
  if (old.outerHTML === fresh.outerHTML) return;
  if (!("list" in old.dataset) || !("list" in fresh.dataset)) {
    if (!old.contains(document.activeElement)) old.replaceWith(document.importNode(fresh, true));
    return;
  }
  if (old.className !== fresh.className) old.className = fresh.className;
  const wanted = new Set(Array.from(fresh.children, (child) => child.id));
  for (const child of Array.from(old.children)) {
    if (child.id && !wanted.has(child.id)) child.remove();
  }
  let before = old.firstElementChild;
  for (const child of Array.from(fresh.children)) {
    const mine = child.id ? old.querySelector(`:scope > [id="${child.id}"]`) : null;
    if (mine) {
      const follows = mine.nextElementSibling;
      if (mine !== before) old.insertBefore(mine, before);
      else before = follows;
      merge(mine, child);
    } else {
      old.insertBefore(document.importNode(child, true), before);
    }
  }
}

async function refresh() {
  const page = document.querySelector("[data-refresh]");
  const stale = document.getElementById("stale");
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (!answer.ok) throw new Error(answer.statusText);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("page");
    if (fresh) merge(page, fresh);
    page.dataset.at = new Date().toISOString().slice(11, 19);
    stale.hidden = true;
  } catch {
    stale.textContent = `Firewitness does not answer. What you see is as of ${page.dataset.at || "the time you opened this page"} UTC.`;
    stale.hidden = false;
  }
}

function keys(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("input:not([type=checkbox]), select, textarea")) return;
  if (event.key === "b") document.getElementById("boxes").click();
  if (event.key === "ArrowLeft") document.getElementById("earlier")?.click();
  if (event.key === "ArrowRight") document.getElementById("later")?.click();
}

if (document.querySelector("[data-refresh]")) {
  const again = async () => {
    if (!document.hidden) await refresh();
    setTimeout(again, EVERY_MS);
  };
  setTimeout(again, EVERY_MS);
}
if (document.getElementById("boxes")) document.addEventListener("keydown", keys);
