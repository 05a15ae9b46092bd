// The frame of the page: heading, menu, mark of the data, and the view that the address names.
import "./style.css";
import { useSignal, useSignalEffect } from "@preact/signals";
import { type ComponentType, render } from "preact";
import { useEffect } from "preact/hooks";
import { Refused, Waiting } from "./parts/notice";
import { openRoot, root, rootRefusal } from "./state/root";
import { shown, viewName } from "./state/route";
import { type Theme, theme } from "./state/theme";
import { VIEWS } from "./views";

function Menu() {
  return (
    <nav aria-label="Views">
      <ul>
        {VIEWS.map(({ name, title }) => (
          <li key={name}>
            <a href={`#/${name}`} aria-current={viewName.value === name ? "page" : undefined}>
              {title}
            </a>
          </li>
        ))}
      </ul>
    </nav>
  );
}

function ThemeChoice() {
  return (
    <label class="theme">
      Colours{" "}
      <select value={theme.value} onChange={(event) => (theme.value = event.currentTarget.value as Theme)}>
        <option value="system">system</option>
        <option value="light">light</option>
        <option value="dark">dark</option>
      </select>
    </label>
  );
}

const afterRender = () => new Promise((done) => setTimeout(done));

function CurrentView() {
  const loaded = useSignal<{ name: string; View: ComponentType } | undefined>(undefined);
  const refusal = useSignal("");
  useSignalEffect(() => {
    const entry = VIEWS.find(({ name }) => name === viewName.value) ?? VIEWS[0]!;
    const asked = viewName.value;
    document.title = `${entry.title} | iTrialSpace explorer`;
    loaded.value = undefined; // the old view leaves the page before the address is told to the new one
    Promise.all([entry.load(), afterRender()]).then(
      ([module]) => {
        if (viewName.peek() !== asked) return;
        refusal.value = "";
        shown.value = asked;
        loaded.value = { name: entry.name, View: module.default };
      },
      () => {
        refusal.value = "The page was built again since you opened it. Reload it.";
      },
    );
  });
  const entry = VIEWS.find(({ name }) => name === loaded.value?.name);
  if (refusal.value) return <Refused message={refusal.value} />;
  if (!loaded.value || !entry) return <Waiting what="the view" />;
  const { View } = loaded.value;
  return (
    <>
      <h1>{entry.title}</h1>
      <View key={entry.name} />
    </>
  );
}

function Page() {
  useEffect(() => void openRoot(), []);
  return (
    <>
      <button type="button" class="skip" onClick={() => document.getElementById("main")?.focus()}>
        To the content
      </button>
      <header>
        <span class="product">iTrialSpace</span>
        <Menu />
        <ThemeChoice />
      </header>
      {root.value?.marks.length ? (
        <ul class="marks" aria-label="What the data are">
          {root.value.marks.map((mark) => (
            <li key={mark}>{mark}</li>
          ))}
        </ul>
      ) : null}
      <main id="main" tabIndex={-1}>
        <Refused message={rootRefusal.value} />
        <CurrentView />
      </main>
      <footer>
        <p>
          For research. Not for diagnosis. {root.value ? `iTrialSpace ${root.value.version}, ${root.value.name}` : ""}
        </p>
      </footer>
    </>
  );
}

render(<Page />, document.getElementById("page")!);
