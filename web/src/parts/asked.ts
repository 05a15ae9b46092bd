// A question to the server as a signal: the answer, the refusal, whether it is under way. A newer question ends an older.
import { type ReadonlySignal, signal, useSignalEffect } from "@preact/signals";
import { useState } from "preact/hooks";
import { Refusal } from "../api/client";

export interface Asked<T> {
  answer: ReadonlySignal<T | undefined>;
  refusal: ReadonlySignal<string>;
  busy: ReadonlySignal<boolean>;
}

/**
 * Asks again whenever a signal that `question` reads has changed.
 *
 * @param question reads signals and returns the request; undefined asks nothing.
 */
export function useAsked<T>(question: (signal: AbortSignal) => Promise<T> | undefined): Asked<T> {
  const [state] = useState(() => ({
    answer: signal<T | undefined>(undefined),
    refusal: signal(""),
    busy: signal(false),
  }));
  useSignalEffect(() => {
    const controller = new AbortController();
    const request = question(controller.signal);
    if (request === undefined) {
      state.answer.value = undefined;
      state.busy.value = false;
      return;
    }
    state.busy.value = true;
    request.then(
      (answer) => {
        if (controller.signal.aborted) return;
        state.answer.value = answer;
        state.refusal.value = "";
        state.busy.value = false;
      },
      (error: unknown) => {
        if (controller.signal.aborted) return;
        state.refusal.value = error instanceof Refusal ? error.message : String(error);
        state.busy.value = false;
      },
    );
    return () => controller.abort();
  });
  return state;
}
