// Results: numbers of the reports with the cases behind each, cases that flipped between two readers, the reports.
import { get } from "../../api/client";
import { useAsked } from "../../parts/asked";
import { Refused, Waiting } from "../../parts/notice";
import { link, params } from "../../state/route";
import { Flips } from "./flips";
import { Numbers } from "./numbers";
import { Reports } from "./reports";
import "./results.css";
import type { ChoiceList } from "./told";

const TABS = [
  ["numbers", "Numbers"],
  ["flips", "Two readers"],
  ["reports", "Reports"],
] as const;

export default function View() {
  const known = useAsked((signal) => get<ChoiceList>("/api/results/choices", {}, signal));
  const tab = params.value.get("tab") ?? "numbers";
  return (
    <>
      <nav aria-label="Kinds of results" class="tabs">
        <ul>
          {TABS.map(([name, title]) => (
            <li key={name}>
              <a href={link("results", { tab: name })} aria-current={tab === name ? "page" : undefined}>
                {title}
              </a>
            </li>
          ))}
        </ul>
      </nav>
      {tab === "reports" ? (
        <Reports />
      ) : known.refusal.value ? (
        <Refused message={known.refusal.value} />
      ) : !known.answer.value ? (
        <Waiting what="the results" />
      ) : tab === "flips" ? (
        <Flips known={known.answer.value} />
      ) : (
        <Numbers analyses={known.answer.value.analyses} />
      )}
    </>
  );
}
