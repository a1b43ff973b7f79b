// Sorting and filtering of the board.
"use strict";
(() => {
  const table = document.getElementById("rows");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const find = document.getElementById("find");
  const selects = [...document.querySelectorAll("[data-filter]")];
  const shown = document.getElementById("shown");
  const compareText = new Intl.Collator("en", { numeric: true }).compare;

  // what is empty stays below, whichever way is sorted
  const compare = (column, sign) => (a, b) => {
    const [x, y] = [a, b].map((row) => row.cells[column].dataset.value);
    if (x === "" || y === "") {
      return (x === "") - (y === "");
    }
    const [m, n] = [Number(x), Number(y)];
    return sign * (Number.isNaN(m) || Number.isNaN(n) ? compareText(x, y) : m - n);
  };
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const ascending = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      body.append(...rows.toSorted(compare(column, ascending ? 1 : -1)));
    });
  });
  const filter = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const kept =
        words.every((word) => text.includes(word)) &&
        selects.every((select) => !select.value || row.dataset[select.dataset.filter] === select.value);
      row.hidden = !kept;
      count += kept;
    }
    shown.textContent = `${count} of ${rows.length} rows`;
  };
  find.addEventListener("input", filter);
  selects.forEach((select) => select.addEventListener("change", filter));
  find.form.addEventListener("submit", (event) => event.preventDefault());
  filter();
})();
