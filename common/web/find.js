"use strict";
// Rows and cards in which the sought word does not occur are hidden. A page that is renewed sifts again.

function sift() {
  for (const find of document.querySelectorAll(".find")) {
    const sought = find.querySelector("input").value.trim().toLowerCase();
    const entries = [...find.parentElement.querySelectorAll("tbody tr, article")];
    for (const entry of entries) entry.hidden = !entry.textContent.toLowerCase().includes(sought);
    find.hidden = entries.length < 2;
    const count = sought && `${entries.filter((entry) => !entry.hidden).length} of ${entries.length}`;
    const told = find.querySelector("output");
    if (told.textContent !== count) told.textContent = count;  // what does not change is not announced again
  }
}

for (const find of document.querySelectorAll(".find")) find.addEventListener("input", sift);
sift();
