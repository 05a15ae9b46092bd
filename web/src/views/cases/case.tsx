// One case: why it was planned so, its pictures, asked and got, answers, reviews; the static case page tells the same.
import { address, get } from "../../api/client";
import { useAsked } from "../../parts/asked";
import { Refused, Waiting } from "../../parts/notice";
import { Wide } from "../../parts/wide";
import { link, params } from "../../state/route";
import { Reviewing } from "./review";
import { type CaseTold, plain, SITES, type SlicePicture, type StoryTable } from "./told";

function Story({ table }: { table: StoryTable }) {
  if (!table.rows.length) return null;
  return (
    <Wide name={table.caption}>
      <table>
        <caption>{table.caption}</caption>
        <thead>
          <tr>
            {table.columns.map((column) => (
              <th scope="col" key={column}>
                {plain(column)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {table.rows.map((row, i) => (
            <tr key={`${i} ${row.join(" ")}`}>
              {row.map((value, k) => (
                <td key={table.columns[k]} class={typeof value === "number" && k ? "n" : undefined}>
                  {value === null
                    ? "–"
                    : typeof value === "number" && !Number.isInteger(value)
                      ? value.toPrecision(4)
                      : String(value)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </Wide>
  );
}

function Pictures({ slices }: { slices: SlicePicture[] }) {
  const groups = new Map<string, SlicePicture[]>();
  for (const slice of slices.filter(({ z_offset }) => z_offset === 0)) {
    const { source, profile, guidance_site } = slice;
    const heading = `${source}, ${plain(profile)}, ${SITES[guidance_site] ?? guidance_site}`;
    groups.set(heading, [...(groups.get(heading) ?? []), slice]);
  }
  return (
    <>
      {[...groups].map(([heading, own]) => (
        <section key={heading}>
          <h3>{heading}</h3>
          <ul class="sheet">
            {own.map(({ slice_uid, condition }) => (
              <li class="card" key={slice_uid + condition}>
                <img
                  src={address("/api/slice.png", { slice_uid, condition })}
                  alt={`${heading}, ${plain(condition)}`}
                  loading="lazy"
                  width="200"
                  height="150"
                />
                <span class="small">{plain(condition)}</span>
              </li>
            ))}
          </ul>
        </section>
      ))}
    </>
  );
}

export function Case() {
  const told = useAsked<CaseTold>((signal) => {
    const uid = params.value.get("case");
    return uid ? get("/api/case", { uid }, signal) : undefined;
  });
  const found = told.answer.value;
  if (told.refusal.value) return <Refused message={told.refusal.value} />;
  if (!found) return <Waiting what="the case" />;
  return (
    <>
      <p>
        <a href={link("cases", { mode: found.mode })}>All cases of {plain(found.mode)}</a>
      </p>
      <h2>{found.case_uid}</h2>
      <p class="small">{found.mark}</p>
      <p>{found.lead}</p>
      <p class="row">
        <a href={link("viewer", { of: "case", uid: found.case_uid })}>Open its volumes in the viewer</a>
        <a href={address("/api/case.html", { uid: found.case_uid })} download>
          Download the case page (one file)
        </a>
      </p>
      <Reviewing key={found.case_uid} uid={found.case_uid} reviews={found.reviews} />
      {found.slices.length ? (
        <>
          <h2>Pictures as readers got them</h2>
          <Pictures slices={found.slices} />
        </>
      ) : null}
      <h2>Tables</h2>
      {found.tables.map((table) => (
        <Story key={table.caption} table={table} />
      ))}
    </>
  );
}
