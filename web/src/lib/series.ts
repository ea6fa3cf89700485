import type { Agg, Labels, Point, Series } from "./types.ts";

/** Aggregates whose steps may be added up to longer steps; only these can be stacked and re-bucketed in the page. */
export const isAdditive = (agg: Agg): boolean => agg === "count" || agg === "sum";

/** Aggregates of which an empty step is 0 and not "no value". */
const emptyIsZero = (agg: Agg): boolean => agg === "count" || agg === "rate" || agg === "unique";

export function seriesKey(labels: Labels): string {
  return JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
}

interface Entry {
  key: string;
  labels: Labels;
  points: Map<number, number | null>;
  /** Index of the colour, kept for as long as the series lives so that it never changes while somebody looks at it. */
  slot: number;
}

export interface Row {
  key: string;
  labels: Labels;
  slot: number;
  values: (number | null)[];
  /** Sum of all steps for additive aggregates, else the mean of the steps that have a value. */
  total: number | null;
  /** The newest complete step. */
  last: number | null;
}

export interface Frame {
  /** Start of each step in seconds, as uPlot wants it. */
  times: number[];
  rows: Row[];
  /** Series that were not drawn (non-additive ones beyond the limit; additive ones are folded into one row). */
  hidden: number;
}

export interface FrameOptions {
  from: number;
  /** The end, exclusive; later than `now` where the step in progress is drawn in full width. */
  to: number;
  now: number;
  step: number;
  agg: Agg;
  limit: number;
}

export const OTHER_SLOT = -1;

/** The points of one live subscription: a snapshot replaces all, later points replace earlier ones of the same time. */
export class SeriesSet {
  #entries = new Map<string, Entry>();
  #order: string[] = [];
  #orderedAt = 0;
  #slots: Map<string, number>;

  get size(): number {
    return this.#entries.size;
  }

  /** With another set, its colours are taken over: the same thing keeps its colour when the range changes. */
  constructor(before?: SeriesSet) {
    this.#slots = new Map(before ? before.#slots : []);
  }

  snapshot(series: Series[]): void {
    this.#entries.clear();
    this.#order = [];
    // Series with a colour first, so that no new one takes it; of the new ones the largest, so that a reload gives the same colours.
    const rank = (s: Series) => (this.#slots.has(seriesKey(s.labels)) ? 1 : 0);
    const ordered = series.map((s) => ({ s, rank: rank(s), sum: s.points.reduce((a, [, v]) => a + (v ?? 0), 0) }));
    ordered.sort((a, b) => b.rank - a.rank || b.sum - a.sum);
    for (const { s } of ordered) this.#entry(s.labels);
    this.apply(series);
  }

  apply(series: Series[]): void {
    for (const s of series) {
      const e = this.#entry(s.labels);
      for (const [at, v] of s.points) e.points.set(at, v);
    }
  }

  /** Forgets points before a time, and series without any points left. */
  trim(before: number): void {
    for (const e of this.#entries.values()) {
      for (const at of e.points.keys()) if (at < before) e.points.delete(at);
      if (e.points.size === 0) this.#entries.delete(e.key);
    }
  }

  /** The newest step with a value, over all series: added up if they can be, else the largest. */
  newest(agg: Agg): { at: number; value: number } | null {
    let at = Number.NEGATIVE_INFINITY;
    for (const e of this.#entries.values()) for (const [t, v] of e.points) if (v !== null && t > at) at = t;
    if (at === Number.NEGATIVE_INFINITY) return null;
    const values = [...this.#entries.values()]
      .map((e) => e.points.get(at))
      .filter((v): v is number => typeof v === "number");
    const value = isAdditive(agg) ? values.reduce((a, b) => a + b, 0) : Math.max(...values);
    return { at, value };
  }

  /** All series on one grid of steps, the largest first. */
  frame(o: FrameOptions): Frame {
    // A first step that began before `from` would be half empty.
    const start = Math.ceil(o.from / o.step) * o.step;
    const n = Math.max(1, Math.ceil((o.to - start) / o.step));
    const times = Array.from({ length: n }, (_, i) => (start + i * o.step) / 1000);
    const rows = [...this.#entries.values()].map((e) => toRow(e, start, n, o));
    this.#sort(rows, o.now);
    const other = rows.filter((r) => r.slot === OTHER_SLOT);
    const named = rows.filter((r) => r.slot !== OTHER_SLOT);
    const shown = named.slice(0, o.limit);
    const beyond = named.slice(o.limit);
    if (!isAdditive(o.agg)) return { times, rows: [...shown, ...other], hidden: beyond.length };
    const rest = fold([...beyond, ...other], n);
    return { times, rows: rest ? [...shown, rest] : shown, hidden: 0 };
  }

  #entry(labels: Labels): Entry {
    const key = seriesKey(labels);
    let e = this.#entries.get(key);
    if (!e) {
      const slot = labels.__other__ !== undefined ? OTHER_SLOT : this.#slot(key);
      e = { key, labels, points: new Map(), slot };
      this.#entries.set(key, e);
      this.#slots.set(key, slot);
    }
    return e;
  }

  // The colour it had before, unless another series got it in the meantime.
  #slot(key: string): number {
    const used = new Set([...this.#entries.values()].map((e) => e.slot));
    const known = this.#slots.get(key);
    if (known !== undefined && !used.has(known)) return known;
    let slot = 0;
    while (used.has(slot)) slot++;
    return slot;
  }

  // Rows that swap places each second cannot be read, so the order is only looked at again every ten seconds or when series come and go.
  #sort(rows: Row[], now: number): void {
    const known = new Set(this.#order);
    const same = rows.length === this.#order.length && rows.every((r) => known.has(r.key));
    if (!same || now - this.#orderedAt > 10_000) {
      rows.sort((a, b) => (b.total ?? Number.NEGATIVE_INFINITY) - (a.total ?? Number.NEGATIVE_INFINITY));
      this.#order = rows.map((r) => r.key);
      this.#orderedAt = now;
      return;
    }
    const place = new Map(this.#order.map((k, i) => [k, i]));
    rows.sort((a, b) => (place.get(a.key) ?? 0) - (place.get(b.key) ?? 0));
  }
}

function toRow(e: Entry, start: number, n: number, o: FrameOptions): Row {
  const values = new Array<number | null>(n).fill(null);
  const additive = isAdditive(o.agg);
  let newest = -1;
  for (const [at, v] of e.points) {
    const i = Math.floor((at - start) / o.step);
    if (i < 0 || i >= n || v === null) continue;
    if (i > newest) newest = i;
    values[i] = additive ? (values[i] ?? 0) + v : v;
  }
  if (emptyIsZero(o.agg)) for (let i = 0; i < newest; i++) values[i] ??= 0;
  const numbers = values.filter((v): v is number => v !== null);
  const sum = numbers.reduce((a, b) => a + b, 0);
  const total = additive ? sum : numbers.length ? sum / numbers.length : null;
  return { key: e.key, labels: e.labels, slot: e.slot, values, total, last: lastComplete(values, start, o) };
}

function lastComplete(values: (number | null)[], start: number, o: FrameOptions): number | null {
  let i = values.length - 1;
  while (i > 0 && start + (i + 1) * o.step > o.now) i--;
  if (isAdditive(o.agg)) return values[i] ?? 0;
  while (i >= 0 && values[i] === null) i--;
  return values[i] ?? null;
}

function fold(rows: Row[], n: number): Row | null {
  if (rows.length === 0) return null;
  const values = new Array<number | null>(n).fill(0);
  for (const r of rows) {
    for (let i = 0; i < n; i++) values[i] = (values[i] ?? 0) + (r.values[i] ?? 0);
  }
  return {
    key: "__other__",
    labels: { __other__: "true" },
    slot: OTHER_SLOT,
    values,
    total: rows.reduce((a, r) => a + (r.total ?? 0), 0),
    last: rows.reduce((a, r) => a + (r.last ?? 0), 0),
  };
}

/**
 * The server sends a step at most once in its length: a bar of a minute would stand still for a minute. This adds up the seconds of a
 * second subscription, so that the bar in progress grows with each of them.
 */
export class Growing {
  readonly #step: number;
  #covered = Number.POSITIVE_INFINITY;
  #seconds = new Map<string, Map<number, number>>();

  constructor(step: number) {
    this.#step = step;
  }

  /** Begins anew with the seconds from a time on. Only steps that lie wholly behind it can be added up. */
  snapshot(series: Series[], from: number): Series[] {
    this.#covered = Math.ceil(from / this.#step) * this.#step;
    this.#seconds.clear();
    return this.apply(series);
  }

  /** The steps that changed, with their new values. Nothing while series are folded: the two subscriptions may fold different ones. */
  apply(series: Series[]): Series[] {
    if (series.some((s) => s.labels.__other__ !== undefined)) this.#covered = Number.POSITIVE_INFINITY;
    return series.map((s) => ({ labels: s.labels, points: this.#add(s) })).filter((s) => s.points.length > 0);
  }

  #add(s: Series): Point[] {
    const key = seriesKey(s.labels);
    const seconds = this.#seconds.get(key) ?? new Map<number, number>();
    this.#seconds.set(key, seconds);
    const changed = new Set<number>();
    for (const [at, v] of s.points) {
      const step = Math.floor(at / this.#step) * this.#step;
      if (v === null || step < this.#covered) continue;
      seconds.set(at, v);
      changed.add(step);
    }
    const newest = Math.max(...changed, 0);
    for (const at of seconds.keys()) if (at < newest - this.#step) seconds.delete(at);
    return [...changed].map((step) => [step, this.#sum(seconds, step)]);
  }

  #sum(seconds: Map<number, number>, step: number): number {
    let sum = 0;
    for (const [at, v] of seconds) if (at >= step && at < step + this.#step) sum += v;
    return sum;
  }
}

/** For stacked bars: row i becomes the height of rows i to the end, so that drawing in order paints the smaller ones over. */
export function stack(rows: (number | null)[][]): number[][] {
  const out: number[][] = new Array(rows.length);
  let below: number[] = [];
  for (let i = rows.length - 1; i >= 0; i--) {
    below = (rows[i] ?? []).map((v, x) => (v ?? 0) + (below[x] ?? 0));
    out[i] = below;
  }
  return out;
}

export const RANGES = ["15m", "1h", "6h", "24h"] as const;
export type Range = (typeof RANGES)[number];

const NICE = [1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200].map((s) => s * 1000);

/** The step to ask the server for. Sub-minute steps exist for the last minutes only; counts come by the second there and are bucketed here. */
export function serverStep(range: Range, agg: Agg): string {
  if (range === "15m") return isAdditive(agg) ? "1s" : "10s";
  return range === "24h" ? "5m" : "1m";
}

/** The step to draw: the shortest that leaves a bar at least `minPx` pixels and is a multiple of the server's. */
export function drawStep(rangeMs: number, serverMs: number, agg: Agg, widthPx: number, minPx = 5): number {
  if (!isAdditive(agg)) return serverMs;
  const least = (rangeMs / Math.max(widthPx, 1)) * minPx;
  return NICE.find((s) => s >= least && s >= serverMs && s % serverMs === 0) ?? 7_200_000;
}
