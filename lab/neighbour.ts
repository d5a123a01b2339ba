/** Somebody who shares a host with services and leaves them little of it: works without a pause until its parent ends it. */
import { endWithParent } from "./child.ts";
import { compute } from "./fault/wait.ts";

const sliceMs = 20;

function work(): void {
  compute(sliceMs);
  setImmediate(work);
}

endWithParent();
work();
