// A person accepts or rejects a case; what people said so far. The last review by anyone counts.
import { useSignal } from "@preact/signals";
import { get, post, Refusal } from "../../api/client";
import { useAsked } from "../../parts/asked";
import { Head } from "../../parts/head";
import { Refused } from "../../parts/notice";
import { Wide } from "../../parts/wide";
import type { Review } from "./told";

const NAME = "itrialspace-reviewer";

export function Reviewing({ uid, reviews }: { uid: string; reviews: Review[] }) {
  const said = useSignal(reviews);
  const offered = useAsked<{ ready_reasons: string[] }>((signal) => get("/api/reviews", { uid }, signal));
  const name = useSignal(localStorage.getItem(NAME) ?? "");
  const reason = useSignal("");
  const refusal = useSignal("");
  const busy = useSignal(false);
  const last = said.value.at(-1);

  async function give(verdict: "accept" | "reject") {
    refusal.value = "";
    if (!name.value.trim()) refusal.value = "Give your name first: a review is by a named person.";
    else if (verdict === "reject" && !reason.value.trim()) refusal.value = "Give a reason for the rejection.";
    if (refusal.value) return;
    busy.value = true;
    try {
      const review = await post<Review>("/api/reviews", {
        case_uid: uid,
        reviewer: name.value.trim(),
        verdict,
        reason: reason.value.trim(),
      });
      localStorage.setItem(NAME, name.value.trim());
      said.value = [...said.value, review];
      reason.value = "";
    } catch (error) {
      refusal.value = error instanceof Refusal ? error.message : String(error);
    }
    busy.value = false;
  }

  return (
    <section aria-labelledby="review">
      <h2 id="review">Review</h2>
      <p role="status">
        {last
          ? `${last.verdict === "accept" ? "Accepted" : "Rejected"} by ${last.reviewer}${last.reason ? `: ${last.reason}` : ""}.`
          : "Nobody reviewed it yet."}{" "}
        The last review counts. A rejected case is left out of lists that are frozen later.
      </p>
      <form class="row review" onSubmit={(event) => event.preventDefault()}>
        <label>
          Your name{" "}
          <input
            value={name.value}
            maxLength={80}
            autocomplete="name"
            onInput={(event) => (name.value = event.currentTarget.value)}
          />
        </label>
        <label>
          Reason{" "}
          <input
            value={reason.value}
            maxLength={500}
            list="reasons"
            onInput={(event) => (reason.value = event.currentTarget.value)}
          />
        </label>
        <datalist id="reasons">
          {offered.answer.value?.ready_reasons.map((text) => (
            <option key={text} value={text} />
          ))}
        </datalist>
        <button type="button" class="primary" disabled={busy.value} onClick={() => void give("accept")}>
          Accept
        </button>
        <button type="button" disabled={busy.value} onClick={() => void give("reject")}>
          Reject
        </button>
      </form>
      <Refused message={refusal.value} />
      {said.value.length ? (
        <Wide name="Reviews">
          <table>
            <caption>Reviews of this case</caption>
            <Head columns={["Who", "Verdict", "Reason", "When (UTC)"]} />
            <tbody>
              {[...said.value].reverse().map((review) => (
                <tr key={review.number}>
                  <th scope="row">{review.reviewer}</th>
                  <td>{review.verdict === "accept" ? "accepted" : "rejected"}</td>
                  <td>{review.reason}</td>
                  <td>{review.at.replace("T", " ").replace("+00:00", "")}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </Wide>
      ) : null}
    </section>
  );
}
