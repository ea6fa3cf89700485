export interface Toast {
  id: number;
  text: string;
  tone: "ok" | "error";
}

class Toasts {
  items = $state<Toast[]>([]);
  #next = 1;

  show(text: string, tone: Toast["tone"] = "ok"): void {
    const id = this.#next++;
    this.items.push({ id, text, tone });
    setTimeout(() => this.dismiss(id), tone === "error" ? 8000 : 4000);
  }

  dismiss(id: number): void {
    this.items = this.items.filter((t) => t.id !== id);
  }
}

export const toasts = new Toasts();
