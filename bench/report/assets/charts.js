// Draws the charts of a page: SVG and tables made of its JSON, again when the width, the variant or the rows change.
"use strict";
const charts = (() => {
  const LINE = 22, PLANE = 360, FONT = "12px system-ui, sans-serif";
  const ruler = document.createElement("canvas").getContext("2d");
  ruler.font = FONT;
  const width = (text) => ruler.measureText(text).width;
  const fitted = (text, most) => {
    let cut = text;
    while (cut && width(cut) > most) cut = cut.slice(0, -1);
    return cut === text ? text : `${cut.slice(0, -1)}…`;
  };
  const extent = (values) => values.reduce(([low, high], one) => [Math.min(low, one), Math.max(high, one)], [Infinity, -Infinity]);
  const known = (value) => typeof value === "number";
  const short = (value) => (value === 0 ? "0" : Math.abs(value) >= 1e5 || Math.abs(value) < 1e-4 ? value.toExponential(1) : String(Number(value.toPrecision(3))));

  const html = (name, attributes = {}, ...content) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...content);
    return made;
  };
  const svg = (name, attributes = {}, ...content) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) if (value !== undefined) made.setAttribute(key, value);
    made.append(...content);
    return made;
  };
  const text = (x, y, content, anchor = "start", kind = "") => svg("text", { x, y, "text-anchor": anchor, class: kind }, content);
  const line = (x1, y1, x2, y2, kind) => svg("line", { x1, y1, x2, y2, class: kind });

  const scale = (low, high, from, to, log = false) => {
    const at = log ? Math.log10 : (value) => value;
    const span = at(high) - at(low) || 1;
    return (value) => from + ((at(value) - at(low)) / span) * (to - from);
  };
  const ticks = (low, high, most) => {
    const rough = (high - low) / most || 1;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough * 0.999);
    const first = Math.ceil(low / step - 1e-9);
    return Array.from({ length: Math.max(0, Math.floor(high / step + 1e-9) - first + 1) }, (_, at) => (first + at) * step);
  };
  const decades = (low, high) => {
    const factors = Math.log10(high / low) < 2.5 ? [1, 2, 5] : [1];
    const powers = Array.from({ length: Math.ceil(Math.log10(high)) - Math.floor(Math.log10(low)) + 1 }, (_, at) => 10 ** (Math.floor(Math.log10(low)) + at));
    return powers.flatMap((power) => factors.map((one) => one * power)).filter((one) => one >= low * 0.999 && one <= high * 1.001);
  };

  const mark = (x, y, part, point, tip) => {
    const shape =
      part.shape === "diamond"
        ? svg("path", { d: `M${x} ${y - 5.5}l5.5 5.5l-5.5 5.5l-5.5 -5.5z` })
        : svg("circle", { cx: x, cy: y, r: 4.5 });
    shape.setAttribute("class", `c${part.colour} ${point.hollow ? "hollow" : "solid"}`);
    shape.append(svg("title", {}, tip));
    return shape;
  };
  const span = (point) => (known(point.low) && known(point.high) ? ` [${point.low.toFixed(4)}, ${point.high.toFixed(4)}]` : "");

  const dots = (content, shown, across) => {
    const rows = content.rows.filter(shown);
    const places = new Map(rows.map((row, at) => [row.name, LINE * at + LINE / 2]));
    const levels = content.lines.filter(shown);
    const parts = content.series.map((part) => ({ ...part, points: part.points.filter((one) => places.has(one.y) && known(one.x)) }));
    const numbers = parts.flatMap((part) => part.points.flatMap((one) => [one.x, one.low, one.high])).filter(known);
    if (!numbers.length) return [];
    let [low, high] = extent(numbers);
    // a ceiling far away would press the rows together: it stands at the edge
    const far = new Set(levels.filter((one) => one.x > high + 0.4 * (high - low)));
    [low, high] = extent([low, high, ...levels.filter((one) => !far.has(one)).map((one) => one.x)]);
    const room = (high - low || Math.abs(high) || 1) * 0.03;
    [low, high] = [low - room, high + room];
    const left = Math.min(Math.max(...rows.map((row) => width(row.name)), 40) + 12, across * 0.48);
    const x = scale(low, high, left, across - (far.size ? 24 : 12));
    const top = svg("svg", { width: across, height: 34 + 14 * levels.length, class: "axis" });
    const body = svg("svg", { width: across, height: LINE * rows.length + 6 });
    const base = 30 + 14 * levels.length; // of the axis
    for (const one of ticks(low, high, Math.max(3, Math.floor((across - left) / 70)))) {
      top.append(text(x(one), base - 2, short(one), "middle"));
      body.append(line(x(one), 0, x(one), LINE * rows.length, "grid"));
    }
    top.append(text(left, 12, content.axis, "start", "muted"));
    levels.forEach((one, at) => {
      const place = far.has(one) ? across - 4 : x(one.x), end = place > (left + across) / 2;
      const label = `${one.name} ${one.x.toFixed(4)}${far.has(one) ? ", beyond the axis →" : ""}`;
      top.append(text(place + (end ? -4 : 4), 26 + 14 * at, label, end ? "end" : "start", "muted"), line(place, 18 + 14 * at, place, base + 4, "level"));
      body.append(line(place, 0, place, LINE * rows.length, "level"));
    });
    for (const row of rows) {
      const label = text(left - 10, places.get(row.name) + 4, fitted(row.name, left - 14), "end");
      label.append(svg("title", {}, row.name));
      body.append(label);
    }
    for (const part of parts) {
      for (const one of part.points) {
        const y = places.get(one.y);
        if (known(one.low) && known(one.high)) body.append(line(x(one.low), y, x(one.high), y, `c${part.colour} whisker`));
        body.append(mark(x(one.x), y, part, one, `${one.y}: ${one.x.toFixed(4)}${span(one)}`));
      }
    }
    return [top, body];
  };

  const pareto = (points) => {
    let best = -Infinity;
    const sorted = points.toSorted((a, b) => a.x - b.x || b.y - a.y);
    return sorted.filter((one) => one.y > best && ((best = one.y), true));
  };

  const plane = (content, shown, across) => {
    const word = content.words && new Map(content.words.map((one, at) => [one, at]));
    const parts = content.series.map((part) => ({
      ...part,
      points: part.points
        .filter((one) => shown({ key: one.key ?? part.key }) && known(one.y))
        .map((one) => ({ ...one, at: word ? word.get(one.x) : one.x })),
    }));
    const all = parts.flatMap((part) => part.points);
    if (!all.length) return [];
    let [low, high] = extent(all.flatMap((one) => [one.y, one.low, one.high]).filter(known));
    const room = (high - low || Math.abs(high) || 1) * 0.06;
    [low, high] = [low - room, high + room];
    let [first, last] = word ? [0, word.size - 1] : extent(all.map((one) => one.at));
    if (content.log) [first, last] = [first / 1.3, last * 1.3];
    const marks = ticks(low, high, 6);
    const left = Math.max(...marks.map((one) => width(short(one)))) + 14, bottom = PLANE - 40;
    const inner = word || !content.log ? 14 : 0;
    const margin = word ? width(content.words.at(-1)) / 2 : 14;
    const x = scale(first, last, left + inner, across - margin - inner, content.log), y = scale(low, high, bottom, 22);
    const drawn = svg("svg", { width: across, height: PLANE });
    for (const one of marks) drawn.append(line(left, y(one), across - 10, y(one), "grid"), text(left - 6, y(one) + 4, short(one), "end"));
    const places = word ? content.words.map((one, at) => [at, one]) : (content.log ? decades(first, last) : ticks(first, last, 8)).map((one) => [one, short(one)]);
    let end = -Infinity;
    for (const [at, label] of places) {
      drawn.append(line(x(at), bottom, x(at), bottom + 4, "tick"));
      if (x(at) - width(label) / 2 < end + 6) continue; // the label would lie on the one before
      drawn.append(text(x(at), bottom + 18, label, "middle"));
      end = x(at) + width(label) / 2;
    }
    drawn.append(line(left, bottom, across - 10, bottom, "tick"));
    drawn.append(text((left + across) / 2, PLANE - 4, content.x, "middle", "muted"), text(2, 12, content.y, "start", "muted"));
    if (content.front) {
      const front = pareto(all);
      const path = front.map((one, at) => (at ? `H${x(one.at)}V${y(one.y)}` : `M${x(one.at)} ${y(one.y)}`)).join("");
      drawn.append(svg("path", { d: `${path}H${across - 10}`, class: "front" }));
    }
    for (const part of parts) {
      if (part.line) {
        const path = part.points.map((one, at) => `${at ? "L" : "M"}${x(one.at)} ${y(one.y)}`).join("");
        drawn.append(svg("path", { d: path, class: `c${part.colour} curve`, "stroke-dasharray": part.dash || undefined }, svg("title", {}, part.name)));
      }
      for (const one of part.points) {
        const tip = `${one.name ?? part.name}: ${content.y} ${one.y.toFixed(4)}${span(one)}, ${content.x} ${known(one.x) ? short(one.x) : one.x}`;
        if (known(one.low) && known(one.high)) drawn.append(line(x(one.at), y(one.low), x(one.at), y(one.high), `c${part.colour} whisker thin`));
        if (part.marks || !part.line) drawn.append(mark(x(one.at), y(one.y), part, one, tip));
      }
    }
    if (content.front) names(drawn, pareto(all), x, y, across);
    return [drawn];
  };

  // names beside the points of the front, where there is room
  const names = (drawn, front, x, y, across) => {
    const taken = [];
    for (const one of front.toReversed()) {
      const [at, wide] = [x(one.at), Math.min(width(one.name), 220)];
      const left = at + wide + 12 > across ? at - wide - 8 : at + 8;
      const box = [left, y(one.y) - 18, left + wide, y(one.y) - 4];
      if (left < 0 || taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3])) continue;
      taken.push(box);
      drawn.append(text(left, y(one.y) - 7, fitted(one.name, 220), "start", "named"));
    }
  };

  const heat = (content, shown) => {
    const cells = content.cells.filter(shown);
    if (!cells.length) return [];
    const places = new Map();
    for (const one of cells.toReversed()) places.set(JSON.stringify([one.row, one.column]), one);
    const rows = [...new Set(cells.map((one) => one.row))], columns = [...new Set(cells.map((one) => one.column))];
    const [low, high] = extent([...places.values()].map((one) => one.value));
    const most = Math.max(Math.abs(low), Math.abs(high)) || 1;
    const table = html("table", { class: "heat" }, html("caption", {}, content.unit));
    const head = html("tr", {}, html("td"), ...columns.map((one) => html("th", { scope: "col" }, one)));
    const body = html("tbody");
    for (const row of rows) {
      const tr = html("tr", {}, html("th", { scope: "row" }, row));
      for (const column of columns) {
        const one = places.get(JSON.stringify([row, column]));
        const cell = html("td");
        if (one) {
          const strength = content.signed ? Math.abs(one.value) / most : (one.value - low) / (high - low || 1);
          cell.className = content.signed && one.value < 0 ? "down" : "up";
          cell.style.setProperty("--strength", `${(8 + 52 * strength).toFixed(0)}%`);
          cell.append(`${content.signed && one.value >= 0 ? "+" : ""}${one.value.toFixed(content.digits)}${one.mark ?? ""}`);
          if (one.name) cell.title = one.name;
        }
        tr.append(cell);
      }
      body.append(tr);
    }
    table.append(html("thead", {}, head), body);
    return [table];
  };

  const kinds = { dots, plane, heat };
  const found = [...document.querySelectorAll("[data-chart]")].map((figure) => ({
    id: figure.dataset.chart,
    place: figure.querySelector(".plot"),
    variants: JSON.parse(figure.querySelector("script").textContent),
    variant: 0,
    off: new Map(), // what the reader has switched off, or on, by name of series
  }));
  let keys = null; // cells of the rows shown; null: all

  const legend = (chart, parts, most) => {
    if (parts.length < 2) return [];
    const box = html("div", { class: "legend", role: "group", "aria-label": "Legend" });
    parts.forEach((part, at) => {
      const on = !(chart.off.get(part.name) ?? at >= most);
      const button = html("button", { type: "button", "aria-pressed": on }, html("span", { class: `swatch b${part.colour}` }), part.name);
      button.addEventListener("click", () => {
        chart.off.set(part.name, on);
        draw(chart);
      });
      box.append(button);
    });
    return [box];
  };
  const choice = (chart) => {
    if (chart.variants.length < 2) return [];
    const select = html("select", { "aria-label": "Variant" });
    chart.variants.forEach(([name], at) => select.append(html("option", { value: at }, name)));
    select.value = chart.variant;
    select.addEventListener("change", () => {
      choose(chart.id, Number(select.value));
      document.dispatchEvent(new CustomEvent("variantchange", { detail: { id: chart.id, variant: chart.variant } }));
    });
    return [html("div", { class: "variants" }, select)];
  };

  const draw = (chart) => {
    const across = chart.place.clientWidth;
    if (!across) return; // before the layout, or hidden: the observer draws it later
    const content = chart.variants[chart.variant][1];
    const shown = (one) => !keys || one.key == null || keys.has(one.key);
    const present = (content.series ?? []).filter((part) => part.points.some((one) => shown({ key: one.key ?? part.key })));
    const most = content.most ?? Infinity;
    const series = present.filter((part, at) => !(chart.off.get(part.name) ?? at >= most));
    const made = kinds[content.kind]({ ...content, series }, shown, across - 2);
    const body = html("div", { class: "drawn scroll tall", tabindex: "0" }, ...(made.length ? made : ["No rows to draw."]));
    chart.place.replaceChildren(...choice(chart), ...legend(chart, present, most), body);
  };
  const choose = (id, variant) => {
    const chart = found.find((one) => one.id === id);
    if (!chart || !chart.variants[variant] || chart.variant === variant) return;
    chart.variant = variant;
    draw(chart);
  };

  const watch = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const chart = found.find((one) => one.place === target);
      if (chart.across !== target.clientWidth) {
        chart.across = target.clientWidth;
        draw(chart);
      }
    }
  });
  found.forEach((chart) => watch.observe(chart.place));

  return {
    /** Draw the rows of these cells only. */
    show(cells) {
      keys = cells;
      found.forEach(draw);
    },
    choose,
    html,
  };
})();
