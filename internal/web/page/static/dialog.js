// One entity up close: its value, one big control and the rest below, what
// happened to it, what it is part of.
import { html, render, nothing } from "lit-html";
import { ask, act, watch, states, listen } from "./home.js";
import { icon, tint, picture, slider, actionNote, toggleSwitch, flip, iconButton, choice } from "./ui.js";
import { control, brightness, dimmable, has, near } from "./controls.js";
import { favourites } from "./views.js";
import { t, localeOf, domainOf, stateText, isGone, isOn, isNumeric, ago, during, moment, stateWord, attributeWord, classOf, colourOf, unitOf, percent, number, withUnit } from "./entity.js";

const box = document.getElementById("dialog");
let open = null; // {id, e, about, stops, history, redraw}

/** Shows the entity; `closed` is called when the reader has left it, `redraw` on a new favourite. */
export async function openDialog(id, { closed, redraw } = {}) {
  close();
  open = { id, e: { id }, about: null, history: null, hours: 24, closed, redraw, failure: null };
  const mine = open;
  mine.unwatch = watch([id]);
  mine.unlisten = listen(id, draw);
  draw();
  if (!box.open) box.showModal();
  try {
    mine.about = await ask({ type: "concord/entity", entity_id: id });
    mine.e = mine.about.entity;
  } catch (error) {
    mine.failure = error;
  }
  if (open === mine) draw(), loadHistory(), loadTasks();
}

function close() {
  if (!open) return;
  open.unwatch();
  open.unlisten();
  open = null;
}

box.addEventListener("click", (ev) => {
  if (ev.target === box || (ev.target.closest("a[href^='/']") && !ev.target.closest("[data-open]"))) box.close();
});
box.addEventListener("close", () => {
  const was = open;
  close();
  was?.closed?.();
});

function draw() {
  const { id, e, about, failure } = open;
  const st = states.get(id);
  const name = e.name || e.full_name || st?.attributes.friendly_name || id;
  render(html`<div class="dlg-head">
      ${iconButton("close", t("close"), () => box.close())}
      <div class="names"><span class="over">${[about?.area?.name, about?.device?.name].filter((part) => part && part !== name).join(" · ")}</span><h2>${name}</h2></div>
      ${about ? iconButton(favourites.has(id) ? "star" : "star-outline", t(favourites.has(id) ? "unstar" : "star"), () => (favourites.toggle(e), open.redraw?.(), draw()), { pressed: favourites.has(id) }) : nothing}
    </div>
    <div class="dlg-body" .style=${tint(e, st)} data-entity=${id} data-state=${st?.state ?? ""}>
      ${failure && !st ? html`<p class="note">${t("no_such_entity")}</p>` : nothing}
      ${picture(e, st, name, true)}${st ? html`${hero(e, st)}${isGone(st) ? nothing : html`<div class="panel">${(big[domainOf(id)] ?? plainControl)(e, st, name)}</div>`}` : nothing}
      ${historyPart(e, st)}${about ? related(about) : nothing}${st ? attributes(st) : nothing}
    </div>`, box);
  if (open.chart?.needsDraw) drawChart();
}

function hero(e, st) {
  const text = stateText(e, st);
  return html`<div class="hero"><div class="value ${isNumeric(e, st) ? "" : "words"}">${text}</div>
    <div class="age" title=${moment(st.lc * 1000)}>${t("changed", { age: ago(st.lc * 1000) })}</div>
    <div class="row-note">${actionNote(e.id)}</div></div>`;
}

// ---- big controls ------------------------------------------------------------------

const plainControl = (e, st, name) => control[domainOf(e.id)]?.(e, st, name) ?? nothing;
const labelled = (text, part) => html`<div class="field-row"><span class="lab">${text}</span>${part}</div>`;
const modeButtons = (list, now, word, choose) => html`<div class="modes" role="group">${list.map((m) => html`<button class="btn ${m === now ? "chosen" : ""}" aria-pressed=${m === now} @click=${() => choose(m)}>${word(m)}</button>`)}</div>`;
const power = (e, st, name) => toggleSwitch(e, st, name, () => flip(e, st));

const big = {
  switch: power, input_boolean: power, siren: power, remote: power,
  automation: (e, st, name) => html`${power(e, st, name)}<button class="btn" @click=${() => act(e.id, "trigger")}>${icon("play")}${t("run")}</button>`,
  light(e, st, name) {
    const a = st.attributes;
    const modes = a.supported_color_modes ?? [];
    return html`${dimmable(st) ? brightness(e, st, name) : nothing}${power(e, st, name)}
      ${modes.includes("color_temp") ? labelled(t("colour_temperature"), slider(e.id, "kelvin", {
        value: a.color_temp_kelvin ?? 2700, min: a.min_color_temp_kelvin ?? 2000, max: a.max_color_temp_kelvin ?? 6500, step: 50, cls: "warmth", label: t("colour_temperature"),
        text: (v) => withUnit(number(v), "K"), send: (v) => act(e.id, "turn_on", { color_temp_kelvin: v }, { target: { kelvin: v }, want: (s) => near(s.attributes.color_temp_kelvin, v, 120) }) })) : nothing}
      ${modes.some((m) => ["hs", "rgb", "rgbw", "rgbww", "xy"].includes(m)) ? labelled(t("colour"), html`${slider(e.id, "hue", {
        value: a.hs_color?.[0] ?? 0, max: 360, cls: "hue", label: t("colour"), text: (v) => Math.round(v) + "°", send: (v) => act(e.id, "turn_on", { hs_color: [v, 100] }, { target: { hue: v }, want: isOn }) })}
        <div class="swatches">${swatches.map(([key, hs]) => html`<button .style=${`background:hsl(${hs[0]} 100% ${100 - hs[1] / 2}%)`} aria-label=${t(key)} title=${t(key)} @click=${() => act(e.id, "turn_on", { hs_color: hs }, { want: isOn })}></button>`)}</div>`) : nothing}
      ${a.effect_list?.length ? labelled(t("effect"), choice(e.id, { value: a.effect ?? "", options: a.effect_list.map((x) => [x, x]), label: t("effect"), send: (v) => act(e.id, "turn_on", { effect: v }, { want: (s) => s.attributes.effect === v }) })) : nothing}`;
  },
  cover(e, st, name) {
    const a = st.attributes;
    return html`${control.cover(e, st, name)}
      ${has(st, 4) ? labelled(t("position"), slider(e.id, "position", { value: a.current_position ?? 0, label: t("position"), text: percent, send: (v) => act(e.id, "set_cover_position", { position: v }, { target: { position: v }, want: (s) => near(s.attributes.current_position, v, 2) || /ing$/.test(s.state) }) })) : nothing}
      ${has(st, 128) ? labelled(t("tilt"), slider(e.id, "tilt", { value: a.current_tilt_position ?? 0, label: t("tilt"), text: percent, send: (v) => act(e.id, "set_cover_tilt_position", { tilt_position: v }, { target: { tilt: v }, want: (s) => near(s.attributes.current_tilt_position, v, 2) }) })) : nothing}`;
  },
  valve(e, st, name) {
    return html`${control.valve(e, st, name)}${has(st, 4) ? labelled(t("position"), slider(e.id, "position", { value: st.attributes.current_position ?? 0, label: t("position"), text: percent, send: (v) => act(e.id, "set_valve_position", { position: v }, { target: { position: v } }) })) : nothing}`;
  },
  climate(e, st, name) {
    const a = st.attributes;
    const set = (service, key) => (v) => act(e.id, service, { [key]: v }, { want: (s) => (key === "hvac_mode" ? s.state : s.attributes[key]) === v });
    const pick = (list, key, service) => (list?.length ? labelled(t(key), choice(e.id + key, { value: a[key], options: list.map((m) => [m, attributeWord("climate", key, m)]), label: t(key), send: set(service, key) })) : nothing);
    return html`${control.climate(e, st, name)}
      ${labelled(t("mode"), modeButtons(a.hvac_modes ?? [], st.state, (m) => stateWord("climate", null, m), set("set_hvac_mode", "hvac_mode")))}
      ${pick(a.preset_modes, "preset_mode", "set_preset_mode")}${pick(a.fan_modes, "fan_mode", "set_fan_mode")}${pick(a.swing_modes, "swing_mode", "set_swing_mode")}`;
  },
  water_heater(e, st, name) {
    return html`${control.water_heater(e, st, name)}${modeButtons(st.attributes.operation_list ?? [], st.state, (m) => stateWord("water_heater", null, m), (m) => act(e.id, "set_operation_mode", { operation_mode: m }, { want: (s) => s.state === m }))}`;
  },
  fan(e, st, name) {
    const a = st.attributes;
    return html`${control.fan(e, st, name)}${has(st, 1) ? power(e, st, name) : nothing}
      ${a.preset_modes?.length ? modeButtons(a.preset_modes, a.preset_mode, (m) => attributeWord("fan", "preset_mode", m), (m) => act(e.id, "set_preset_mode", { preset_mode: m }, { want: (s) => s.attributes.preset_mode === m })) : nothing}
      ${has(st, 2) ? html`<button class="btn" aria-pressed=${a.oscillating ?? false} @click=${() => act(e.id, "oscillate", { oscillating: !a.oscillating }, { want: (s) => s.attributes.oscillating === !a.oscillating })}>${icon("arrow-oscillating")}${t("oscillate")}</button>` : nothing}`;
  },
  humidifier(e, st, name) {
    const a = st.attributes;
    return html`${isOn(st) ? control.humidifier(e, st, name) : nothing}${power(e, st, name)}
      ${a.available_modes?.length ? modeButtons(a.available_modes, a.mode, (m) => attributeWord("humidifier", "mode", m), (m) => act(e.id, "set_mode", { mode: m }, { want: (s) => s.attributes.mode === m })) : nothing}`;
  },
  media_player(e, st, name) {
    const a = st.attributes;
    return html`${a.media_artist ? html`<p class="age">${a.media_artist}</p>` : nothing}${control.media_player(e, st, name)}
      ${has(st, 4) && isOn(st) ? labelled(t("volume"), slider(e.id, "volume", { value: (a.volume_level ?? 0) * 100, label: t("volume"), text: percent, send: (v) => act(e.id, "volume_set", { volume_level: v / 100 }, { target: { volume: v }, want: (s) => near((s.attributes.volume_level ?? 0) * 100, v, 2) }) })) : nothing}
      ${has(st, 8) && isOn(st) ? html`<button class="btn" aria-pressed=${a.is_volume_muted ?? false} @click=${() => act(e.id, "volume_mute", { is_volume_muted: !a.is_volume_muted })}>${icon("volume-off")}${t("mute")}</button>` : nothing}
      ${a.source_list?.length ? labelled(t("source"), choice(e.id, { value: a.source, options: a.source_list.map((x) => [x, x]), label: t("source"), send: (v) => act(e.id, "select_source", { source: v }, { want: (s) => s.attributes.source === v }) })) : nothing}
      ${has(st, 128 | 256) ? power(e, st, name) : nothing}`;
  },
  vacuum(e, st, name) {
    const a = st.attributes;
    return html`${control.vacuum(e, st, name)}${a.fan_speed_list?.length ? modeButtons(a.fan_speed_list, a.fan_speed, (m) => m, (m) => act(e.id, "set_fan_speed", { fan_speed: m }, { want: (s) => s.attributes.fan_speed === m })) : nothing}
      ${has(st, 512) ? html`<button class="btn" @click=${() => act(e.id, "locate")}>${icon("map-marker")}${t("locate")}</button>` : nothing}`;
  },
  alarm_control_panel: alarm,
  todo: () => tasks(),
  weather(e, st) {
    const a = st.attributes;
    const fact = (key, value, unit) => (value == null ? nothing : html`<div><span class="lab">${t(key)}</span><b>${withUnit(number(value), unit)}</b></div>`);
    return html`<div class="facts-row">${fact("humidity", a.humidity, "%")}${fact("wind", a.wind_speed, a.wind_speed_unit)}${fact("pressure", a.pressure, a.pressure_unit)}</div>`;
  },
  lock(e, st, name) {
    return html`${control.lock(e, st, name)}${has(st, 1) ? html`<button class="btn" @click=${() => act(e.id, "open")}>${icon("door-open")}${t("open")}</button>` : nothing}`;
  },
};

const swatches = [["red", [0, 100]], ["orange", [30, 100]], ["warm", [35, 45]], ["white", [40, 6]], ["cyan", [190, 70]], ["blue", [225, 100]], ["violet", [280, 80]], ["pink", [325, 60]]];

let code = "";
function alarm(e, st) {
  const a = st.attributes;
  const arming = [[1, "armed_home", "alarm_arm_home"], [2, "armed_away", "alarm_arm_away"], [4, "armed_night", "alarm_arm_night"], [32, "armed_vacation", "alarm_arm_vacation"]];
  const send = (service, state) => () => (act(e.id, service, code ? { code } : {}, { want: (s) => s.state === state || s.state === "arming" || s.state === "pending" }), (code = ""), draw());
  const needsCode = a.code_format && (st.state !== "disarmed" || a.code_arm_required);
  return html`${needsCode ? html`<input class="field" type="password" inputmode=${a.code_format === "number" ? "numeric" : "text"} autocomplete="off" aria-label=${t("code")} placeholder=${t("code")} .value=${code} @input=${(ev) => (code = ev.target.value)} />` : nothing}
    ${st.state === "disarmed" ? html`<div class="modes">${arming.filter(([bit]) => has(st, bit)).map(([, state, service]) => html`<button class="btn" @click=${send(service, state)}>${stateWord("alarm_control_panel", null, state)}</button>`)}</div>`
      : html`<button class="btn" @click=${send("alarm_disarm", "disarmed")}>${icon("shield-off")}${t("disarm")}</button>`}`;
}

// ---- to-do lists ---------------------------------------------------------------------

async function loadTasks() {
  if (domainOf(open.id) !== "todo") return;
  const mine = open;
  const answer = await ask({ type: "todo/item/list", entity_id: mine.id }).catch(() => null);
  mine.tasks = answer?.items;
  if (open === mine) draw();
}

function tasks() {
  if (!open.tasks) return nothing;
  if (!open.tasks.length) return html`<p class="note">${t("no_tasks")}</p>`;
  return html`<ul class="tasks">${open.tasks.map((item) => html`<li class=${item.status === "completed" ? "done" : ""}>${icon(item.status === "completed" ? "check-circle" : "circle-outline")}<span>${item.summary}${item.due ? html`<small>${item.due}</small>` : nothing}</span></li>`)}</ul>`;
}

// ---- history -----------------------------------------------------------------------

async function loadHistory() {
  const mine = open;
  const [start, end] = mine.zoom ?? [Date.now() - mine.hours * 3600e3, Date.now()];
  const request = { type: "concord/history", entity_id: mine.id, start: new Date(start).toISOString(), end: new Date(end).toISOString(), points: Math.min(box.clientWidth, 480) };
  const answer = await ask(request).catch(() => null);
  if (open !== mine) return;
  mine.history = answer;
  mine.asked = true;
  mine.range = [start, end];
  if (answer?.numeric && answer.points?.length > 1) await import("./chart.js").then((m) => (mine.chart = { make: m.makeChart, needsDraw: true }));
  if (open === mine) draw();
}

function drawChart() {
  open.chart.needsDraw = false;
  const mine = open;
  const zoom = (range) => ((mine.zoom = range), open === mine && loadHistory());
  open.chart.make(box.querySelector(".chart"), open.history, open.range, localeOf(), unitOf(open.e, states.get(open.id)), zoom);
}

function historyPart(e, st) {
  const h = open.history;
  if (!open.asked) return html`<div class="field-row"><span class="lab">${t("history")}</span><div class="await"></div></div>`;
  if (!h) return html`<p class="note">${t("no_history")}</p>`;
  const spans = [[6, t("hours_n", { n: 6 })], [24, t("hours_n", { n: 24 })], [168, t("days_n", { n: 7 })]];
  return html`<div class="field-row"><span class="lab">${t("history")}</span>
    ${h.points?.length > 1 ? html`<div class="chart"></div>` : h.states?.length ? timeline(e, st, h) : html`<p class="note">${t("nothing_happened")}</p>`}
    ${["lost", "asked", "filled"].map((kind) => told(kind, h[kind]))}
    <div class="seg">${spans.map(([n, text]) => html`<button class="btn ${n === open.hours && !open.zoom ? "chosen" : ""}" aria-pressed=${n === open.hours && !open.zoom} @click=${() => ((open.hours = n), (open.zoom = null), loadHistory())}>${text}</button>`)}</div></div>`;
}

// What is to be known of the curve's holes, and of what Concord did not hear itself: the newest times.
function told(kind, spans) {
  if (!spans?.length) return nothing;
  const times = spans.slice(-3).map(([from, to]) => during(from, to));
  return html`<small class="told">${t("history_" + kind, { times: (spans.length > 3 ? "…, " : "") + times.join(", ") })}</small>`;
}

// A timeline's parts with a hole, which is a part of its own.
function pierce(parts, [from, to]) {
  const rest = parts.flatMap((p) => [{ ...p, to: Math.min(p.to, from) }, { ...p, from: Math.max(p.from, to) }]).filter((p) => p.to > p.from);
  return [...rest, { hole: true, from, to }].sort((a, b) => a.from - b.from);
}

const silent = new Set(["unavailable", "unknown", ""]);
const palette = ["lightblue", "amber", "purple", "green", "orange", "cyan"];

// The colour of a stretch of time: the state's own, else one that tells it from the others.
function fillOf(e, st, state, seen) {
  if (silent.has(state)) return "";
  const own = colourOf(e, { ...st, state, attributes: { ...st?.attributes, hvac_action: undefined } });
  const colour = own ?? (/^(sensor|select|input_select|weather|event)$/.test(domainOf(e.id)) ? palette[seen.indexOf(state) % palette.length] : isOn({ state }) ? "lightblue" : null);
  return colour ? `background:var(--${colour});color:var(--${colour}-ink)` : "";
}

function timeline(e, st, h) {
  const [start, end] = open.range;
  let parts = h.states.map(([at, state], i) => ({ state, from: Math.max(at, start), to: h.states[i + 1]?.[0] ?? end })).filter((p) => p.to > p.from);
  if (parts.length && parts[0].from > start) parts.unshift({ state: "", from: start, to: parts[0].from });
  const seen = [...new Set(parts.map((p) => p.state))];
  parts = (h.gaps ?? []).reduce(pierce, parts);
  const domain = domainOf(e.id);
  const word = (p) => (p.hole || p.state === "" ? t("unknown") : stateWord(domain, classOf(e, st), p.state));
  const look = (p) => (p.hole ? "gap hole" : silent.has(p.state) ? "gap" : "");
  return html`<div class="bars" role="img" aria-label=${parts.slice(-8).map((p) => `${word(p)} ${moment(p.from)}`).join(", ")}>
    ${parts.map((p) => html`<span class=${look(p)} title="${word(p)} · ${moment(p.from)}" .style=${`flex:${p.to - p.from} 0 0;${p.hole ? "" : fillOf(e, st, p.state, seen)}`}>${(p.to - p.from) / (end - start) > 0.14 ? word(p) : nothing}</span>`)}</div>
    <div class="scale"><span>${moment(start)}</span><span>${moment(end)}</span></div>`;
}

// ---- the rest ------------------------------------------------------------------------

function related({ area, device, related: r = {} }) {
  const link = (href, name, text) => html`<a class="btn" href=${href}>${icon(name)}<span>${text}</span></a>`;
  const entity = (x, name) => {
    const id = typeof x === "string" ? x : x.id ?? x.entity_id;
    return html`<a class="btn" href="/entity/${id}" data-open=${id}>${icon(name)}<span>${x.name ?? states.get(id)?.attributes.friendly_name ?? id.split(".")[1].replaceAll("_", " ")}</span></a>`;
  };
  const labels = (r.labels ?? []).map((l) => html`<span class="chip">${icon("label-outline")}${l.name ?? l}</span>`);
  const all = [area && link("/area/" + area.area_id, "floor-plan", area.name), ...(r.automations ?? []).map((x) => entity(x, "robot-outline")), ...(r.scenes ?? []).map((x) => entity(x, "palette-outline")), ...(r.scripts ?? []).map((x) => entity(x, "script-text-outline")), ...labels].filter(Boolean);
  const made = [device?.manufacturer, device?.model].filter(Boolean).join(" · ");
  return html`${all.length ? html`<div class="field-row"><span class="lab">${t("related")}</span><div class="links">${all}</div></div>` : nothing}${made ? html`<p class="age">${made}</p>` : nothing}`;
}

const hiddenAttributes = new Set(["friendly_name", "icon", "supported_features", "entity_picture", "attribution", "device_class", "unit_of_measurement", "state_class", "access_token"]);

function attributes(st) {
  const list = Object.entries(st.attributes).filter(([k]) => !hiddenAttributes.has(k));
  if (!list.length) return nothing;
  const text = (v) => (typeof v === "number" ? number(v) : v !== null && typeof v === "object" ? (Array.isArray(v) ? v.map(text).join(", ") : JSON.stringify(v)) : String(v ?? "–"));
  return html`<details><summary>${icon("chevron-right")}<span>${t("attributes")}</span></summary><dl class="attrs">${list.map(([k, v]) => html`<dt>${k.replaceAll("_", " ")}</dt><dd>${text(v)}</dd>`)}</dl></details>`;
}
