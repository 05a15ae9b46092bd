// An id that may break after its marks, and nowhere else.
import { Fragment } from "preact";

export function Uid({ uid }: { uid: string }) {
  return (
    <span class="uid">
      {uid.split(/(?<=[/_.-])/).map((part, i) => (
        <Fragment key={`${i}${part}`}>
          {part}
          <wbr />
        </Fragment>
      ))}
    </span>
  );
}
