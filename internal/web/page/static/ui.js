// The small things every view is made of: icons, live parts, sliders, switches.
import { html, nothing } from "lit-html";
import { AsyncDirective, directive } from "lit-html/async-directive.js";
import { core } from "concord/facts.js";
import { states, pending, listen, touch, touchAll, act, dismiss, pictureOf } from "./home.js";
import { t, iconOf, colourOf, lampColour, inkOn, isGone, isOn, domainOf } from "./entity.js";

// ---- icons ------------------------------------------------------------------

const paths = new Map(Object.entries(core));
const wanted = new Set();
let redraw = () => {};
export const onIcons = (fn) => (redraw = fn);

/** An icon by its Material Design name; drawn as soon as its outline is here. */
export function icon(name, cls = "") {
  return html`<svg class="i ${cls}" viewBox="0 0 24 24" aria-hidden="true"><path d=${path(name)}></path></svg>`;
}

function path(name) {
  const known = paths.get(name);
  if (known !== undefined) return known;
  paths.set(name, "");
  if (wanted.size === 0) setTimeout(fetchIcons, 0);
  wanted.add(name);
  return "";
}

async function fetchIcons() {
  const names = [...wanted].sort();
  wanted.clear();
  for (let from = 0; from < names.length; from += 120) {
    const list = names.slice(from, from + 120);
    const found = await fetch("/icons/mdi?names=" + list.join(",")).then((r) => r.json(), () => null);
    for (const name of list) found ? paths.set(name, found[name] ?? paths.get("bookmark")) : paths.delete(name);
  }
  touchAll();
  redraw();
}

// ---- live parts ---------------------------------------------------------------

class Live extends AsyncDirective {
  render(id, draw, ...args) {
    if (id !== this.id) {
      this.stop?.();
      this.id = id;
      this.start();
    }
    this.draw = draw;
    this.args = args;
    return draw(states.get(id), ...args);
  }
  start() {
    this.stop = listen(this.id, () => this.setValue(this.draw(states.get(this.id), ...this.args)));
  }
  disconnected() {
    this.stop?.();
    this.stop = null;
  }
  reconnected() {
    this.start();
  }
}

/** Draws with the entity's state and, alone, again whenever that state changes. */
export const live = directive(Live);

// ---- pieces ---------------------------------------------------------------------

/** What a control shows: the value just asked for, else the value of the state. */
export const shown = (id, key, value) => drafts.get(id)?.[key] ?? pending.get(id)?.target?.[key] ?? value;
const drafts = new Map(); // entity id → values under a finger that is still down

function draft(id, values) {
  if (values) drafts.set(id, { ...drafts.get(id), ...values });
  else drafts.delete(id);
}

/** Inline style of the entity's colour: --c the colour, --ink what is drawn on it. */
export function tint(e, st) {
  const lamp = domainOf(e.id) === "light" ? lampColour(st) : null;
  if (lamp) return `--c:rgb(${lamp.join(" ")});--ink:${inkOn(lamp)}`;
  const colour = colourOf(e, st);
  return colour ? `--c:var(--${colour});--ink:var(--${colour}-ink)` : "";
}

/** The round icon; a button where one tap switches the entity. */
export function badge(e, st, name, toggle) {
  const cls = `ic ${colourOf(e, st) || lampColour(st) ? "on" : ""} ${isGone(st) ? "gone" : ""}`;
  const picture = icon(iconOf(e, st));
  if (!toggle || isGone(st)) return html`<span class="${cls} ${toggle ? "" : "still"}"><span class="disc">${picture}</span></span>`;
  const label = t(isOn(st) ? "turn_off" : "turn_on", { name });
  return html`<button class=${cls} aria-label=${label} title=${label} @click=${toggle}><span class="disc">${picture}</span></button>`;
}

const pictured = new Set(["camera", "image"]);

/** What a camera sees, an image shows; for others the picture in their attributes, such as a record's cover. */
export function picture(e, st, name, everyDomain = false) {
  const source = st?.attributes.entity_picture;
  const domain = domainOf(e.id);
  if (!source || isGone(st) || !/^\/[^/]/.test(source) || !(everyDomain || pictured.has(domain))) return nothing;
  const camera = domain === "camera";
  const src = pictureOf(e.id, camera ? "" : st.state + (st.attributes.entity_picture_local ?? source.split("cache=")[1] ?? ""));
  return html`<img class="picture ${camera ? "camera" : ""}" src=${src} data-src=${src} alt=${name} loading="lazy" decoding="async"
    @load=${(ev) => ev.target.classList.remove("lost")} @error=${(ev) => ev.target.classList.add("lost")} />`;
}

export function toggleSwitch(e, st, name, flip) {
  const on = shown(e.id, "on", isOn(st));
  return html`<button class="switch" role="switch" aria-checked=${on} aria-label=${name} ?disabled=${isGone(st)} @click=${flip}><span class="knob"></span></button>`;
}

/** A filled block with a grip. `send` gets the value when the finger lifts. */
export function slider(id, key, { value, min = 0, max = 100, step = 1, label, text, cls = "", send, disabled }) {
  const now = Math.min(Math.max(Number(shown(id, key, value) ?? min), min), max);
  const fill = ((now - min) / (max - min || 1)) * 100;
  const input = (ev) => {
    draft(id, { [key]: Number(ev.target.value) });
    ev.target.style.setProperty("--v", (ev.target.value - min) / (max - min || 1));
    ev.target.classList.toggle("zero", Number(ev.target.value) <= min);
    ev.target.setAttribute("aria-valuetext", text(Number(ev.target.value)));
  };
  const change = (ev) => {
    draft(id, null);
    send(Number(ev.target.value));
  };
  return html`<input type="range" class="slider ${cls} ${now <= min ? "zero" : ""}" .style=${`--v:${fill / 100}`} .min=${String(min)} .max=${String(max)} .step=${String(step)}
    .value=${String(now)} aria-label=${label} aria-valuetext=${text(now)} ?disabled=${disabled} @input=${input} @change=${change} />`;
}

/** Minus, value, plus; several taps become one call. */
export function stepper(id, key, { value, min, max, step, label, text, send, disabled }) {
  const now = shown(id, key, value);
  const by = (delta) => () => {
    const from = Number(shown(id, key, value) ?? min ?? 0);
    const digits = Math.max(0, Math.ceil(-Math.log10(step)));
    const next = Number(Math.min(Math.max(from + delta, min ?? -Infinity), max ?? Infinity).toFixed(digits));
    draft(id, { [key]: next });
    touch(id);
    clearTimeout(timers.get(id + key));
    timers.set(id + key, setTimeout(() => (draft(id, null), send(next)), 700));
  };
  return html`<div class="stepper" role="group" aria-label=${label}>
    <button aria-label=${t("less", { name: label })} ?disabled=${disabled || (min != null && now <= min)} @click=${by(-step)}>${icon("minus")}</button>
    <output>${now == null ? "–" : text(now)}</output>
    <button aria-label=${t("more", { name: label })} ?disabled=${disabled || (max != null && now >= max)} @click=${by(step)}>${icon("plus")}</button>
  </div>`;
}
const timers = new Map();

export function iconButton(name, label, click, { disabled, cls = "", pressed } = {}) {
  return html`<button class="btn square ${cls}" aria-label=${label} title=${label} aria-pressed=${pressed ?? nothing} ?disabled=${disabled} @click=${click}>${icon(name)}</button>`;
}

/** A select box; `options` are [value, text]. */
export function choice(id, { value, options, label, send, disabled }) {
  const now = shown(id, "option", value);
  return html`<label class="choice"><span class="sr">${label}</span>
    <select ?disabled=${disabled} @change=${(ev) => send(ev.target.value)}>
      ${options.some(([v]) => v === now) ? nothing : html`<option selected>${now || "–"}</option>`}
      ${options.map(([v, text]) => html`<option value=${v} .selected=${v === now}>${text}</option>`)}
    </select>${icon("chevron-down")}</label>`;
}

/** Says that an action is under way, or what went wrong with it. */
export function actionNote(id) {
  const p = pending.get(id);
  if (!p) return nothing;
  if (!p.error) return html`<span class="waiting" role="status"><span class="sr">${t("waiting")}</span></span>`;
  const known = ["offline", "no_effect", "timeout", "unauthorized", "home_unreachable"].includes(p.error.code);
  const text = known ? t("error_" + p.error.code) : t("error_home", { text: p.error.message ?? p.error.code });
  return html`<button class="failed" role="alert" @click=${() => dismiss(id)}>${icon("alert-circle")}<span>${text}</span></button>`;
}

/** Switches an entity over and waits until it has. */
export function flip(e, st, on = "turn_on", off = "turn_off") {
  const was = shown(e.id, "on", isOn(st));
  return act(e.id, was ? off : on, {}, { want: (next) => isOn(next) === !was && !isGone(next), target: { on: !was } });
}
