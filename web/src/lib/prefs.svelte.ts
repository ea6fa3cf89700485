/** What the page remembers on this device; without storage it remembers until the reload. */
export function remember<T>(name: string, fallback: T): T {
  try {
    const text = localStorage.getItem(`pulsestream.${name}`);
    return text === null ? fallback : (JSON.parse(text) as T);
  } catch {
    return fallback;
  }
}

export function keep(name: string, value: unknown): void {
  try {
    localStorage.setItem(`pulsestream.${name}`, JSON.stringify(value));
  } catch {
    // Storage is full or switched off: nothing is lost but a preference.
  }
}

class Theme {
  /** What was chosen, or null when the system decides. Stored as plain text because public/theme.js reads it before the page starts. */
  #chosen = $state<"light" | "dark" | null>(null);
  #system = $state<"light" | "dark">("light");
  current = $derived(this.#chosen ?? this.#system);

  constructor() {
    const query = matchMedia("(prefers-color-scheme: dark)");
    this.#system = query.matches ? "dark" : "light";
    try {
      const t = localStorage.getItem("pulsestream.theme");
      if (t === "light" || t === "dark") this.#chosen = t;
    } catch {
      // The system's preference decides.
    }
    query.addEventListener("change", (e) => {
      this.#system = e.matches ? "dark" : "light";
      this.#apply();
    });
    this.#apply();
  }

  toggle(): void {
    this.#chosen = this.current === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("pulsestream.theme", this.#chosen);
    } catch {
      // Then the choice lasts until the reload.
    }
    this.#apply();
  }

  #apply(): void {
    document.documentElement.dataset.theme = this.current;
  }
}

export const theme = new Theme();
