import type { Usage, UsageNumbers } from "./types.ts";

export const FIGURES = [
  { figure: "events", title: "Events", unit: "" },
  { figure: "bytes", title: "Bytes", unit: "bytes" },
  { figure: "series", title: "Series", unit: "" },
  { figure: "queries", title: "Queries", unit: "" },
  { figure: "notifications", title: "Notifications", unit: "" },
] as const;
export type Figure = (typeof FIGURES)[number]["figure"];

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** All steps of an answer, which leaves those out in which nothing was used. */
export function steps(u: Usage): { times: number[]; values: (figure: Figure) => number[]; step: number } {
  const step = u.step === "hour" ? HOUR : DAY;
  const from = Date.parse(u.from);
  const rows = new Map((u.data ?? []).map((r) => [Date.parse(r.start), r as UsageNumbers]));
  const times = Array.from(
    { length: Math.max(0, Math.ceil((Date.parse(u.to) - from) / step)) },
    (_, i) => from + i * step,
  );
  return { times, step, values: (figure) => times.map((t) => rows.get(t)?.[figure] ?? 0) };
}

export const SPANS = [
  ["24h", "24 hours"],
  ["7d", "7 days"],
  ["30d", "30 days"],
  ["month", "This month"],
  ["last", "Last month"],
] as const;
export type Span = (typeof SPANS)[number][0];

/** What to ask for. Months are those of UTC, as quotas and bills are. */
export function span(s: Span, now: number): { from: string; to: string; step: "hour" | "day" } {
  const iso = (ms: number) => new Date(ms).toISOString();
  const d = new Date(now);
  const month = (n: number) => Date.UTC(d.getUTCFullYear(), d.getUTCMonth() + n, 1);
  if (s === "month") return { from: iso(month(0)), to: iso(now), step: "day" };
  if (s === "last") return { from: iso(month(-1)), to: iso(month(0)), step: "day" };
  const hours = { "24h": 24, "7d": 168, "30d": 720 }[s];
  // Whole steps: the hour or day that is under way is the last one.
  if (s === "30d") return { from: iso(Math.floor(now / DAY) * DAY - 29 * DAY), to: iso(now), step: "day" };
  return { from: iso(Math.floor(now / HOUR) * HOUR - (hours - 1) * HOUR), to: iso(now), step: "hour" };
}

const QUOTAS: Record<string, { title: string; unit: string }> = {
  events_per_month: { title: "Events this month", unit: "" },
  bytes_per_month: { title: "Bytes this month", unit: "bytes" },
  series: { title: "Series", unit: "" },
  rules: { title: "Rules", unit: "" },
};

export interface Bar {
  name: string;
  title: string;
  unit: string;
  used: number;
  limit: number;
  /** Of one; more than one when it is exceeded. */
  share: number;
  tone: "ok" | "warn" | "bad";
  resetsAt: string | undefined;
}

/** Quotas that are limits, the fullest first. */
export function bars(quotas: Usage["quotas"]): Bar[] {
  return Object.entries(quotas ?? {})
    .flatMap(([name, q]): Bar[] => {
      if (!q.limit) return [];
      const share = q.used / q.limit;
      const { title, unit } = QUOTAS[name] ?? { title: name.replaceAll("_", " "), unit: "" };
      const tone = share >= 1 ? "bad" : share >= 0.8 ? "warn" : "ok";
      return [{ name, title, unit, used: q.used, limit: q.limit, share, tone, resetsAt: q.resets_at }];
    })
    .sort((a, b) => b.share - a.share);
}

/**
 * Days are UTC's: a chart draws local time, so midnight in Greenwich is moved to where the reader's midnight is. Otherwise half of the world would
 * see each day's bar under the day before.
 */
export function asLocalDay(ms: number): number {
  const d = new Date(ms);
  return new Date(d.getUTCFullYear(), d.getUTCMonth(), d.getUTCDate()).getTime();
}
