// The curve of a number over time: uPlot, loaded only when there is one to draw.
let loading = null;

function load() {
  loading ??= new Promise((resolve, reject) => {
    const base = new URL("./vendor/uplot/", import.meta.url);
    const sheet = Object.assign(document.createElement("link"), { rel: "stylesheet", href: base + "uPlot.min.css" });
    const script = Object.assign(document.createElement("script"), { src: base + "uPlot.iife.min.js", onload: resolve, onerror: reject });
    document.head.append(sheet, script);
  });
  return loading;
}

/** Draws points [[ms, min, max, last], …] into the element; gaps stay empty. */
export async function makeChart(into, { points, gaps = [] }, [start, end], lang, unit, zoom) {
  await load();
  if (!into?.isConnected) return;
  into.replaceChildren();
  const rows = [...points, ...gaps.map(([from]) => [from, null, null, null])].sort((a, b) => a[0] - b[0]);
  const css = getComputedStyle(into);
  const colour = (name) => css.getPropertyValue(name).trim();
  const axis = { stroke: colour("--dim"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px " + css.fontFamily };
  const number = new Intl.NumberFormat(lang, { maximumFractionDigits: 2 });
  const time = (unix, long) => new Intl.DateTimeFormat(lang, long ? { day: "numeric", month: "short" } : { hour: "numeric", minute: "2-digit" }).format(unix * 1000);
  const long = end - start > 3 * 86400e3;
  const band = { show: true, stroke: "transparent", points: { show: false } };
  const chosen = (u) => {
    if (u.select.width < 8) return;
    zoom([u.posToVal(u.select.left, "x") * 1000, u.posToVal(u.select.left + u.select.width, "x") * 1000]);
  };
  new globalThis.uPlot({
    width: into.clientWidth, height: into.clientHeight, cursor: { y: false, points: { size: 7 }, drag: { setScale: false, x: true, y: false } }, hooks: { setSelect: [chosen] }, legend: { show: false },
    scales: { x: { range: (_, min, max) => [min, max] } },
    axes: [{ ...axis, space: 64, values: (_, v) => v.map((x) => time(x, long)) }, { ...axis, size: 52, values: (_, v) => v.map((x) => number.format(x)) }],
    series: [{}, band, band, { stroke: colour("--accent"), width: 2, spanGaps: false, points: { show: rows.length < 3 }, value: (_, v) => `${v} ${unit}` }],
    bands: [{ series: [2, 1], fill: colour("--accent-soft") }],
  }, [rows.map((r) => r[0] / 1000), rows.map((r) => r[1]), rows.map((r) => r[2]), rows.map((r) => r[3])], into);
}
