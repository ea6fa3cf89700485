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
  access_denied: "The identity provider was told not to let you in.",
  no_role: "You are known to the identity provider, but none of your groups has a role here. Ask an administrator.",
  disabled: "Your account here is disabled. Ask an administrator.",
  unverified_email: "Your e-mail address is not verified at the identity provider. Verify it there and try again.",
  expired: "Signing in took too long. Try again.",
};

/** Words for a failed sign-in at a provider. The address is anybody's to write, so its text is never shown. */
export function signInError(code: string): string {
  return (
    SIGN_IN_ERRORS[code] ?? "Signing in with the identity provider did not work. Try again, or ask an administrator."
  );
}
