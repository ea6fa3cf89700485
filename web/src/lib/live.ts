import { backoff } from "./backoff.ts";
import type { Agg, Incident, Labels, PulseEvent, Series } from "./types.ts";

export type Subscription =
  | { metric: string; agg: Agg; step: string; group_by: string[]; where: Labels; since: string }
  | { topic: "events" }
  | { topic: "incidents" };

export interface Frame {
  id?: string;
  op: "snapshot" | "points" | "events" | "incidents" | "lagged" | "error";
  series?: Series[];
  step?: string;
  events?: PulseEvent[];
  sampled_out?: number;
  incidents?: Incident[];
  dropped?: number;
  code?: string;
  detail?: string;
}

export type LiveStatus =
  | { state: "idle" }
  | { state: "connecting" }
  | { state: "open" }
  | { state: "waiting"; retryAt: number; attempt: number };

/** The part of a WebSocket that is used, so that tests can bring their own. */
export interface Socket {
  onopen: (() => void) | null;
  onmessage: ((e: { data: unknown }) => void) | null;
  onclose: (() => void) | null;
  send(text: string): void;
  close(): void;
}

export interface LiveDeps {
  /** Asks for a fresh single-use ticket. */
  ticket(): Promise<string>;
  open(ticket: string): Socket;
  onStatus(status: LiveStatus): void;
  /** The ticket was refused for good (bad key): no use in trying again. */
  isFatal(err: unknown): boolean;
  now(): number;
  random(): number;
  setTimer(fn: () => void, ms: number): unknown;
  clearTimer(timer: unknown): void;
}

interface Sub {
  spec: Subscription;
  onFrame: (f: Frame) => void;
}

/**
 * One WebSocket for the whole page. It connects with the first subscription, and after a loss it comes back with growing
 * pauses and subscribes to everything again; each subscription then gets a new snapshot, so nothing has to be patched up.
 */
export class LiveClient {
  #deps: LiveDeps;
  #subs = new Map<string, Sub>();
  #socket: Socket | null = null;
  #open = false;
  /** A ticket is on its way; until it is here there is neither a socket nor a timer. */
  #connecting = false;
  #attempt = 0;
  #timer: unknown = null;
  #next = 1;
  #generation = 0;

  constructor(deps: LiveDeps) {
    this.#deps = deps;
  }

  subscribe(spec: Subscription, onFrame: (f: Frame) => void): () => void {
    const id = `s${this.#next++}`;
    this.#subs.set(id, { spec, onFrame });
    if (this.#open) this.#send({ op: "subscribe", id, ...spec });
    else if (!this.#socket && this.#timer === null && !this.#connecting) this.#connect();
    return () => {
      if (!this.#subs.delete(id)) return;
      if (this.#open) this.#send({ op: "unsubscribe", id });
    };
  }

  /** Tries again at once instead of at the end of the pause: the network is back, or the page is looked at again. */
  wake(): void {
    if (this.#timer === null) return;
    this.#deps.clearTimer(this.#timer);
    this.#timer = null;
    this.#connect();
  }

  close(): void {
    this.#generation++;
    if (this.#timer !== null) this.#deps.clearTimer(this.#timer);
    this.#timer = null;
    this.#connecting = false;
    this.#attempt = 0;
    this.#subs.clear();
    this.#drop();
    this.#deps.onStatus({ state: "idle" });
  }

  #drop(): void {
    const s = this.#socket;
    this.#socket = null;
    this.#open = false;
    if (!s) return;
    s.onopen = s.onmessage = s.onclose = null;
    s.close();
  }

  async #connect(): Promise<void> {
    const generation = ++this.#generation;
    this.#timer = null;
    this.#drop();
    this.#connecting = true;
    this.#deps.onStatus({ state: "connecting" });
    let ticket: string;
    try {
      ticket = await this.#deps.ticket();
    } catch (err) {
      if (generation !== this.#generation) return;
      this.#connecting = false;
      if (this.#deps.isFatal(err)) this.#deps.onStatus({ state: "idle" });
      else this.#retry();
      return;
    }
    if (generation !== this.#generation) return;
    this.#connecting = false;
    this.#attach(this.#deps.open(ticket));
  }

  #attach(socket: Socket): void {
    this.#socket = socket;
    socket.onopen = () => {
      this.#open = true;
      this.#deps.onStatus({ state: "open" });
      for (const [id, sub] of this.#subs) this.#send({ op: "subscribe", id, ...sub.spec });
    };
    socket.onmessage = (e) => {
      // Only a frame that arrives proves that the connection works: a server that accepts and hangs up must not be hammered.
      this.#attempt = 0;
      this.#receive(e.data);
    };
    socket.onclose = () => {
      this.#socket = null;
      this.#open = false;
      this.#retry();
    };
  }

  #retry(): void {
    const wait = backoff(this.#attempt++, this.#deps.random());
    this.#deps.onStatus({ state: "waiting", retryAt: this.#deps.now() + wait, attempt: this.#attempt });
    this.#timer = this.#deps.setTimer(() => this.#connect(), wait);
  }

  #receive(data: unknown): void {
    if (typeof data !== "string") return;
    let frame: Frame;
    try {
      frame = JSON.parse(data) as Frame;
    } catch {
      return;
    }
    if (frame.id !== undefined) this.#subs.get(frame.id)?.onFrame(frame);
    else for (const sub of this.#subs.values()) sub.onFrame(frame);
  }

  #send(frame: object): void {
    this.#socket?.send(JSON.stringify(frame));
  }
}
