import path from "node:path";
import { defineConfig } from "vite";

/** Builds the static page into dist/web. Nothing is inlined: the page's policy allows its own origin and nothing else. */
export default defineConfig({
  root: import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname),
  base: "/",
  build: {
    outDir: "../dist/web",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    sourcemap: false,
    target: "es2022",
  },
});
