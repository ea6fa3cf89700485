import { api, configure } from "./api.ts";
import { live } from "./connection.svelte.ts";
import { ApiError, messageOf } from "./problem.ts";
import type { Tenant } from "./types.ts";

const STORE = "pulsestream.key";

/**
 * The key of a link such as `/#key=ps_…`, with which the demo spares one the pasting. A fragment is never sent to a server; it leaves the
 * address bar and the history before anything else happens.
 */
function takeLinkedKey(): string {
  const key = new URLSearchParams(location.hash.slice(1)).get("key") ?? "";
  if (key) history.replaceState(null, "", location.pathname);
  return key;
}

// Storage throws where it is switched off; the page then simply forgets the key on reload.
function read(s: () => Storage): string {
  try {
    return s().getItem(STORE) ?? "";
  } catch {
    return "";
  }
}

function write(s: () => Storage, value: string): void {
  try {
    if (value) s().setItem(STORE, value);
    else s().removeItem(STORE);
  } catch {
    // As above.
  }
}

class Session {
  state = $state<"restoring" | "unreachable" | "out" | "in">("restoring");
  tenant = $state<Tenant | null>(null);
  /** Why the sign-in page is shown again, if there is a reason. */
  notice = $state("");

  /** Viewers may look at everything; the server refuses their changes, so the page does not offer them. */
  get canEdit(): boolean {
    return this.tenant?.role !== "viewer" && this.tenant?.role !== "ingest";
  }

  async restore(): Promise<void> {
    this.state = "restoring";
    const linked = takeLinkedKey();
    if (linked) {
      // Whoever follows the link wants this key, whatever was used before.
      write(() => localStorage, "");
      write(() => sessionStorage, linked);
    }
    const key = linked || read(() => sessionStorage) || read(() => localStorage);
    if (!key) {
      this.state = "out";
      return;
    }
    try {
      await this.#enter(key);
    } catch (err) {
      if (err instanceof ApiError && (err.status === 401 || err.status === 403))
        this.signOut(
          linked ? "The key in this link is not accepted." : "Your key is no longer accepted. Sign in again.",
        );
      else {
        this.notice = messageOf(err);
        this.state = "unreachable";
      }
    }
  }

  async signIn(key: string, stay: boolean): Promise<void> {
    await this.#enter(key);
    write(() => sessionStorage, stay ? "" : key);
    write(() => localStorage, stay ? key : "");
  }

  signOut(notice = ""): void {
    write(() => sessionStorage, "");
    write(() => localStorage, "");
    live.stop();
    configure({ key: "", onUnauthorized: () => {} });
    this.tenant = null;
    this.notice = notice;
    this.state = "out";
  }

  async #enter(key: string): Promise<void> {
    this.tenant = await api.withKey<Tenant>(key, "/v1/tenant");
    configure({ key, onUnauthorized: () => this.signOut("Your key is no longer accepted. Sign in again.") });
    this.notice = "";
    this.state = "in";
  }
}

export const session = new Session();
