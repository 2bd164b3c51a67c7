// The search overlay: areas at once, entities from the server, usable in place.
import { html, render, nothing } from "lit-html";
import { ask, outline, watch } from "./home.js";
import { icon } from "./ui.js";
import { row } from "./controls.js";
import { areaIcon } from "./views.js";
import { t } from "./entity.js";

const box = document.getElementById("palette");
let query = "";
let found = null;
let unwatch = () => {};
let turn = 0;
let waiting = 0;

/** Opens the overlay with the cursor in it. */
export function openSearch() {
  if (box.open) return;
  query = "";
  found = null;
  draw();
  box.showModal();
  box.querySelector("input").focus();
}

box.addEventListener("close", () => (unwatch(), (unwatch = () => {})));
box.addEventListener("click", (ev) => (ev.target === box || ev.target.closest("a[href]")) && box.close());
box.addEventListener("keydown", (ev) => {
  if (ev.key === "Escape") return ev.preventDefault(), box.close(); // a search field would only empty itself
  if (ev.key !== "ArrowDown" && ev.key !== "ArrowUp") return;
  const stops = [box.querySelector("input"), ...box.querySelectorAll(".found a")];
  const next = stops.indexOf(document.activeElement) + (ev.key === "ArrowDown" ? 1 : -1);
  if (/^(select)$/i.test(ev.target.tagName) || ev.target.type === "range") return;
  ev.preventDefault();
  stops[Math.min(Math.max(next, 0), stops.length - 1)].focus();
});

function type(ev) {
  query = ev.target.value;
  clearTimeout(waiting);
  waiting = setTimeout(lookUp, 120);
  draw();
}

async function lookUp() {
  const mine = ++turn;
  const text = query.trim();
  const answer = text ? await ask({ type: "concord/search", query: text, limit: 30 }).catch(() => null) : null;
  if (mine !== turn || !box.open) return;
  found = answer && { ...answer, entities: answer.entities ?? [] };
  unwatch();
  unwatch = watch((found?.entities ?? []).map((e) => e.id));
  draw();
}

function enter(ev) {
  if (ev.key === "Enter") box.querySelector(".found a")?.click();
}

function draw() {
  const text = query.trim().toLowerCase();
  const areas = [...outline.areas.values()].filter((a) => !text || a.name.toLowerCase().includes(text)).slice(0, text ? 6 : 40);
  render(html`<div class="query">${icon("magnify")}<input type="search" aria-label=${t("search")} placeholder=${t("search_hint")} .value=${query} @input=${type} @keydown=${enter} autocomplete="off" />
      <button class="btn square" aria-label=${t("close")} @click=${() => box.close()}>${icon("close")}</button></div>
    <div class="found">
      ${areas.length ? html`<div class="lab">${t("areas")}</div>${areas.map((a) => html`<a class="item" href="/area/${a.area_id}">${icon(areaIcon(a))}<span class="t">${a.name}</span></a>`)}` : nothing}
      ${found?.entities.length ? html`<div class="lab">${t("entities")}</div>${found.entities.map((e) => row({ ...e, label: e.full_name || e.name, where: e.area }))}` : nothing}
      ${found && found.total > found.entities.length ? html`<p class="note">${t("more_found", { n: found.total - found.entities.length })}</p>` : nothing}
      ${found && !found.entities.length && !areas.length ? html`<p class="note">${t("nothing_found", { query })}</p>` : nothing}
      ${reasons()}
    </div>`, box);
}

// "Why is it not here?": matches that no screen shows, with the reason.
function reasons() {
  const list = Object.entries(found?.reasons ?? {});
  if (!list.length) return nothing;
  return html`<div class="lab">${t("not_shown")}</div>${list.slice(0, 10).map(([id, why]) => html`<p class="note">${id} · ${t("why_" + why)}</p>`)}`;
}
