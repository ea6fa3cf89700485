import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ago,
  axisSteps,
  compact,
  duration,
  labelText,
  moment,
  parseDuration,
  percent,
  plural,
  SLUG,
  slugify,
  withUnit,
} from "../src/lib/format.ts";

test("numbers keep three significant digits and take k, M, G, T", () => {
  const cases: [number, string][] = [
    [0, "0"],
    [7, "7"],
    [999, "999"],
    [0.0314, "0.031"],
    [0.5, "0.5"],
    [12.345, "12.3"],
    [123.45, "123"],
    [1000, "1k"],
    [1234, "1.23k"],
    [12_345, "12.3k"],
    [999_949, "1M"],
    [1_000_000, "1M"],
    [2_500_000_000, "2.5G"],
    [3.2e12, "3.2T"],
    [-1234, "-1.23k"],
  ];
  for (const [n, want] of cases) assert.equal(compact(n), want, String(n));
});

test("durations have two parts at most", () => {
  const cases: [number, string][] = [
    [0, "0s"],
    [3.14, "3.1ms"],
    [250, "250ms"],
    [1500, "1.5s"],
    [42_000, "42s"],
    [90_000, "1m 30s"],
    [120_000, "2m"],
    [3_600_000, "1h"],
    [5_400_000, "1h 30m"],
    [90_061_000, "1d 1h"],
  ];
  for (const [ms, want] of cases) assert.equal(duration(ms), want, String(ms));
});

test("a value is shown in its unit, and no value is a dash", () => {
  assert.equal(withUnit(null, "usd"), "–");
  assert.equal(withUnit(12.5, "usd"), "$12.50");
  assert.equal(withUnit(250, "usd"), "$250");
  assert.equal(withUnit(1_250_000, "USD"), "$1.3M");
  assert.equal(withUnit(1500, "ms"), "1.5s");
  assert.equal(withUnit(-1500, "ms"), "-1.5s");
  assert.equal(withUnit(2, "s"), "2s");
  assert.equal(withUnit(2048, "bytes"), "2 KiB");
  assert.equal(withUnit(0.25, "ratio"), "25 %");
  assert.equal(withUnit(1234, "/s"), "1.23k/s");
  assert.equal(withUnit(3, "messages"), "3 messages");
  assert.equal(withUnit(3), "3");
});

test("small shares are not rounded to nothing", () => {
  assert.equal(percent(null), "–");
  assert.equal(percent(0), "0 %");
  assert.equal(percent(0.0004), "<0.1 %");
  assert.equal(percent(0.004), "0.4 %");
  assert.equal(percent(0.17), "17 %");
  assert.equal(percent(1), "100 %");
});

test("times are told by distance and by the clock", () => {
  const now = new Date(2026, 10, 23, 14, 3, 9).getTime();
  assert.equal(ago(now - 500, now), "just now");
  assert.equal(ago(now + 5000, now), "just now");
  assert.equal(ago(now - 12_000, now), "12 s ago");
  assert.equal(ago(now - 200_000, now), "3 min ago");
  assert.equal(ago(now - 7_300_000, now), "2 h ago");
  assert.equal(moment(now - 60_000, now), "14:02:09");
  assert.equal(moment(new Date(2026, 10, 22, 9, 5).getTime(), now), "22 Nov, 09:05");
  assert.equal(moment(new Date(2025, 0, 2, 9, 5).getTime(), now), "2 Jan 2025, 09:05");
});

test("a slug made from any name is one the server accepts", () => {
  assert.equal(slugify("Stripe charges fail!"), "stripe-charges-fail");
  assert.equal(slugify("  Über-Größe  "), "uber-gro-e");
  assert.equal(slugify("--a__b--"), "a__b");
  for (const name of ["x".repeat(200), `${"y".repeat(62)} z`, "1st"]) assert.match(slugify(name), SLUG);
});

test("durations are read the way Go writes them", () => {
  assert.equal(parseDuration("30s"), 30_000);
  assert.equal(parseDuration("1h30m"), 5_400_000);
  assert.equal(parseDuration("1.5h"), 5_400_000);
  assert.equal(parseDuration("250ms"), 250);
  for (const bad of ["", "5", "m5", "5 m", "-5m", "5w"]) assert.ok(Number.isNaN(parseDuration(bad)), bad);
});

test("labels read as their values", () => {
  assert.equal(labelText({}), "all");
  assert.equal(labelText({ country: "US" }), "US");
  assert.equal(labelText({ country: "" }), "(none)");
  assert.equal(labelText({ country: "US", brand: "visa" }), "US · visa");
  assert.equal(labelText({ __other__: "true" }), "everything else");
  assert.equal(plural(1, "update"), "1 update");
  assert.equal(plural(1200, "update"), "1.2k updates");
});

test("axes of durations are marked in minutes and hours, not in hundreds", () => {
  assert.ok(axisSteps("s")?.includes(900));
  assert.ok(axisSteps("ms")?.includes(900_000));
  assert.equal(axisSteps("usd"), undefined);
  for (const unit of ["s", "ms"])
    assert.deepEqual(
      axisSteps(unit),
      [...(axisSteps(unit) ?? [])].sort((a, b) => a - b),
    );
});
