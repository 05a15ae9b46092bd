// The map: nodules by their features, or slices by what they show, coloured by a reader's answers.
import "../../parts/selection.css";
import "./map.css";
import { useEffect } from "preact/hooks";
import { maps } from "../../api/maps";
import { columnRefusal, openColumns } from "../../api/nodules";
import { useAsked } from "../../parts/asked";
import { Refused, Waiting } from "../../parts/notice";
import { NoduleMap } from "./nodules";
import { SliceMap } from "./slices";
import { set, source } from "./state";

export default function View() {
  useEffect(openColumns, []);
  const asked = useAsked((signal) => maps(signal));
  const found = asked.answer.value;
  return (
    <>
      <Refused message={asked.refusal.value || columnRefusal.value} />
      <fieldset class="sources">
        <legend class="hidden">What the map shows</legend>
        {[
          ["nodules", "Nodules by their features"],
          ["slices", "Slices by a reader's answers"],
        ].map(([name, words]) => (
          <button
            key={name}
            type="button"
            aria-pressed={source.value === name}
            onClick={() => set({ of: name === "nodules" ? undefined : name })}
          >
            {words}
          </button>
        ))}
      </fieldset>
      {!found ? (
        asked.refusal.value ? null : (
          <Waiting what="the map" />
        )
      ) : source.value === "slices" ? (
        <SliceMap maps={found} />
      ) : (
        <NoduleMap maps={found} />
      )}
    </>
  );
}
