import type { FieldError, Problem } from "./types.ts";

/** A refusal by the server, in the words of its problem document. */
export class ApiError extends Error {
  readonly status: number;
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(say(problem));
    this.name = "ApiError";
    this.status = problem.status;
    this.problem = problem;
  }
}

function say(p: Problem): string {
  if (p.detail) return p.detail;
  if (p.status === 403) return "You are not allowed to do this. Ask an administrator for a higher role.";
  if (p.status === 412) return "Someone else changed this in the meantime. Close, reload and try again.";
  if (p.status === 429) return "Too many requests. Wait a moment and try again.";
  if (p.status === 503) return "The server is busy. Wait a moment and try again.";
  return p.title || `The server answered ${p.status}.`;
}

/** Whether a refusal carries a code for programs, by itself or in one of its errors. */
export function hasCode(p: Problem, code: string): boolean {
  return p.code === code || (p.errors ?? []).some((e) => e.code === code);
}

/** The sentence to show for anything that can be thrown by a call. */
export function messageOf(err: unknown): string {
  if (err instanceof ApiError) return err.message;
  if (err instanceof TypeError) return "The server cannot be reached. Check the connection and try again.";
  return err instanceof Error ? err.message : String(err);
}

/** Reads a problem document; any other body (a proxy's HTML, nothing at all) still becomes a problem. */
export function parseProblem(status: number, body: string): Problem {
  try {
    const p: unknown = JSON.parse(body);
    if (p && typeof p === "object") return { ...(p as Partial<Problem>), status };
  } catch {
    // Not JSON: the status is all there is to say.
  }
  return { status };
}

/** `body.condition.value`, `/condition/value` and `body.event_types[0]` all become a dotted path below the body. */
export function fieldPath(location: string): string {
  return location
    .replace(/^#?\//, "")
    .replaceAll("/", ".")
    .replace(/\[(\w+)\]/g, ".$1")
    .replace(/^(body|path|query)\.?/, "");
}

export type FieldErrors = Record<string, string>;

/**
 * Sorts the server's errors by the form field they belong to: a field takes errors at its own path and below it
 * (`dimensions` takes `dimensions.country`, unless that is a field itself). What belongs to no field is returned as `rest`.
 */
export function assignErrors(
  errors: FieldError[] | undefined,
  fields: string[],
): { byField: FieldErrors; rest: string[] } {
  const byField: FieldErrors = {};
  const rest: string[] = [];
  for (const e of errors ?? []) {
    const path = fieldPath(e.location ?? "");
    const owner = fields
      .filter((f) => path === f || path.startsWith(`${f}.`))
      .reduce((best, f) => (f.length > best.length ? f : best), "");
    if (!owner) rest.push(path ? `${path}: ${e.message}` : e.message);
    else byField[owner] = byField[owner] ? `${byField[owner]}. ${e.message}` : e.message;
  }
  return { byField, rest };
}
