export type View = "overview" | "incidents" | "sources" | "metrics" | "rules" | "channels";

export const VIEWS: { view: View; title: string }[] = [
  { view: "overview", title: "Overview" },
  { view: "incidents", title: "Incidents" },
  { view: "sources", title: "Sources" },
  { view: "metrics", title: "Metrics" },
  { view: "rules", title: "Rules" },
  { view: "channels", title: "Channels" },
];

export interface Route {
  view: View;
  id: string;
}

// The page lives below /app because the server keeps /metrics and /docs for itself.
export function parse(path: string): Route {
  const [, app, name, id = ""] = path.split("/");
  const known = app === "app" ? VIEWS.find((v) => v.view === name) : undefined;
  return known ? { view: known.view, id: safeDecode(id) } : { view: "overview", id: "" };
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
