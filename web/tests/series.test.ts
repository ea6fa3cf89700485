import assert from "node:assert/strict";
import { test } from "node:test";
import { drawStep, type FrameOptions, Growing, SeriesSet, seriesKey, serverStep, stack } from "../src/lib/series.ts";
import type { Series } from "../src/lib/types.ts";

const options = (o: Partial<FrameOptions>): FrameOptions => ({
  from: 0,
  to: 5000,
  now: 5000,
  step: 1000,
  agg: "count",
  limit: 10,
  ...o,
});
const series = (type: string, points: Series["points"]): Series => ({ labels: { type }, points });

test("the order of labels does not make another series", () => {
  assert.equal(seriesKey({ a: "1", b: "2" }), seriesKey({ b: "2", a: "1" }));
  assert.notEqual(seriesKey({ a: "1" }), seriesKey({ a: "2" }));
});

test("a later point replaces an earlier one of the same time", () => {
  const set = new SeriesSet();
  set.snapshot([
    series("a", [
      [1000, 1],
      [2000, 2],
    ]),
  ]);
  set.apply([
    series("a", [
      [2000, 5],
      [3000, 1],
    ]),
  ]);
  assert.deepEqual(set.frame(options({})).rows[0]?.values, [0, 1, 5, 1, null]);
  assert.deepEqual(set.newest("count"), { at: 3000, value: 1 });
});

test("a series that first appears in an update is added", () => {
  const set = new SeriesSet();
  set.snapshot([series("a", [[1000, 1]])]);
  set.apply([series("b", [[2000, 9]])]);
  assert.deepEqual(
    set.frame(options({})).rows.map((r) => r.labels.type),
    ["b", "a"],
  );
  assert.deepEqual(set.newest("count"), { at: 2000, value: 9 });
});

test("a snapshot replaces everything but keeps the colours of series that come again", () => {
  const set = new SeriesSet();
  set.snapshot([series("a", [[1000, 1]]), series("b", [[1000, 1]])]);
  const slot = (type: string) => set.frame(options({})).rows.find((r) => r.labels.type === type)?.slot;
  const before = slot("b");
  set.snapshot([series("c", [[2000, 1]]), series("b", [[2000, 1]])]);
  assert.equal(slot("b"), before);
  assert.equal(slot("a"), undefined);
  assert.notEqual(slot("c"), before);
});

test("the largest series gets the first colour, and another range keeps the colours", () => {
  const set = new SeriesSet();
  set.snapshot([series("small", [[1000, 1]]), series("large", [[1000, 9]])]);
  const slots = (s: SeriesSet) => Object.fromEntries(s.frame(options({})).rows.map((r) => [r.labels.type, r.slot]));
  assert.deepEqual(slots(set), { large: 0, small: 1 });
  const next = new SeriesSet(set);
  next.snapshot([series("new", [[1000, 99]]), series("small", [[1000, 5]]), series("large", [[1000, 1]])]);
  assert.deepEqual(slots(next), { new: 2, small: 1, large: 0 });
});

test("counts are added up to longer steps; a first step that is cut off is left out", () => {
  const set = new SeriesSet();
  set.snapshot([
    series("a", [
      [1000, 1],
      [2000, 2],
      [3000, 4],
      [4000, 8],
      [5000, 16],
    ]),
  ]);
  const f = set.frame(options({ from: 1000, to: 6000, now: 5500, step: 2000 }));
  assert.deepEqual(f.times, [2, 4]);
  assert.deepEqual(f.rows[0]?.values, [6, 24]);
  assert.equal(f.rows[0]?.total, 30);
  assert.equal(f.rows[0]?.last, 6, "the step in progress is not the newest complete one");
});

test("empty steps are zero for counts and nothing for averages", () => {
  const points: Series["points"] = [
    [0, 3],
    [3000, 5],
  ];
  const count = new SeriesSet();
  count.snapshot([series("a", points)]);
  assert.deepEqual(count.frame(options({})).rows[0]?.values, [3, 0, 0, 5, null]);
  const avg = new SeriesSet();
  avg.snapshot([series("a", points)]);
  const row = avg.frame(options({ agg: "avg" })).rows[0];
  assert.deepEqual(row?.values, [3, null, null, 5, null]);
  assert.equal(row?.total, 4);
  assert.equal(row?.last, 5);
});

test("beyond the limit counts are folded together and averages are only named", () => {
  const many = Array.from({ length: 5 }, (_, i) => series(`t${i}`, [[1000, 10 - i]]));
  const count = new SeriesSet();
  count.snapshot(many);
  const folded = count.frame(options({ limit: 2 }));
  assert.deepEqual(
    folded.rows.map((r) => r.total),
    [10, 9, 21],
  );
  assert.equal(folded.rows[2]?.labels.__other__, "true");
  assert.equal(folded.hidden, 0);
  const avg = new SeriesSet();
  avg.snapshot(many);
  const cut = avg.frame(options({ limit: 2, agg: "avg" }));
  assert.equal(cut.rows.length, 2);
  assert.equal(cut.hidden, 3);
});

test("the server's own rest stays last, however large it is", () => {
  const set = new SeriesSet();
  set.snapshot([{ labels: { __other__: "true" }, points: [[1000, 99]] }, series("a", [[1000, 1]])]);
  assert.deepEqual(
    set.frame(options({})).rows.map((r) => r.total),
    [1, 99],
  );
});

test("rows do not swap places with each update, but do after ten seconds", () => {
  const set = new SeriesSet();
  set.snapshot([series("a", [[1000, 5]]), series("b", [[1000, 4]])]);
  const order = (now: number) => set.frame(options({ now })).rows.map((r) => r.labels.type);
  assert.deepEqual(order(20_000), ["a", "b"]);
  set.apply([series("b", [[2000, 50]])]);
  assert.deepEqual(order(21_000), ["a", "b"]);
  assert.deepEqual(order(31_000), ["b", "a"]);
});

test("old points are forgotten, and series without points with them", () => {
  const set = new SeriesSet();
  set.snapshot([
    series("a", [[1000, 1]]),
    series("b", [
      [1000, 1],
      [4000, 1],
    ]),
  ]);
  set.trim(2000);
  assert.equal(set.size, 1);
  assert.equal(new SeriesSet().newest("count"), null);
});

test("stacked rows are the sums of themselves and those after", () => {
  assert.deepEqual(
    stack([
      [1, 2],
      [10, null],
      [100, 200],
    ]),
    [
      [111, 202],
      [110, 200],
      [100, 200],
    ],
  );
  assert.deepEqual(stack([]), []);
});

test("bars stay wide enough, and are whole multiples of the server's step", () => {
  assert.equal(drawStep(900_000, 1000, "count", 1000), 5000);
  assert.equal(drawStep(900_000, 1000, "count", 320), 15_000);
  assert.equal(drawStep(21_600_000, 60_000, "sum", 1000), 120_000);
  assert.equal(drawStep(86_400_000, 300_000, "count", 1000), 600_000);
  assert.equal(drawStep(900_000, 5000, "p95", 100), 5000, "percentiles cannot be added up");
});

test("seconds are asked for only where the server has them", () => {
  assert.equal(serverStep("15m", "count"), "1s");
  assert.equal(serverStep("15m", "p95"), "10s");
  assert.equal(serverStep("1h", "count"), "1m");
  assert.equal(serverStep("24h", "count"), "5m");
});

test("the step in progress grows by the seconds of a second subscription", () => {
  const g = new Growing(60_000);
  const a = (points: Series["points"]) => [series("a", points)];
  assert.deepEqual(
    g.snapshot(
      a([
        [50_000, 7],
        [60_000, 1],
        [61_000, 2],
      ]),
      30_000,
    ),
    a([[60_000, 3]]),
    "the minute that is only half covered is left alone",
  );
  assert.deepEqual(
    g.apply(
      a([
        [61_000, 5],
        [62_000, 1],
      ]),
    ),
    a([[60_000, 7]]),
    "a second's later value replaces its earlier one",
  );
  assert.deepEqual(
    g.apply(
      a([
        [119_000, 1],
        [120_000, 4],
      ]),
    ),
    a([
      [60_000, 8],
      [120_000, 4],
    ]),
  );
  assert.deepEqual(g.apply(a([[121_000, null]])), []);
});

test("nothing grows while series are folded into the rest", () => {
  const g = new Growing(60_000);
  const rest: Series = { labels: { __other__: "true" }, points: [[60_000, 1]] };
  assert.deepEqual(g.snapshot([series("a", [[60_000, 1]]), rest], 0), []);
  assert.deepEqual(g.apply([series("a", [[61_000, 1]])]), []);
});
