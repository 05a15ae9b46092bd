// Trials and cases: `#/cases`, `#/cases?mode=…` with its contact sheet, `#/cases?case=…` for one case.
import "./cases.css";
import { params } from "../../state/route";
import { Case } from "./case";
import { ContactSheet } from "./sheet";
import { Trial, Trials } from "./trials";

export default function View() {
  if (params.value.get("case")) return <Case />;
  const mode = params.value.get("mode");
  return (
    <>
      <Trials />
      {mode ? (
        <>
          <Trial mode={mode} />
          <ContactSheet />
        </>
      ) : null}
    </>
  );
}
