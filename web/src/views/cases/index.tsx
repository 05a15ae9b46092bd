export default function View() {
  return <p>Not built yet.</p>;
}
