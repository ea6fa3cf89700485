import { withUnit } from "./format.ts";
import type { Agg, Rule } from "./types.ts";

const OPS: Record<string, string> = {
  ">": "above",
  ">=": "at or above",
  "<": "below",
  "<=": "at or below",
  "==": "equal to",
  "!=": "other than",
};

export const OP_NAMES: readonly (readonly [string, string])[] = [
  [">", "above"],
  [">=", "at or above"],
  ["<", "below"],
  ["<=", "at or below"],
];

/** The unit in which an aggregate of a metric is read: counting a revenue is no longer dollars. */
export function unitOf(agg: Agg, unit = ""): string {
  if (agg === "count" || agg === "unique") return "";
  if (agg === "rate") return "/s";
  return unit;
}

/** A rule as one sentence, as it would be said to a colleague. */
export function sentence(r: Rule, unit = ""): string {
  const where = Object.entries(r.where ?? {}).map(([k, v]) => `${k} is ${v}`);
  const subject = `${r.agg} of ${r.metric}${where.length ? ` where ${where.join(" and ")}` : ""}`;
  const each = r.group_by?.length ? `, for each ${r.group_by.join(" and ")}` : "";
  const c = r.condition;
  if (c?.type !== "threshold") return `${subject} over ${r.window}: ${c?.type ?? "unknown condition"}${each}`;
  const u = unitOf(r.agg, unit);
  const hold = r.for && r.for !== "0s" ? ` for ${r.for}` : "";
  return `${subject} over ${r.window} is ${OPS[c.op ?? ""] ?? c.op} ${withUnit(c.value, u)}${hold}${each}`;
}

/** The clear value must lie on the quiet side of the limit, or an incident would open and close in turn. */
export function clearIsQuiet(op: string, value: number, clear: number): boolean {
  return op.startsWith(">") ? clear <= value : clear >= value;
}
