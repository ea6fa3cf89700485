import { api, type Query } from "./api.ts";
import { messageOf } from "./problem.ts";

/** A list the server holds, with the three things a view must be able to show: loading, failed, loaded. */
export class List<T> {
  items = $state<T[]>([]);
  loaded = $state(false);
  error = $state("");
  #path: string;
  #query: Query;

  constructor(path: string, query: Query = {}) {
    this.#path = path;
    this.#query = query;
  }

  async load(): Promise<void> {
    try {
      this.items = await api.list<T>(this.#path, this.#query);
      this.error = "";
      this.loaded = true;
    } catch (err) {
      this.error = messageOf(err);
    }
  }
}
