// The two main screens: the overview of areas by floor, and one area.
import { html, nothing } from "lit-html";
import { outline, floorsWithAreas, subscribe, takeFirstArea, watch, act, states, touchAll, loadTrends } from "./home.js";
import { live, icon } from "./ui.js";
import { row, nameOf, battery } from "./controls.js";
import { t, domainOf, number, withUnit, isNumeric, loadPlatformIcons } from "./entity.js";

// ---- summaries ----------------------------------------------------------------------

/** "21.4 °C" of the server in the reader's notation. */
export const reading = (text) => text?.replace(/-?\d+(\.\d+)?/, (n) => number(Number(n), n.split(".")[1]?.length ?? 0)).replace(" %", withUnit("", "%")).replace(" ", "\u00a0");

const allOff = (ids) => ids.filter((id) => states.get(id)?.state !== "off").forEach((id) => act(id, "light.turn_off", {}, { want: (s) => s.state === "off" }));

function chip(name, text, cls, label) {
  return html`<span class="chip ${cls}" title=${label}>${icon(name)}<span aria-hidden="true">${text}</span><span class="sr">${label}</span></span>`;
}

/** The lights that are on, with one tap for "all off". */
function lightsChip(s, where) {
  const [on, total] = s.lights ?? [0, 0];
  if (!on) return total ? html`<span class="chip faint">${icon("lightbulb-outline")}<span>${t("off")}</span></span>` : nothing;
  const label = t("lights_off_in", { n: on, where });
  return html`<button class="chip-btn" aria-label=${label} title=${label} @click=${(ev) => (ev.preventDefault(), ev.stopPropagation(), allOff(s.light_ids))}>
    <span class="chip amber">${icon("lightbulb")}<span>${number(on)}</span><span class="cut"></span>${icon("power")}</span></button>`;
}

const activeIcons = { media_player: ["play", "lightblue"], climate: ["thermostat", "orange"], vacuum: ["robot-vacuum", "green"], fan: ["fan", "cyan"] };

function chips(s, where) {
  const kinds = new Set((s.active ?? []).map(domainOf));
  return html`
    ${s.alert?.length ? chip("alert", number(s.alert.length), "red", t("alerts", { n: s.alert.length })) : nothing}
    ${lightsChip(s, where)}
    ${s.open ? chip("door-open", number(s.open), "line", t("open_doors", { n: s.open })) : nothing}
    ${[...kinds].map((k) => (activeIcons[k] ? html`<span class="chip dot ${activeIcons[k][1]}" title=${t("active_" + k)}>${icon(activeIcons[k][0])}<span class="sr">${t("active_" + k)}</span></span>` : nothing))}
    ${s.unavail ? chip("lan-disconnect", number(s.unavail), "faint", t("unavailable_n", { n: s.unavail })) : nothing}`;
}

// ---- overview -------------------------------------------------------------------------

const areaIcon = (area) => (area.icon ?? "mdi:" + guessIcon(area.area_id)).replace(/^mdi:/, "");
const guesses = [
  [/living|lounge|wohn/, "sofa"], [/kitchen|k.che/, "silverware-fork-knife"], [/child|kid|nursery/, "teddy-bear"], [/bed|schlaf/, "bed"], [/bath|shower|toilet|wc/, "shower"],
  [/garage|carport/, "garage"], [/office|study/, "desk"], [/hall|entr|corridor|stair/, "door"], [/garden|yard|terrace|patio|balcony/, "flower"], [/attic|loft/, "home-roof"],
  [/base|cellar/, "home-floor-b"], [/tech|utility|laundry|server/, "washing-machine"], [/dining/, "table-chair"], [/guest/, "bunk-bed"], [/pool/, "pool"], [/gym/, "dumbbell"],
];
const guessIcon = (id) => guesses.find(([re]) => re.test(id))?.[1] ?? "texture-box";

function areaCard(area) {
  return live("@" + area.area_id, () => {
    const s = (outline.areas.get(area.area_id) ?? area).s;
    const lit = (s.lights?.[0] ?? 0) > 0;
    return html`<article class="area card ${s.alert?.length ? "alarm" : ""}" data-area=${area.area_id}>
      <span class="disc big ${lit ? "lit" : ""}">${icon(areaIcon(area))}${s.motion ? html`<span class="moving" title=${t("motion")}><span class="sr">${t("motion")}</span></span>` : nothing}</span>
      <a class="go" href="/area/${area.area_id}"><span class="n">${area.name}</span><span class="s">${t("entities_n", { n: s.n })}</span></a>
      <div class="air"><span class="temp">${reading(s.temp) ?? nothing}</span><span class="hum">${s.hum ? reading(s.hum) : nothing}</span></div>
      <div class="chips">${chips(s, area.name)}</div>
    </article>`;
  });
}

/** Totals of the whole home, above the floors. */
function homeSummary() {
  return live("@", () => {
    const all = [...outline.areas.values(), outline.unassigned].filter(Boolean).map((a) => a.s);
    const sum = (f) => all.reduce((n, s) => n + (f(s) ?? 0), 0);
    const total = {
      lights: [sum((s) => s.lights?.[0])], light_ids: all.flatMap((s) => s.light_ids ?? []), open: sum((s) => s.open),
      unavail: sum((s) => s.unavail), alert: all.flatMap((s) => s.alert ?? []),
    };
    return html`<div class="chips">${chips(total, outline.home?.name ?? "")}</div>`;
  });
}

export const favourites = {
  read: () => JSON.parse(localStorage.getItem("favourites") ?? "[]"),
  has: (id) => favourites.read().some((e) => e.id === id),
  toggle(e) {
    const list = favourites.read();
    const left = list.filter((f) => f.id !== e.id);
    localStorage.setItem("favourites", JSON.stringify(left.length < list.length ? left : [...list, { ...e, label: e.full_name || nameOf(e) }]));
  },
};

export function overview() {
  const stars = favourites.read();
  return {
    get waits() {
      return !outline.loaded;
    },
    get title() {
      return outline.home?.name ?? "";
    },
    stop: watch(stars.map((e) => e.id)),
    draw: (n, wide) => html`
      <header class="head"><h1>${outline.home?.name ?? nothing}</h1>${outline.loaded ? homeSummary() : nothing}</header>
      ${stars.length ? html`<section><h2>${icon("star-outline")}${t("favourites")}</h2><div class="cols">${inColumns(stars.map((e) => () => ({ height: 52, draw: () => html`<div class="card list">${row(e)}</div>` })), n)}</div></section>` : nothing}
      <div class="floors" .style=${`--cols:${wide}`}>${floorsWithAreas().map((floor) => html`<section .style=${`--n:${Math.min(floor.areas.length, wide)}`}>
        <h2>${icon(floorIcon(floor))}${floor.name ?? t("other_areas")}</h2>
        <div class="areas">${floor.areas.map(areaCard)}</div></section>`)}
      ${outline.unassigned?.entities ? html`<section .style=${"--n:1"}><h2>${icon("help-rhombus-outline")}${t("unassigned")}</h2><div class="areas">${areaCard({ area_id: "unassigned", name: t("no_area"), icon: "mdi:shape-outline", s: outline.unassigned.s })}</div></section>` : nothing}</div>
      ${outline.loaded && outline.areas.size === 0 && !outline.unassigned?.entities ? html`<p class="empty">${t("no_areas")}</p>` : nothing}`,
  };
}

const floorIcon = (floor) => (floor.icon ?? { "-1": "home-floor-b", 0: "home-floor-0", 1: "home-floor-1", 2: "home-floor-2", 3: "home-floor-3" }[floor.level] ?? "layers-outline").replace(/^mdi:/, "");

// How far a drawing goes, by the cards placed so far and the height of the shortest column.
const aCard = (placed) => placed > 0;
const aWindow = (_, height) => height > boot.height;
const everything = () => false;

// ---- columns ------------------------------------------------------------------------

/** Puts each card into the shortest column so far, so that there are no holes; `cards` make one when called. */
function inColumns(cards, n, enough = everything) {
  const columns = Array.from({ length: n }, () => ({ height: 0, cards: [] }));
  for (const [placed, make] of cards.entries()) {
    const shortest = columns.reduce((a, b) => (b.height < a.height - 8 ? b : a));
    if (enough(placed, shortest.height)) break;
    const card = make();
    shortest.height += card.height + 12;
    shortest.cards.push(card);
  }
  return columns.map((c) => html`<div class="col">${c.cards.map((card) => card.draw())}</div>`);
}

// ---- area -----------------------------------------------------------------------------

/** Follows one area; `changed` is called when its make-up changes. */
export function area(id, changed) {
  let data = null;
  let failure = null;
  let unwatch = () => {};
  const show = (next) => {
    data = next;
    changed();
    setTimeout(() => embellish(next), 800);
  };
  const take = (event, statesAreHere) => {
    const before = unwatch;
    const next = { ...event, devices: (event.devices ?? []).map((d) => ({ ...d, entities: d.entities ?? [] })), entities: event.entities ?? [] };
    // Drawn once, with the states: they follow at once.
    unwatch = watch(idsOnScreen(next), () => next !== data && show(next));
    before();
    if (statesAreHere) show(next);
  };
  const begin = takeFirstArea(id);
  if (begin) take(begin.event, true);
  const wish = { type: "concord/subscribe_area", area_id: id, known: begin?.known };
  const stop = subscribe(
    wish,
    (event) => {
      delete wish.known; // after a loss of the link it is asked for in full
      take(event);
    },
    (error) => ((failure = error), changed()),
  );
  return {
    get waits() {
      return !data && !failure;
    },
    get title() {
      return id === "unassigned" ? t("no_area") : (data?.area.name ?? outline.areas.get(id)?.name ?? "");
    },
    // Of the first drawings, so that the reader sees something as early as can be.
    steps: begin ? [aCard, aWindow] : [aWindow],
    stop: () => (stop(), unwatch()),
    draw(n) {
      if (failure) return html`<p class="empty">${t("no_such_area")}</p>`;
      return html`${areaHead(id, this.title)}${data ? areaBody(data, n, this.steps[0]) : nothing}`;
    },
  };
}

// What the cards show beyond states comes when they already stand.
async function embellish(data) {
  const all = [...data.devices.flatMap((d) => d.entities), ...data.entities];
  loadTrends(all.filter((e) => domainOf(e.id) === "sensor" && !e.cat && states.has(e.id) && isNumeric(e, states.get(e.id))).map((e) => e.id));
  if (await loadPlatformIcons(all)) touchAll();
}

const folded = (e) => e.cat != null;
const idsOnScreen = (data) => [...data.devices.flatMap((d) => [...d.entities, ...(d.battery ? [{ id: d.battery }] : [])]), ...data.entities].map((e) => e.id).filter((id, i, all) => all.indexOf(id) === i);

function areaHead(id, title) {
  const info = outline.areas.get(id);
  const floor = outline.floors.find((f) => f.floor_id === info?.floor_id);
  return html`<header class="head">
    <a class="back" href="/" aria-label=${t("overview")}>${icon("arrow-left")}</a>
    <div class="names">${floor ? html`<span class="over">${floor.name}</span>` : nothing}<h1>${title}</h1></div>
    ${live("@" + id, () => {
      const s = (id === "unassigned" ? outline.unassigned : outline.areas.get(id))?.s;
      if (!s) return nothing;
      return html`<div class="air wide">${s.temp ? html`<span>${icon("thermometer")}${reading(s.temp)}</span>` : nothing}${s.hum ? html`<span>${icon("water-percent")}${reading(s.hum)}</span>` : nothing}${s.motion ? html`<span class="extra">${icon("motion-sensor")}${t("motion")}</span>` : nothing}</div>
        <div class="chips">${chips(s, title)}</div>`;
    })}
  </header>`;
}

function areaBody(data, n, enough) {
  const shown = data.devices.filter((d) => d.entities.length > 0);
  const devices = shown.filter(hasFace).map((d) => () => deviceCard(d, data.area.name));
  const quiet = shown.filter((d) => !hasFace(d));
  const groups = [...groupCards(data.entities), ...(quiet.length ? [() => quietCard(quiet, data.area.name)] : [])];
  if (devices.length + groups.length === 0) return html`<p class="empty">${t("empty_area")}</p>`;
  const hidden = [data.hidden ? t("hidden_n", { n: data.hidden }) : null, data.disabled ? t("disabled_n", { n: data.disabled }) : null].filter(Boolean);
  return html`<div class="cols">${inColumns([...devices, ...groups], n, enough)}</div>${hidden.length ? html`<p class="note">${hidden.join(" · ")}</p>` : nothing}`;
}

const rank = ["light", "switch", "input_boolean", "fan", "cover", "valve", "climate", "water_heater", "humidifier", "media_player", "lock", "alarm_control_panel", "vacuum", "lawn_mower", "number", "select", "button", "binary_sensor", "sensor"];
const rankOf = (e) => ((rank.indexOf(domainOf(e.id)) + 1) || 16.5);
const inOrder = (entities) => [...entities].sort((a, b) => rankOf(a) - rankOf(b));
const reads = new Set(["sensor", "binary_sensor"]);
const heightOf = (e) => (reads.has(domainOf(e.id)) ? 42 : 54);

function withoutArea(name, areaName) {
  const rest = name.toLowerCase().startsWith(areaName?.toLowerCase() + " ") ? name.slice(areaName.length + 1) : name;
  return rest ? rest[0].toUpperCase() + rest.slice(1) : name;
}

/** A device: its controls and readings, its battery in the heading, the rest folded away. */
function deviceCard(device, areaName) {
  const name = withoutArea(device.name, areaName);
  const main = inOrder(device.entities.filter((e) => !folded(e) && e.id !== device.battery));
  const rest = inOrder(device.entities.filter((e) => folded(e) && e.id !== device.battery));
  const face = faceOf(main, device);
  const rows = face ? [{ ...face, label: name, battery: device.battery }, ...main.filter((e) => e !== face)] : main.map((e) => (e.name === device.name ? { ...e, name: "" } : e));
  return {
    height: (face ? 0 : 36) + rows.reduce((h, e) => h + heightOf(e), 0) + (rest.length ? 40 : 0),
    draw: () => html`<article class="card list" data-device=${device.id} aria-label=${name}>
      ${face ? nothing : html`<div class="dev"><h3>${name}</h3>${device.battery ? battery(device.battery) : nothing}</div>`}
      ${rows.map((e) => row(e))}
      ${rest.length ? html`<details><summary>${icon("chevron-right")}<span>${t("more_n", { n: rest.length })}</span></summary>${rest.map((e) => row(e))}</details>` : nothing}
    </article>`,
  };
}

// A device of nothing but settings and diagnostics shares one card with its like.
const hasFace = (device) => device.entities.some((e) => !folded(e) && e.id !== device.battery);

function quietCard(devices, areaName) {
  return {
    height: 40 + devices.length * 34,
    draw: () => html`<article class="card list"><div class="dev"><h3>${t("settings_and_diagnostics")}</h3></div>
      ${devices.map((d) => html`<details data-device=${d.id}><summary>${icon("chevron-right")}<span class="grow">${withoutArea(d.name, areaName)}</span>${d.battery ? battery(d.battery) : nothing}<span>${number(inOrder(d.entities).filter((e) => e.id !== d.battery).length)}</span></summary>
        ${inOrder(d.entities.filter((e) => e.id !== d.battery)).map((e) => row(e))}</details>`)}</article>`,
  };
}

// The entity that is the device itself (a lamp, a lock) needs no heading above it.
function faceOf(main, device) {
  const own = main.find((e) => !e.name || e.name === device.name);
  if (own && !reads.has(domainOf(own.id))) return own;
  const only = main.length === 1 ? main[0] : undefined;
  return only && (only === own || !reads.has(domainOf(only.id))) ? only : undefined;
}

// Stand-alone entities stand together by what one does with them.
const groupsOf = [
  ["scenes", "palette-outline", (d) => d === "scene"],
  ["scripts", "script-text-outline", (d) => d === "script"],
  ["automations", "robot-outline", (d) => d === "automation"],
];

function groupCards(entities) {
  const left = new Set(entities);
  const groups = groupsOf.map(([key, , fits]) => ({ key, list: [...left].filter((e) => fits(domainOf(e.id))) }));
  groups.forEach((g) => g.list.forEach((e) => left.delete(e)));
  return [{ key: "entities", list: inOrder([...left]) }, ...groups].filter((g) => g.list.length).flatMap(inParts).map((part) => () => groupCard(part));
}

// A long group is cut, so that it fills all columns.
const LONGEST = 12;
function inParts({ key, list }) {
  const parts = Math.ceil(list.length / LONGEST);
  const size = Math.ceil(list.length / parts);
  return Array.from({ length: parts }, (_, i) => ({ key, list: list.slice(i * size, (i + 1) * size) }));
}

function groupCard({ key, list }) {
  const main = list.filter((e) => !folded(e));
  const rest = list.filter(folded);
  return {
    height: 40 + main.reduce((h, e) => h + heightOf(e), 0) + (rest.length ? 40 : 0),
    draw: () => html`<article class="card list"><div class="dev"><h3>${t(key)}</h3></div>${main.map((e) => row(e))}
      ${rest.length ? html`<details><summary>${icon("chevron-right")}<span>${t("more_n", { n: rest.length })}</span></summary>${rest.map((e) => row(e))}</details>` : nothing}</article>`,
  };
}

export { areaIcon };
