// The link to Concord: one WebSocket, the states that the screen shows, and the
// actions that wait for their effect. Nothing here knows about markup.
import { Connection } from "home-assistant-js-websocket/connection.js";
import { ERR_CANNOT_CONNECT, ERR_CONNECTION_LOST, ERR_INVALID_AUTH } from "home-assistant-js-websocket/errors.js";

/** What came with the page itself: the language's words, and what its first screen shows. */
export const first = JSON.parse(document.getElementById("first").textContent);

const PING_EVERY = 5000; // a link silent that long is asked; PING_WAIT later it counts as lost
const PING_WAIT = 3000;
const ANSWER_WAIT = 8000; // how long a control waits for its entity's new state

export const states = new Map(); // entity id → {state, attributes, lc, lu}
export const pending = new Map(); // entity id → {target, error}
const listeners = new Map(); // entity id → Set of callbacks
const watched = new Map(); // entity id → number of watches
const dirty = new Set();
let frame = 0;

/** Calls fn in the next frame in which the entity changed; returns the way out. */
export function listen(id, fn) {
  let set = listeners.get(id);
  if (!set) listeners.set(id, (set = new Set()));
  set.add(fn);
  return () => set.delete(fn) && set.size === 0 && listeners.delete(id);
}

/** Marks an entity as changed; all changes of one frame are drawn together. */
export function touch(id) {
  dirty.add(id);
  frame ||= requestAnimationFrame(flush);
}

/** Redraws every listener, for changes that concern all of them (language, icons, time). */
export function touchAll() {
  for (const id of listeners.keys()) touch(id);
}

function flush() {
  frame = 0;
  const ids = [...dirty];
  dirty.clear();
  for (const id of ids) for (const fn of [...(listeners.get(id) ?? [])]) fn();
}

// ---- link -----------------------------------------------------------------

export const link = { conn: null, online: false, since: Date.now(), homeId: undefined };
const linkListeners = new Set();
let ready;
const whenReady = new Promise((resolve) => (ready = resolve));

/** Tells fn about every gain and loss of the WebSocket to Concord. */
export function onLink(fn) {
  linkListeners.add(fn);
  return () => linkListeners.delete(fn);
}

function setOnline(online) {
  if (online === link.online) return;
  link.online = online;
  link.since = Date.now();
  for (const fn of linkListeners) fn(link);
}

// Opens a socket and signs in; rejects with the official client's codes.
const dial = () => new Promise((resolve, reject) => {
  const socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/api/websocket");
  const late = setTimeout(() => socket.close(), 10000);
  const listener = new AbortController();
  const on = (type, fn) => socket.addEventListener(type, fn, { signal: listener.signal });
  const end = (code) => (clearTimeout(late), listener.abort(), reject(code));
  on("open", () => socket.send('{"type":"auth","access_token":"session"}'));
  on("close", () => end(ERR_CANNOT_CONNECT));
  on("message", ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "auth_invalid") return socket.close(), end(ERR_INVALID_AUTH);
    if (message.type !== "auth_ok") return;
    clearTimeout(late);
    listener.abort();
    socket.haVersion = message.ha_version;
    socket.send('{"id":1,"type":"supported_features","features":{"coalesce_messages":1}}');
    resolve(socket);
  });
});

const createSocket = () => dial().catch(async (error) => {
  await refused(error);
  throw error;
});

/** Opens the link and keeps it for as long as the page lives. */
export async function connect() {
  const options = { setupRetry: 0, createSocket };
  for (let tries = 0; !link.conn; tries++) {
    try {
      link.conn = new Connection(await createSocket(options), options);
    } catch {
      await new Promise((r) => setTimeout(r, Math.min(1000 + 1000 * tries, 5000)));
    }
  }
  link.conn.addEventListener("ready", () => (hear(), setOnline(true)));
  link.conn.addEventListener("disconnected", () => setOnline(false));
  hear();
  setOnline(true);
  ready();
  setInterval(() => Date.now() - heard >= PING_EVERY - 500 && heartbeat(), PING_EVERY / 5);
  for (const [target, type] of [[document, "visibilitychange"], [window, "online"]]) {
    target.addEventListener(type, () => document.visibilityState === "visible" && heartbeat());
  }
}

// A refused upgrade looks like any network failure; only the page's own address
// says whether the session is over (it then redirects to the login page).
async function refused(error) {
  let over = error === ERR_INVALID_AUTH;
  if (!over) {
    const answer = await fetch("/", { redirect: "manual" }).catch(() => null);
    over = answer?.type === "opaqueredirect";
  }
  if (over) location.assign("/login?next=" + encodeURIComponent(location.pathname + location.search));
}

let heard = 0; // when the server last said anything
function hear() {
  heard = Date.now();
  link.conn.socket.addEventListener("message", () => (heard = Date.now()));
}

let beating = false;
async function heartbeat() {
  if (!link.conn.connected) {
    if (link.online) link.conn.reconnect(true);
    return;
  }
  if (beating) return;
  beating = true;
  const late = setTimeout(() => {
    setOnline(false);
    link.conn.reconnect(true);
  }, PING_WAIT);
  await link.conn.ping().then(() => setOnline(true), () => {});
  clearTimeout(late);
  beating = false;
}

const withHome = (message) => (link.homeId === undefined ? message : { home_id: link.homeId, ...message });

/** The address of an entity's picture; `version` tells a new picture from an old one. */
export function pictureOf(id, version) {
  const query = new URLSearchParams({ ...(link.homeId === undefined ? {} : { home_id: link.homeId }), ...(version ? { v: version } : {}) });
  return `/api/entity_picture/${id}?${query}`;
}

/** Sends one command and answers its result; rejects with {code, message}. */
export async function ask(message) {
  await whenReady;
  return link.conn.sendMessagePromise(withHome(message));
}

/** Subscribes to a command's events, again after each reconnect; returns the way out. */
export function subscribe(message, onEvent, onError) {
  let stop = null; // ends the subscription of the present connection
  let stopped = false;
  // Not left to the connection: ids begin anew with each socket, and ending a subscription that it has not yet renewed
  // would end another that has the same id now.
  const begin = () => {
    stop = null;
    link.conn
      .subscribeMessage((event) => stopped || onEvent(event), withHome(message), { resubscribe: false })
      .then((fn) => (stopped ? fn() : (stop = fn)))
      .catch((error) => stopped || error === ERR_CONNECTION_LOST || onError?.(error));
  };
  const lost = () => (stop = null);
  whenReady.then(() => {
    if (stopped) return;
    link.conn.addEventListener("ready", begin);
    link.conn.addEventListener("disconnected", lost);
    begin();
  });
  return () => {
    stopped = true;
    link.conn?.removeEventListener("ready", begin);
    link.conn?.removeEventListener("disconnected", lost);
    stop?.()?.catch?.(() => {});
  };
}

// ---- states ---------------------------------------------------------------

/** Keeps the states of these entities fresh until the returned function is called; onFirst is called when they are here. */
export function watch(ids, onFirst = () => {}) {
  if (ids.length === 0) return onFirst(), () => {};
  for (const id of ids) watched.set(id, (watched.get(id) ?? 0) + 1);
  let tell = () => ((tell = () => {}), onFirst());
  const stop = subscribe({ type: "subscribe_entities", entity_ids: ids }, (event) => (applyCompressed(event), tell()));
  return () => {
    stop();
    for (const id of ids) {
      const left = watched.get(id) - 1;
      if (left > 0) watched.set(id, left);
      else watched.delete(id), states.delete(id);
    }
  };
}

/** What an area's view begins with, once, when it came with the page: {event, known}. */
export function takeFirstArea(id) {
  const { area, known, states: event } = first.screen ?? {};
  if (area?.area.area_id !== id) return null;
  delete first.screen.area;
  applyCompressed(event);
  return { event: area, known };
}

function applyCompressed(event) {
  for (const id in event.a) {
    const { s, a, lc, lu } = event.a[id];
    put(id, { state: s, attributes: a ?? {}, lc, lu: lu ?? lc });
  }
  for (const id in event.c) {
    const old = states.get(id);
    if (old) put(id, applyDiff(old, event.c[id]));
  }
  for (const id of event.r ?? []) {
    states.delete(id);
    touch(id);
  }
}

function applyDiff(old, diff) {
  const plus = diff["+"] ?? {};
  const attributes = { ...old.attributes, ...plus.a };
  for (const key of diff["-"]?.a ?? []) delete attributes[key];
  const lc = plus.lc ?? old.lc;
  return { state: plus.s ?? old.state, attributes, lc, lu: plus.lc ?? plus.lu ?? old.lu };
}

function put(id, state) {
  const old = states.get(id);
  if (old && old.lu === state.lu && old.lc === state.lc && old.state === state.state) return; // came again
  states.set(id, state);
  const p = pending.get(id);
  if (p && !p.error) (p.want ? p.want(state) : p.sent) ? settle(id, p) : (p.moved = true);
  touch(id);
}

// ---- actions --------------------------------------------------------------

/**
 * Calls a service for one entity and shows it as waiting until the entity's own
 * state says so. `want` tells a wanted state from a passing one; `target` is what
 * the control shows meanwhile. What goes wrong stands in pending.get(id).error.
 */
export async function act(id, service, data = {}, { want, target } = {}) {
  const [domain, name] = service.includes(".") ? service.split(".") : [id.split(".")[0], service];
  const p = { want, target, sent: false, error: null };
  clearTimeout(pending.get(id)?.timer);
  pending.set(id, p);
  p.timer = setTimeout(() => late(id, p), ANSWER_WAIT);
  touch(id);
  try {
    const call = { type: "call_service", domain, service: name, service_data: data, target: { entity_id: id } };
    if (!link.online && link.conn) throw { code: "offline" };
    p.sent = true;
    await ask(call);
  } catch (error) {
    return fail(id, p, error);
  }
  const now = states.get(id);
  if (want ? now && want(now) : true) settle(id, p);
}

function settle(id, p) {
  if (pending.get(id) !== p) return;
  clearTimeout(p.timer);
  pending.delete(id);
  touch(id);
}

// What moved, but not to where it was sent (a slow fade, a limit), shows so itself.
function late(id, p) {
  if (p.moved) return settle(id, p);
  fail(id, p, { code: p.want ? "no_effect" : "timeout" });
}

function fail(id, p, error) {
  if (pending.get(id) !== p) return;
  clearTimeout(p.timer);
  p.error = error && typeof error === "object" ? error : { code: "offline" };
  p.target = undefined;
  p.timer = setTimeout(() => settle(id, p), 10_000);
  touch(id);
}

/** Takes an error message off the screen. */
export function dismiss(id) {
  const p = pending.get(id);
  if (p?.error) settle(id, p);
}

// ---- the home's outline ---------------------------------------------------------

export const outline = { loaded: false, home: null, homes: [], user: null, floors: [], areas: new Map(), unassigned: null };
export const status = { link: "connecting", database: { up: true }, spool: { up: true, pending: 0 }, at: Date.now() };

/** Follows the overview and the status; calls back on a new outline and on each status. */
export function follow(onOutline, onStatus) {
  const overview = (event) => {
    if (event.kind === "summaries") return applySummaries(event.areas);
    Object.assign(outline, event, { loaded: true, floors: event.floors ?? [], areas: new Map((event.areas ?? []).map((a) => [a.area_id, a])) });
    for (const id of outline.areas.keys()) touch("@" + id);
    touch("@");
    onOutline();
  };
  const news = (event) => {
    Object.assign(status, event, { at: Date.now() });
    onStatus();
  };
  if (first.screen) overview(first.screen.overview), news(first.screen.status);
  subscribe({ type: "concord/subscribe_overview" }, overview);
  subscribe({ type: "concord/subscribe_status" }, news);
}

function applySummaries(areas) {
  for (const id in areas) {
    const area = id === "unassigned" ? outline.unassigned : outline.areas.get(id);
    if (!area) continue;
    area.s = areas[id];
    touch("@" + id);
  }
  touch("@");
}

/** Floors in order, each with its areas; areas without a floor stand last. */
export function floorsWithAreas() {
  const left = new Set(outline.areas.values());
  const floors = outline.floors.map((floor) => {
    const areas = [...left].filter((a) => a.floor_id === floor.floor_id);
    areas.forEach((a) => left.delete(a));
    return { ...floor, areas };
  });
  return [...floors, { floor_id: null, name: null, areas: [...left] }].filter((f) => f.areas.length > 0);
}

// ---- the last day of the sensors -------------------------------------------------

const trends = new Map(); // entity id → {at, values} oldest value first
const TREND_AGE = 10 * 60e3;

/** The values of a sensor over the last day, null where unknown; undefined before they came. */
export const trendOf = (id) => trends.get(id)?.values;

/** Asks for the last day of these sensors, once in ten minutes; without an answer there is none. */
export async function loadTrends(ids) {
  const now = Date.now();
  const due = ids.filter((id) => !(now - trends.get(id)?.at < TREND_AGE)).slice(0, 60);
  if (!due.length) return;
  for (const id of due) trends.set(id, { at: now, values: trendOf(id) });
  const answer = await ask({ type: "concord/trends", entity_ids: due, hours: 24, points: 32 }).catch(() => null);
  for (const id in answer ?? {}) {
    trends.set(id, { at: now, values: answer[id] });
    touch(id);
  }
}
