import { expect, open, test } from "./fixtures.ts";
import { receiver } from "./server.ts";

test("a source is made, shows its webhook URL, and is deleted after a question", async ({ signedIn: page }) => {
  await open(page, "Sources");
  await page.getByRole("button", { name: "New source" }).click();
  const form = page.getByRole("dialog", { name: "New source" });
  await form.getByRole("button", { name: "Create source" }).click();
  await expect(form.getByText("Choose the vendor.")).toBeVisible();
  await form.getByRole("radio", { name: "Stripe" }).check();
  await expect(form.getByLabel("Slug")).toHaveValue("stripe");
  await form.getByLabel("Slug").fill("stripe-live");
  await form.getByLabel("Secret").fill("whsec_end_to_end_test_secret");
  await form.getByRole("button", { name: "Create source" }).click();

  const steps = page.getByRole("dialog", { name: /^Connect/ });
  await expect(steps.getByRole("region", { name: "Webhook URL" })).toContainText(/\/v1\/hooks\/\S+/);
  await expect(steps.getByRole("button", { name: "Copy Webhook URL" })).toBeVisible();
  await steps.getByRole("button", { name: "Done" }).click();

  const row = page.getByRole("row", { name: /stripe-live/ });
  await expect(row).toBeVisible();
  await row.getByRole("button", { name: /^Delete/ }).click();
  const question = page.getByRole("dialog", { name: /^Delete/ });
  await question.getByRole("button", { name: "Cancel" }).click();
  await expect(row).toBeVisible();
  await row.getByRole("button", { name: /^Delete/ }).click();
  await question.getByRole("button", { name: "Delete", exact: true }).click();
  await expect(row).toHaveCount(0);
});

test("a metric's errors are shown at their fields, and it is made once they are mended", async ({
  signedIn: page,
  server,
}) => {
  await server.send([
    { type: "charge.succeeded", source: "till", data: { amount: 1250, card: { country: "US" } } },
    { type: "charge.succeeded", source: "till", data: { amount: 990, card: { country: "DE" } } },
  ]);
  await open(page, "Metrics");
  await page.getByRole("button", { name: "New metric" }).click();
  const form = page.getByRole("dialog", { name: "New metric" });
  await form.getByLabel("Name", { exact: true }).fill("Takings");
  await expect(form.getByLabel("Slug")).toHaveValue("takings");
  await form.getByLabel("Event types").fill("charge.succeeded");
  await form.getByLabel("Filter").fill("data.amount >");
  await form.getByLabel("Value").fill("data.amount / 100.0");
  await form.getByLabel("Unit").fill("usd");
  await form.getByRole("button", { name: "Add dimension" }).click();
  await form.getByLabel("Dimension 1 name").fill("country");
  await form.getByLabel("Dimension 1 expression").fill("data.card.country");
  await form.getByRole("button", { name: "Create metric" }).click();
  await expect(form.getByLabel("Filter")).toHaveAttribute("aria-invalid", "true");
  await expect(form.getByLabel("Filter")).toBeFocused();

  await form.getByLabel("Filter").fill("data.amount > 0");
  await form.getByRole("button", { name: "Create metric" }).click();
  await expect(form).toBeHidden();
  await expect(page).toHaveURL(/\/app\/metrics\/takings$/);
  const chart = page.getByRole("region", { name: "Metric chart" });
  await page.getByLabel("Split by").selectOption("country");
  await expect(chart).toHaveAttribute("data-series", "2");

  await page.getByRole("button", { name: "Delete Takings" }).click();
  await page
    .getByRole("dialog", { name: /^Delete/ })
    .getByRole("button", { name: "Delete", exact: true })
    .click();
  await expect(page.getByRole("list", { name: "Metrics" }).getByText("takings")).toHaveCount(0);
});

test("a channel is made, and a test of it arrives signed", async ({ signedIn: page }) => {
  const hook = await receiver();
  await open(page, "Channels");
  await page.getByRole("button", { name: "New channel" }).click();
  const form = page.getByRole("dialog", { name: "New channel" });
  await form.getByLabel("Name", { exact: true }).fill("Ops");
  // Addresses inside the network are refused unless the server was told otherwise; the reason is shown at the field.
  await form.getByLabel("URL").fill("https://10.0.0.1/hook");
  await form.getByRole("button", { name: "Create channel" }).click();
  await expect(form.getByLabel("URL")).toHaveAttribute("aria-invalid", "true");
  await expect(form.getByText(/egress-allow/)).toBeVisible();

  await form.getByLabel("URL").fill(hook.url);
  await form.getByRole("button", { name: "Create channel" }).click();
  const secret = page.getByRole("dialog", { name: "Signing secret" });
  await expect(secret.getByRole("region", { name: "Signing secret" })).toContainText("whsec_");
  await secret.getByRole("button", { name: "I have copied it" }).click();

  await page.getByRole("button", { name: "Send a test to Ops" }).click();
  await expect(page.getByText(/^Delivered/)).toBeVisible();
  expect(hook.headers[0]?.["webhook-signature"]).toMatch(/^v1,/);

  hook.close();
  await page.getByRole("button", { name: "Send a test to Ops" }).click();
  await expect(page.getByText(/^Failed/)).toBeVisible({ timeout: 20_000 });
});

test("a rule that is passed opens an incident, which is acknowledged and commented", async ({
  signedIn: page,
  server,
}) => {
  test.setTimeout(120_000);
  await open(page, "Rules");
  await page.getByRole("button", { name: "New rule" }).click();
  const form = page.getByRole("dialog", { name: "New rule" });
  await form.getByLabel("Name", { exact: true }).fill("Too many refusals");
  await form.getByLabel("Metric").selectOption("events");
  await form.getByLabel("Aggregation").selectOption("count");
  await form.getByLabel("Window").fill("1m");
  await form.getByRole("button", { name: "Add where" }).click();
  await form.getByLabel("Condition 1 dimension").selectOption("type");
  await form.getByLabel("Condition 1 value").fill("card.refused");
  await form.getByLabel("Threshold").fill("5");
  await form.getByLabel("Clear at").fill("9");
  await form.getByRole("button", { name: "Create rule" }).click();
  await expect(form.getByText("Must not be above the threshold.")).toBeVisible();
  await form.getByLabel("Clear at").fill("2");
  await expect(
    form.getByText(/^Fires when count of events where type is card\.refused over 1m is above 5/),
  ).toBeVisible();
  await form.getByRole("button", { name: "Create rule" }).click();
  await expect(form).toBeHidden();
  await expect(page.getByRole("row", { name: /Too many refusals/ })).toContainText("quiet");

  await server.send(Array.from({ length: 12 }, () => ({ type: "card.refused", source: "till" })));
  await open(page, "Overview");
  const open_ = page.getByRole("region", { name: "Open incidents" });
  await expect(open_.getByRole("link", { name: /Too many refusals/ })).toBeVisible({ timeout: 30_000 });
  await open_.getByRole("link", { name: /Too many refusals/ }).click();

  const incident = page.getByRole("region", { name: "Incident", exact: true });
  await expect(incident).toContainText("Firing, critical");
  await expect(incident).toContainText(/\b12\b/);
  await incident.getByLabel("Comment").fill("Looking at the till");
  await incident.getByRole("button", { name: "Acknowledge" }).click();
  await expect(incident.getByText(/^acknowledged by/)).toBeVisible();
  const timeline = incident.getByRole("list", { name: "Timeline" });
  await expect(timeline).toContainText("Looking at the till");
  await incident.getByLabel("Comment").fill("It was the network");
  await incident.getByRole("button", { name: "Add comment" }).click();
  await expect(timeline).toContainText("It was the network");

  await open(page, "Rules");
  await expect(page.getByRole("row", { name: /Too many refusals/ })).toContainText("1 incident");
  await page.getByRole("button", { name: "Delete Too many refusals" }).click();
  await page
    .getByRole("dialog", { name: /^Delete/ })
    .getByRole("button", { name: "Delete", exact: true })
    .click();
  await expect(page.getByRole("row", { name: /Too many refusals/ })).toHaveCount(0);
});
