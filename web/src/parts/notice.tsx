// Short words to the user: an error of the server, a wait, nothing found.
import type { ComponentChildren } from "preact";

export function Refused({ message }: { message: string }) {
  return message ? (
    <p class="warning" role="alert">
      {message}
    </p>
  ) : null;
}

export function Waiting({ what }: { what: string }) {
  return (
    <p class="waiting" role="status">
      Loading {what} …
    </p>
  );
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}
