import assert from "node:assert/strict";
import { test } from "node:test";
import decodeQR from "qr/decode.js";
import { signInError, takeFrom } from "../src/lib/address.ts";
import { device } from "../src/lib/agent.ts";
import { expiryOf, lifeOf } from "../src/lib/expiry.ts";
import { hasCode } from "../src/lib/problem.ts";
import { qrPath } from "../src/lib/qr.ts";
import { byNoun, grantsOf, offered } from "../src/lib/roles.ts";
import type { Grant } from "../src/lib/types.ts";

test("a link's key and invitation are taken out of the address, whichever way they come", () => {
  const none = { key: "", invitation: "", tenant: "", signInError: "" };
  const cases: [string, Partial<ReturnType<typeof takeFrom>>][] = [
    ["/", { rest: "/" }],
    ["/app/rules#x", { rest: "/app/rules#x" }],
    ["/#key=ps_a_b", { key: "ps_a_b", rest: "/" }],
    ["/?invitation=a%2Fb", { invitation: "a/b", rest: "/" }],
    ["/#/invitation/tok-en_1", { invitation: "tok-en_1", rest: "/" }],
    ["/#/invitation/%E0", { invitation: "%E0", rest: "/" }],
    ["/#invitation=tok", { invitation: "tok", rest: "/" }],
    ["/?tenant=acme&x=1", { tenant: "acme", rest: "/?x=1" }],
    ["/?sign_in_error=no_role", { signInError: "no_role", rest: "/" }],
  ];
  for (const [path, want] of cases)
    assert.deepEqual(takeFrom(new URL(path, "https://p.example")), { ...none, ...want }, path);
});

test("what the address says of a failed sign-in is never shown as it is", () => {
  assert.match(signInError("no_role"), /groups/);
  assert.doesNotMatch(signInError("Call +1 555 0100"), /555/);
});

const table: Grant[] = [
  { permission: "events:write", description: "", roles: ["owner", "admin", "editor", "ingest"] },
  { permission: "events:read", description: "", roles: ["owner", "admin", "editor", "viewer"] },
  { permission: "keys:write", description: "", roles: ["owner", "admin"] },
  { permission: "tenant:delete", description: "", roles: ["owner"] },
  { permission: "tenants:manage", description: "", roles: [], operator: true },
];

test("nobody is offered a mightier role than they have", () => {
  const all = table.map((g) => g.permission);
  assert.deepEqual(offered(table, all), ["owner", "admin", "editor", "viewer", "ingest"]);
  assert.deepEqual(offered(table, ["events:write", "events:read", "keys:write"]), [
    "admin",
    "editor",
    "viewer",
    "ingest",
  ]);
  assert.deepEqual(offered(table, ["events:read", "keys:write"]), ["viewer"]);
  assert.deepEqual(offered([], all), [], "not before the table is known");
});

test("scopes are those of the role, by what they are about", () => {
  const groups = byNoun(grantsOf(table, "editor"));
  assert.deepEqual(
    groups.map((g) => [g.noun, g.grants.length]),
    [["events", 2]],
  );
});

test("a key's expiry is the end of the day that was chosen, and a week before it one is warned", () => {
  const now = Date.parse("2026-11-29T12:00:00Z");
  assert.equal(expiryOf("", "", now), undefined);
  assert.equal(expiryOf("30", "", now), "2026-12-29T12:00:00.000Z");
  assert.equal(expiryOf("date", "2026-12-31", now), new Date(2027, 0, 1).toISOString());
  assert.equal(expiryOf("date", "", now), "");
  assert.equal(lifeOf(undefined, now), "active");
  assert.equal(lifeOf("2026-12-29T12:00:00Z", now), "active");
  assert.equal(lifeOf("2026-12-03T12:00:00Z", now), "ending");
  assert.equal(lifeOf("2026-11-29T12:00:00Z", now), "expired");
});

test("devices are told apart although browsers claim to be each other", () => {
  const cases: [string | undefined, string][] = [
    [
      "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
      "Chrome on Linux",
    ],
    [
      "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0",
      "Edge on Windows",
    ],
    [
      "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15",
      "Safari on macOS",
    ],
    [
      "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
      "Safari on iPhone",
    ],
    ["Mozilla/5.0 (Android 14; Mobile; rv:133.0) Gecko/133.0 Firefox/133.0", "Firefox on Android"],
    ["curl/8.5.0", "curl"],
    ["Go-http-client/2.0", "Go-http-client"],
    ["", "Unknown device"],
    [undefined, "Unknown device"],
  ];
  for (const [ua, want] of cases) assert.equal(device(ua), want, ua);
});

test("the QR code reads back as the address of the secret", () => {
  const url =
    "otpauth://totp/PulseStream%20(default):ada%40example.com?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=PulseStream&digits=6&period=30";
  const { size, path } = qrPath(url);
  // Drawn four pixels a module from nothing but the path, as the browser does.
  const px = 4;
  const data = new Uint8Array(size * px * size * px * 4).fill(255);
  for (const m of path.matchAll(/M(\d+) (\d+)h(\d+)v1h-(\d+)z/g)) {
    const [x, y, w] = [Number(m[1]), Number(m[2]), Number(m[3])];
    assert.equal(m[3], m[4]);
    for (let i = y * px; i < (y + 1) * px; i++)
      for (let j = x * px; j < (x + w) * px; j++) data.set([0, 0, 0], (i * size * px + j) * 4);
  }
  assert.equal(decodeQR({ width: size * px, height: size * px, data }), url);
});

test("a refusal's code is found by itself or in its errors", () => {
  assert.equal(hasCode({ status: 401, code: "totp_required" }, "totp_required"), true);
  assert.equal(
    hasCode({ status: 401, errors: [{ location: "body.code", message: "", code: "totp_required" }] }, "totp_required"),
    true,
  );
  assert.equal(hasCode({ status: 401 }, "totp_required"), false);
});
