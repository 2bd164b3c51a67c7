// What an entity looks like: its words, its icon, its colour. Words and icons
// follow Home Assistant's own tables, which the server hands over as facts.
import { icons as facts } from "concord/facts.js";
import { first } from "./home.js";

let lang = "en";
let locale = "en"; // the reader's own variety of the language, for numbers and times
let words = { ui: {}, states: {} };
let platformIcons = {};

/** The language that the page speaks. */
export const language = () => lang;

/** Loads one language; one came with the page. */
export async function loadLanguage(code) {
  words = code === first.lang ? first.words : await (await fetch(`/i18n/${code}.json`)).json();
  lang = code;
  locale = (navigator.languages ?? []).find((l) => l.split("-")[0] === code.split("-")[0]) ?? code;
  document.documentElement.lang = code;
  formats.clear();
}

// The plural form of a count. Intl.PluralRules says the same, but its first use
// costs more than a whole screen.
const plural = {
  en: (n) => (n === 1 ? "one" : "other"),
  "zh-Hant": () => "other",
  ru: (n) => (n % 10 === 1 && n % 100 !== 11 ? "one" : n % 10 >= 2 && n % 10 <= 4 && !(n % 100 >= 12 && n % 100 <= 14) ? "few" : "many"),
};

/** A word of the page; {name} is replaced by vars.name, {n} chooses the plural form. */
export function t(key, vars) {
  let text = words.ui[key] ?? key;
  if (typeof text === "object") text = text[plural[lang](vars.n)] ?? text.other;
  return vars ? text.replace(/\{(\w+)\}/g, (_, k) => (k === "n" ? number(vars.n) : (vars[k] ?? ""))) : text;
}

// ---- numbers and times ------------------------------------------------------

// Intl is slow to wake (100 ms on a wall tablet), so that the first screen writes
// numbers by hand and times not at all; warmUp then brings the reader's own ways.
let warm = false;
const formats = new Map();

function format(Kind, options) {
  const key = Kind.name + JSON.stringify(options);
  let found = formats.get(key);
  if (!found) formats.set(key, (found = new Intl[Kind.name](locale, options)));
  return found;
}

/** Wakes Intl, when the first screen stands. The caller draws again. */
export function warmUp() {
  warm = true;
  format(Intl.NumberFormat, { maximumFractionDigits: 3 });
  format(Intl.RelativeTimeFormat, { numeric: "auto", style: "short" });
}

/** A number in the reader's own notation, with exactly `digits` decimals when given. */
export function number(value, digits) {
  if (warm) return format(Intl.NumberFormat, digits === undefined ? { maximumFractionDigits: 3 } : { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
  const [whole, part] = (digits === undefined ? String(Math.round(value * 1000) / 1000) : value.toFixed(digits)).split(".");
  const [comma, point] = lang === "ru" ? ["\u00a0", ","] : [",", "."];
  const grouped = whole.replace(/\B(?=(\d{3})+(?!\d))/g, comma);
  return part === undefined ? grouped : grouped + point + part;
}

/** A value with its unit, as the language writes it (48%, but 48 % in Russian). */
export function withUnit(text, unit) {
  if (!unit) return text;
  return unit === "%" && lang !== "ru" ? text + "%" : text + "\u00a0" + unit;
}

export const percent = (value) => withUnit(number(Math.round(value)), "%");

/** The locale for numbers and times. */
export const localeOf = () => locale;

/** Time since then, in the largest unit that is not below one, "now" for less than a minute unless seconds count; blank until Intl is awake. */
export function ago(ms, secondsCount = false) {
  if (!warm) return "\u00a0";
  const seconds = Math.min((ms - Date.now()) / 1000, 0);
  const relative = format(Intl.RelativeTimeFormat, { numeric: "auto", style: "short" });
  for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (Math.abs(seconds) >= size) return relative.format(Math.trunc(seconds / size), unit);
  }
  return relative.format(secondsCount ? Math.trunc(seconds) : 0, "second");
}

const date = (when, options) => (warm ? format(Intl.DateTimeFormat, options).format(when) : "\u00a0");

const isToday = (when) => new Date(when).toDateString() === new Date().toDateString();
const asMoment = (when) => (isToday(when) ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" });

/** A moment as the reader writes it: the time alone when it is today. */
export const moment = (ms) => date(ms, asMoment(ms));

/** A time from one moment to another, with what they have in common once. */
export const during = (from, to) => (warm ? format(Intl.DateTimeFormat, asMoment(from)).formatRange(from, to) : "\u00a0");

// ---- words of states ----------------------------------------------------------

export const domainOf = (id) => id.slice(0, id.indexOf("."));
export const classOf = (e, st) => e.dc ?? st?.attributes.device_class ?? null;
export const unitOf = (e, st) => e.unit ?? st?.attributes.unit_of_measurement ?? "";
const humanise = (text) => (text ? text[0].toUpperCase() + text.slice(1).replaceAll("_", " ") : "");

/** Home Assistant's word for a state of a domain and device class. */
export function stateWord(domain, dc, state) {
  if (state === "unavailable" || state === "unknown") return t(state);
  const table = words.states;
  const found = table[`${domain}.${dc}`]?.[state] ?? table[domain]?.[state];
  return found ?? (state === "on" || state === "off" ? t(state) : humanise(state));
}

/** Home Assistant's word for an attribute's value, such as climate's hvac_action. */
export const attributeWord = (domain, attribute, value) =>
  words.states[`${domain}:${attribute}`]?.[value] ?? (value === "off" || value === "on" ? t(value) : humanise(String(value)));

/** The name of a device class, for an entity that has no name of its own. */
export const className = (domain, dc) => words.states.name?.[`${domain}.${dc}`];

export const isNumeric = (e, st) =>
  st.state !== "" && !Number.isNaN(Number(st.state)) && (unitOf(e, st) !== "" || "state_class" in st.attributes || e.prec !== undefined);

function numeric(e, st) {
  const value = Number(st.state);
  const digits = e.prec ?? Math.min(st.state.split(".")[1]?.length ?? 0, 3);
  return withUnit(number(value, digits), unitOf(e, st));
}

const temperature = (value) => number(value) + "°";
const joined = (...parts) => parts.filter(Boolean).join(" · ");
const moments = new Set(["button", "input_button", "scene", "event"]);

const clock = (time) => date(new Date("2000-01-01T" + time), { timeStyle: "short" });

const texts = {
  time: (e, st) => clock(st.state),
  input_datetime: (e, st) => (st.attributes.has_date ? (st.attributes.has_time ? moment(Date.parse(st.state.replace(" ", "T"))) : date(new Date(st.state + "T00:00"), { dateStyle: "medium" })) : clock(st.state)),
  light: (e, st, word) => (st.state === "on" && st.attributes.brightness ? percent(st.attributes.brightness / 2.55) : word),
  fan: (e, st, word) => (st.state === "on" && st.attributes.percentage ? percent(st.attributes.percentage) : word),
  cover: (e, st, word) => joined(word, partly(st.attributes.current_position)),
  valve: (e, st, word) => joined(word, partly(st.attributes.current_position)),
  climate(e, st, word) {
    const { hvac_action: action, current_temperature: now } = st.attributes;
    const doing = action && action !== "off" ? attributeWord("climate", "hvac_action", action) : word;
    return joined(doing, now != null && temperature(now));
  },
  water_heater: (e, st, word) => joined(word, st.attributes.current_temperature != null && temperature(st.attributes.current_temperature)),
  humidifier: (e, st, word) => joined(word, st.attributes.current_humidity != null && percent(st.attributes.current_humidity)),
  media_player: (e, st, word) => joined(word, st.attributes.media_title ?? (st.state === "off" ? null : st.attributes.source)),
  vacuum: (e, st, word) => joined(word, st.attributes.battery_level != null && percent(st.attributes.battery_level)),
  weather: (e, st, word) => joined(word, st.attributes.temperature != null && withUnit(number(st.attributes.temperature), st.attributes.temperature_unit)),
  update: (e, st, word) => (st.state === "on" ? joined(word, st.attributes.latest_version) : word),
  automation: (e, st, word) => joined(word, st.attributes.last_triggered && ago(Date.parse(st.attributes.last_triggered))),
  script: (e, st, word) => (st.state === "on" ? word : st.attributes.last_triggered ? ago(Date.parse(st.attributes.last_triggered)) : word),
  timer: (e, st, word) => joined(word, st.state === "paused" && st.attributes.remaining),
  todo: (e, st) => t("tasks", { n: Number(st.state) || 0 }),
  lock: (e, st, word) => word,
};

const partly = (position) => (position > 0 && position < 100 ? percent(position) : null);

/** The whole text of a state, as the row and the dialog show it. */
export function stateText(e, st) {
  if (!st) return "";
  const domain = domainOf(e.id);
  const dc = classOf(e, st);
  if (st.state === "unavailable") return t("unavailable");
  if (st.state === "unknown") return moments.has(domain) ? t("never") : t("unknown");
  if (moments.has(domain)) return Number.isNaN(Date.parse(st.state)) ? st.state : ago(Date.parse(st.state));
  if (dc === "timestamp") return Number.isNaN(Date.parse(st.state)) ? st.state : moment(Date.parse(st.state));
  if (dc === "date" || domain === "date") return date(new Date(st.state + "T00:00"), { dateStyle: "medium" });
  if (domain === "datetime") return moment(Date.parse(st.state));
  if (isNumeric(e, st)) return numeric(e, st);
  if (domain === "text" || domain === "input_text" || domain === "select" || domain === "input_select") return st.state;
  return texts[domain]?.(e, st, stateWord(domain, dc, st.state)) ?? stateWord(domain, dc, st.state);
}

// ---- icons --------------------------------------------------------------------

const domainIcons = {
  counter: "counter", timer: "timer-outline", input_number: "ray-vertex", input_button: "button-pointer",
  input_select: "format-list-bulleted", input_text: "form-textbox", input_datetime: "calendar-clock",
  sun: "white-balance-sunny", zone: "map-marker-radius", group: "google-circles-communities", lawn_mower: "robot-mower",
  conversation: "forum-outline", stt: "microphone-message", tts: "speaker-message", notify: "comment-alert",
  air_quality: "air-filter", image_processing: "image-filter-frames", plant: "flower", tag: "tag-outline",
};

/** Fetches the icons that integrations give to their own entities; says whether any came. */
export async function loadPlatformIcons(entities) {
  const names = [...new Set(entities.filter((e) => e.tk && e.platform && !(e.platform in platformIcons)).map((e) => e.platform))].sort();
  if (!names.length) return false;
  const table = await fetch("/icons/platform?names=" + names.join(",")).then((r) => r.json(), () => ({}));
  platformIcons = { ...platformIcons, ...Object.fromEntries(names.map((n) => [n, {}])), ...table };
  return true;
}

const ofState = (entry, state) => entry && (entry[1]?.[state] ?? entry[0]);

/** The icon's name, resolved in Home Assistant's own order. */
export function iconOf(e, st) {
  const own = e.icon ?? st?.attributes.icon;
  if (own) return own.replace(/^mdi:/, "");
  const domain = domainOf(e.id);
  const dc = classOf(e, st);
  return (
    ofState(platformIcons[e.platform]?.[domain]?.[e.tk], st?.state) ||
    special(domain, dc, st, e.unit) ||
    ofState(facts[domain]?.[dc], st?.state) ||
    ofState(facts[domain]?._, st?.state) ||
    domainIcons[domain] ||
    "bookmark"
  );
}

function special(domain, dc, st, unit) {
  if (domain === "sensor" && dc === "battery") return batteryIcon(Number(st?.state));
  if (domain === "sensor" && !dc && /^°[CF]$/.test(st?.attributes.unit_of_measurement ?? unit ?? "")) return "thermometer";
  if (domain === "sun" && st?.state === "below_horizon") return "weather-night";
  if (domain === "input_datetime" && st?.attributes.has_date === false) return "clock";
}

export function batteryIcon(level) {
  if (Number.isNaN(level)) return "battery-unknown";
  if (level <= 5) return "battery-alert-variant-outline";
  const tens = Math.round(level / 10) * 10;
  return tens >= 100 ? "battery" : `battery-${Math.max(tens, 10)}`;
}

// ---- colours ------------------------------------------------------------------

const off = new Set(["off", "closed", "locked", "disarmed", "idle", "standby", "docked", "not_home", "unavailable", "unknown", "paused", "below_horizon", ""]);
const amber = new Set(["light", "switch", "input_boolean", "automation", "script", "remote", "group", "siren", "timer"]);
const danger = new Set(["smoke", "gas", "carbon_monoxide", "moisture", "problem", "safety", "tamper", "battery", "heat", "cold"]);
const hvac = { heating: "orange", heat: "orange", preheating: "orange", cooling: "blue", cool: "blue", drying: "orange", dry: "orange", fan: "cyan", fan_only: "cyan", auto: "green", heat_cool: "amber" };

const colours = {
  cover: () => "purple",
  valve: () => "blue",
  fan: () => "cyan",
  media_player: () => "lightblue",
  humidifier: () => "blue",
  water_heater: () => "orange",
  vacuum: (st) => (st.state === "error" ? "red" : "green"),
  lawn_mower: (st) => (st.state === "error" ? "red" : "green"),
  update: () => "orange",
  person: () => "green",
  device_tracker: () => "green",
  sun: () => "amber",
  climate: (st) => hvac[st.attributes.hvac_action] ?? (st.attributes.hvac_action ? null : hvac[st.state]),
  alarm_control_panel: (st) => (st.state.startsWith("armed") ? "green" : st.state === "triggered" ? "red" : "orange"),
  binary_sensor: (st, dc) => (danger.has(dc) || dc === "lock" ? "red" : dc === "connectivity" || dc === "presence" || dc === "plug" || dc === "power" ? "green" : "amber"),
  sensor: (st, dc) => (dc === "battery" && Number(st.state) <= 20 ? "red" : null),
};

/** The colour's name for a state, or null where the state is plain ("off is grey"). */
export function colourOf(e, st) {
  if (!st) return null;
  const domain = domainOf(e.id);
  if (domain === "lock") return { locked: "green", unlocked: "red", open: "red", jammed: "red", locking: "orange", unlocking: "orange", opening: "orange" }[st.state] ?? null;
  if (off.has(st.state)) return null;
  if (amber.has(domain)) return "amber";
  return colours[domain]?.(st, classOf(e, st)) ?? null;
}

/** A lit lamp's own colour as [r, g, b], or null. */
export const lampColour = (st) => (st?.state === "on" ? (st.attributes.rgb_color ?? null) : null);

/** Dark or light ink, whichever stands out more on the colour. */
export function inkOn([r, g, b]) {
  const channel = (v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const luminance = 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  return luminance > 0.24 ? "#1d1a14" : "#ffffff";
}

export const isOn = (st) => st !== undefined && !off.has(st.state);
export const isGone = (st) => st === undefined || st.state === "unavailable";
