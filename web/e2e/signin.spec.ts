import { expect, signIn, test } from "./fixtures.ts";

test("a wrong key is refused with a reason, and the right one then works", async ({ page, server }) => {
  await page.goto("/");
  await page.getByLabel("API key", { exact: true }).fill(`ps_wrong_${"0".repeat(40)}`);
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByRole("alert")).toContainText("not accepted");
  await expect(page.getByLabel("API key", { exact: true })).toHaveAttribute("aria-invalid", "true");
  await signIn(page, server.key);
});

test("the keyboard is enough to sign in, to reach the content and to sign out", async ({ page, server }) => {
  await page.goto("/");
  await expect(page.getByLabel("API key", { exact: true })).toBeFocused();
  await page.keyboard.type(server.key);
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { name: "Overview", level: 1 })).toBeVisible();

  await page.keyboard.press("Tab");
  await expect(page.getByRole("link", { name: "Skip to content" })).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(page.locator("main")).toBeFocused();

  await page.getByRole("link", { name: "Rules" }).focus();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { name: "Rules", level: 1 })).toBeFocused();

  await page.getByRole("button", { name: "New rule" }).focus();
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog", { name: "New rule" });
  await expect(dialog.getByLabel("Name", { exact: true })).toBeFocused();
  await page.keyboard.press("Escape");
  await expect(dialog).toBeHidden();
  await expect(page.getByRole("button", { name: "New rule" })).toBeFocused();

  await page.getByRole("button", { name: "Sign out" }).focus();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("button", { name: "Sign in" })).toBeVisible();
});

test("the key is forgotten with the tab, unless one asks to stay signed in", async ({ page, context, server }) => {
  await signIn(page, server.key);
  await page.reload();
  await expect(page.getByRole("heading", { name: "Overview", level: 1 })).toBeVisible();
  const second = await context.newPage();
  await second.goto("/");
  await expect(second.getByRole("button", { name: "Sign in" })).toBeVisible();

  await second.getByLabel("API key", { exact: true }).fill(server.key);
  await second.getByLabel("Stay signed in on this device").check();
  await second.getByRole("button", { name: "Sign in" }).click();
  await expect(second.getByRole("heading", { name: "Overview", level: 1 })).toBeVisible();
  const third = await context.newPage();
  await third.goto("/app/incidents");
  await expect(third.getByRole("heading", { name: "Incidents", level: 1 })).toBeVisible();
});

test("a link with a key signs in, and the key leaves the address bar", async ({ page, server }) => {
  await page.goto(`/#key=${server.key}`);
  await expect(page.getByRole("heading", { name: "Overview", level: 1 })).toBeVisible();
  expect(page.url()).not.toContain(server.key);
  await page.goto("about:blank");
  await page.goto("/#key=ps_wrong_link");
  await expect(page.getByText("The key in this link is not accepted.")).toBeVisible();
});

test("what the server sends is strict about scripts and caching", async ({ server }) => {
  const index = await fetch(`${server.url}/`);
  expect(index.headers.get("content-security-policy")).toContain("script-src 'self'");
  expect(index.headers.get("cache-control")).toBe("no-cache");
  const html = await index.text();
  const script = /src="(\/assets\/[^"]+\.js)"/.exec(html)?.[1] ?? "";
  const asset = await fetch(server.url + script);
  expect(asset.status).toBe(200);
  expect(asset.headers.get("cache-control")).toContain("immutable");
});
