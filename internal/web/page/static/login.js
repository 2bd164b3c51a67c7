// The login form. The password goes to the server once and is kept nowhere.
import { html, render, nothing } from "lit-html";
import { t } from "./entity.js";

let failure = "";
let busy = false;

/** Draws the form into the element. */
export function login(into) {
  document.body.classList.add("bare");
  document.title = t("log_in") + " · Concord";
  const draw = () => render(form(draw), into);
  draw();
  into.querySelector("input").focus();
}

const form = (draw) => html`<form class="login card" @submit=${(ev) => submit(ev, draw)}>
  <img src="/favicon.ico" alt="" width="44" height="44" /><h1>Concord</h1>
  <label>${t("user")}<input class="field" name="login" autocomplete="username" autocapitalize="none" spellcheck="false" required /></label>
  <label>${t("password")}<input class="field" name="password" type="password" autocomplete="current-password" required /></label>
  ${failure ? html`<p class="failed" role="alert"><span>${failure}</span></p>` : nothing}
  <button class="btn" ?disabled=${busy}>${t("log_in")}</button>
</form>`;

async function submit(ev, draw) {
  ev.preventDefault();
  const { login, password } = Object.fromEntries(new FormData(ev.target));
  busy = true;
  draw();
  failure = await authenticate(login, password);
  busy = false;
  if (!failure) return location.assign(nextPage());
  draw();
}

async function authenticate(login, password) {
  const params = { db: "concord", login, password };
  try {
    const answer = await fetch("/web/session/authenticate", {
      method: "POST", headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ jsonrpc: "2.0", method: "call", params, id: 1 }),
    });
    if (answer.status === 429) return t("too_many_logins");
    const { error } = await answer.json();
    if (!error) return "";
    return error.data?.name === "odoo.exceptions.AccessDenied" ? t("wrong_password") : (error.data?.message ?? error.message);
  } catch {
    return t("no_server");
  }
}

// Only an address of this page: never one that leads elsewhere.
function nextPage() {
  const next = new URLSearchParams(location.search).get("next") ?? "/";
  const url = new URL(next, location.origin);
  const here = url.origin === location.origin && !url.pathname.startsWith("//");
  return here ? url.pathname + url.search : "/";
}
