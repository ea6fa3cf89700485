export interface Change {
  /** Dotted, as one would write it in an expression: `condition.value`. */
  path: string;
  kind: "added" | "removed" | "changed" | "same";
  before: string;
  after: string;
}

/** What differs between two JSON objects, member by member, in the order in which the newer one has them. */
export function diff(before: unknown, after: unknown): Change[] {
  const b = flatten(before);
  const a = flatten(after);
  const paths = [...a.keys(), ...[...b.keys()].filter((p) => !a.has(p))];
  return paths.map((path) => {
    const was = b.get(path);
    const is = a.get(path);
    const kind = was === undefined ? "added" : is === undefined ? "removed" : was === is ? "same" : "changed";
    return { path, kind, before: was ?? "", after: is ?? "" };
  });
}

// Lists are one value each: that an element was put in front must not look as if all of them had changed.
function flatten(value: unknown, path = "", into = new Map<string, string>()): Map<string, string> {
  if (value === null || value === undefined) {
    if (path) into.set(path, "null");
  } else if (typeof value === "object" && !Array.isArray(value) && (!path || Object.keys(value).length > 0)) {
    for (const [k, v] of Object.entries(value)) flatten(v, path ? `${path}.${k}` : k, into);
  } else into.set(path, say(value));
  return into;
}

function say(value: unknown): string {
  if (typeof value === "string") return value === "" ? '""' : value;
  if (Array.isArray(value) && value.every((v) => typeof v === "string" || typeof v === "number"))
    return value.length ? value.join(", ") : "[]";
  return JSON.stringify(value);
}
