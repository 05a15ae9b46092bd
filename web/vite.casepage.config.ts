// Builds the viewer of the static case page: one plain script beside the page, put into each case's HTML file.
import { defineConfig } from "vite";

export default defineConfig({
  publicDir: false,
  build: {
    outDir: "../itrialspace_assets/explorer/page",
    emptyOutDir: false,
    chunkSizeWarningLimit: 2500,
    target: "es2023",
    lib: { entry: "src/casepage.ts", formats: ["iife"], name: "casepage", fileName: () => "casepage.js" },
    // decoders of Zarr, which no case page holds
    rollupOptions: { external: [/^numcodecs/], output: { inlineDynamicImports: true } },
  },
});
