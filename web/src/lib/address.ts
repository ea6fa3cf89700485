/** What a link to the page can bring along. It is taken out of the address before anything else happens. */
export interface Brought {
  key: string;
  invitation: string;
  tenant: string;
  signInError: string;
  /** The address without it. */
  rest: string;
}

/**
 * Reads `/#key=ps_…`, `/?invitation=…`, `/#/invitation/…`, `/?sign_in_error=…` and `/?tenant=…`. What follows `#` is never sent to a server; what is
 * secret must stay neither in the address bar nor in the history.
 */
export function takeFrom(url: URL): Brought {
  const hash = new URLSearchParams(url.hash.slice(1));
  const linked = /^#\/invitation\/([^/?&]+)$/.exec(url.hash)?.[1];
  const query = new URLSearchParams(url.search);
  const brought = {
    key: hash.get("key") ?? "",
    invitation: query.get("invitation") ?? decode(linked) ?? hash.get("invitation") ?? "",
    tenant: query.get("tenant") ?? "",
    signInError: query.get("sign_in_error") ?? "",
  };
  for (const name of ["invitation", "tenant", "sign_in_error"]) query.delete(name);
  const search = query.toString();
  const keepHash = brought.key || brought.invitation ? "" : url.hash;
  return { ...brought, rest: url.pathname + (search ? `?${search}` : "") + keepHash };
}

function decode(text: string | undefined): string | undefined {
  try {
    return text === undefined ? undefined : decodeURIComponent(text);
  } catch {
    return text;
  }
}

const SIGN_IN_ERRORS: Record<string, string> = {
  unknown: "There is no such identity provider. Check the tenant, or ask an administrator.",
  expired: "Signing in took too long, or was begun in another browser. Try again.",
  denied: "The identity provider did not let you in.",
  no_role: "The identity provider knows you, but none of your groups has a role here. Ask an administrator.",
  unverified: "Your e-mail address is not verified at the identity provider. Verify it there and try again.",
  disabled: "Your account here is disabled. Ask an administrator.",
  limited: "Too many sign-ins have failed. Wait some minutes and try again.",
  unavailable: "The identity provider cannot be reached. Try again in a moment.",
};

/** Words for a failed sign-in at a provider. The address is anybody's to write, so its text is never shown. */
export function signInError(code: string): string {
  return (
    SIGN_IN_ERRORS[code] ?? "Signing in with the identity provider did not work. Try again, or ask an administrator."
  );
}
