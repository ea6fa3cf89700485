import { test as base, expect, type Page } from "@playwright/test";
import { Server } from "./server.ts";

// Messages of the browser itself about answers that a test provokes on purpose.
const PROVOKED = /Failed to load resource: the server responded with a status of (401|422)/;

export const test = base.extend<{ signedIn: Page; clean: undefined }, { server: Server }>({
  server: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the fixtures' names from this pattern.
    async ({}, use) => {
      const server = new Server();
      try {
        await server.start();
        await use(server);
      } finally {
        await server.stop();
      }
    },
    { scope: "worker", timeout: 60_000 },
  ],
  baseURL: async ({ server }, use) => {
    await use(server.url);
  },
  // Every test also proves that the page has no errors and stays within its content security policy.
  clean: [
    async ({ page }, use) => {
      const errors: string[] = [];
      page.on("pageerror", (e) => errors.push(`${e.message}\n${e.stack}`));
      page.on("console", (m) => {
        if (m.type() === "error" && !PROVOKED.test(m.text())) errors.push(m.text());
      });
      await use(undefined);
      expect(errors).toEqual([]);
    },
    { auto: true },
  ],
  signedIn: async ({ page, server }, use) => {
    await signIn(page, server.key);
    await use(page);
  },
});

export async function signIn(page: Page, key: string): Promise<void> {
  await page.goto("/");
  await page.getByLabel("API key", { exact: true }).fill(key);
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByRole("heading", { name: "Overview", level: 1 })).toBeVisible();
}

/** The newest point of the live chart, as the page itself says it. */
export async function newest(page: Page): Promise<{ at: number; value: number } | null> {
  const text = await page.getByRole("region", { name: "Live chart" }).getAttribute("data-last");
  if (!text) return null;
  const [at, value] = text.split(":");
  return { at: Number(at), value: Number(value) };
}

export async function open(page: Page, view: string): Promise<void> {
  await page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: view }).click();
  await expect(page.getByRole("heading", { name: view, level: 1 })).toBeVisible();
}

export { expect };
