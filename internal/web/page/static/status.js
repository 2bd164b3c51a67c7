// The status page: whether all is well, what is connected, what waits, and how
// writing went in the last 24 hours, in words for people who run no databases.
import { html, svg, nothing } from "lit-html";
import { status, link, outline, ask } from "./home.js";
import { icon } from "./ui.js";
import { t, ago, moment, number, percent } from "./entity.js";

const ASK_EVERY = 5000;

// Nothing is drawn before its sheet is here, so that nothing jumps; without it the page is plain.
await new Promise((done) => {
  const sheet = Object.assign(document.createElement("link"), { rel: "stylesheet", href: new URL("./status.css", import.meta.url).href, onload: done, onerror: done });
  document.head.append(sheet);
});

let health = null; // the answer to concord/health

/** The view of /status; `draw` redraws it. */
export function statusView(draw) {
  const refresh = () => document.hidden || ask({ type: "concord/health" }).then((answer) => (health = answer), () => {}).finally(draw);
  refresh();
  const timer = setInterval(refresh, ASK_EVERY);
  return { title: t("status"), statusChanged: draw, stop: () => clearInterval(timer), draw: page };
}

// ---- what Concord stands on ----------------------------------------------------------

// How much there is in the home.
function contents() {
  const n = [...outline.areas.values(), outline.unassigned].reduce((sum, a) => sum + (a?.s?.n ?? 0), 0);
  return `${t("areas")}: ${number(outline.areas.size)} · ${t("entities_n", { n })}`;
}

const heading = (name, text) => html`<h2>${icon(name)}${text}</h2>`;

function fact(name, title, value, notes, bad) {
  return html`<article class="card fact">${heading(name, title)}<span class="value ${bad ? "bad" : ""}">${value}</span>
    ${notes.filter(Boolean).map((n) => html`<small>${n}</small>`)}</article>`;
}

const since = (time) => time && t("since", { time: moment(time) });
const software = (name, version) => version && `${name} ${version}`;

function thisHome() {
  const age = status.data_age_ms === undefined ? null : ago(status.at - status.data_age_ms, status.link !== "connected");
  const title = otherHomes().length ? outline.home.name : t("status_home");
  return fact("home-assistant", title, t("link_" + status.link), [since(status.since), age && t("data_age", { age }), status.error, outline.loaded && contents(), software("Home Assistant", status.ha_version)], status.link !== "connected");
}

const otherHomes = () => (health?.homes ?? []).filter((h) => outline.home && h.id !== outline.home.id);

const otherHome = (h) => fact("home-assistant", h.name, t("link_" + h.link),
  [since(h.since), h.last_message && t("data_age", { age: ago(h.last_message) }), h.error, t("entities_n", { n: h.entities }), software("Home Assistant", h.ha_version)], h.link !== "connected");

function parts() {
  const { database = {}, spool = {} } = status;
  return html`<div class="facts">
    ${fact("lan-connect", t("status_server"), t(link.online ? "link_connected" : "link_disconnected"), [since(link.since), software("Concord", status.version)], !link.online)}
    ${thisHome()}${otherHomes().map(otherHome)}
    ${fact("database-outline", t("status_database"), t(database.up === false ? "down" : "up"), [since(database.since), t("database_note"), database.error, software("PostgreSQL", health?.server?.version)], database.up === false)}
    ${fact("tray-full", t("status_spool"), t(spool.up === false ? "down" : "up"), [t("waiting_n", { n: spool.pending ?? 0 }), t("spool_note"), spool.error], spool.up === false)}
    ${health ? kept() : nothing}
  </div>`;
}

// What was missing from the rows and is there now, and what is missing: times, and records.
function kept() {
  const count = (n) => (n === undefined ? "–" : number(n));
  return [
    fact("history", t("filled"), count(health.server?.filled), [t("filled_note"), health.server?.asking > 0 && t("asking", { n: health.server.asking })]),
    fact("timeline-question-outline", t("gaps"), count(health.server?.gaps), [t("gaps_note")]),
    fact("package-variant-remove", t("quarantine"), count(health.server?.quarantined), [t("quarantine_note")]),
  ];
}

// ---- conflicts ---------------------------------------------------------------------------

const sumOf = (list, key) => list.reduce((sum, p) => sum + p[key], 0);

function windowName(ms) {
  return ms % 3600e3 === 0 ? t("last_hours", { n: ms / 3600e3 }) : t("last_minutes", { n: Math.round(ms / 60e3) });
}

const share = (part, whole) => (part && whole ? html`<small>${part < whole / 100 ? "<\u00a0" + percent(1) : percent((100 * part) / whole)}</small>` : nothing);

function conflicts() {
  const { now, day, endpoints } = health;
  const all = { transactions: sumOf(day, "transactions"), conflicted: sumOf(day, "conflicted"), lost: sumOf(day, "lost"), retries: sumOf(endpoints, "retries") };
  const row = (word, key, of) => html`<tr><th scope="row">${t(word)}<small>${t(word + "_note")}</small></th>
    ${[now, all].map((p) => html`<td class=${key === "lost" && p.lost ? "bad" : ""}>${number(p[key])}${of ? share(p[key], p.transactions) : nothing}</td>`)}</tr>`;
  return html`<article class="card part">${heading("call-merge", t("conflicts"))}
    <div class="value ${now.status === "unhealthy" || now.lost ? "bad" : ""}">${t("conflicts_" + now.status)}</div>
    <p class="say">${t("conflicts_note")} ${now.last_failure ? t("conflicts_last", { age: ago(now.last_failure, true) }) : nothing}</p>
    <table class="figures"><thead><tr><th></th><th scope="col">${windowName(now.window_ms)}</th><th scope="col">${t("last_hours", { n: 24 })}</th></tr></thead>
      <tbody>${row("writes", "transactions")}${row("collided", "conflicted", true)}${row("repeats", "retries")}${row("lost", "lost")}</tbody></table>
    ${dayCurve(day)}</article>`;
}

const BAR = 3; // points of the server in one bar: half an hour

// A day as bars, the newest at the right; a bar's height is how many writes collided.
function dayCurve(day) {
  if (!sumOf(day, "conflicted")) return html`<p class="say day">${t("day_without")}</p>`;
  const bars = [];
  for (let end = day.length; end > 0; end -= BAR) bars.unshift(day.slice(Math.max(end - BAR, 0), end));
  const top = Math.max(...bars.map((b) => sumOf(b, "conflicted")));
  const bar = (b, i) => {
    const [all, lost] = [sumOf(b, "conflicted"), sumOf(b, "lost")];
    const height = (n) => (n ? Math.max((100 * n) / top, 3) : 0);
    return svg`<g><title>${moment(b[0].at)}: ${number(all)}</title>
      <rect class="saved" x=${i + 0.12} y=${100 - height(all)} width=".76" height=${height(all)}></rect>
      <rect class="lost" x=${i + 0.12} y=${100 - height(lost)} width=".76" height=${height(lost)}></rect></g>`;
  };
  return html`<figure class="day"><figcaption>${t("day_of", { n: top })} <br /><span class="key"></span>${t("day_saved")}<span class="key lost"></span>${t("day_lost")}</figcaption>
    <svg role="img" aria-label=${t("conflicts")} viewBox="0 0 ${bars.length} 100" preserveAspectRatio="none">${bars.map(bar)}</svg>
    <div class="scale" aria-hidden="true"><span>${t("hours_back", { n: 24 })}</span><span>${t("hours_back", { n: 12 })}</span><span>${ago(Date.now())}</span></div></figure>`;
}

// ---- how long writing takes --------------------------------------------------------------

const took = (ms) => (ms >= 1000 ? t("seconds_short", { n: Math.round(ms / 100) / 10 }) : t("ms_short", { n: ms < 10 ? Math.round(ms * 10) / 10 : Math.round(ms) }));

function work() {
  const row = (e) => html`<tr data-work=${e.name}><th scope="row">${t("work_" + e.name)}</th><td>${number(e.transactions)}</td><td>${took(e.mean_ms)}</td><td>${took(e.slowest_ms)}</td></tr>`;
  return html`<article class="card part">${heading("timer-sand", t("slowest"))}<p class="say">${t("slowest_note")}</p>
    <table class="figures"><thead><tr><th></th><th scope="col">${t("times")}</th><th scope="col">${t("usual")}</th><th scope="col">${t("longest")}</th></tr></thead>
      <tbody>${health.endpoints.map(row)}</tbody></table></article>`;
}

// ---- the page ------------------------------------------------------------------------------

function verdict() {
  const waits = !outline.loaded && link.online;
  const bad = !link.online || (!waits && status.link !== "connected") || status.database?.up === false || status.spool?.up === false ||
    otherHomes().some((h) => h.link !== "connected") || health?.now.status === "unhealthy" || health?.now.lost > 0;
  return html`<div class="card verdict ${bad ? "bad" : ""}" role="status">${icon(bad ? "alert-circle" : "check-circle")}<span>${t(bad ? "verdict_bad" : "verdict_good")}</span></div>`;
}

function page() {
  return html`<header class="head"><a class="back" href="/" aria-label=${t("overview")}>${icon("arrow-left")}</a><h1>${t("status")}</h1></header>
    ${verdict()}${parts()}
    ${health ? html`<div class="pairs">${conflicts()}${work()}</div>` : nothing}`;
}
