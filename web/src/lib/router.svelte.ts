export type View = "overview" | "incidents" | "sources" | "metrics" | "rules" | "channels" | "settings";

/** The views of the navigation, with the permission without which there is nothing to see in them. */
export const VIEWS: { view: View; title: string; needs: string }[] = [
  { view: "overview", title: "Overview", needs: "metrics:read" },
  { view: "incidents", title: "Incidents", needs: "incidents:read" },
  { view: "sources", title: "Sources", needs: "sources:read" },
  { view: "metrics", title: "Metrics", needs: "metrics:read" },
  { view: "rules", title: "Rules", needs: "rules:read" },
  { view: "channels", title: "Channels", needs: "channels:read" },
];

export type Section = "members" | "keys" | "providers" | "usage" | "audit" | "account";

/** The parts of the settings; one's own account is everybody's. */
export const SECTIONS: { section: Section; title: string; needs: string }[] = [
  { section: "members", title: "Members", needs: "members:read" },
  { section: "keys", title: "API keys", needs: "keys:read" },
  { section: "providers", title: "Identity providers", needs: "identity:read" },
  { section: "usage", title: "Usage", needs: "usage:read" },
  { section: "audit", title: "Audit log", needs: "audit:read" },
  { section: "account", title: "My account", needs: "" },
];

export interface Route {
  view: View;
  id: string;
}

// The page lives below /app because the server keeps /metrics and /docs for itself.
export function parse(path: string): Route {
  const [, app, name, id = ""] = path.split("/");
  if (app !== "app") return { view: "overview", id: "" };
  const known = name === "settings" ? name : VIEWS.find((v) => v.view === name)?.view;
  return known ? { view: known, id: safeDecode(id) } : { view: "overview", id: "" };
}

function safeDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function href(view: View, id = ""): string {
  return `/app/${view}${id ? `/${encodeURIComponent(id)}` : ""}`;
}

class Router {
  route = $state<Route>(parse(location.pathname));

  constructor() {
    addEventListener("popstate", () => {
      this.route = parse(location.pathname);
    });
  }

  go(to: string, options: { replace?: boolean } = {}): void {
    if (to !== location.pathname) history[options.replace ? "replaceState" : "pushState"](null, "", to);
    this.route = parse(to);
  }

  /** A click handler for the whole page: links to the page's own views change the view, all others are left to the browser. */
  onClick = (e: MouseEvent): void => {
    if (e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
    const a = (e.target as Element | null)?.closest?.("a");
    if (!a || a.target || a.origin !== location.origin || !a.pathname.startsWith("/app")) return;
    e.preventDefault();
    this.go(a.pathname);
  };
}

export const router = new Router();
