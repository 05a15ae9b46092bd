// Time that an item is shown: it stands still while the session is paused or the page is hidden.
import { signal } from "@preact/signals";

export class Clock {
  readonly paused = signal(false);
  private shown = 0;
  private away = 0;
  private since = performance.now();
  private hidden = document.hidden;

  constructor() {
    document.addEventListener("visibilitychange", () => {
      this.turn();
      this.hidden = document.hidden;
    });
  }

  /** Begins at zero for the next item. */
  reset(): void {
    this.shown = this.away = 0;
    this.since = performance.now();
  }

  pause(on: boolean): void {
    this.turn();
    this.paused.value = on;
  }

  /** Seconds that the item was shown, and that it was not. */
  read(): { seconds: number; paused: number } {
    this.turn();
    return { seconds: this.shown, paused: this.away };
  }

  private turn(): void {
    const now = performance.now();
    const passed = (now - this.since) / 1000;
    if (this.paused.peek() || this.hidden) this.away += passed;
    else this.shown += passed;
    this.since = now;
  }
}
