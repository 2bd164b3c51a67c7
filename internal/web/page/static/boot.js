// Runs in the page's head, before anything is drawn: chooses the theme, and
// starts what takes a round trip while the modules are still on their way.
(() => {
  const stored = (key) => { try { return localStorage.getItem(key) } catch { return null } };
  const system = matchMedia("(prefers-color-scheme: dark)");
  const applyTheme = () => {
    const chosen = stored("theme");
    const dark = chosen === "dark" || (chosen !== "light" && system.matches);
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    document.querySelector("meta[name=theme-color]").content = dark ? "#0f1215" : "#f3f4f6";
  };
  const pickLanguage = () => {
    for (const l of [stored("lang"), ...navigator.languages]) {
      if (/^zh/i.test(l)) return "zh-Hant";
      if (/^(ru|en)/i.test(l)) return l.slice(0, 2).toLowerCase();
    }
    return "en";
  };
  // Opens a socket and signs in; rejects with the official client's codes
  // (1 cannot connect, 2 refused).
  const dial = () => new Promise((resolve, reject) => {
    const socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/api/websocket");
    const late = setTimeout(() => socket.close(), 10000);
    const listener = new AbortController();
    const on = (type, fn) => socket.addEventListener(type, fn, { signal: listener.signal });
    const end = (code) => (clearTimeout(late), listener.abort(), reject(code));
    on("open", () => socket.send('{"type":"auth","access_token":"session"}'));
    on("close", () => end(1));
    on("message", ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === "auth_invalid") return socket.close(), end(2);
      if (message.type !== "auth_ok") return;
      clearTimeout(late);
      listener.abort();
      socket.haVersion = message.ha_version;
      socket.send('{"id":1,"type":"supported_features","features":{"coalesce_messages":1}}');
      resolve(socket);
    });
  });
  applyTheme();
  system.addEventListener("change", applyTheme);
  const lang = pickLanguage();
  const words = (code) => fetch("STATIC/i18n/" + code + ".json").then((answer) => answer.json());
  window.boot = { applyTheme, dial, lang, words, first: {} };
  boot.first.words = words(lang);
  boot.first.words.catch(() => {});
  if (location.pathname !== "/login") (boot.first.socket = dial()).catch(() => {});
})();
