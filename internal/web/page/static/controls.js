// One row per entity: icon, name, state, and the control that its domain asks for.
import { html, nothing } from "lit-html";
import { act, pending, trendOf } from "./home.js";
import { live, badge, tint, icon, picture, toggleSwitch, slider, stepper, iconButton, choice, actionNote, flip, shown } from "./ui.js";
import { t, domainOf, classOf, stateText, className, isGone, isOn, unitOf, colourOf, batteryIcon, ago, number, withUnit, percent } from "./entity.js";

const has = (st, bit) => ((st.attributes.supported_features ?? 0) & bit) !== 0;
const near = (a, b, by) => a != null && Math.abs(a - b) <= by;

// ---- what a tap on the icon does ------------------------------------------------

const plain = (e, st) => () => flip(e, st);
const switches = {
  light: plain, switch: plain, input_boolean: plain, fan: plain, humidifier: plain, siren: plain,
  automation: plain, remote: plain, script: (e) => () => act(e.id, "turn_on"),
  scene: (e) => () => act(e.id, "turn_on"),
  media_player: (e, st) => (has(st, 128 | 256) ? () => flip(e, st) : null),
};
const toggleOf = (e, st) => (st ? (switches[domainOf(e.id)]?.(e, st) ?? null) : null);

// ---- inline controls ----------------------------------------------------------------

const control = {
  switch: (e, st, name) => toggleSwitch(e, st, name, () => flip(e, st)),
  light(e, st, name) {
    if (!dimmable(st)) return control.switch(e, st, name);
    return brightness(e, st, name);
  },
  fan(e, st, name) {
    if (!has(st, 1)) return control.switch(e, st, name);
    const send = (v) => act(e.id, "set_percentage", { percentage: v }, { target: { percentage: v }, want: (s) => near(s.attributes.percentage ?? 0, v, 18) });
    return slider(e.id, "percentage", { value: isOn(st) ? st.attributes.percentage : 0, step: st.attributes.percentage_step > 1 ? Math.round(st.attributes.percentage_step) : 1, label: t("speed_of", { name }), text: percent, send });
  },
  cover(e, st, name) {
    return html`<div class="trio">
      ${has(st, 1) ? iconButton(horizontal(e, st) ? "arrow-expand-horizontal" : "arrow-up", t("open_it", { name }), () => act(e.id, "open_cover", {}, { want: (s) => s.state === "opening" || s.state === "open" }), { disabled: st.state === "open" && (st.attributes.current_position ?? 100) === 100 }) : nothing}
      ${has(st, 8) ? iconButton("stop", t("stop_it", { name }), () => act(e.id, "stop_cover")) : nothing}
      ${has(st, 2) ? iconButton(horizontal(e, st) ? "arrow-collapse-horizontal" : "arrow-down", t("close_it", { name }), () => act(e.id, "close_cover", {}, { want: (s) => s.state === "closing" || s.state === "closed" }), { disabled: st.state === "closed" }) : nothing}
    </div>`;
  },
  valve(e, st, name) {
    if (!has(st, 3)) return nothing;
    const open = st.state === "open" || st.state === "opening";
    return toggleSwitch(e, st, name, () => act(e.id, open ? "close_valve" : "open_valve", {}, { target: { on: !open }, want: (s) => (open ? /clos/ : /open/).test(s.state) }));
  },
  climate: (e, st, name) => setpoints(e, st, name),
  water_heater: (e, st, name) => setpoints(e, st, name),
  humidifier(e, st, name) {
    const { humidity, min_humidity: min = 0, max_humidity: max = 100 } = st.attributes;
    if (!isOn(st)) return control.switch(e, st, name);
    return stepper(e.id, "humidity", { value: humidity, min, max, step: 1, label: t("target_of", { name }), text: percent, send: (v) => act(e.id, "set_humidity", { humidity: v }, { target: { humidity: v }, want: (s) => s.attributes.humidity === v }) });
  },
  lock(e, st, name) {
    const locked = st.state === "locked" || st.state === "locking";
    const done = (word) => (s) => s.state === word || s.state === "jammed";
    return textButton(locked ? "lock-open-variant" : "lock", t(locked ? "unlock" : "lock"), name, () =>
      act(e.id, locked ? "unlock" : "lock", {}, { want: done(locked ? "unlocked" : "locked") }));
  },
  media_player(e, st, name) {
    if (!isOn(st) && st.state !== "paused" && st.state !== "idle") return has(st, 128) ? control.switch(e, st, name) : nothing;
    const playing = st.state === "playing";
    return html`<div class="trio tight">
      ${has(st, 16) ? iconButton("skip-previous", t("previous"), () => act(e.id, "media_previous_track")) : nothing}
      ${has(st, 1 | 16384) ? iconButton(playing ? "pause" : "play", t(playing ? "pause" : "play"), () => act(e.id, playing ? "media_pause" : "media_play", {}, { want: (s) => (s.state === "playing") === !playing })) : nothing}
      ${has(st, 32) ? iconButton("skip-next", t("next"), () => act(e.id, "media_next_track")) : nothing}
    </div>`;
  },
  vacuum(e, st) {
    const busy = st.state === "cleaning";
    return html`<div class="trio tight">
      ${busy && has(st, 4) ? iconButton("pause", t("pause"), () => act(e.id, "pause", {}, { want: (s) => s.state !== "cleaning" })) : has(st, 8192) ? iconButton("play", t("start"), () => act(e.id, "start", {}, { want: (s) => s.state === "cleaning" })) : nothing}
      ${has(st, 16) ? iconButton("home-import-outline", t("dock"), () => act(e.id, "return_to_base", {}, { want: (s) => s.state === "returning" || s.state === "docked" }), { disabled: st.state === "docked" }) : nothing}
    </div>`;
  },
  lawn_mower(e, st) {
    const busy = st.state === "mowing";
    return html`<div class="trio tight">
      ${busy ? iconButton("pause", t("pause"), () => act(e.id, "pause")) : iconButton("play", t("start"), () => act(e.id, "start_mowing"))}
      ${iconButton("home-import-outline", t("dock"), () => act(e.id, "dock"))}</div>`;
  },
  scene: (e, st, name) => textButton("play", t("activate"), name, () => act(e.id, "turn_on")),
  script(e, st, name) {
    return isOn(st) ? textButton("stop", t("stop"), name, () => act(e.id, "turn_off")) : textButton("play", t("run"), name, () => act(e.id, "turn_on"));
  },
  button: (e, st, name) => textButton("gesture-tap-button", t("press"), name, () => act(e.id, "press")),
  number(e, st, name) {
    const { min = 0, max = 100, step = 1, mode } = st.attributes;
    const value = Number(st.state);
    const text = (v) => withUnit(number(v), unitOf(e, st));
    const send = (v) => act(e.id, "set_value", { value: v }, { target: { value: v }, want: (s) => near(Number(s.state), v, step / 2) });
    const options = { value, min, max, step, label: name, text, send };
    return mode === "box" || (mode !== "slider" && (max - min) / step > 200) ? stepper(e.id, "value", options) : slider(e.id, "value", options);
  },
  select(e, st, name) {
    const send = (v) => act(e.id, "select_option", { option: v }, { target: { option: v }, want: (s) => s.state === v });
    return choice(e.id, { value: st.state, options: (st.attributes.options ?? []).map((o) => [o, o]), label: name, send });
  },
  text(e, st, name) {
    const send = (v) => act(e.id, "set_value", { value: v }, { want: (s) => s.state === v });
    const type = st.attributes.mode === "password" ? "password" : "text";
    return html`<form @submit=${(ev) => (ev.preventDefault(), ev.target.firstElementChild.blur())}><input class="field" type=${type} aria-label=${name} autocomplete="off" .value=${st.state === "unknown" ? "" : st.state}
      maxlength=${st.attributes.max ?? nothing} pattern=${st.attributes.pattern ?? nothing} @change=${(ev) => ev.target.reportValidity() && send(ev.target.value)} /></form>`;
  },
  counter: (e, st, name) => html`<div class="stepper" role="group" aria-label=${name}>
    <button aria-label=${t("less", { name })} @click=${() => act(e.id, "decrement")}>${icon("minus")}</button><output>${stateText(e, st)}</output>
    <button aria-label=${t("more", { name })} @click=${() => act(e.id, "increment")}>${icon("plus")}</button></div>`,
  timer(e, st) {
    const active = st.state === "active";
    return html`<div class="trio tight">
      ${iconButton(active ? "pause" : "play", t(active ? "pause" : "start"), () => act(e.id, active ? "pause" : "start", {}, { want: (s) => (s.state === "active") === !active }))}
      ${st.state === "idle" ? nothing : iconButton("stop", t("cancel"), () => act(e.id, "cancel", {}, { want: (s) => s.state === "idle" }))}</div>`;
  },
  update: (e, st, name) => (st.state === "on" && has(st, 1) ? textButton("download", st.attributes.in_progress ? t("installing") : t("install"), name, () => act(e.id, "install"), st.attributes.in_progress) : nothing),
  date: (e, st, name) => dateField(e, st, name, "date", (v) => ({ date: v })),
  time: (e, st, name) => dateField(e, st, name, "time", (v) => ({ time: v })),
  datetime: (e, st, name) => dateField(e, st, name, "datetime-local", (v) => ({ datetime: v })),
  input_datetime(e, st, name) {
    const { has_date: date, has_time: time } = st.attributes;
    const [type, key] = date && time ? ["datetime-local", "datetime"] : date ? ["date", "date"] : ["time", "time"];
    return dateField(e, st, name, type, (v) => ({ [key]: v.replace("T", " ") }), "set_datetime");
  },
};
Object.assign(control, {
  input_boolean: control.switch, siren: control.switch, remote: control.switch, automation: control.switch,
  input_button: control.button, input_number: control.number, input_select: control.select, input_text: control.text,
});

const horizontal = (e, st) => ["curtain", "door", "gate"].includes(classOf(e, st));
export const dimmable = (st) => (st.attributes.supported_color_modes ?? []).some((m) => m !== "onoff") || st.attributes.brightness != null;

/** The brightness slider; sliding a lamp to nothing switches it off. */
export function brightness(e, st, name, cls) {
  const value = isOn(st) ? (st.attributes.brightness ?? 255) / 2.55 : 0;
  const send = (v) =>
    v === 0
      ? act(e.id, "turn_off", {}, { target: { brightness: 0, on: false }, want: (s) => s.state === "off" })
      : act(e.id, "turn_on", { brightness_pct: v }, { target: { brightness: v, on: true }, want: (s) => near((s.attributes.brightness ?? 0) / 2.55, v, 2) });
  const on = shown(e.id, "on", isOn(st));
  return slider(e.id, "brightness", { value: on ? value || shown(e.id, "brightness", 0) : 0, label: t("brightness_of", { name }), text: percent, send, cls });
}

/** One stepper, or two where the mode keeps a range. */
function setpoints(e, st, name) {
  const a = st.attributes;
  const step = a.target_temp_step ?? (a.temperature_unit === "°F" ? 1 : 0.5);
  const one = (key, label) =>
    stepper(e.id, key, {
      value: a[key], min: a.min_temp, max: a.max_temp, step, label, text: (v) => withUnit(number(v, step % 1 ? 1 : 0), "°").replace("\u00a0", ""),
      send: (v) => act(e.id, "set_temperature", rangeOf(a, key, v), { target: { [key]: v }, want: (s) => near(s.attributes[key], v, step / 2) }),
    });
  if (a.target_temp_low != null && a.target_temp_high != null) return html`<div class="pair">${one("target_temp_low", t("lowest_of", { name }))}${one("target_temp_high", t("highest_of", { name }))}</div>`;
  return a.temperature != null ? one("temperature", t("target_of", { name })) : nothing;
}

const rangeOf = (a, key, v) => (key === "temperature" ? { temperature: v } : { target_temp_low: a.target_temp_low, target_temp_high: a.target_temp_high, [key]: v });

function dateField(e, st, name, type, data, service = "set_value") {
  const value = type === "datetime-local" ? local(st.state) : type === "time" ? st.state.slice(0, 5) : st.state;
  return html`<input class="field" type=${type} aria-label=${name} .value=${value} @change=${(ev) => ev.target.value && act(e.id, service, data(ev.target.value))} />`;
}

function local(iso) {
  const date = new Date(iso.replace(" ", "T"));
  return Number.isNaN(date.getTime()) ? "" : new Date(date - date.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
}

function textButton(name, text, what, click, disabled) {
  return html`<button class="btn" aria-label="${text}: ${what}" ?disabled=${disabled} @click=${click}>${icon(name)}<span>${text}</span></button>`;
}

// ---- the row ----------------------------------------------------------------------------

const wide = new Set(["light", "fan", "number", "input_number"]); // a slider takes half of the row
const readOnlyValue = new Set(["sensor", "binary_sensor", "person", "device_tracker", "weather", "sun", "event", "todo", "calendar", "camera", "image", "zone"]);

const inControl = new Set(["select", "input_select", "text", "input_text", "counter", "date", "time", "datetime", "input_datetime"]); // the control says the state
const timed = new Set(["door", "window", "garage_door", "opening", "motion", "occupancy", "presence", "lock", "vibration"]);

const since = (e, st) => (st && domainOf(e.id) === "binary_sensor" && timed.has(classOf(e, st)) && !isGone(st) ? ago(st.lc * 1000) : "");

// The last day of a sensor as a path on a 100 × 24 canvas; a flat one says nothing.
function trendPath(values) {
  const known = values.filter((v) => v != null);
  const low = Math.min(...known);
  const span = Math.max(...known) - low;
  if (known.length < 3 || !(span > 0)) return "";
  let pen = "M";
  return values.map((v, i) => {
    if (v == null) return (pen = "M"), "";
    const point = `${pen}${((i / (values.length - 1)) * 100).toFixed(1)} ${(22 - ((v - low) / span) * 20).toFixed(1)}`;
    pen = "L";
    return point;
  }).join("");
}

function spark(id) {
  const path = trendPath(trendOf(id) ?? []);
  return path ? html`<svg class="spark" viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true"><path d=${path}></path></svg>` : nothing;
}

/** The name a row shows: what is left of it beside its device and area, else its class or domain. */
export const nameOf = (e) => e.label || e.name || className(domainOf(e.id), e.dc) || e.full_name || e.id;

/** A battery's charge in few pixels, for a device's heading. */
export const battery = (id) =>
  live(id, (st) => {
    if (isGone(st)) return nothing;
    const e = { id, dc: "battery", unit: "%" };
    return html`<a class="batt ${colourOf(e, st) === "red" ? "low" : ""}" href="/entity/${id}" data-open=${id} title=${t("battery")}><span class="sr">${t("battery")}</span>${icon(batteryIcon(Number(st.state)))}${stateText(e, st)}</a>`;
  });

/** A row that keeps itself up to date. */
export const row = (e) => live(e.id, drawRow, e);

function drawRow(st, e) {
  const domain = domainOf(e.id);
  const name = nameOf(e);
  const inline = st && !isGone(st) && control[domain] ? control[domain](e, st, name) : nothing;
  const valued = readOnlyValue.has(domain) || inline === nothing;
  const text = st ? stateText(e, st) : "";
  const below = valued ? [e.where, since(e, st)].filter(Boolean).join(" · ") : inControl.has(domain) ? e.where : [e.where, text].filter(Boolean).join(" · ");
  const two = st?.attributes.target_temp_low != null && st.attributes.target_temp_high != null;
  return html`<div class="row ${valued ? "valued" : ""} ${wide.has(domain) ? "half" : ""} ${two ? "two" : ""} ${pending.has(e.id) ? "busy" : ""}" data-entity=${e.id} data-state=${st?.state ?? ""} .style=${tint(e, st)}>
    ${badge(e, st, name, toggleOf(e, st))}
    <a class="nm" href="/entity/${e.id}" data-open=${e.id}><span class="n">${name}</span>${below ? html`<span class="s">${below}</span>` : nothing}</a>
    ${valued ? html`<div class="right">${e.battery ? battery(e.battery) : nothing}${domain === "sensor" ? spark(e.id) : nothing}<span class="val ${isGone(st) ? "faint" : ""}">${text}</span></div>` : html`<div class="ct">${e.battery && !wide.has(domain) ? battery(e.battery) : nothing}${inline}</div>`}
    ${picture(e, st, name)}${actionNote(e.id)}
  </div>`;
}

export { control, has, near };
