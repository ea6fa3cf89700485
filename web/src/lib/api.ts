import { ApiError, parseProblem } from "./problem.ts";

export type Query = Record<string, string | number | string[] | undefined>;

// Without a key the browser's cookie speaks for the page. With one the cookie stays out of it: never two credentials in a request.
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

interface Options {
  body?: unknown;
  query?: Query;
  etag?: string | null;
  /** A key that is not the session's, or "" for none: a refusal of it says nothing about the session. */
  key?: string;
  signal?: AbortSignal;
}

async function call<T>(method: string, path: string, o: Options): Promise<Answer<T>> {
  const res = await send(method, path, { Accept: "application/json" }, o);
  const text = await res.text();
  return { body: (text ? JSON.parse(text) : undefined) as T, etag: res.headers.get("ETag"), status: res.status };
}

/** Asks, and turns each refusal into an ApiError. */
async function send(method: string, path: string, headers: Record<string, string>, o: Options): Promise<Response> {
  const bearer = o.key ?? key;
  if (bearer) headers.Authorization = `Bearer ${bearer}`;
  if (o.body !== undefined) headers["Content-Type"] = "application/json";
  if (o.etag) headers["If-Match"] = o.etag;
  const res = await fetch(path + queryString(o.query), {
    method,
    headers,
    body: o.body === undefined ? undefined : JSON.stringify(o.body),
    credentials: bearer ? "omit" : "same-origin",
    cache: "no-store",
    signal: o.signal,
  });
  const date = Date.parse(res.headers.get("Date") ?? "");
  if (!Number.isNaN(date)) skew = date + 500 - Date.now();
  if (!res.ok) {
    if (res.status === 401 && o.key === undefined) onUnauthorized();
    throw new ApiError(parseProblem(res.status, await res.text()));
  }
  return res;
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

export interface Page<T> {
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
  del: (path: string, body?: unknown) => call<void>("DELETE", path, { body }).then(() => undefined),
  /** Asks with a key that is not (yet) the session's; with none, the cookie alone speaks. */
  withKey: <T>(k: string, path: string, query?: Query) => call<T>("GET", path, { key: k, query }).then((a) => a.body),
  /** Posts without being signed in: whoever knows what is in the body may. */
  postOpenly: <T>(path: string, body: unknown) => call<T>("POST", path, { key: "", body }).then((a) => a.body),
  /** One page of a list, for lists that are read as far as somebody scrolls. */
  page: <T>(path: string, query: Query) => call<Page<T>>("GET", path, { query }).then((a) => a.body),
  /** A file, saved under a name. It goes through the page, because a link could not carry a key. */
  async download(path: string, query: Query, name: string): Promise<void> {
    const res = await send("GET", path, {}, { query });
    const url = URL.createObjectURL(await res.blob());
    const a = document.createElement("a");
    a.href = url;
    a.download = name;
    a.click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  },
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
