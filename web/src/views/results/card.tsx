// One slice of a case: its picture, what is known of it, and links to the viewer and the case page.
import { link } from "../../state/route";

interface Shown {
  uid: string;
  picture: string;
  /** Whether the answer was right; undefined where that is not asked. */
  right: boolean | undefined;
  facts: [string, string][];
}

export function Card({ uid, picture, right, facts }: Shown) {
  return (
    <li class="card">
      <img src={picture} alt={`Slice of ${uid}`} loading="lazy" />
      <div>
        {right === undefined ? null : (
          <strong class={right ? "is-right" : "is-wrong"}>{right ? "right" : "wrong"}</strong>
        )}
        <dl>
          {facts.map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        </dl>
        <p class="small">{uid}</p>
        <p class="row">
          <a href={link("viewer", { of: "case", uid })} aria-label={`Viewer of ${uid}`}>
            Viewer
          </a>
          <a href={link("cases", { uid })} aria-label={`Case page of ${uid}`}>
            Case page
          </a>
        </p>
      </div>
    </li>
  );
}
