const CURRENCIES = new Set([
  "usd",
  "eur",
  "gbp",
  "chf",
  "jpy",
  "cad",
  "aud",
  "sek",
  "nok",
  "dkk",
  "pln",
  "inr",
  "brl",
  "cny",
]);
const BYTES = new Set(["b", "byte", "bytes"]);

/** Three significant digits, thousands as k, M, G: `1234` is `1.23k`. */
export function compact(n: number): string {
  const abs = Math.abs(n);
  // 999 950 would round to 1000k, which is better said as 1M.
  const size = [1e12, 1e9, 1e6, 1e3].find((s) => abs >= s * 0.9995);
  if (size === undefined) return trim(n, abs);
  return trim(n / size, abs / size) + { 1e12: "T", 1e9: "G", 1e6: "M", 1e3: "k" }[size];
}

function trim(n: number, abs: number): string {
  if (Number.isInteger(n)) return String(n);
  const digits = abs >= 100 ? 0 : abs >= 10 ? 1 : abs >= 0.1 ? 2 : 3;
  return String(Number(n.toFixed(digits)));
}

/** A duration given in milliseconds, with two significant parts at most: `90 s` is `1m 30s`. */
export function duration(ms: number): string {
  if (ms === 0) return "0s";
  if (ms < 1000) return `${Number(ms.toFixed(ms < 10 ? 1 : 0))}ms`;
  const s = ms / 1000;
  if (s < 60) return `${Number(s.toFixed(s < 10 ? 1 : 0))}s`;
  const parts: [number, string][] = [
    [Math.floor(s / 86400), "d"],
    [Math.floor((s % 86400) / 3600), "h"],
    [Math.floor((s % 3600) / 60), "m"],
    [Math.floor(s % 60), "s"],
  ];
  const first = parts.findIndex(([n]) => n > 0);
  return parts
    .slice(first, first + 2)
    .filter(([n]) => n > 0)
    .map(([n, u]) => n + u)
    .join(" ");
}

function bytes(n: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (Math.abs(n) >= 1024 && i < units.length - 1) {
    n /= 1024;
    i++;
  }
  return `${trim(n, Math.abs(n))} ${units[i]}`;
}

/** A metric's value with its unit; `null` is a dash, because no value is not zero. */
export function withUnit(n: number | null | undefined, unit = ""): string {
  if (n === null || n === undefined || Number.isNaN(n)) return "–";
  const u = unit.toLowerCase();
  if (CURRENCIES.has(u)) {
    const big = Math.abs(n) >= 10_000;
    return new Intl.NumberFormat("en-US", {
      style: "currency",
      currency: u.toUpperCase(),
      notation: big ? "compact" : "standard",
      minimumFractionDigits: big || Number.isInteger(n) ? 0 : 2,
      maximumFractionDigits: big ? 1 : 2,
    }).format(n);
  }
  if (u === "ms") return n < 0 ? `-${duration(-n)}` : duration(n);
  if (u === "s" || u === "seconds") return n < 0 ? `-${duration(-n * 1000)}` : duration(n * 1000);
  if (u === "%" || u === "percent") return `${compact(n)} %`;
  if (u === "ratio") return percent(n);
  if (BYTES.has(u)) return bytes(n);
  if (u === "/s") return `${compact(n)}/s`;
  return u ? `${compact(n)} ${unit}` : compact(n);
}

const TIME_TICKS = [
  1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
];

/** Where a chart's axis may put its marks: at 30 s and 15 min for durations, at round numbers (undefined) for everything else. */
export function axisSteps(unit: string): number[] | undefined {
  const u = unit.toLowerCase();
  const small = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5];
  if (u === "s" || u === "seconds") return [...small, ...TIME_TICKS];
  if (u === "ms") return [...small, 1, 2, 5, 10, 20, 50, 100, 200, 500, ...TIME_TICKS.map((s) => s * 1000)];
  return undefined;
}

/** A share of one as a percentage: small shares keep a decimal, because 0.4 % and 0 % are different news. */
export function percent(share: number | null | undefined): string {
  if (share === null || share === undefined || Number.isNaN(share)) return "–";
  const p = share * 100;
  if (p > 0 && p < 0.1) return "<0.1 %";
  return `${Number(p.toFixed(p < 10 ? 1 : 0))} %`;
}

const two = (n: number) => String(n).padStart(2, "0");

/** Local wall time, 24 hours: `14:03:09`. */
export function clock(ms: number, seconds = true): string {
  const d = new Date(ms);
  return `${two(d.getHours())}:${two(d.getMinutes())}${seconds ? `:${two(d.getSeconds())}` : ""}`;
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** Local date and time, with the date left out when it is today's. */
export function moment(ms: number, now: number): string {
  const d = new Date(ms);
  const today = new Date(now);
  if (d.toDateString() === today.toDateString()) return clock(ms);
  const year = d.getFullYear() === today.getFullYear() ? "" : ` ${d.getFullYear()}`;
  return `${d.getDate()} ${MONTHS[d.getMonth()]}${year}, ${clock(ms, false)}`;
}

/** The local day: `29 Nov`. */
export function day(ms: number): string {
  const d = new Date(ms);
  return `${d.getDate()} ${MONTHS[d.getMonth()]}`;
}

/** How long ago, in one part: `just now`, `12 s ago`, `3 min ago`, `2 h ago`, `5 d ago`. */
export function ago(ms: number, now: number): string {
  const s = Math.max(0, Math.round((now - ms) / 1000));
  if (s < 2) return "just now";
  if (s < 60) return `${s} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ago`;
  return `${Math.floor(s / 86400)} d ago`;
}

/** How far from now, either way: `in 3 h`, `in 29 d`, or as `ago`. */
export function fromNow(ms: number, now: number): string {
  if (ms <= now) return ago(ms, now);
  const s = Math.round((ms - now) / 1000);
  if (s < 60) return `in ${s} s`;
  if (s < 3600) return `in ${Math.round(s / 60)} min`;
  if (s < 129_600) return `in ${Math.round(s / 3600)} h`;
  return `in ${Math.round(s / 86400)} d`;
}

/** The exact local time with its zone, for those who want to know more than `3 h ago`. */
export function exact(ms: number): string {
  const d = new Date(ms);
  const zone = new Intl.DateTimeFormat("en-GB", { timeZoneName: "short" })
    .formatToParts(d)
    .find((p) => p.type === "timeZoneName")?.value;
  return `${d.getDate()} ${MONTHS[d.getMonth()]} ${d.getFullYear()}, ${clock(ms)} ${zone ?? ""}`.trimEnd();
}

/** `Stripe charges fail!` becomes `stripe-charges-fail`: a slug the server accepts. */
export function slugify(name: string): string {
  return name
    .normalize("NFKD")
    .replace(/[\u0300-\u036f]/g, "")
    .toLowerCase()
    .replace(/[^a-z0-9_]+/g, "-")
    .replace(/^[-_]+|-+$/g, "")
    .slice(0, 63)
    .replace(/-+$/, "");
}

export const SLUG = /^[a-z0-9][a-z0-9_-]{0,62}$/;

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Reads `30s`, `5m`, `1h30m`; NaN when it is no duration. */
export function parseDuration(text: string): number {
  const t = text.trim();
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(t)) return Number.NaN;
  let ms = 0;
  for (const [, n, u] of t.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) ms += Number(n) * (UNITS[u ?? ""] ?? Number.NaN);
  return ms;
}

/** One series' labels as people read them: the values, with names only where there is more than one. */
export function labelText(labels: Record<string, string>): string {
  const entries = Object.entries(labels);
  if (entries.length === 0) return "all";
  if (labels.__other__ !== undefined) return "everything else";
  if (entries.length === 1) return entries[0]?.[1] || "(none)";
  return entries.map(([, v]) => v || "(none)").join(" · ");
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${compact(n)} ${n === 1 ? one : many}`;
}
