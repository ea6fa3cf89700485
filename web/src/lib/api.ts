import { ApiError, parseProblem } from "./problem.ts";

export type Query = Record<string, string | number | string[] | undefined>;

let key = "";
let onUnauthorized: () => void = () => {};
let skew = 0;

export function configure(options: { key: string; onUnauthorized: () => void }): void {
  key = options.key;
  onUnauthorized = options.onUnauthorized;
}

/**
 * The server's time. Charts end at "now", and a laptop whose clock is a minute off would draw an empty minute or hide one;
 * the Date header of each answer says how far off it is. Below two seconds the header's own resolution is the larger error.
 */
export function serverNow(): number {
  return Date.now() + (Math.abs(skew) > 2000 ? skew : 0);
}

export interface Answer<T> {
  body: T;
  etag: string | null;
  status: number;
}

async function call<T>(
  method: string,
  path: string,
  o: { body?: unknown; query?: Query; etag?: string | null; key?: string; signal?: AbortSignal },
): Promise<Answer<T>> {
  const headers: Record<string, string> = { Authorization: `Bearer ${o.key ?? key}`, Accept: "application/json" };
  if (o.body !== undefined) headers["Content-Type"] = "application/json";
  if (o.etag) headers["If-Match"] = o.etag;
  const res = await fetch(path + queryString(o.query), {
    method,
    headers,
    body: o.body === undefined ? undefined : JSON.stringify(o.body),
    credentials: "omit",
    cache: "no-store",
    signal: o.signal,
  });
  const date = Date.parse(res.headers.get("Date") ?? "");
  if (!Number.isNaN(date)) skew = date + 500 - Date.now();
  const text = await res.text();
  if (!res.ok) {
    if (res.status === 401 && o.key === undefined) onUnauthorized();
    throw new ApiError(parseProblem(res.status, text));
  }
  return { body: (text ? JSON.parse(text) : undefined) as T, etag: res.headers.get("ETag"), status: res.status };
}

function queryString(query: Query | undefined): string {
  const p = new URLSearchParams();
  for (const [k, v] of Object.entries(query ?? {})) {
    if (Array.isArray(v)) for (const one of v) p.append(k, one);
    else if (v !== undefined && v !== "") p.set(k, String(v));
  }
  const s = p.toString();
  return s ? `?${s}` : "";
}

interface Page<T> {
  data: T[] | null;
  next_cursor?: string;
}

export const api = {
  get: <T>(path: string, query?: Query, signal?: AbortSignal) =>
    call<T>("GET", path, { query, signal }).then((a) => a.body),
  /** With the entity tag, for a later change under If-Match. */
  load: <T>(path: string) => call<T>("GET", path, {}),
  post: <T>(path: string, body?: unknown) => call<T>("POST", path, { body: body ?? {} }).then((a) => a.body),
  put: <T>(path: string, body: unknown, etag?: string | null) =>
    call<T>("PUT", path, { body, etag }).then((a) => a.body),
  del: (path: string) => call<void>("DELETE", path, {}).then(() => undefined),
  /** Asks with a key that is not (yet) the session's. */
  withKey: <T>(k: string, path: string) => call<T>("GET", path, { key: k }).then((a) => a.body),
  /** A list, with all its pages up to a bound that no screen could show anyway. */
  async list<T>(path: string, query: Query = {}, max = 1000): Promise<T[]> {
    const all: T[] = [];
    let cursor: string | undefined;
    do {
      const page = await api.get<Page<T>>(path, { ...query, cursor });
      all.push(...(page.data ?? []));
      cursor = page.next_cursor;
    } while (cursor && all.length < max);
    return all;
  },
};

export const pathOf = (...parts: string[]): string => `/v1/${parts.map(encodeURIComponent).join("/")}`;
