// Runs in the page's head, before anything is drawn: chooses theme and language,
// and takes the window's size while there is nothing yet to be laid out for it.
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
  applyTheme();
  system.addEventListener("change", applyTheme);
  window.boot = { applyTheme, lang: pickLanguage(), width: innerWidth, height: innerHeight };
})();
