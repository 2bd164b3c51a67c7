// Connects with the official client, follows the entities, switches a light
// and waits until the change arrives. Prints "ok" and what it saw as JSON.
import WebSocket from "ws";
import {
  callService, createConnection, createLongLivedTokenAuth, ERR_INVALID_AUTH, getServices, getStates, getUser,
  subscribeEntities, subscribeServices,
} from "home-assistant-js-websocket";

globalThis.WebSocket = WebSocket;
const [url, token, entity] = process.argv.slice(2);

try {
  await createConnection({ auth: createLongLivedTokenAuth(url, "wrong") });
  throw new Error("a wrong token was taken");
} catch (err) {
  if (err !== ERR_INVALID_AUTH) throw err;
}

const connection = await createConnection({ auth: createLongLivedTokenAuth(url, token) });
const user = await getUser(connection);
const states = await getStates(connection);
const services = await getServices(connection);
if (!user.is_admin || !services.light.turn_on || !states.length) throw new Error("incomplete");

let entities = {};
let arrived;
const seen = new Promise((resolve) => { arrived = resolve; });
const follow = (all) => {
  entities = all;
  if (all[entity]?.attributes.brightness === 77) arrived(all[entity]);
};
const stop = subscribeEntities(connection, follow);
subscribeServices(connection, () => {});
const single = new Promise((resolve) => {
  connection.subscribeEvents((event) => { if (event.data.entity_id === entity) resolve(event.data.new_state); }, "state_changed");
});

await callService(connection, "light", "turn_on", { brightness: 77 }, { entity_id: entity });
const state = await seen;
const event = await single;
await connection.ping();
stop();
connection.close();
console.log(JSON.stringify({
  ok: true, version: connection.haVersion, states: states.length, entities: Object.keys(entities).length,
  state: state.state, brightness: event.attributes.brightness, same: state.last_updated === event.last_updated,
}));
