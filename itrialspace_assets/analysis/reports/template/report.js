// Draws the charts of a report, fits them to the width there is, and reads their marks out at the arrow keys.
(() => {
  "use strict";
  const BESIDE = 96; // pixels that an axis with its title takes
  const POINTS = /point|bar|rect|circle|square|tick|arc|symbol/;

  // Turns the ticks of levels that would run into each other.
  const turn = (spec, width) => {
    const levels = spec.encoding?.x?.scale?.domain;
    if (Array.isArray(levels) && typeof levels[0] === "string" && spec.encoding.x.axis !== null) {
      const longest = Math.max(...levels.flatMap((level) => level.split("|")).map((line) => line.length));
      if (longest * 7 > width / levels.length)
        spec.encoding.x.axis = { ...spec.encoding.x.axis, labelAngle: -40, labelAlign: "right", labelBaseline: "top" };
    }
    (spec.layer || []).forEach((layer) => turn(layer, width));
  };

  const fitted = (spec, room) => {
    const drawn = structuredClone(spec);
    delete drawn.title; // it stands above the chart, where it wraps
    drawn.background = "white";
    drawn.autosize = { type: "pad" };
    const inner = drawn.facet && drawn.spec ? drawn.spec : drawn;
    if (typeof inner.width === "number") {
      const columns = drawn.columns || 1;
      const across = Math.max(1, Math.min(columns, Math.floor(room / (inner.width * 0.75 + BESIDE))));
      if (drawn.columns) drawn.columns = across;
      const least = 150;
      inner.width = Math.max(least, Math.min(across > 1 ? inner.width : Math.max(inner.width, 800), room / across - BESIDE));
    }
    turn(inner, inner.width);
    const legend = { orient: "bottom", columns: room < 620 ? 1 : 4, labelLimit: Math.max(120, room - 60) };
    drawn.config = { ...drawn.config, legend: { ...(drawn.config || {}).legend, ...legend } };
    return drawn;
  };

  const steps = (plot) => {
    const all = [...plot.querySelectorAll("[role=graphics-symbol][aria-label]")].filter(
      (mark) => !/axis|legend|title/.test(mark.getAttribute("aria-roledescription") || ""),
    );
    const points = all.filter((mark) => POINTS.test(mark.getAttribute("aria-roledescription") || ""));
    return points.length ? points : all;
  };

  const readable = (plot, said) => {
    const marks = steps(plot);
    marks.forEach((mark, place) => {
      mark.dataset.step = place;
      mark.setAttribute("tabindex", place ? "-1" : "0");
      mark.addEventListener("focus", () => {
        said.textContent = `${mark.getAttribute("aria-label")} (${place + 1} of ${marks.length})`;
      });
    });
    plot.onkeydown = (event) => {
      const at = marks.indexOf(document.activeElement);
      const to = {
        ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: marks.length - 1,
      }[event.key];
      if (at < 0 || to === undefined || !marks[to]) return;
      event.preventDefault();
      marks[at].setAttribute("tabindex", "-1");
      marks[to].setAttribute("tabindex", "0");
      marks[to].focus();
    };
  };

  const draw = async (figure) => {
    const plot = figure.querySelector(".plot");
    const spec = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    const room = plot.clientWidth;
    if (!room || figure.dataset.room === String(room)) return;
    figure.dataset.room = room;
    await window.vegaEmbed(plot, fitted(spec, room), { ast: true, renderer: "svg", actions: false, mode: "vega-lite" });
    readable(plot, figure.querySelector(".said"));
    figure.dataset.drawn = "yes";
  };

  const figures = [...document.querySelectorAll("figure.chart")];
  const all = () => figures.reduce((before, figure) => before.then(() => draw(figure)), Promise.resolve());
  let waiting;
  window.addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(all, 150);
  });
  all().then(() => document.documentElement.setAttribute("data-charts", "drawn"));
})();
