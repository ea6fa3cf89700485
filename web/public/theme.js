// Runs before the first paint, so that a remembered theme never flashes the other one.
// It is a file of its own because the page's content security policy allows no inline script.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("pulsestream.theme");
  } catch {
    // Storage can be switched off; then the system's preference decides.
  }
  const dark = chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
})();
