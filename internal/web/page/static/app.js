// The frame of the page: which screen is shown, the navigation around it, the
// banner that says what is wrong, and the switches for theme and language.
import { html, render, nothing } from "lit-html";
import { first, connect, follow, onLink, link, outline, status, floorsWithAreas, touchAll, ask } from "./home.js";
import { live, icon, onIcons } from "./ui.js";
import { overview, area, areaIcon, reading } from "./views.js";
import { loadLanguage, warmUp, t, ago, moment, language } from "./entity.js";

const at = (id) => document.getElementById(id);
const main = at("main");
let view = { title: "", draw: () => nothing, stop() {} };

// ---- drawing in turns ---------------------------------------------------------------

const parts = { main: draw, chrome: drawChrome, banner: drawBanner };
const due = new Set();
let frame = 0;
let speaks = false; // nothing is drawn before there are words

// Draws parts of the page in the next frame: the screen itself first, what stands
// around it when that is visible.
function later(...names) {
  names.forEach((name) => due.add(name));
  if (speaks && !frame) frame = requestAnimationFrame(work);
}

function work() {
  frame = 0;
  if (view.waits && performance.now() < PATIENCE) return setTimeout(later, 50);
  if (due.delete("main")) parts.main();
  if (due.size) afterPaint(drawRest);
}

const PATIENCE = 2500; // ms from the start that an empty screen waits for its first content
const afterPaint = (fn) => requestAnimationFrame(() => setTimeout(fn, 0));

function drawRest() {
  for (const name of [...due]) if (name !== "main" && due.delete(name)) parts[name]();
}

// ---- screens --------------------------------------------------------------------------

// The width comes from the observer: asking the element for it would lay the page out once more.
let width = boot.width < 820 || new URLSearchParams(location.search).has("kiosk") ? boot.width - 24 : boot.width - 290;
const columns = () => Math.max(1, Math.min(4, Math.floor((width + 12) / 310)));
const areaColumns = () => Math.max(2, Math.floor((width + 12) / 242));
let drawnColumns = 0;
let drawnAreas = 0;

function draw() {
  drawnColumns = columns();
  drawnAreas = areaColumns();
  render(view.draw(drawnColumns, drawnAreas), main);
  if (view.steps?.length && !view.waits) afterPaint(() => (view.steps.shift(), later("main")));
  document.title = view.title ? `${view.title} · Concord` : "Concord";
}

async function show() {
  const [, kind, id] = location.pathname.split("/").map(decodeURIComponent);
  view.stop();
  if (drawnColumns) main.scrollTop = 0; // not at the start: it would lay the empty page out
  if (kind === "area") view = area(id, () => later("main"));
  else if (kind === "status") view = (await import("./status.js")).statusView(() => later("main"));
  else if (kind === "entity") {
    view = overview();
    openEntity(id, { closed: () => go("/", { replace: true }) });
  } else view = overview();
  later("main", "chrome", "banner");
}

/** Goes to another address of the page without loading it anew. */
export function go(href, { replace = false } = {}) {
  const url = new URL(href, location.origin);
  for (const [key, value] of new URLSearchParams(location.search)) {
    if (key === "kiosk" || key === "home") url.searchParams.set(key, value);
  }
  history[replace ? "replaceState" : "pushState"]({}, "", url);
  show();
}

async function openEntity(id, options) {
  const { openDialog } = await import("./dialog.js");
  openDialog(id, { ...options, redraw: () => (location.pathname === "/" && show()) });
}

async function openSearch() {
  (await import("./search.js")).openSearch({ go, openEntity });
}

// ---- navigation -----------------------------------------------------------------------

function navItem(href, name, text, extra = nothing) {
  const here = location.pathname === href;
  return html`<a class="item" href=${href} aria-current=${here ? "page" : nothing}>${icon(name)}<span class="t">${text}</span>${extra}</a>`;
}

const areaItem = (a) =>
  navItem("/area/" + a.area_id, areaIcon(a), a.name, live("@" + a.area_id, () => {
    const s = (outline.areas.get(a.area_id) ?? a).s;
    return html`<span class="mini">${s.lights?.[0] ? html`<span class="spot" title=${t("lights_on", { n: s.lights[0] })}></span>` : nothing}${reading(s.temp) ?? nothing}</span>`;
  }));

const areaList = () => floorsWithAreas().map((f) => html`<div class="floor">${f.name ?? t("other_areas")}</div>${f.areas.map(areaItem)}`);

const settings = () => html`<div class="tools">
  <button class="btn square" aria-label=${t("theme_" + theme())} title=${t("theme_" + theme())} @click=${nextTheme}>${icon({ auto: "theme-light-dark", light: "weather-sunny", dark: "weather-night" }[theme()])}</button>
  <label class="choice"><span class="sr">${t("language")}</span><select @change=${(ev) => setLanguage(ev.target.value)}>
    ${[["en", "English"], ["zh-Hant", "繁體中文"], ["ru", "русский"]].map(([v, text]) => html`<option value=${v} .selected=${v === language()}>${text}</option>`)}</select>${icon("chevron-down")}</label>
  <button class="btn square" aria-label=${t("log_out")} title=${t("log_out")} @click=${logOut}>${icon("logout")}</button></div>`;

// With several homes their names are a choice; each tab may show another one.
const homeChoice = () => html`<label class="choice homes"><span class="sr">${t("home")}</span><select @change=${(ev) => location.assign("/?home=" + ev.target.value)}>
  ${outline.homes.map((h) => html`<option value=${h.id} .selected=${h.id === outline.home?.id}>${h.name}</option>`)}</select>${icon("chevron-down")}</label>`;
const severalHomes = () => (outline.homes?.length ?? 0) > 1;

function drawChrome() {
  at("side").ariaLabel = t("areas");
  at("tabs").ariaLabel = t("more_menu");
  document.querySelector(".skip").textContent = t("skip");
  render(html`<div class="brand"><span class="mark" aria-hidden="true">${mark}</span>${severalHomes() ? homeChoice() : html`<span class="t">${outline.home?.name ?? "Concord"}</span>`}</div>
    <button class="find" @click=${openSearch}>${icon("magnify")}<span class="t">${t("search")}</span><kbd>/</kbd></button>
    <div class="scroll">${navItem("/", "view-dashboard-outline", t("overview"))}${areaList()}
      ${outline.unassigned?.entities ? navItem("/area/unassigned", "shape-outline", t("no_area")) : nothing}</div>
    <div class="foot">${navItem("/status", "heart-pulse", t("status"))}${settings()}</div>`, at("side"));
  const tab = (name, text, on, click) => html`<button class="tab" aria-current=${on ? "page" : nothing} @click=${click}>${icon(name)}<span>${text}</span></button>`;
  const p = location.pathname;
  render(html`${tab("view-dashboard-outline", t("overview"), p === "/", () => go("/"))}
    ${tab("floor-plan", t("areas"), p.startsWith("/area/"), () => openSheet("areas"))}
    ${tab("magnify", t("search"), false, openSearch)}
    ${tab("dots-horizontal", t("more_menu"), p === "/status", () => openSheet("more"))}`, at("tabs"));
  if (at("sheet").open) drawSheet();
}

const mark = html`<svg viewBox="0 0 24 24" class="i"><path d="M12 2.6 2.8 10a1 1 0 0 0-.4.8v9.1c0 .8.7 1.5 1.5 1.5h5V16a3.1 3.1 0 0 1 6.2 0v5.4h5c.8 0 1.5-.7 1.5-1.5v-9.1a1 1 0 0 0-.4-.8z"></path></svg>`;

let sheetKind = "areas";
function openSheet(kind) {
  sheetKind = kind;
  drawSheet();
  at("sheet").showModal();
}

function drawSheet() {
  render(html`<div class="sheet-in"><div class="grab"></div>${sheetKind === "areas" ? areaList() : html`${severalHomes() ? homeChoice() : nothing}${navItem("/status", "heart-pulse", t("status"))}${settings()}`}</div>`, at("sheet"));
}

// ---- banner -----------------------------------------------------------------------------

const oldest = () => (status.data_age_ms ?? 0) + (Date.now() - status.at);

function trouble() {
  if (!link.online && link.conn) return ["lan-disconnect", t("lost_server", { age: ago(link.since, true) })];
  if (link.conn === null && Date.now() - link.since > 2500) return ["lan-disconnect", t("no_server")];
  if (outline.loaded && status.link === "auth_failed") return ["key-alert", t("home_auth_failed")];
  if (outline.loaded && status.link !== "connected") return ["home-alert-outline", t("lost_home", { age: ago(Date.now() - oldest(), true), error: status.error ?? "" })];
  if (status.database?.up === false) return ["database-alert-outline", t("lost_database", { time: moment(status.database.since ?? status.at) })];
  return null;
}

function drawBanner() {
  const found = trouble();
  render(found ? html`<div class="banner" role="status">${icon(found[0])}<span>${found[1]}</span><a href="/status">${t("details")}</a></div>` : nothing, at("banner"));
}

// ---- theme, language, session ----------------------------------------------------------

const theme = () => localStorage.getItem("theme") ?? "auto";

function nextTheme() {
  localStorage.setItem("theme", { auto: "light", light: "dark", dark: "auto" }[theme()]);
  boot.applyTheme();
  drawChrome();
}

async function setLanguage(code) {
  localStorage.setItem("lang", code);
  document.cookie = `lang=${code};path=/;max-age=31536000;samesite=lax`; // the server sends its words along
  await loadLanguage(code);
  redrawAll();
}

const redrawAll = () => (later("main", "chrome", "banner"), touchAll());

async function logOut() {
  await fetch("/auth/logout", { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" });
  location.assign("/login");
}

// ---- input --------------------------------------------------------------------------------

document.addEventListener("click", (ev) => {
  const a = ev.target.closest?.("a[href^='/']");
  if (!a || ev.defaultPrevented || ev.button || ev.metaKey || ev.ctrlKey || ev.shiftKey) return;
  ev.preventDefault();
  if (a.dataset.open) return openEntity(a.dataset.open);
  at("sheet").close();
  go(a.getAttribute("href"));
});
document.addEventListener("keydown", (ev) => {
  const typing = /^(input|select|textarea)$/i.test(ev.target.tagName) && ev.target.type !== "range";
  if ((ev.key === "/" && !typing && !ev.ctrlKey && !ev.metaKey) || (ev.key === "k" && (ev.ctrlKey || ev.metaKey))) {
    ev.preventDefault();
    openSearch();
  }
});
at("sheet").addEventListener("click", (ev) => ev.target === at("sheet") && at("sheet").close());
addEventListener("popstate", show);

// A camera that can be seen is asked for a new picture now and then.
function refreshCameras() {
  if (document.hidden || !link.online) return;
  for (const img of document.querySelectorAll("img.camera")) {
    const { top, bottom } = img.getBoundingClientRect();
    if (bottom > 0 && top < innerHeight && img.complete) img.src = img.dataset.src + "&at=" + Date.now();
  }
}

// Calls fn when the screen has its first content and the browser is at leisure.
function afterFirstScreen(fn) {
  if (view.waits) return setTimeout(afterFirstScreen, 100, fn);
  window.requestIdleCallback ? requestIdleCallback(fn, { timeout: 500 }) : setTimeout(fn, 200);
}

// The manifest, and the icons that it names, are not loaded before the first screen stands.
function linkManifest() {
  document.head.append(Object.assign(document.createElement("link"), { rel: "manifest", href: "/manifest.webmanifest" }));
}

// ---- start ----------------------------------------------------------------------------------

async function start() {
  if (location.pathname === "/login") {
    await loadLanguage(boot.lang);
    return (await import("./login.js")).login(main);
  }
  document.body.classList.toggle("kiosk", new URLSearchParams(location.search).has("kiosk"));
  const wantedHome = new URLSearchParams(location.search).get("home");
  if (wantedHome) link.homeId = Number(wantedHome);
  if (first.screen) afterPaint(connect);
  else connect();
  if (wantedHome) ask({ type: "concord/select_home", home_id: link.homeId }).catch(() => {});
  show();
  follow(() => later("main", "chrome", "banner"), () => (later("banner"), view.statusChanged?.()));
  await loadLanguage(boot.lang);
  speaks = true;
  if (first.screen) work();
  else later("main");
  afterFirstScreen(() => (warmUp(), redrawAll(), linkManifest()));
  onIcons(redrawAll);
  onLink(drawBanner);
  new ResizeObserver(([entry]) => {
    width = entry.contentRect.width;
    if ((columns() !== drawnColumns || areaColumns() !== drawnAreas) && drawnColumns) later("main");
  }).observe(main);
  setInterval(drawBanner, 1000);
  setInterval(touchAll, 60_000);
  setInterval(refreshCameras, 10_000);
}

start();
