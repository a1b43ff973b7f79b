// The board: filters, order, columns, the switch of controls and the two rows compared, all of them kept in the URL.
"use strict";
(() => {
  const table = document.getElementById("rows");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const names = heads.map((head) => head.dataset.column);
  const form = document.getElementById("filters");
  const shown = document.getElementById("shown");
  const boxes = [...form.querySelectorAll("[name=column]")];
  const usual = boxes.filter((box) => "usual" in box.dataset).map((box) => box.value);
  const picks = new Map(rows.map((row) => [row.dataset.cell, row.querySelector(".pick")]));
  const pair = document.getElementById("compare") && comparison(table);
  const compareText = new Intl.Collator("en", { numeric: true }).compare;
  const SELECTS = ["model", "extractor", "fusion"];
  let state;

  const start = () => ({ find: "", model: "", extractor: "", fusion: "", controls: true, sort: "rank", columns: usual, compare: [], charts: {} });
  const read = () => {
    const made = start();
    for (const [key, value] of new URLSearchParams(location.hash.slice(1))) {
      if (key === "find" || SELECTS.includes(key)) made[key] = value;
      else if (key === "sort" && names.includes(value.replace(/^-/, ""))) made.sort = value;
      else if (key === "controls") made.controls = value !== "0";
      else if (key === "columns") made.columns = value.split(",").filter((name) => names.includes(name));
      else if (key === "compare") made.compare = value.split(",").filter((cell) => picks.get(cell)).slice(0, 2);
      else if (key.startsWith("chart-")) made.charts[key.slice(6)] = Number(value);
    }
    return made;
  };
  const write = () => {
    const out = new URLSearchParams();
    for (const key of ["find", ...SELECTS]) if (state[key]) out.set(key, state[key]);
    if (!state.controls) out.set("controls", "0");
    if (state.sort !== "rank") out.set("sort", state.sort);
    if (state.columns.join() !== usual.join()) out.set("columns", state.columns.join());
    if (state.compare.length) out.set("compare", state.compare.join());
    for (const [id, variant] of Object.entries(state.charts)) if (variant) out.set(`chart-${id}`, variant);
    const hash = out.toString().replaceAll("%2C", ",");
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  };

  const order = () => {
    const down = state.sort.startsWith("-"), column = names.indexOf(state.sort.replace(/^-/, ""));
    const value = (row) => row.cells[column].dataset.value ?? "";
    // what is empty stays below, whichever way is sorted
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const [m, n] = [Number(x), Number(y)];
      return (down ? -1 : 1) * (Number.isNaN(m) || Number.isNaN(n) ? compareText(x, y) : m - n);
    };
    heads.forEach((head, at) => {
      if (at === column) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    body.append(...rows.toSorted(compare));
  };
  const filter = () => {
    const words = state.find.toLowerCase().split(/\s+/).filter(Boolean);
    const kept = new Set();
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const fits =
        words.every((word) => text.includes(word)) &&
        SELECTS.every((key) => !state[key] || row.dataset[key] === state[key]) &&
        (state.controls || !("control" in row.dataset));
      row.hidden = !fits;
      if (fits) kept.add(row.dataset.cell);
    }
    shown.textContent = `${kept.size} of ${rows.length} ${rows.length === 1 ? "row" : "rows"}`;
    charts.show(kept.size < rows.length ? kept : null);
  };
  const columns = () => {
    for (const row of [table.tHead.rows[0], ...rows]) {
      names.forEach((name, at) => {
        row.cells[at].hidden = name !== "row" && !state.columns.includes(name);
      });
    }
  };
  const fill = () => {
    for (const key of ["find", ...SELECTS]) {
      form.elements[key].value = state[key];
      if (form.elements[key].value !== state[key]) state[key] = form.elements[key].value = ""; // no row has it
    }
    form.elements.controls.checked = state.controls;
    for (const box of boxes) box.checked = state.columns.includes(box.value);
    for (const [cell, box] of picks) if (box) box.checked = state.compare.includes(cell);
  };
  const apply = () => {
    fill();
    filter();
    order();
    columns();
    for (const [id, variant] of Object.entries(state.charts)) charts.choose(id, variant);
    pair?.show(state.compare);
  };
  const change = (part) => {
    Object.assign(state, part);
    apply();
    write();
  };

  let waiting = 0;
  form.addEventListener("input", ({ target }) => {
    if (target.name === "column") change({ columns: names.filter((name) => boxes.some((box) => box.value === name && box.checked)) });
    else if (target.name === "controls") change({ controls: target.checked });
    else {
      cancelAnimationFrame(waiting);
      waiting = requestAnimationFrame(() => change({ [target.name]: target.value }));
    }
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    change({ ...start(), compare: state.compare, charts: state.charts });
  });
  document.getElementById("usual").addEventListener("click", () => change({ columns: usual }));
  heads.forEach((head, at) => {
    head.querySelector("button").addEventListener("click", () => {
      const [up, down] = [names[at], `-${names[at]}`];
      const [first, second] = head.dataset.first === "descending" ? [down, up] : [up, down];
      change({ sort: state.sort === first ? second : first });
    });
  });
  for (const [cell, box] of picks) {
    box?.addEventListener("change", () => {
      const others = state.compare.filter((one) => one !== cell);
      change({ compare: box.checked ? [...others.slice(-1), cell] : others });
    });
  }
  pair?.onchoice((cells) => change({ compare: cells }));
  document.addEventListener("variantchange", ({ detail }) => {
    state.charts[detail.id] = detail.variant;
    write();
  });
  addEventListener("hashchange", () => {
    if (location.hash.includes("=")) {
      state = read();
      apply();
    }
  });
  state = read();
  apply();
})();
