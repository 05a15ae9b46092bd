// Where the user is: `#/view?key=value`. The address holds all that a view needs, so that a link restores it.
import { computed, signal } from "@preact/signals";

const hash = signal(location.hash);
addEventListener("hashchange", () => {
  hash.value = location.hash;
});

const parted = computed(() => {
  const [path, query] = hash.value.replace(/^#\/?/, "").split("?", 2);
  return { view: path ?? "", query: query ?? "" };
});

/** Name of the view, empty at the start. */
export const viewName = computed(() => parted.value.view);
/** The view that is on the page now: after a change of the address the old one stays for a moment. */
export const shown = signal("");
let last = new URLSearchParams();
/** What stands behind the question mark, for the view that is shown: it never sees what is meant for the next. */
export const params = computed(() => {
  if (parted.value.view === shown.value) last = new URLSearchParams(parted.value.query);
  return last;
});

export type Params = Record<string, string | undefined>;

export function link(view: string, values: Params = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) if (value) query.set(name, value);
  const text = query.toString();
  return text ? `#/${view}?${text}` : `#/${view}`;
}

/** Goes to another view; the browser's Back returns. */
export function go(view: string, values: Params = {}): void {
  location.hash = link(view, values);
}

/** Changes values of the present address without a step in the history; undefined or "" removes one. */
export function keep(values: Params): void {
  const query = new URLSearchParams(parted.value.query);
  for (const [name, value] of Object.entries(values)) {
    if (value) query.set(name, value);
    else query.delete(name);
  }
  const text = query.toString();
  const next = text ? `#/${parted.value.view}?${text}` : `#/${parted.value.view}`;
  if (next !== location.hash) {
    history.replaceState(null, "", next);
    hash.value = next;
  }
}
