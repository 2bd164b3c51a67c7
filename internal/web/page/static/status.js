// The status page: what is connected, how old the data is, what waits.
import { html } from "lit-html";
import { status, link, outline } from "./home.js";
import { icon } from "./ui.js";
import { t, ago, moment, number } from "./entity.js";

/** The view of /status; `draw` redraws it. */
export function statusView(draw) {
  const timer = setInterval(draw, 5000);
  return { title: t("status"), statusChanged: draw, stop: () => clearInterval(timer), draw: page };
}

// How much there is in the home.
function contents() {
  const n = [...outline.areas.values(), outline.unassigned].reduce((sum, a) => sum + (a?.s?.n ?? 0), 0);
  return `${t("areas")}: ${number(outline.areas.size)} · ${t("entities_n", { n })}`;
}

function fact(name, title, value, notes, bad) {
  return html`<article class="card fact"><h2>${icon(name)}${title}</h2><span class="value ${bad ? "bad" : ""}">${value}</span>
    ${notes.filter(Boolean).map((n) => html`<small>${n}</small>`)}</article>`;
}

function page() {
  const { database = {}, spool = {} } = status;
  const age = status.data_age_ms === undefined ? null : ago(status.at - status.data_age_ms, status.link !== "connected");
  return html`<header class="head"><a class="back" href="/" aria-label=${t("overview")}>${icon("arrow-left")}</a><h1>${t("status")}</h1></header>
    <div class="facts">
      ${fact("lan-connect", t("status_server"), t(link.online ? "link_connected" : "link_disconnected"), [t("since", { time: moment(link.since) }), status.version && `Concord ${status.version}`], !link.online)}
      ${fact("home-assistant", t("status_home"), t("link_" + status.link), [status.since && t("since", { time: moment(status.since) }), age && t("data_age", { age }), status.error, outline.loaded && contents(), status.ha_version && `Home Assistant ${status.ha_version}`], status.link !== "connected")}
      ${fact("database-outline", t("status_database"), t(database.up === false ? "down" : "up"), [database.since && t("since", { time: moment(database.since) }), database.error], database.up === false)}
      ${fact("tray-full", t("status_spool"), t(spool.up === false ? "down" : "up"), [t("waiting_n", { n: spool.pending ?? 0 }), t("spool_note"), spool.error], spool.up === false)}
    </div>`;
}
