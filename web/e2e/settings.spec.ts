import type { Page } from "@playwright/test";
import { expect, test } from "./fixtures.ts";
import type { Server } from "./server.ts";
import { totp } from "./totp.ts";

// Passwords are hashed slowly on purpose, and these tests sign in and out several times.
test.describe.configure({ timeout: 120_000 });

const PASSWORD = "a wholly unlikely passphrase";

async function settings(page: Page, section: string): Promise<void> {
  await page.getByRole("link", { name: "Settings", exact: true }).click();
  await page.getByRole("navigation", { name: "Settings" }).getByRole("link", { name: section }).click();
  await expect(page.getByRole("heading", { name: section, level: 1 })).toBeVisible();
}

async function invite(server: Server, email: string, role: string): Promise<{ id: string; token: string }> {
  const res = await server.call("POST", "/v1/members", { email, name: email.split("@")[0], role });
  const { id, invitation } = (await res.json()) as { id: string; invitation: { token: string } };
  return { id, token: invitation.token };
}

test("a key is held to scopes, shown once, rotated and revoked", async ({ signedIn: page, server }) => {
  await settings(page, "API keys");
  await page.getByRole("button", { name: "New key" }).click();
  const form = page.getByRole("dialog", { name: "New key" });
  await form.getByLabel("Only some of it").check();
  await form.getByRole("button", { name: "Make the key" }).click();
  await expect(form.getByLabel("Name", { exact: true })).toBeFocused();
  await expect(form.getByText("Choose at least one permission.")).toBeVisible();
  await form.getByLabel("Name", { exact: true }).fill("grafana");
  await form.getByLabel("Role", { exact: true }).selectOption("viewer");
  await form.getByRole("checkbox", { name: /^metrics:read/ }).check();
  await form.getByLabel("Expires").selectOption("90");
  await form.getByRole("button", { name: "Make the key" }).click();

  const once = page.getByRole("dialog", { name: "The key grafana" });
  const key = (await once.getByRole("region", { name: "API key" }).textContent()) ?? "";
  const ask = (path: string) => fetch(server.url + path, { headers: { Authorization: `Bearer ${key}` } });
  expect((await ask("/v1/metrics")).status).toBe(200);
  expect((await ask("/v1/rules")).status).toBe(403);
  await once.getByRole("button", { name: "I have copied it" }).click();

  const row = page.getByRole("row", { name: /grafana/ });
  await expect(row).toContainText("1 permission only");
  await expect(row).toContainText("in 90 d");
  await row.getByRole("button", { name: "Rotate grafana" }).click();
  await page.getByLabel("The old key stays good for").selectOption("0s");
  await page.getByRole("button", { name: "Make the new key" }).click();
  const second = (await once.getByRole("region", { name: "API key" }).textContent()) ?? "";
  expect(second).not.toBe(key);
  await once.getByRole("button", { name: "I have copied it" }).click();
  await expect(row.filter({ hasText: "expired" })).toHaveCount(1);
  expect((await ask("/v1/metrics")).status).toBe(401);

  await row.filter({ hasNotText: "expired" }).getByRole("button", { name: "Revoke grafana" }).click();
  await page
    .getByRole("dialog", { name: "Revoke grafana?" })
    .getByRole("button", { name: "Revoke", exact: true })
    .click();
  await expect(row).toHaveCount(1);
});

test("somebody is invited, sets a password and codes, and signs in with both", async ({ signedIn: page, browser }) => {
  await settings(page, "Members");
  await page.getByRole("button", { name: "Invite", exact: true }).click();
  const form = page.getByRole("dialog", { name: "Invite somebody" });
  await form.getByRole("button", { name: "Make the invitation" }).click();
  await expect(form.getByLabel("E-mail")).toBeFocused();
  await form.getByLabel("E-mail").fill("ada@example.com");
  await form.getByLabel("Name").fill("Ada Lovelace");
  await form.getByLabel("Role", { exact: true }).selectOption("editor");
  await form.getByRole("button", { name: "Make the invitation" }).click();
  const once = page.getByRole("dialog", { name: "Invitation for Ada Lovelace" });
  const link = (await once.getByRole("region", { name: "Invitation link" }).textContent()) ?? "";
  await once.getByRole("button", { name: "I have copied it" }).click();
  await expect(page.getByRole("row", { name: /Ada Lovelace/ })).toContainText("invited");

  const context = await browser.newContext();
  const ada = await context.newPage();
  await ada.goto(link);
  await expect(ada.getByRole("heading", { name: "Welcome" })).toBeVisible();
  expect(new URL(ada.url()).pathname + new URL(ada.url()).hash).toBe("/");
  await ada.getByLabel("New password").fill("too short");
  await ada.getByRole("button", { name: "Set password" }).click();
  await expect(ada.getByLabel("New password")).toHaveAttribute("aria-invalid", "true");
  await ada.getByLabel("New password").fill(PASSWORD);
  await ada.getByRole("button", { name: "Set password" }).click();
  await expect(ada.getByRole("heading", { name: "Overview", level: 1 })).toBeVisible();
  await expect(ada.getByTestId("connection")).toHaveAttribute("data-state", "open");

  await settings(ada, "My account");
  await ada.getByRole("button", { name: "Set up" }).click();
  const codes = ada.getByRole("dialog", { name: "Set up two-step sign-in" });
  await codes.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await codes.getByRole("button", { name: "Continue" }).click();
  await expect(codes.getByRole("img", { name: /QR code/ })).toBeVisible();
  const secret = (await codes.locator("code").textContent()) ?? "";
  await codes.getByLabel("Code", { exact: true }).fill(totp(secret, Date.now()));
  await codes.getByRole("button", { name: "Turn on" }).click();
  const recovery = ada.getByRole("dialog", { name: "Recovery codes" });
  const spare = (await recovery.getByRole("listitem").first().textContent()) ?? "";
  await recovery.getByRole("button", { name: "I have kept them" }).click();

  await ada.getByRole("button", { name: "Sign out" }).click();
  await ada.getByLabel("E-mail", { exact: true }).fill("ada@example.com");
  await ada.getByLabel("Password", { exact: true }).fill("not the passphrase");
  await ada.getByRole("button", { name: "Sign in" }).click();
  await expect(ada.getByRole("alert")).toContainText("is not right");
  await ada.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await ada.getByRole("button", { name: "Sign in" }).click();
  await ada.getByLabel("Code", { exact: true }).fill(spare);
  await ada.getByRole("button", { name: "Sign in" }).click();
  await expect(ada.getByRole("heading", { level: 1 })).toBeVisible();
  await expect(ada.getByRole("button", { name: "Sign out" })).toBeVisible();
  await context.close();
});

test("a viewer sees what viewers may, and is signed out where the session is ended", async ({
  browser,
  page,
  server,
}) => {
  const { id, token } = await invite(server, "vera@example.com", "viewer");
  await page.goto(`${server.url}/#/invitation/${token}`);
  await page.getByLabel("New password").fill(PASSWORD);
  await page.getByRole("button", { name: "Set password" }).click();
  await expect(page.getByRole("heading", { name: "Overview", level: 1 })).toBeVisible();

  await page.goto(`${server.url}/app/settings`);
  await expect(page.getByRole("heading", { name: "My account", level: 1 })).toBeVisible();
  await expect(page.getByRole("navigation", { name: "Settings" }).getByRole("link")).toHaveText(["My account"]);
  await page.goto(`${server.url}/app/settings/keys`);
  await expect(page.getByText("keys:read")).toBeVisible();
  await page.goto(`${server.url}/app/rules`);
  await expect(page.getByRole("heading", { name: "Rules", level: 1 })).toBeVisible();
  await expect(page.getByRole("button", { name: "New rule" })).toHaveCount(0);
  await expect(page.getByTestId("connection")).toHaveAttribute("data-state", "open");

  const context = await browser.newContext();
  const second = await context.newPage();
  await second.goto(`${server.url}/?tenant=default`);
  await second.getByLabel("E-mail", { exact: true }).fill("vera@example.com");
  await second.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await second.getByRole("button", { name: "Sign in" }).click();
  await settings(second, "My account");
  const list = second.getByRole("list", { name: "Sessions" });
  await expect(list.getByRole("listitem")).toHaveCount(2);
  await list.getByRole("button", { name: /^End the session/ }).click();
  await expect(list.getByRole("listitem")).toHaveCount(1);
  // Its WebSocket is closed, and that alone tells the page.
  await expect(page.getByText("Your session has ended. Sign in again.")).toBeVisible();
  await context.close();
  expect((await server.call("DELETE", `/v1/members/${id}`)).status).toBe(204);
});

test("usage counts what was sent, once each", async ({ signedIn: page, server }) => {
  const before = await server.call("GET", "/v1/usage").then((r) => r.json() as Promise<{ total: { events: number } }>);
  await server.send(Array.from({ length: 7 }, () => ({ type: "order.placed", source: "shop" })));
  const figure = page.getByRole("group", { name: "Figure" }).getByRole("button", { name: /^Events/ });
  await settings(page, "Usage");
  await expect(async () => {
    await page.getByRole("button", { name: "24 hours" }).click();
    await page.getByRole("button", { name: "This month" }).click();
    await expect(figure.getByTitle(String(before.total.events + 7))).toBeVisible({ timeout: 1500 });
  }).toPass();
  await page.getByText("As a table").click();
  await expect(page.getByRole("row", { name: new RegExp(new Date().toISOString().slice(0, 10)) })).toBeVisible();
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "Download as CSV" }).click();
  expect((await download).suggestedFilename()).toBe("usage.csv");
});

test("the audit log tells who changed what, and that its chain is whole", async ({ signedIn: page, server }) => {
  const rule = { slug: "audited", name: "Audited", metric: "events", agg: "count", window: "1m", severity: "info" };
  const put = (value: number) =>
    server.call("PUT", "/v1/rules/audited", { ...rule, condition: { type: "threshold", op: ">", value } });
  expect((await put(10)).status).toBe(201);
  expect((await put(25)).status).toBe(200);

  await settings(page, "Audit log");
  await expect(page.getByText("Chain intact")).toBeVisible();
  await page.getByLabel("Target", { exact: true }).fill("rule/audited");
  await expect(page.getByRole("row", { name: /rule audited/ })).toHaveCount(2);
  await expect(page.getByRole("row")).toHaveCount(3);
  await page
    .getByRole("button", { name: /^Open entry/ })
    .first()
    .click();
  const entry = page.getByRole("dialog", { name: /rule\.put/ });
  await expect(entry.getByRole("list", { name: "Changes" }).getByRole("listitem")).toHaveText([
    /condition\.value.*10.*25/,
  ]);
  await page.keyboard.press("Escape");

  await page.getByLabel("Action", { exact: true }).fill("rule.nothing");
  await expect(page.getByRole("heading", { name: "Nothing that fits" })).toBeVisible();
  await page.getByRole("button", { name: "Show everything" }).click();
  await expect(page.getByRole("row", { name: /rule audited/ })).toHaveCount(2);
});
