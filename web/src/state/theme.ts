// Light, dark, or as the system says; kept in this browser.
import { effect, signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";
const KEY = "itrialspace-theme";
const kept = localStorage.getItem(KEY);
export const theme = signal<Theme>(kept === "light" || kept === "dark" ? kept : "system");
const system = matchMedia("(prefers-color-scheme: dark)");
const systemDark = signal(system.matches);
system.addEventListener("change", (event) => {
  systemDark.value = event.matches;
});
export const dark = signal(false);
effect(() => {
  dark.value = theme.value === "system" ? systemDark.value : theme.value === "dark";
  document.documentElement.dataset["theme"] = dark.value ? "dark" : "light";
  localStorage.setItem(KEY, theme.value);
});
