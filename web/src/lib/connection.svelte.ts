import { api } from "./api.ts";
import { type Frame, LiveClient, type LiveStatus, type Socket, type Subscription } from "./live.ts";
import { ApiError } from "./problem.ts";

/** The page's one live connection, with its status as something to show. */
class Connection {
  status = $state<LiveStatus>({ state: "idle" });
  #client = new LiveClient({
    ticket: async () => (await api.post<{ ticket: string }>("/v1/live/tickets")).ticket,
    open: (ticket) => {
      const url = new URL(`/v1/live?ticket=${encodeURIComponent(ticket)}`, location.href);
      url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
      return new WebSocket(url) as unknown as Socket;
    },
    onStatus: (s) => {
      this.status = s;
    },
    isFatal: (err) => err instanceof ApiError && (err.status === 401 || err.status === 403),
    now: Date.now,
    random: Math.random,
    setTimer: (fn, ms) => setTimeout(fn, ms),
    clearTimer: (t) => clearTimeout(t as number),
  });

  constructor() {
    addEventListener("online", () => this.#client.wake());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.#client.wake();
    });
  }

  subscribe(spec: Subscription, onFrame: (f: Frame) => void): () => void {
    return this.#client.subscribe(spec, onFrame);
  }

  retryNow(): void {
    this.#client.wake();
  }

  stop(): void {
    this.#client.close();
  }
}

export const live = new Connection();
