// One item of a session: pictures, questions, Next; pause; progress. The end says what to do with the answers.
import { type Signal, useSignal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { post, Refusal } from "../../api/client";
import { Refused } from "../../parts/notice";
import { Case } from "./case";
import { Clock } from "./clock";
import type { CaseAnswer, State } from "./model";
import { Pair, type PairAnswer } from "./pair";

export function Room({ state }: { state: Signal<State | undefined> }) {
  const now = state.value!;
  const [clock] = useState(() => new Clock());
  const refusal = useSignal("");
  const busy = useSignal(false);
  const token = now.pictures[0]?.token;
  useEffect(() => {
    clock.reset();
    document.getElementById("item")?.focus();
  }, [token]);
  if (!token) return <End now={now} />;
  const answer = async (said: { case: CaseAnswer } | { pair: PairAnswer }) => {
    if (busy.value) return;
    busy.value = true;
    try {
      state.value = await post<State>("/api/reading/answer", { session: now.session, token, ...said, ...clock.read() });
      refusal.value = "";
    } catch (error) {
      refusal.value = error instanceof Refusal ? error.message : String(error);
    }
    busy.value = false;
  };
  const paused = clock.paused.value;
  return (
    <>
      <div class="row progress">
        <h2 id="item" tabIndex={-1}>
          {now.kind === "pairs" ? "Pair" : "Picture"} {now.answered + 1} of {now.items}
        </h2>
        <progress max={now.items} value={now.answered} aria-label="Answered" />
        <button type="button" aria-pressed={paused} onClick={() => clock.pause(!paused)}>
          {paused ? "Go on" : "Pause"}
        </button>
      </div>
      <Refused message={refusal.value} />
      {paused ? <p class="note">Paused. The picture is hidden and the time stands still.</p> : null}
      <div hidden={paused}>
        {now.kind === "pairs" ? (
          <Pair key={token} now={now} busy={busy.value} answer={(pair) => void answer({ pair })} />
        ) : (
          <Case key={token} now={now} busy={busy.value} answer={(given) => void answer({ case: given })} />
        )}
      </div>
    </>
  );
}

function End({ now }: { now: State }) {
  return (
    <section>
      <h2 id="item" tabIndex={-1}>
        Finished
      </h2>
      <p>
        {now.items} items are answered, in {Math.round(now.seconds / 60)} minutes. What the pictures were is still
        hidden; others may read the same list.
      </p>
      {now.kind === "cases" ? (
        <p>
          <code>its reading import {now.reader}</code> makes the answers a reader <code>human_{now.reader}</code>, which
          reports and comparisons treat like any other.
        </p>
      ) : null}
      <p>
        <code>its reading export {now.reader} --out FOLDER</code> writes the answers beside the truth
        {now.kind === "cases" ? ", and the rows for a reader study." : "."}
      </p>
    </section>
  );
}
