// The contact sheet of a trial: a picture of each case, a page at a time.
import { address, get } from "../../api/client";
import { useAsked } from "../../parts/asked";
import { Empty, Refused, Waiting } from "../../parts/notice";
import { keep, link, params } from "../../state/route";
import { type CaseRow, plain, type Sheet } from "./told";

const PAGE = 24;

/** The evaluation slice of a case, or a plane of its CT where none was cut. */
function pictureOf(row: CaseRow): string | undefined {
  if (row.slice_uid) return address("/api/slice.png", { slice_uid: row.slice_uid });
  if (row.stage === "rendered") return address("/api/plane.png", { uid: row.case_uid, what: "ct" });
  return undefined;
}

function Card({ row }: { row: CaseRow }) {
  const src = pictureOf(row);
  const about = row.n_nodules
    ? `${row.diameter_mm?.toFixed(1) ?? "?"} mm, ${plain(row.lobe ?? "lobe unknown")}`
    : "no nodule";
  return (
    <li class="card" data-verdict={row.verdict ?? "none"}>
      <a href={link("cases", { mode: params.value.get("mode") ?? "", case: row.case_uid })}>
        {src ? (
          <img src={src} alt={`axial picture, ${about}`} loading="lazy" width="200" height="150" />
        ) : (
          <span class="blank">no picture yet</span>
        )}
        <span class="name">{row.case_uid.split("/").slice(1).join("/")}</span>
      </a>
      <span class="small">
        {about}; {row.stage}
      </span>
      {row.verdict ? (
        <span class={row.verdict === "accept" ? "verdict good" : "verdict bad"}>
          {row.verdict === "accept" ? "✓ accepted" : "✗ rejected"} by {row.reviewer}
        </span>
      ) : null}
    </li>
  );
}

export function ContactSheet() {
  const sheet = useAsked<Sheet>((signal) => {
    const mode = params.value.get("mode");
    if (!mode) return undefined;
    return get(
      "/api/cases",
      {
        mode,
        arm: params.value.get("arm") ?? undefined,
        verdict: params.value.get("verdict") ?? undefined,
        offset: PAGE * Math.max(0, Number(params.value.get("page") ?? 1) - 1 || 0),
        limit: PAGE,
      },
      signal,
    );
  });
  const found = sheet.answer.value;
  if (sheet.refusal.value) return <Refused message={sheet.refusal.value} />;
  if (!found) return <Waiting what="the cases" />;
  const page = Math.max(1, Number(params.value.get("page") ?? 1) || 1);
  const pages = Math.max(1, Math.ceil(found.total / PAGE));
  return (
    <>
      <h2>Cases</h2>
      <div class="row">
        <label>
          Arm{" "}
          <select
            value={params.value.get("arm") ?? ""}
            onChange={(event) => keep({ arm: event.currentTarget.value, page: undefined })}
          >
            <option value="">all</option>
            {found.arms.map((arm) => (
              <option key={arm} value={arm}>
                {arm}
              </option>
            ))}
          </select>
        </label>
        <label>
          Reviewed{" "}
          <select
            value={params.value.get("verdict") ?? ""}
            onChange={(event) => keep({ verdict: event.currentTarget.value, page: undefined })}
          >
            <option value="">all</option>
            <option value="none">not yet</option>
            <option value="accept">accepted</option>
            <option value="reject">rejected</option>
          </select>
        </label>
        <span role="status">
          {found.total} cases{pages > 1 ? `, page ${page} of ${pages}` : ""}
        </span>
        <button type="button" disabled={page <= 1} onClick={() => keep({ page: String(page - 1) })}>
          Previous
        </button>
        <button type="button" disabled={page >= pages} onClick={() => keep({ page: String(page + 1) })}>
          Next
        </button>
      </div>
      {found.rows.length ? (
        <ul class="sheet">
          {found.rows.map((row) => (
            <Card key={row.case_uid} row={row} />
          ))}
        </ul>
      ) : (
        <Empty>No case is like that. Choose another arm or review.</Empty>
      )}
    </>
  );
}
