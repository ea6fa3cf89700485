import { serverNow } from "./api.ts";

/** The time now as something the page reacts to, once a second; all "3 min ago" and all chart edges hang on this one timer. */
class Clock {
  now = $state(serverNow());

  constructor() {
    setInterval(() => {
      if (!document.hidden) this.now = serverNow();
    }, 1000);
    document.addEventListener("visibilitychange", () => {
      this.now = serverNow();
    });
  }
}

export const time = new Clock();
