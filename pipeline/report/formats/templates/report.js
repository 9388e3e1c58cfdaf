"use strict";
(() => {
  const number = (cell) => {
    const text = "sort" in cell.dataset ? cell.dataset.sort : cell.textContent.replace(/[\u2007\u00a0,]/g, "").replace("\u2212", "-").trim();
    return /^[-+.\d]/.test(text) ? parseFloat(text) : NaN;
  };

  // A click on a column's title sorts by it, a second one the other way round, a third restores the order.
  const sortable = (table) => {
    const body = table.tBodies[0], heads = table.tHead ? [...table.tHead.rows[0].cells] : [], original = [...body.rows];
    if (original.length < 3) return;
    const sort = (column) => {
      const order = { none: "ascending", ascending: "descending", descending: "none" }[heads[column].getAttribute("aria-sort") || "none"];
      heads.forEach((head) => head.removeAttribute("aria-sort"));
      const rows = [...original], sign = order === "descending" ? -1 : 1;
      const numeric = rows.every((row) => !Number.isNaN(number(row.cells[column])) || /^[–\s]*$/.test(row.cells[column].textContent));
      const compare = (a, b) => {
        const x = number(a.cells[column]), y = number(b.cells[column]);
        if (!numeric) return sign * a.cells[column].textContent.localeCompare(b.cells[column].textContent);
        return Number.isNaN(x) || Number.isNaN(y) ? Number.isNaN(x) - Number.isNaN(y) : sign * (x - y);
      };
      if (order !== "none") {
        rows.sort(compare);
        heads[column].setAttribute("aria-sort", order);
      }
      table.classList.toggle("sorted", order !== "none");
      body.append(...rows);
    };
    heads.forEach((head, column) => {
      if (!head.textContent) return;
      const button = document.createElement("button");
      button.type = "button";
      button.title = "sort";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(column));
      head.append(button);
    });
  };

  const cut = (box) => box.classList.toggle("cut", box.scrollWidth > box.clientWidth + 1);
  const boxes = [...document.querySelectorAll(".scroll")];
  const watch = () => boxes.forEach(cut);

  const reveal = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    const fold = target && target.closest("details");
    if (fold && !fold.open) {
      fold.open = true;
      target.scrollIntoView();
    }
  };

  document.querySelectorAll("table").forEach(sortable);
  addEventListener("resize", watch);
  addEventListener("hashchange", reveal);
  addEventListener("click", () => setTimeout(reveal));
  document.addEventListener("toggle", watch, true);
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((fold) => (fold.open = true)));
  watch();
  reveal();
})();
