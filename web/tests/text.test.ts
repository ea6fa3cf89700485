import assert from "node:assert/strict";
import { test } from "node:test";
import { dataPaths, matches, parseFilter } from "../src/lib/filter.ts";
import { tokens } from "../src/lib/json.ts";
import { ApiError, assignErrors, fieldPath, messageOf, parseProblem } from "../src/lib/problem.ts";
import { clearIsQuiet, sentence } from "../src/lib/rule.ts";
import type { PulseEvent, Rule } from "../src/lib/types.ts";

const event: PulseEvent = {
  id: "1",
  source: "stripe",
  type: "charge.failed",
  subject: "cus_N2",
  time: "2026-11-23T08:00:00Z",
  data: { amount: 1, card: { country: "US", "odd-key": 1 }, tags: ["a"] },
};

test("the tail's filter finds what is meant", () => {
  const cases: [string, boolean][] = [
    ["", true],
    ["charge", true],
    ["CHARGE", true],
    ["stripe cus_", true],
    ["github", false],
    ["stripe github", false],
    ["source:stripe", true],
    ["source:charge", false],
    ["type:charge.*", true],
    ["type:*.failed", true],
    ["type:charge*ed", true],
    ["type:*.ok", false],
    ["-type:charge.failed", false],
    ["-github", true],
    ["charge.f+", false],
    ['"charge.failed"', true],
    ['subject:"cus_N2"', true],
    ["source:", true],
    ["(", false],
  ];
  for (const [text, want] of cases) assert.equal(matches(parseFilter(text), event), want, text);
});

test("an event without a subject is found by what it has", () => {
  const { subject: _, ...bare } = event;
  assert.equal(matches(parseFilter("subject:cus"), bare), false);
  assert.equal(matches(parseFilter("stripe"), bare), true);
});

test("paths are suggested for values only, and only where CEL can name them", () => {
  assert.deepEqual(dataPaths([event]), ["data.amount", "data.card.country"]);
  assert.deepEqual(dataPaths([{ ...event, data: "text" }]), []);
});

test("coloured JSON is the same text again", () => {
  const text = JSON.stringify({ a: 'quote " and : colon', "b\\": [1, -2.5e3, true, null, "x"], c: {} }, null, 2);
  const parts = tokens(text);
  assert.equal(parts.map((p) => p.text).join(""), text);
  assert.deepEqual(
    parts.filter((p) => p.kind === "key").map((p) => p.text),
    ['"a"', '"b\\\\"', '"c"'],
  );
  assert.deepEqual(
    parts.filter((p) => p.kind === "number").map((p) => p.text),
    ["1", "-2500"],
  );
  assert.deepEqual(
    parts.filter((p) => p.kind === "word").map((p) => p.text),
    ["true", "null"],
  );
});

test("locations become field paths whichever way they are written", () => {
  for (const l of ["body.condition.value", "/condition/value", "#/condition/value", "condition.value"])
    assert.equal(fieldPath(l), "condition.value", l);
  assert.equal(fieldPath("body.event_types[0]"), "event_types.0");
  assert.equal(fieldPath("path.slug"), "slug");
  assert.equal(fieldPath("body"), "");
});

test("each error is shown at the closest field, the rest on top", () => {
  const { byField, rest } = assignErrors(
    [
      { location: "body.filter", message: "syntax" },
      { location: "body.dimensions.country", message: "unknown" },
      { location: "body.dimensions.brand", message: "empty" },
      { location: "body.event_types[1]", message: "too long" },
      { location: "body.filter", message: "and more" },
      { location: "body.surprise", message: "what" },
      { location: "", message: "whole" },
    ],
    ["filter", "dimensions", "dimensions.country", "event_types"],
  );
  assert.deepEqual(byField, {
    filter: "syntax. and more",
    "dimensions.country": "unknown",
    dimensions: "empty",
    event_types: "too long",
  });
  assert.deepEqual(rest, ["surprise: what", "whole"]);
  assert.deepEqual(assignErrors(undefined, ["a"]), { byField: {}, rest: [] });
});

test("every refusal has a sentence, whatever the body was", () => {
  assert.equal(messageOf(new ApiError(parseProblem(422, '{"detail":"The filter is wrong."}'))), "The filter is wrong.");
  assert.equal(messageOf(new ApiError(parseProblem(418, '{"title":"Teapot"}'))), "Teapot");
  assert.match(messageOf(new ApiError(parseProblem(503, "<html>bad gateway"))), /busy/);
  assert.match(messageOf(new ApiError(parseProblem(500, ""))), /500/);
  assert.match(messageOf(new TypeError("Failed to fetch")), /cannot be reached/);
});

test("a rule reads as a sentence", () => {
  const rule: Rule = {
    slug: "r",
    name: "R",
    metric: "charges",
    agg: "rate",
    group_by: ["country"],
    where: { status: "failed" },
    window: "5m",
    condition: { type: "threshold", op: ">", value: 10, clear: 8 },
    for: "1m",
    severity: "critical",
  };
  assert.equal(sentence(rule), "rate of charges where status is failed over 5m is above 10/s for 1m, for each country");
  assert.equal(
    sentence({ ...rule, agg: "sum", for: "0s", group_by: [], where: {} }, "usd"),
    "sum of charges over 5m is above $10",
  );
  assert.equal(
    sentence({ ...rule, condition: { type: "absence" }, group_by: [], where: {} }),
    "rate of charges over 5m: absence",
  );
});

test("the clear value lies on the quiet side", () => {
  assert.equal(clearIsQuiet(">", 10, 8), true);
  assert.equal(clearIsQuiet(">", 10, 12), false);
  assert.equal(clearIsQuiet("<", 10, 12), true);
  assert.equal(clearIsQuiet("<=", 10, 8), false);
});
