import { api, pathOf } from "./api.ts";
import { live } from "./connection.svelte.ts";
import { messageOf } from "./problem.ts";
import type { Incident } from "./types.ts";

/** The open incidents, which the navigation, the overview and the list of incidents all show: one live subscription for all. */
class OpenIncidents {
  items = $state<Incident[]>([]);
  loaded = $state(false);
  error = $state("");
  /** Grows with each change, for views that hold a list of their own and want to load it again. */
  version = $state(0);

  start(): () => void {
    const stop = live.subscribe({ topic: "incidents" }, (f) => {
      if (f.op === "snapshot") {
        this.items = f.incidents ?? [];
        this.loaded = true;
        this.version++;
      } else if (f.op === "incidents") {
        for (const i of f.incidents ?? []) this.put(i);
      } else if (f.op === "error") this.error = f.detail ?? "";
    });
    return () => {
      stop();
      this.items = [];
      this.loaded = false;
    };
  }

  put(i: Incident): void {
    const others = this.items.filter((o) => o.id !== i.id);
    this.items = i.state === "firing" ? [...others, i].sort(byUrgency) : others;
    this.version++;
  }

  /** For a server that does not send incidents live, and until the first snapshot. */
  async refresh(): Promise<void> {
    try {
      this.items = (await api.list<Incident>("/v1/incidents", { state: "firing" })).sort(byUrgency);
      this.loaded = true;
      this.error = "";
      this.version++;
    } catch (err) {
      this.error = messageOf(err);
    }
  }

  async acknowledge(id: string, comment: string): Promise<Incident> {
    const i = await this.#change(`${pathOf("incidents", id)}/ack`, comment ? { comment } : {}, id);
    this.put(i);
    return i;
  }

  comment(id: string, text: string): Promise<Incident> {
    return this.#change(`${pathOf("incidents", id)}/comments`, { text }, id);
  }

  async #change(path: string, body: unknown, id: string): Promise<Incident> {
    await api.post(path, body);
    return api.get<Incident>(pathOf("incidents", id));
  }
}

const RANK: Record<string, number> = { critical: 0, warning: 1, info: 2 };

export function byUrgency(a: Incident, b: Incident): number {
  return (RANK[a.severity] ?? 3) - (RANK[b.severity] ?? 3) || b.started_at.localeCompare(a.started_at);
}

export function severityTone(severity: string): "bad" | "warn" | "idle" {
  return severity === "critical" ? "bad" : severity === "warning" ? "warn" : "idle";
}

export const open = new OpenIncidents();
