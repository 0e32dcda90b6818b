"use strict";
// Keeps the page as the coordinator's folder is. Without this script it stays as it was when it was loaded.

const FIRST_MS = 500, LONGEST_MS = 5000, SILENCE_MS = 8000;
const link = document.getElementById("link"), said = document.getElementById("said");
let events = null, heard = 0, seen = new Date(), pause = FIRST_MS, timer = 0;

function show(element, text) {
  if (element.textContent !== text) element.textContent = text;  // what does not change is not announced again
}

// Only what differs is touched: focus, open details, scrolling and what is selected stay.
function renew(old, fresh) {
  if (old.nodeName !== fresh.nodeName) return old.replaceWith(fresh);
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  const before = [...old.childNodes], after = [...fresh.childNodes];
  after.forEach((child, i) => (before[i] ? renew(before[i], child) : old.append(child)));
  before.slice(after.length).forEach((child) => child.remove());
}

function take(message) {
  heard = Date.now();
  seen = new Date();
  pause = FIRST_MS;
  const told = JSON.parse(message.data);
  for (const [name, html] of Object.entries(told.parts)) {
    if (name === "title") document.title = html;
    else if (name === "said") show(said, html);
    else {
      const fresh = new DOMParser().parseFromString(html, "text/html").body.firstElementChild;
      renew(document.getElementById("part-" + name).lastElementChild, fresh);
    }
  }
  sift();  // find.js
  link.className = "link live";
  show(link, "● live");
}

function connect() {
  heard = Date.now();
  events = new EventSource(document.body.dataset.events);
  events.onmessage = take;
  events.onerror = lose;
}

function close() {
  clearTimeout(timer);
  if (events) events.close();
  events = null;
}

function lose() {
  close();
  link.className = "link cut";
  show(link, `✕ connection lost, trying again; this is as of ${seen.toLocaleTimeString()}`);
  timer = setTimeout(attempt, pause * (0.7 + 0.3 * Math.random()));
  pause = Math.min(2 * pause, LONGEST_MS);
}

async function attempt() {
  close();
  try {
    const answer = await fetch("/session", { cache: "no-store", redirect: "manual" });
    if (answer.status === 401) return location.reload();  // the session is over: the login page comes
    if (answer.ok) return connect();
  } catch { /* not there yet */ }
  lose();
}

setInterval(() => { if (events && Date.now() - heard > SILENCE_MS) lose(); }, 1000);
// A browser keeps six connections to one address: pages that nobody looks at leave them to others.
document.addEventListener("visibilitychange", () => (document.hidden ? close() : attempt()));
addEventListener("online", attempt);
connect();
