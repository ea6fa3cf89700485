import { api } from "./api.ts";
import { offered } from "./roles.ts";
import { session } from "./session.svelte.ts";
import type { Grant } from "./types.ts";

/** The server's table of permissions, asked for once when something first needs it. */
class Permissions {
  table = $state.raw<Grant[]>([]);
  #asked: Promise<void> | null = null;

  load(): Promise<void> {
    this.#asked ??= api.list<Grant>("/v1/permissions").then(
      (table) => {
        this.table = table;
      },
      (err) => {
        this.#asked = null;
        throw err;
      },
    );
    return this.#asked;
  }

  /** The roles that the one who is signed in may give. */
  get roles(): string[] {
    return offered(this.table, session.me?.permissions ?? []);
  }
}

export const permissions = new Permissions();
