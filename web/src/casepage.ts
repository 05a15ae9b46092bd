// The viewer of the static case page: two linked panes over the crops that the page holds. No server, no framework.
import { Pane } from "./views/viewer/niivue";
import type { Layout } from "./views/viewer/state";
import { DIFFERENCE, type Point, WINDOWS, type WindowName } from "./views/viewer/volumes";

interface Held {
  title: string;
  unit: "HU" | "difference" | "label" | "mask";
  data: string;
}

const PLANES: [Layout, string][] = [
  ["all", "All planes"],
  ["axial", "Axial"],
  ["coronal", "Coronal"],
  ["sagittal", "Sagittal"],
  ["render", "3-D"],
];

async function unpacked(data: string): Promise<ArrayBuffer> {
  const packed = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

function choice(label: string, options: [string, string][], chosen: string, take: (value: string) => void) {
  const around = document.createElement("label");
  around.textContent = `${label} `;
  const select = document.createElement("select");
  for (const [value, text] of options) select.append(new Option(text, value, false, value === chosen));
  select.addEventListener("change", () => take(select.value));
  around.append(select);
  return around;
}

async function start(place: HTMLElement, held: Held[]): Promise<void> {
  const mask = held.find(({ unit }) => unit === "mask");
  const images = held.filter((one) => one !== mask);
  if (!images.length || !document.createElement("canvas").getContext("webgl2")) {
    const why = images.length ? "This browser has no WebGL2" : "No volume of this case was kept";
    place.textContent = `${why}; the pictures below show its planes.`;
    return;
  }
  let window_: WindowName = "lung";
  const panes: { pane: Pane; shown: Held }[] = [];
  const range = ({ unit }: Held) => (unit === "difference" ? DIFFERENCE : WINDOWS[window_]);
  const linked = (from: Pane | undefined, at: Point) => {
    for (const { pane } of panes) if (pane !== from) pane.goTo(at);
  };
  const show = async (index: number, shown: Held) => {
    const own = panes[index]!;
    own.shown = shown;
    const { low, high } = range(shown);
    const before = own.pane.place();
    await own.pane.load(await unpacked(shown.data), { low, high, isLabel: shown.unit === "label" });
    if (mask) await own.pane.lay(await unpacked(mask.data), toggle.checked);
    if (before) own.pane.goTo(before);
  };

  const controls = document.createElement("p");
  const windows = (Object.keys(WINDOWS) as WindowName[]).map((name): [string, string] => [name, WINDOWS[name].title]);
  controls.append(
    choice("Window", windows, window_, (value) => {
      window_ = value as WindowName;
      for (const { pane, shown } of panes)
        if (shown.unit === "HU") pane.window(WINDOWS[window_].low, WINDOWS[window_].high);
    }),
  );
  const buttons = PLANES.map(([layout, title]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = title;
    button.setAttribute("aria-pressed", String(layout === "all"));
    button.addEventListener("click", () => {
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      for (const { pane } of panes) pane.planes(layout);
    });
    return button;
  });
  controls.append(...buttons);
  const toggle = document.createElement("input");
  toggle.type = "checkbox";
  toggle.checked = true;
  toggle.disabled = !mask;
  toggle.addEventListener("change", () => {
    for (const { pane } of panes) pane.mask(toggle.checked);
  });
  const label = document.createElement("label");
  label.append(toggle, " Mask");
  controls.append(label);

  const row = document.createElement("div");
  row.className = "panes";
  place.replaceChildren(controls, row);
  for (const [index, shown] of images.slice(0, 2).entries()) {
    const box = document.createElement("div");
    const canvas = document.createElement("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "Planes about the nodule; the pictures below show them too");
    const frame = document.createElement("div");
    frame.className = "canvas";
    frame.append(canvas);
    const options = images.map(({ title }, i): [string, string] => [String(i), title]);
    box.append(
      choice("Show", options, String(index), (value) => void show(index, images[Number(value)]!)),
      frame,
    );
    row.append(box);
    const pane = new Pane((at) => linked(pane, at));
    panes.push({ pane, shown });
    await pane.attach(canvas);
    await show(index, shown);
  }
  row.dataset["ready"] = "whole";
}

const place = document.getElementById("viewer");
const held = document.getElementById("volumes");
if (place && held)
  start(place, JSON.parse(held.textContent ?? "[]") as Held[]).catch((error: unknown) => {
    place.textContent = `The viewer could not start: ${String(error)}. The pictures below show the planes.`;
  });
