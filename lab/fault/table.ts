/** The faults by name, in the order in which a drill goes through them. */
import { badFlag } from "./bad-flag.ts";
import { crash } from "./crash.ts";
import { exceptionDeploy } from "./exception-deploy.ts";
import type { Fault, FaultName } from "./fault.ts";
import { poolLeak } from "./pool-leak.ts";
import { slowCode } from "./slow-code.ts";
import { slowDependency } from "./slow-dependency.ts";

export const faultTable: Readonly<Record<FaultName, Fault>> = {
  "slow-code": slowCode,
  "exception-deploy": exceptionDeploy,
  "pool-leak": poolLeak,
  crash,
  "slow-dependency": slowDependency,
  "bad-flag": badFlag,
};
