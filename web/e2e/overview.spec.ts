import { expect, newest, open, test } from "./fixtures.ts";

test("the chart moves as events arrive, and is split by type", async ({ signedIn: page, server }) => {
  const chart = page.getByRole("region", { name: "Live chart" });
  await expect(page.getByTestId("connection")).toHaveAttribute("data-state", "open");

  await server.send([{ type: "order.placed", source: "shop" }]);
  await expect.poll(() => newest(page)).not.toBeNull();
  const first = await newest(page);

  // Each round lands in a later second; the newest point must follow.
  await expect
    .poll(
      async () => {
        await server.send([
          { type: "order.placed", source: "shop" },
          { type: "order.paid", source: "shop" },
        ]);
        return (await newest(page))?.at ?? 0;
      },
      { intervals: [1100], timeout: 15_000 },
    )
    .toBeGreaterThan(first?.at ?? 0);

  await page.getByLabel("Split by").selectOption("type");
  // Other tests share the server, so there may be more types than these two.
  await expect.poll(async () => Number(await chart.getAttribute("data-series"))).toBeGreaterThanOrEqual(2);
  await expect(chart.getByRole("button", { name: "order.placed" })).toBeVisible();
  await expect(chart.getByRole("button", { name: "order.paid" })).toBeVisible();

  await chart.getByRole("button", { name: "order.paid" }).click();
  await expect(chart.getByRole("button", { name: "order.paid" })).toHaveAttribute("aria-pressed", "true");
});

test("an hour and a day can be looked at, and the choice is remembered", async ({ signedIn: page, server }) => {
  await server.send([{ type: "order.placed", source: "shop" }]);
  const range = page.getByRole("group", { name: "Range" });
  for (const name of ["1h", "6h", "24h"]) {
    await range.getByRole("button", { name, exact: true }).click();
    await expect
      .poll(async () => Number(await page.getByRole("region", { name: "Live chart" }).getAttribute("data-points")))
      .toBeGreaterThan(0);
    await expect(page.getByRole("region", { name: "Live chart" }).getByRole("alert")).toHaveCount(0);
  }
  await page.reload();
  await expect(range.getByRole("button", { name: "24h", exact: true })).toHaveAttribute("aria-pressed", "true");
});

test("the crosshair tells values, with the mouse and with the keyboard", async ({ signedIn: page, server }) => {
  await server.send([{ type: "order.placed", source: "shop" }]);
  await expect.poll(() => newest(page)).not.toBeNull();
  const plot = page.getByRole("group", { name: /Arrow keys move/ });
  await plot.focus();
  await page.keyboard.press("End");
  await expect(plot.getByText(/\d\d:\d\d:\d\d/)).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(plot.getByText(/\d\d:\d\d:\d\d/)).toBeHidden();
  await plot.hover();
  await expect(plot.getByText(/\d\d:\d\d:\d\d/)).toBeVisible();
});

test("the tail shows events, filters, pauses and opens one", async ({ signedIn: page, server }) => {
  const tail = page.getByRole("region", { name: "Live tail" });
  await server.send([{ type: "tail.first", source: "till", data: { amount: 42 } }]);
  await expect(tail.getByRole("button", { name: /tail\.first from till/ }).first()).toBeVisible();

  await tail.getByRole("button", { name: "Pause" }).click();
  await server.send([{ type: "tail.second", source: "till" }]);
  await expect(tail.getByRole("button", { name: /Resume.*new/ })).toBeVisible();
  await expect(tail.getByRole("button", { name: /tail\.second/ })).toHaveCount(0);
  await tail.getByRole("button", { name: /Resume/ }).click();
  await expect(tail.getByRole("button", { name: /tail\.second/ }).first()).toBeVisible();

  await tail.getByLabel("Filter events").fill("type:tail.f*");
  await expect(tail.getByRole("button", { name: /tail\.second/ })).toHaveCount(0);
  await tail
    .getByRole("button", { name: /tail\.first/ })
    .first()
    .focus();
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog", { name: "tail.first" });
  await expect(dialog.getByRole("region", { name: "Event as JSON" })).toContainText('"amount": 42');
  await expect(dialog.getByRole("button", { name: "Copy JSON" })).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(dialog).toBeHidden();
});

test("sources show their state in words", async ({ signedIn: page, server }) => {
  await server.send(Array.from({ length: 20 }, () => ({ type: "order.placed", source: "shop" })));
  const card = page.getByRole("list", { name: "Sources" }).getByRole("button", { name: /shop/ });
  await expect(card).toContainText(/Healthy|Degraded|Down|Idle/);
  await card.click();
  await expect(card).toHaveAttribute("aria-pressed", "true");
});

test("the page reconnects by itself and says so", async ({ signedIn: page, context, server }) => {
  await expect(page.getByTestId("connection")).toHaveAttribute("data-state", "open");
  await page.routeWebSocket(/\/v1\/live/, (ws) => ws.close());
  // A new page connects through the route that hangs up at once.
  await page.reload();
  await expect(page.getByTestId("connection")).toContainText("Reconnecting");
  await page.unrouteAll();
  const fresh = await context.newPage();
  await fresh.addInitScript((key) => sessionStorage.setItem("pulsestream.key", key), server.key);
  await fresh.goto("/");
  await expect(fresh.getByTestId("connection")).toHaveAttribute("data-state", "open");
});

test("a phone shows everything without scrolling sideways", async ({ signedIn: page, server }) => {
  await page.setViewportSize({ width: 360, height: 740 });
  await server.send([{ type: "order.placed", source: "shop" }]);
  const fits = async (view: string) => {
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    expect(wide, view).toBeLessThanOrEqual(0);
  };
  for (const view of ["Overview", "Incidents", "Sources", "Metrics", "Rules", "Channels"]) {
    await open(page, view);
    await fits(view);
  }
  const nav = await page.getByRole("navigation", { name: "Main" }).boundingBox();
  expect(nav?.y).toBeGreaterThan(600);
  await page.getByRole("link", { name: "Settings", exact: true }).click();
  for (const link of await page.getByRole("navigation", { name: "Settings" }).getByRole("link").all()) {
    const section = (await link.textContent()) ?? "";
    await link.click();
    await expect(page.getByRole("heading", { name: section, level: 1 })).toBeVisible();
    await expect(page.getByText("Loading…")).toHaveCount(0);
    await fits(section);
  }
});

test("dark follows the system, and the toggle is remembered", async ({ signedIn: page }) => {
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await background();
  await page.emulateMedia({ colorScheme: "dark" });
  await expect.poll(background).not.toBe(light);
  await page.getByRole("button", { name: "Use light theme" }).click();
  await expect.poll(background).toBe(light);
  await page.reload();
  await expect(page.getByRole("button", { name: "Use dark theme" })).toBeVisible();
  expect(await background()).toBe(light);
});
