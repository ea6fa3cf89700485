import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer as createHTTPServer, type IncomingHttpHeaders } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const BINARY = resolve(process.env.PULSESTREAM_BIN ?? join(import.meta.dirname, "../../bin/pulsestream"));

/** The real binary on an empty store, in a directory and on a port of its own. */
export class Server {
  readonly key = `ps_e2e_${randomBytes(24).toString("hex")}`;
  url = "";
  #process: ChildProcess | null = null;
  #dir = "";
  #log = "";

  async start(): Promise<void> {
    if (!existsSync(BINARY)) throw new Error(`${BINARY} does not exist: run \`make build\`, or set PULSESTREAM_BIN.`);
    const port = await freePort();
    this.url = `http://127.0.0.1:${port}`;
    this.#dir = await mkdtemp(join(tmpdir(), "pulsestream-e2e-"));
    const child = spawn(
      BINARY,
      ["serve", "--listen", `127.0.0.1:${port}`, "--data-dir", this.#dir, "--egress-allow", "127.0.0.1/32"],
      {
        env: { ...process.env, PULSESTREAM_BOOTSTRAP_API_KEY: this.key },
        stdio: ["ignore", "ignore", "pipe"],
      },
    );
    child.stderr?.on("data", (chunk) => {
      this.#log += chunk;
    });
    this.#process = child;
    await this.#ready();
  }

  async #ready(): Promise<void> {
    const deadline = Date.now() + 30_000;
    for (;;) {
      if (this.#process?.exitCode !== null) throw new Error(`The server ended at once:\n${this.#log}`);
      const ok = await fetch(`${this.url}/readyz`).then(
        (r) => r.ok,
        () => false,
      );
      if (ok) return;
      if (Date.now() > deadline) throw new Error(`The server was not ready in 30 s:\n${this.#log}`);
      await new Promise((r) => setTimeout(r, 100));
    }
  }

  async stop(): Promise<void> {
    const child = this.#process;
    if (child && child.exitCode === null) {
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      await ended;
    }
    await rm(this.#dir, { recursive: true, force: true });
  }

  async call(method: string, path: string, body?: unknown): Promise<Response> {
    return fetch(this.url + path, {
      method,
      headers: { Authorization: `Bearer ${this.key}`, "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  }

  /** Sends events and fails unless every one was taken. */
  async send(events: { type: string; source?: string; data?: unknown }[]): Promise<void> {
    const res = await this.call("POST", "/v1/events", events);
    const text = await res.text();
    if (res.status !== 202) throw new Error(`POST /v1/events: ${res.status} ${text}`);
    const { accepted } = JSON.parse(text) as { accepted: number };
    if (accepted !== events.length) throw new Error(`POST /v1/events took ${accepted} of ${events.length}: ${text}`);
  }
}

async function freePort(): Promise<number> {
  // Below the ephemeral range, so that no outgoing connection takes it between the look and the start.
  for (let i = 0; i < 50; i++) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    const free = await new Promise<boolean>((done) => {
      const probe = createServer();
      probe.once("error", () => done(false));
      probe.listen(port, "127.0.0.1", () => probe.close(() => done(true)));
    });
    if (free) return port;
  }
  throw new Error("No free port found.");
}

/** Takes webhooks on this machine and remembers their headers. */
export async function receiver(): Promise<{ url: string; headers: IncomingHttpHeaders[]; close: () => void }> {
  const headers: IncomingHttpHeaders[] = [];
  const http = createHTTPServer((req, res) => {
    headers.push(req.headers);
    req.resume().on("end", () => res.writeHead(204).end());
  });
  http.listen(await freePort(), "127.0.0.1");
  await once(http, "listening");
  const { port } = http.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/hook`, headers, close: () => http.close() };
}
