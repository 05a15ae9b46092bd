// Asks the server. Every failure becomes a Refusal with the server's own words, so that views show them as they are.
import { type Table, tableFromIPC } from "apache-arrow";

export class Refusal extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

type Values = Record<string, string | number | boolean | undefined>;

/** An address of the server with its query; values that are undefined are left out. */
export function address(path: string, values: Values = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) if (value !== undefined) query.set(name, String(value));
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

async function answered(path: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Refusal("The server does not answer. Is `its explore` still running?", 0);
  }
  if (!response.ok) throw new Refusal(await detail(response), response.status);
  return response;
}

async function detail(response: Response): Promise<string> {
  try {
    const said = (await response.json()) as { detail?: unknown };
    if (typeof said.detail === "string") return said.detail;
    if (Array.isArray(said.detail))
      return said.detail
        .map((d: { loc?: unknown[]; msg?: string }) => `${d.loc?.at(-1) ?? ""}: ${d.msg ?? ""}`)
        .join("; ");
  } catch {
    // no JSON: the status says what there is to say
  }
  return `${response.status} ${response.statusText}`;
}

const posted = (body: unknown): RequestInit => ({
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
});

export async function get<T>(path: string, values?: Values, signal?: AbortSignal): Promise<T> {
  return (await answered(address(path, values), signal ? { signal } : {})).json() as Promise<T>;
}

export async function post<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T> {
  return (await answered(path, signal ? { ...posted(body), signal } : posted(body))).json() as Promise<T>;
}

export async function getTable(path: string, values?: Values, signal?: AbortSignal): Promise<Table> {
  return tableFromIPC(await answered(address(path, values), signal ? { signal } : {}));
}

export async function postTable(path: string, body: unknown, signal?: AbortSignal): Promise<Table> {
  return tableFromIPC(await answered(path, signal ? { ...posted(body), signal } : posted(body)));
}

/** Saves what the server answers under the name that it gives. */
export async function download(path: string, body: unknown): Promise<void> {
  const response = await answered(path, posted(body));
  const name = /filename="?([^";]+)"?/.exec(response.headers.get("Content-Disposition") ?? "")?.[1] ?? "download";
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
