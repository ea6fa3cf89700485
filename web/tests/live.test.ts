import assert from "node:assert/strict";
import { test } from "node:test";
import { backoff } from "../src/lib/backoff.ts";
import { type Frame, LiveClient, type LiveStatus, type Socket } from "../src/lib/live.ts";

class TestSocket implements Socket {
  onopen: (() => void) | null = null;
  onmessage: ((e: { data: unknown }) => void) | null = null;
  onclose: (() => void) | null = null;
  sent: Record<string, unknown>[] = [];
  closed = false;
  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }
  close(): void {
    this.closed = true;
  }
  receive(frame: object): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }
}

function setUp(ticket: () => Promise<string> = async () => "t") {
  const sockets: TestSocket[] = [];
  const statuses: LiveStatus[] = [];
  const timers: { fn: () => void; ms: number }[] = [];
  const client = new LiveClient({
    ticket,
    open: () => {
      const s = new TestSocket();
      sockets.push(s);
      return s;
    },
    onStatus: (s) => statuses.push(s),
    isFatal: (err) => err === "fatal",
    now: () => 1000,
    random: () => 1,
    setTimer: (fn, ms) => {
      const t = { fn, ms };
      timers.push(t);
      return t;
    },
    clearTimer: (t) => timers.splice(timers.indexOf(t as (typeof timers)[number]), 1),
  });
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  const states = () => statuses.map((s) => s.state);
  return { client, sockets, statuses, states, timers, settle };
}

test("pauses double up to fifteen seconds, half of them left to chance", () => {
  assert.deepEqual(
    [0, 1, 2, 3, 10, 1000].map((n) => backoff(n, 1)),
    [500, 1000, 2000, 4000, 15_000, 15_000],
  );
  assert.equal(backoff(0, 0), 250);
  assert.equal(backoff(20, 0), 7500);
});

test("the first subscription connects, and all are sent once the connection is open", async () => {
  const { client, sockets, states, settle } = setUp();
  client.subscribe({ topic: "events" }, () => {});
  client.subscribe({ topic: "incidents" }, () => {});
  await settle();
  assert.equal(sockets.length, 1);
  sockets[0]?.onopen?.();
  assert.deepEqual(sockets[0]?.sent, [
    { op: "subscribe", id: "s1", topic: "events" },
    { op: "subscribe", id: "s2", topic: "incidents" },
  ]);
  assert.deepEqual(states(), ["connecting", "open"]);
});

test("frames go to their subscription, those without an id to all", async () => {
  const { client, sockets, settle } = setUp();
  const a: Frame[] = [];
  const b: Frame[] = [];
  client.subscribe({ topic: "events" }, (f) => a.push(f));
  client.subscribe({ topic: "incidents" }, (f) => b.push(f));
  await settle();
  sockets[0]?.onopen?.();
  sockets[0]?.receive({ id: "s1", op: "events", events: [] });
  sockets[0]?.receive({ op: "lagged", dropped: 3 });
  sockets[0]?.receive({ id: "unknown", op: "events" });
  sockets[0]?.onmessage?.({ data: "{not json" });
  assert.deepEqual(
    a.map((f) => f.op),
    ["events", "lagged"],
  );
  assert.deepEqual(
    b.map((f) => f.op),
    ["lagged"],
  );
});

test("after a loss it waits, comes back and subscribes to everything again", async () => {
  const { client, sockets, statuses, timers, settle } = setUp();
  client.subscribe({ topic: "events" }, () => {});
  await settle();
  sockets[0]?.onopen?.();
  sockets[0]?.receive({ id: "s1", op: "snapshot", events: [] });
  sockets[0]?.onclose?.();
  assert.deepEqual(statuses.at(-1), { state: "waiting", retryAt: 1500, attempt: 1 });
  timers.pop()?.fn();
  await settle();
  sockets[1]?.onopen?.();
  assert.deepEqual(sockets[1]?.sent, [{ op: "subscribe", id: "s1", topic: "events" }]);
});

test("pauses grow until a frame has arrived, not until a connection is accepted", async () => {
  const { client, sockets, timers, settle } = setUp();
  client.subscribe({ topic: "events" }, () => {});
  await settle();
  const waits: number[] = [];
  for (let i = 0; i < 4; i++) {
    const s = sockets.at(-1);
    s?.onopen?.();
    if (i === 2) s?.receive({ id: "s1", op: "snapshot" });
    s?.onclose?.();
    const t = timers.pop();
    waits.push(t?.ms ?? -1);
    t?.fn();
    await settle();
  }
  assert.deepEqual(waits, [500, 1000, 500, 1000]);
});

test("a ticket that cannot be had is tried again, a refused one is not", async () => {
  let answer: "down" | "fatal" = "down";
  const { client, sockets, states, timers, settle } = setUp(() => Promise.reject(answer));
  client.subscribe({ topic: "events" }, () => {});
  await settle();
  assert.equal(states().at(-1), "waiting");
  answer = "fatal";
  timers.pop()?.fn();
  await settle();
  assert.equal(states().at(-1), "idle");
  assert.equal(timers.length, 0);
  assert.equal(sockets.length, 0);
});

test("waking cuts the pause short and never opens a second connection", async () => {
  const { client, sockets, timers, settle } = setUp();
  client.subscribe({ topic: "events" }, () => {});
  client.wake();
  await settle();
  client.wake();
  await settle();
  assert.equal(sockets.length, 1);
  sockets[0]?.onclose?.();
  client.wake();
  await settle();
  assert.equal(timers.length, 0);
  assert.equal(sockets.length, 2);
});

test("closing while the ticket is on its way opens nothing", async () => {
  const { client, sockets, states, settle } = setUp();
  client.subscribe({ topic: "events" }, () => {});
  client.close();
  await settle();
  assert.equal(sockets.length, 0);
  assert.equal(states().at(-1), "idle");
});

test("leaving tells the server, and later frames are ignored", async () => {
  const { client, sockets, settle } = setUp();
  const got: Frame[] = [];
  const leave = client.subscribe({ topic: "events" }, (f) => got.push(f));
  await settle();
  sockets[0]?.onopen?.();
  leave();
  leave();
  sockets[0]?.receive({ id: "s1", op: "events" });
  assert.deepEqual(sockets[0]?.sent.slice(1), [{ op: "unsubscribe", id: "s1" }]);
  assert.equal(got.length, 0);
});
