// An id that may break after its slash, and nowhere else.
import { Fragment } from "preact";

export function Uid({ uid }: { uid: string }) {
  return (
    <span class="uid">
      {uid.split(/(?<=\/)/).map((part, i) => (
        <Fragment key={`${i}${part}`}>
          {part}
          <wbr />
        </Fragment>
      ))}
    </span>
  );
}
