// Builds the page into the Python package, so that the wheel carries it. Names of files hold hashes of their content.
import { defineConfig } from "vite";

export default defineConfig({
  base: "./",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: "../itrialspace_assets/explorer/page",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 2500, // the volume viewer alone has 1.7 MB; it is loaded when a volume is opened
    target: "es2023",
  },
  server: { proxy: { "/api": "http://127.0.0.1:8422" } },
});
