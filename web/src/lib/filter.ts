import type { PulseEvent } from "./types.ts";

export interface Term {
  field: "source" | "type" | "subject" | "any";
  pattern: RegExp;
  not: boolean;
}

/**
 * What is typed above the live tail: words that must all occur in source, type or subject. `source:stripe` looks in one
 * field only, `*` stands for anything, a leading `-` excludes, quotes keep spaces together.
 */
export function parseFilter(text: string): Term[] {
  const terms: Term[] = [];
  for (const [word] of text.matchAll(/-?(?:\w+:)?"[^"]*"?|\S+/g)) {
    const m = /^(-?)(?:(source|type|subject):)?(.*)$/is.exec(word);
    if (!m) continue;
    const value = (m[3] ?? "").replaceAll('"', "");
    if (!value) continue;
    const field = (m[2]?.toLowerCase() ?? "any") as Term["field"];
    terms.push({ field, pattern: toPattern(value, field !== "any"), not: m[1] === "-" });
  }
  return terms;
}

// With a field and a star the pattern must cover the whole value (`type:charge.*`); without, any part will do.
function toPattern(value: string, hasField: boolean): RegExp {
  const body = value
    .split("*")
    .map((s) => s.replace(/[.+?^${}()|[\]\\]/g, "\\$&"))
    .join(".*");
  const whole = hasField && value.includes("*");
  return new RegExp(whole ? `^${body}$` : body, "i");
}

export function matches(terms: Term[], e: PulseEvent): boolean {
  return terms.every((t) => {
    const values = t.field === "any" ? [e.source, e.type, e.subject] : [e[t.field] as string | undefined];
    return values.some((v) => v !== undefined && t.pattern.test(v)) !== t.not;
  });
}

/** The CEL paths below `data` of some events, for suggestions while typing; arrays are left out, their items have no fixed path. */
export function dataPaths(events: PulseEvent[], limit = 80): string[] {
  const found = new Set<string>();
  const walk = (value: unknown, path: string, depth: number): void => {
    if (found.size >= limit || depth > 5) return;
    if (value === null || typeof value !== "object") {
      found.add(path);
      return;
    }
    if (Array.isArray(value)) return;
    for (const [k, v] of Object.entries(value)) if (/^[A-Za-z_]\w*$/.test(k)) walk(v, `${path}.${k}`, depth + 1);
  };
  for (const e of events) walk(e.data, "data", 0);
  return [...found].filter((p) => p !== "data").sort();
}
