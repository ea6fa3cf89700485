import { signInError, takeFrom } from "./address.ts";
import { api, configure } from "./api.ts";
import { live } from "./connection.svelte.ts";
import { keep, remember } from "./prefs.svelte.ts";
import { ApiError, messageOf } from "./problem.ts";
import { SECTIONS, VIEWS } from "./router.svelte.ts";
import type { SessionInfo } from "./types.ts";

const STORE = "pulsestream.key";

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

const ENDED = "Your session has ended. Sign in again.";
const KEY_ENDED = "Your key is no longer accepted. Sign in again.";

class Session {
  state = $state<"restoring" | "unreachable" | "invited" | "out" | "in">("restoring");
  /** Who is signed in. */
  me = $state<SessionInfo | null>(null);
  /** Why the sign-in page is shown again, if there is a reason. */
  notice = $state("");
  /** The invitation that somebody came with. */
  invitation = "";
  /** Where the sign-in page begins, which is where this device was signed in last. */
  tenant = remember("tenant", "default");
  way = remember<"person" | "key">("way", "key");
  /** A link to a tenant's sign-in is for people. */
  linkedTenant = false;

  /** Whether the navigation and the views offer something. The server decides; this only spares one the refusals. */
  can(permission: string): boolean {
    return permission === "" || (this.me?.permissions.includes(permission) ?? false);
  }

  /** An API key or a token is signed in, not a person. */
  get byKey(): boolean {
    return this.me?.method === "key" || this.me?.method === "token";
  }

  async restore(): Promise<void> {
    this.state = "restoring";
    const brought = takeFrom(new URL(location.href));
    if (brought.rest !== location.pathname + location.search + location.hash)
      history.replaceState(null, "", brought.rest);
    if (brought.tenant) {
      this.tenant = brought.tenant;
      this.linkedTenant = true;
    }
    if (brought.invitation) {
      this.invitation = brought.invitation;
      this.state = "invited";
      return;
    }
    if (brought.key) {
      // Whoever follows the link wants this key, whatever was used before.
      write(() => localStorage, "");
      write(() => sessionStorage, brought.key);
    }
    const key = brought.key || read(() => sessionStorage) || read(() => localStorage);
    try {
      await this.#enter(key);
    } catch (err) {
      if (!(err instanceof ApiError) || (err.status !== 401 && err.status !== 403)) {
        this.notice = messageOf(err);
        this.state = "unreachable";
      } else if (key) this.#out(brought.key ? "The key in this link is not accepted." : KEY_ENDED);
      else this.#out(brought.signInError ? signInError(brought.signInError) : "");
    }
  }

  async signInWithKey(key: string, stay: boolean): Promise<void> {
    await this.#enter(key);
    write(() => sessionStorage, stay ? "" : key);
    write(() => localStorage, stay ? key : "");
    this.#remember("key");
  }

  async signIn(as: { tenant: string; email: string; password: string; code?: string }): Promise<void> {
    await api.postOpenly("/v1/session", as);
    await this.#enterByCookie();
  }

  async accept(as: { token: string; password: string; name?: string; code?: string }): Promise<void> {
    await api.postOpenly("/v1/invitations/accept", as);
    this.invitation = "";
    await this.#enterByCookie();
  }

  /** Away from an invitation, to whoever was signed in before. */
  decline(): void {
    this.invitation = "";
    this.restore();
  }

  async signOut(notice = ""): Promise<void> {
    // The cookie can only be cleared by the server; without an answer the page must not pretend.
    if (this.me && !this.byKey) await api.del("/v1/session");
    this.#out(notice);
  }

  /** Asks again who one is: after a change of one's own account. */
  async refresh(): Promise<void> {
    this.me = await api.get<SessionInfo>("/v1/session");
  }

  async #enterByCookie(): Promise<void> {
    write(() => sessionStorage, "");
    write(() => localStorage, "");
    await this.#enter("");
    this.#remember("person");
  }

  #remember(way: "person" | "key"): void {
    this.way = way;
    this.tenant = this.me?.tenant ?? this.tenant;
    keep("way", way);
    keep("tenant", this.tenant);
  }

  #out(notice: string): void {
    write(() => sessionStorage, "");
    write(() => localStorage, "");
    live.stop();
    configure({ key: "", onUnauthorized: () => {} });
    this.me = null;
    this.notice = notice;
    this.state = "out";
  }

  async #enter(key: string): Promise<void> {
    const me = await api.withKey<SessionInfo>(key, "/v1/session");
    const useful = [...VIEWS, ...SECTIONS].some((v) => v.needs && me.permissions.includes(v.needs));
    if (!useful) throw new ApiError({ status: 403 });
    configure({ key, onUnauthorized: () => this.me && this.#out(key ? KEY_ENDED : ENDED) });
    this.me = me;
    if (!key) this.#remember("person");
    this.notice = "";
    this.state = "in";
  }
}

export const session = new Session();
