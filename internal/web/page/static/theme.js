(window.applyTheme=function(){var t=null;try{t=localStorage.getItem("theme")}catch(e){}
var d=t==="dark"||(t!=="light"&&matchMedia("(prefers-color-scheme: dark)").matches);
document.documentElement.dataset.theme=d?"dark":"light";
document.querySelector("meta[name=theme-color]").content=d?"#0f1215":"#f3f4f6"})();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change",window.applyTheme);
