// What an area's cards show beyond their states, fetched when the screen stands:
// the icons of an integration's own entities, and the last day of each sensor.
import { ask, states, touch, touchAll } from "./home.js";
import { addPlatformIcons, knowsPlatform, domainOf, isNumeric } from "./entity.js";

const entitiesOf = (data) => [...data.devices.flatMap((d) => d.entities), ...data.entities];

/** Fetches the icon tables of the integrations on the screen. */
export async function loadPlatformIcons(data) {
  const names = [...new Set(entitiesOf(data).filter((e) => e.tk && e.platform).map((e) => e.platform))].filter((p) => !knowsPlatform(p)).sort();
  if (!names.length) return;
  const table = await fetch("/icons/platform?names=" + names.join(",")).then((r) => r.json(), () => ({}));
  addPlatformIcons({ ...Object.fromEntries(names.map((n) => [n, {}])), ...table });
  touchAll();
}

const trends = new Map(); // entity id → values, oldest first
const maxAge = 10 * 60e3;
const asked = new Map(); // entity id → when

/** The last day of a sensor as a path on a 100 × 24 canvas, or "". */
export function trendPath(id) {
  const values = trends.get(id);
  if (!values || values.length < 3) return "";
  const known = values.filter((v) => v != null);
  const low = Math.min(...known);
  const span = Math.max(...known) - low;
  if (!(span > 0)) return "";
  let pen = "M";
  return values.map((v, i) => {
    if (v == null) return (pen = "M"), "";
    const point = `${pen}${((i / (values.length - 1)) * 100).toFixed(1)} ${(22 - ((v - low) / span) * 20).toFixed(1)}`;
    pen = "L";
    return point;
  }).join("");
}

/** Asks for the last day of the sensors that are numbers; a server without trends shows none. */
export async function loadTrends(data) {
  const now = Date.now();
  const ids = entitiesOf(data).filter((e) => domainOf(e.id) === "sensor" && !e.cat && states.has(e.id) && isNumeric(e, states.get(e.id)) && !(now - asked.get(e.id) < maxAge)).map((e) => e.id).slice(0, 60);
  if (!ids.length) return;
  ids.forEach((id) => asked.set(id, now));
  const answer = await ask({ type: "concord/trends", entity_ids: ids, hours: 24, points: 32 }).catch(() => null);
  for (const id in answer ?? {}) {
    trends.set(id, answer[id]);
    touch(id);
  }
}
