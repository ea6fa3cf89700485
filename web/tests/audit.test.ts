import assert from "node:assert/strict";
import { test } from "node:test";
import { diff } from "../src/lib/diff.ts";
import { fromNow } from "../src/lib/format.ts";
import type { Usage } from "../src/lib/types.ts";
import { asLocalDay, bars, span, steps } from "../src/lib/usage.ts";

test("a change shows what it changed, member by member", () => {
  const before = {
    name: "Refusals",
    condition: { op: ">", value: 10 },
    channels: ["ops"],
    summary: "old",
    enabled: true,
  };
  const after = {
    name: "Refusals",
    condition: { op: ">", value: 25 },
    channels: ["ops", "boss"],
    enabled: true,
    for: "1m",
  };
  assert.deepEqual(
    diff(before, after).map((c) => [c.path, c.kind, c.before, c.after]),
    [
      ["name", "same", "Refusals", "Refusals"],
      ["condition.op", "same", ">", ">"],
      ["condition.value", "changed", "10", "25"],
      ["channels", "changed", "ops", "ops, boss"],
      ["enabled", "same", "true", "true"],
      ["for", "added", "", "1m"],
      ["summary", "removed", "old", ""],
    ],
  );
});

test("making and removing are all additions and all removals; empty values are still seen", () => {
  assert.deepEqual(
    diff(null, { a: "", b: {}, c: [], d: null }).map((c) => [c.path, c.kind, c.after]),
    [
      ["a", "added", '""'],
      ["b", "added", "{}"],
      ["c", "added", "[]"],
      ["d", "added", "null"],
    ],
  );
  assert.deepEqual(
    diff({ a: [{ x: 1 }] }, null).map((c) => [c.path, c.kind, c.before]),
    [["a", "removed", '[{"x":1}]']],
  );
  assert.deepEqual(diff(null, null), []);
});

const usage = (over: Partial<Usage>): Usage => ({
  from: "2026-11-27T00:00:00Z",
  to: "2026-11-30T00:00:00Z",
  step: "day",
  data: [{ start: "2026-11-28T00:00:00Z", events: 5, bytes: 100, series: 1, queries: 2, notifications: 0 }],
  total: { events: 5, bytes: 100, series: 1, queries: 2, notifications: 0 },
  ...over,
});

test("steps without usage are drawn as nothing used", () => {
  const s = steps(usage({}));
  assert.equal(s.times.length, 3);
  assert.deepEqual(s.values("events"), [0, 5, 0]);
  assert.deepEqual(steps(usage({ data: null })).values("bytes"), [0, 0, 0]);
});

test("spans begin on whole steps, and months are those of UTC", () => {
  const now = Date.parse("2026-01-15T10:20:30Z");
  assert.deepEqual(span("month", now), {
    from: "2026-01-01T00:00:00.000Z",
    to: "2026-01-15T10:20:30.000Z",
    step: "day",
  });
  assert.deepEqual(span("last", now), {
    from: "2025-12-01T00:00:00.000Z",
    to: "2026-01-01T00:00:00.000Z",
    step: "day",
  });
  assert.deepEqual(span("24h", now), {
    from: "2026-01-14T11:00:00.000Z",
    to: "2026-01-15T10:20:30.000Z",
    step: "hour",
  });
  assert.equal(span("30d", now).from, "2025-12-17T00:00:00.000Z");
});

test("quotas show the fullest first, and warn before they are full", () => {
  const found = bars({
    events_per_month: { limit: 1000, used: 850 },
    rules: { limit: 10, used: 12 },
    series: { limit: 100, used: 1 },
    bytes_per_month: { limit: null, used: 5 },
  });
  assert.deepEqual(
    found.map((b) => [b.name, b.tone]),
    [
      ["rules", "bad"],
      ["events_per_month", "warn"],
      ["series", "ok"],
    ],
  );
  assert.deepEqual(bars(null), []);
});

test("a day of UTC is drawn on the reader's day of the same date", () => {
  const d = new Date(asLocalDay(Date.parse("2026-11-29T00:00:00Z")));
  assert.deepEqual([d.getFullYear(), d.getMonth(), d.getDate(), d.getHours()], [2026, 10, 29, 0]);
});

test("times to come are told like those that were", () => {
  const now = Date.parse("2026-11-29T12:00:00Z");
  const cases: [string, string][] = [
    ["2026-11-29T12:00:30Z", "in 30 s"],
    ["2026-11-29T12:10:00Z", "in 10 min"],
    ["2026-11-30T12:00:00Z", "in 24 h"],
    ["2026-12-29T12:00:00Z", "in 30 d"],
    ["2026-11-29T11:00:00Z", "1 h ago"],
  ];
  for (const [at, want] of cases) assert.equal(fromNow(Date.parse(at), now), want);
});
