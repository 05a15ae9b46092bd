// The reports as they were written, each in a tab of its own, with their tables and figures as files.
import { get } from "../../api/client";
import { useAsked } from "../../parts/asked";
import { Empty, Refused, Waiting } from "../../parts/notice";

interface ReportFiles {
  name: string;
  title: string;
  files: string[];
}

const path = (name: string, file: string) =>
  `/api/reports/${encodeURIComponent(name)}/${file.split("/").map(encodeURIComponent).join("/")}`;

export function Reports() {
  const found = useAsked((signal) => get<{ reports: ReportFiles[] }>("/api/reports", {}, signal));
  const reports = found.answer.value?.reports;
  return (
    <>
      <Refused message={found.refusal.value} />
      {found.busy.value && !reports ? <Waiting what="the reports" /> : null}
      {reports && !reports.length ? <Empty>No report was written yet. Run `its run --to report`.</Empty> : null}
      <ul class="reports">
        {reports?.map((report) => (
          <li key={report.name}>
            <a href={path(report.name, "report.html")} target="_blank" rel="noopener">
              {report.title}
              <span class="small"> (opens a new tab)</span>
            </a>
            {report.files.length > 1 ? (
              <details>
                <summary aria-label={`Files of ${report.title}`}>
                  {report.files.length - 1} files: figures and tables
                </summary>
                <ul>
                  {report.files.slice(1).map((file) => (
                    <li key={file}>
                      <a href={path(report.name, file)} target="_blank" rel="noopener">
                        {file}
                      </a>
                    </li>
                  ))}
                </ul>
              </details>
            ) : null}
          </li>
        ))}
      </ul>
    </>
  );
}
