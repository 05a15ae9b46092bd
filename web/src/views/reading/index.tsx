// The reading room: sessions that can be opened, a new one, or the session that is being read.
import { useSignal } from "@preact/signals";
import { get, post, Refusal } from "../../api/client";
import { useAsked } from "../../parts/asked";
import { Empty, Refused, Waiting } from "../../parts/notice";
import { Wide } from "../../parts/wide";
import { go, link, params } from "../../state/route";
import { Begin } from "./begin";
import type { Offer, Session, State } from "./model";
import { Room } from "./room";
import "./reading.css";
import { Head } from "../../parts/head";

export default function View() {
  const session = params.value.get("session");
  return session ? <Opened key={session} session={session} /> : <Lobby />;
}

function Opened({ session }: { session: string }) {
  const state = useSignal<State | undefined>(undefined);
  const opened = useAsked((signal) =>
    post<State>("/api/reading/open", { session }, signal).then((found) => {
      state.value = found;
      return found;
    }),
  );
  return (
    <>
      <p>
        <a href={link("reading")}>All sessions</a>
      </p>
      <Refused message={opened.refusal.value} />
      {state.value ? <Room state={state} /> : opened.busy.value ? <Waiting what="the session" /> : null}
    </>
  );
}

function Lobby() {
  const found = useAsked((signal) =>
    Promise.all([
      get<{ sessions: Session[] }>("/api/reading/sessions", {}, signal),
      get<Offer>("/api/reading/offers", {}, signal),
    ]),
  );
  const refusal = useSignal("");
  const begin = async (asked: unknown) => {
    try {
      const state = await post<State>("/api/reading/sessions", asked);
      go("reading", { session: state.session });
    } catch (error) {
      refusal.value = error instanceof Refusal ? error.message : String(error);
    }
  };
  if (found.refusal.value) return <Refused message={found.refusal.value} />;
  if (!found.answer.value) return <Waiting what="the sessions" />;
  const [{ sessions }, offer] = found.answer.value;
  return (
    <>
      <p>
        Read cases without knowing what they are. Order and sides are drawn; truth and source stay hidden. Every answer
        is kept at once, so a session can be left and opened again. An answer is not changed after “Next”.
      </p>
      <div class="columns right">
        <section>
          <h2>Sessions</h2>
          {sessions.length ? <SessionTable sessions={sessions} /> : <Empty>No session yet. Begin one.</Empty>}
        </section>
        <section>
          <h2>Begin a session</h2>
          {offer.modes.length ? (
            <Begin offer={offer} begin={(asked) => void begin(asked)} />
          ) : (
            <Empty>No slices are cut yet. Run `its run --to slice`.</Empty>
          )}
          <Refused message={refusal.value} />
        </section>
      </div>
    </>
  );
}

function SessionTable({ sessions }: { sessions: Session[] }) {
  return (
    <Wide name="Sessions">
      <table>
        <caption>Reading sessions</caption>
        <Head columns={["Session", "State", "Kind", { n: "Answered" }, { n: "Items" }, "Started (UTC)"]} />
        <tbody>
          {sessions.map((s) => (
            <tr key={s.session}>
              <th scope="row">{s.session}</th>
              <td>
                {s.answered === s.items ? (
                  "finished"
                ) : (
                  <a href={link("reading", { session: s.session })} aria-label={`Go on with ${s.session}`}>
                    Go on
                  </a>
                )}
              </td>
              <td>{s.kind === "pairs" ? "real or synthetic" : "cases"}</td>
              <td class="n">{s.answered}</td>
              <td class="n">{s.items}</td>
              <td>{s.started.slice(0, 16).replace("T", " ")}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Wide>
  );
}
