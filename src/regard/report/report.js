// Nothing here is needed to read the page. A support picture and its enlargement light up together, and the arrow
// keys walk through the pictures of a card, which is one stop of the tab key.
for (const card of document.querySelectorAll(".card")) {
  const thumbnails = [...card.querySelectorAll(".thumbnails li")];
  const light = (row) => {
    for (const item of card.querySelectorAll("[data-row]")) item.classList.toggle("lit", item.dataset.row === row);
  };
  for (const item of card.querySelectorAll("[data-row]")) {
    item.addEventListener("pointerenter", () => light(item.dataset.row));
    item.addEventListener("pointerleave", () => light(null));
  }
  const step = { ArrowRight: 1, ArrowLeft: -1 };
  thumbnails.forEach((thumbnail, i) => {
    thumbnail.tabIndex = i ? -1 : 0;
    thumbnail.addEventListener("focus", () => light(thumbnail.dataset.row));
    thumbnail.addEventListener("blur", () => light(null));
    thumbnail.addEventListener("keydown", (event) => {
      const next = thumbnails[i + step[event.key]];
      if (!next) return;
      event.preventDefault();
      thumbnail.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
  });
}
