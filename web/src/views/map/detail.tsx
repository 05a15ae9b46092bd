// The chosen nodule: picture, values, and its ranked neighbours. Every row leads on to the next nodule.

import type { Neighbours } from "../../api/maps";
import { detail } from "../../api/nodules";
import { useAsked } from "../../parts/asked";
import { Head } from "../../parts/head";
import { Empty, Refused, Waiting } from "../../parts/notice";
import { NodulePicture } from "../../parts/picture";
import { Uid } from "../../parts/uid";
import { heading, number, said } from "../../parts/words";
import { link, viewName } from "../../state/route";
import { compare, compared } from "../../state/selection";
import { picked, set } from "./state";

const SHOWN = [
  "dataset",
  "label",
  "reinsertion_lobe",
  "reinsertion_nodule_diam_mm",
  "reinsertion_pleural_dist_mm",
  "reinsertion_airway_dist_mm",
  "size_bucket",
  "n_nodules_in_patient",
  "person_uid",
];

export function Detail({ near }: { near: Neighbours | undefined }) {
  const asked = useAsked((signal) => (picked.value ? detail(picked.value, signal) : undefined));
  const uid = picked.value;
  if (!uid) return <Empty>Click a point, or choose a row of the table, to see a nodule and its neighbours.</Empty>;
  const found = asked.answer.value;
  return (
    <>
      <h2>
        <span class="small">Nodule</span> {uid}
      </h2>
      <Refused message={asked.refusal.value} />
      {!found && !asked.refusal.value ? <Waiting what="the nodule" /> : null}
      <NodulePicture key={uid} uid={uid} />
      {found && found.values["nodule_uid"] === uid ? (
        <dl class="values">
          {SHOWN.filter((name) => name in found.values).map((name) => (
            <div key={name}>
              <dt>{heading(name)}</dt>
              <dd>{said(name, found.values[name])}</dd>
            </div>
          ))}
        </dl>
      ) : null}
      <div class="row">
        <button
          type="button"
          aria-pressed={compared.value.includes(uid)}
          onClick={() => compare(uid, !compared.value.includes(uid))}
        >
          Compare
        </button>
        <a href={link("viewer", { uid, of: "nodule" })}>Viewer</a>
        <a href={link("nodules", { task: "similar", like: uid })}>Similar</a>
        {viewName.value === "map" ? null : <a href={link("map", { uid })}>Map</a>}
      </div>
      {near && near.uid === uid ? <Near near={near} /> : null}
      <p>
        <button type="button" class="plain" onClick={() => set({ uid: undefined })}>
          Close
        </button>
      </p>
    </>
  );
}

function Near({ near }: { near: Neighbours }) {
  return (
    <div class="wide">
      <table class="near">
        <caption>
          Nearest nodules{" "}
          <span class="small">
            {near.space} space, {near.metric} distance
          </span>
        </caption>
        <Head columns={[{ n: "#" }, "Nodule", { n: "Distance" }, { n: "Ø (mm)" }, "Label"]} />
        <tbody>
          {near.neighbours.map((one) => (
            <tr key={one.uid}>
              <td class="n">{one.rank}</td>
              <th scope="row">
                <button type="button" class="plain" onClick={() => set({ uid: one.uid })}>
                  <Uid uid={one.uid} />
                </button>
              </th>
              <td class="n">{one.distance.toFixed(3)}</td>
              <td class="n">{one.diameter_mm === null ? "–" : number(one.diameter_mm)}</td>
              <td>{said("label", one.label)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
