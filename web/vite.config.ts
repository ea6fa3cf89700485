import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

// `npm run dev` serves the page and passes everything else on to a running server.
const server = process.env.PULSESTREAM_URL ?? "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [svelte()],
  build: {
    // go:embed wants the folder to exist in a fresh checkout: public/.gitkeep brings the tracked placeholder back after each build.
    outDir: "../internal/ui/dist",
    emptyOutDir: true,
    modulePreload: false,
    cssCodeSplit: false,
    assetsInlineLimit: 0,
    reportCompressedSize: true,
  },
  server: {
    // The host stays the one of the address bar: what the server compares with it is the origin of the page.
    proxy: { "/v1": { target: server, ws: true }, "/auth": { target: server } },
  },
});
