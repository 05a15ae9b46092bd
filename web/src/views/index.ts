// The views of the page, in the order of the menu. Each is loaded when it is first opened.
import type { ComponentType } from "preact";

export interface ViewEntry {
  /** In the address: `#/name`. */
  name: string;
  title: string;
  load: () => Promise<{ default: ComponentType }>;
}

export const VIEWS: ViewEntry[] = [
  { name: "map", title: "Map", load: () => import("./map") },
  { name: "nodules", title: "Nodules", load: () => import("./nodules") },
  { name: "trial", title: "Make a trial", load: () => import("./trial") },
  { name: "cases", title: "Trials and cases", load: () => import("./cases") },
  { name: "viewer", title: "Viewer", load: () => import("./viewer") },
  { name: "results", title: "Results", load: () => import("./results") },
  { name: "sql", title: "SQL", load: () => import("./sql") },
  { name: "reading", title: "Reading room", load: () => import("./reading") },
];
