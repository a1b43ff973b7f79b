// Two rows of the board side by side, and the users who gain and lose between them.
"use strict";
const comparison = (table) => {
  const MOST = 10, ABSENT = 65535;
  const section = document.getElementById("compare");
  const place = document.getElementById("pair");
  const form = section.querySelector("form");
  const { a: first, b: second } = form.elements;
  const diffs = JSON.parse(document.getElementById("diffs").textContent);
  const heads = [...table.tHead.rows[0].cells];
  const rows = new Map([...table.tBodies[0].rows].map((row) => [row.dataset.cell, row]));
  const { html } = charts;
  const label = (cell) => rows.get(cell).querySelector("a").textContent;
  const signed = (value) => `${value < 0 ? "-" : "+"}${Math.abs(value).toFixed(4)}`;
  const lines = (cells, kind = "td") => html("tr", {}, ...cells.map((one, at) => html(at ? "td" : kind, {}, one)));
  const grid = (head, body) => {
    const top = html("tr", {}, ...head.map((one) => html("th", { scope: "col" }, one)));
    return html("div", { class: "scroll", tabindex: "0" }, html("table", {}, html("thead", {}, top), html("tbody", {}, ...body)));
  };

  let loading;
  const users = () => {
    loading ??= new Promise((resolve, reject) => {
      const script = html("script", { src: section.dataset.users });
      script.addEventListener("load", () => resolve(globalThis.userValues));
      script.addEventListener("error", () => reject(new Error(section.dataset.users)));
      document.head.append(script);
    });
    return loading;
  };
  const unpack = (packed) => {
    const bytes = Uint8Array.from(atob(packed), (one) => one.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Array.from({ length: bytes.length / 2 }, (_, at) => view.getUint16(2 * at, true));
  };

  const numbers = (a, b) => {
    const body = heads.flatMap((head, at) => {
      const [x, y] = [a, b].map((cell) => rows.get(cell).cells[at]);
      if (head.dataset.column === "row" || (!x.dataset.value && !y.dataset.value)) return [];
      const value = ["ndcg@10", "hr@10", "warm", "cold", "cold-among-cold"].includes(head.dataset.column) && x.dataset.value && y.dataset.value;
      const show = (cell) => [cell.firstChild?.textContent ?? "", cell.querySelector(".more")?.textContent ?? ""].join(" ");
      return [lines([head.textContent, show(x), show(y), value ? signed(x.dataset.value - y.dataset.value) : ""], "th")];
    });
    return grid(["", label(a), label(b), "difference"], body);
  };
  const people = (a, b, values) => {
    if (!(a in values.cells && b in values.cells)) return [html("p", {}, "No values of single users are at hand.")];
    const [x, y] = [a, b].map((cell) => unpack(values.cells[cell]));
    const pairs = x.map((one, at) => ({ at, a: one / values.steps, b: y[at] / values.steps, known: one !== ABSENT && y[at] !== ABSENT, d: (one - y[at]) / values.steps })).filter((one) => one.known);
    const gain = pairs.filter((one) => one.d > 0).toSorted((p, q) => q.d - p.d || p.at - q.at);
    const lose = pairs.filter((one) => one.d < 0).toSorted((p, q) => p.d - q.d || p.at - q.at);
    const same = pairs.length - gain.length - lose.length;
    const share = (part, kind, name) => {
      const bar = html("div", { class: kind, title: `${name}: ${part}` }, part ? String(part) : "");
      bar.style.flexGrow = part;
      return bar;
    };
    const list = (title, found) => {
      const body = found.slice(0, MOST).map((one) => lines([values.users[one.at], String(values.folds[one.at]), one.a.toFixed(4), one.b.toFixed(4), signed(one.d)], "th"));
      return html("div", {}, html("h3", {}, title), grid(["user", "fold", "A", "B", "difference"], body));
    };
    return [
      html("p", { id: "counts" }, `Of ${pairs.length} users and folds, ${gain.length} have a higher nDCG@10 under A, ${lose.length} under B, ${same} the same (mean over seeds; seeds alone move many of them).`),
      html("div", { class: "shares" }, share(gain.length, "up", "higher under A"), share(same, "same", "the same"), share(lose.length, "down", "higher under B")),
      html("div", { class: "halves" }, list("Gain most under A", gain), list("Lose most under A", lose)),
    ];
  };
  const further = (a, b) => {
    const page = (one, other) => diffs[`${one} ${other}`];
    const links = [[a, b, "A", "B"], [b, a, "B", "A"]].filter(([one, other]) => page(one, other)).map(([one, other, x, y]) => html("p", {}, html("a", { href: page(one, other) }, `Users with a hit under ${x} and none under ${y}, with the clips that they were shown`)));
    return [
      html("h3", {}, "Further"),
      ...links,
      html("p", {}, "Test of the difference: ", html("code", {}, `bench compare ${a} ${b}`), ". Users with a hit under A and none under B, with titles, captions and frames of their clips, from local records: ", html("code", {}, `bench diff ${a} ${b} -o diff.html`), "."),
    ];
  };

  let last = "";
  const show = async (cells) => {
    const [a = "", b = ""] = cells;
    [first.value, second.value] = [a, b];
    const now = `${a} ${b}`;
    if (now === last) return;
    last = now;
    place.replaceChildren();
    if (!a || !b || a === b) return;
    place.append(numbers(a, b));
    let found;
    try {
      found = people(a, b, await users());
    } catch (error) {
      found = [html("p", {}, `The values of users cannot be read: ${error.message}`)];
    }
    if (now === last) place.append(...found, ...further(a, b)); // else the reader has chosen others meanwhile
  };
  return {
    show,
    onchoice(then) {
      form.addEventListener("change", () => then([first.value, second.value].filter(Boolean)));
      form.addEventListener("submit", (event) => event.preventDefault());
      document.getElementById("swap").addEventListener("click", () => then([second.value, first.value].filter(Boolean)));
    },
  };
};
