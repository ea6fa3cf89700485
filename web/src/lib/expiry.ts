export const EXPIRIES = [
  ["", "Never"],
  ["7", "In 7 days"],
  ["30", "In 30 days"],
  ["90", "In 90 days"],
  ["365", "In a year"],
  ["date", "On a day of your choice"],
] as const;

/** The time that a choice of the list means; a day is good until it ends, local time. Undefined: never. NaN never leaves: "" for no date. */
export function expiryOf(choice: string, date: string, now: number): string | undefined {
  if (choice === "") return undefined;
  if (choice !== "date") return new Date(now + Number(choice) * 86_400_000).toISOString();
  const m = /^(\d{4})-(\d\d)-(\d\d)$/.exec(date);
  if (!m) return "";
  return new Date(Number(m[1]), Number(m[2]) - 1, Number(m[3]) + 1, 0, 0, 0).toISOString();
}

export type Life = "active" | "ending" | "expired";

/** How a thing with an expiry stands: a week before its end is the time to do something about it. */
export function lifeOf(expires: string | undefined, now: number): Life {
  if (!expires) return "active";
  const left = Date.parse(expires) - now;
  return left <= 0 ? "expired" : left < 7 * 86_400_000 ? "ending" : "active";
}
