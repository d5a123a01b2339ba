/** The faults by name, in the order in which a drill goes through them. */
import { badFlag } from "./bad-flag.ts";
import { cpuQuota } from "./cpu-quota.ts";
import { crash } from "./crash.ts";
import { diskThrottle } from "./disk-throttle.ts";
import { exceptionDeploy } from "./exception-deploy.ts";
import type { Fault, FaultName } from "./fault.ts";
import { memoryLimit } from "./memory-limit.ts";
import { networkDelay } from "./network-delay.ts";
import { noisyNeighbour } from "./noisy-neighbour.ts";
import { packetLoss } from "./packet-loss.ts";
import { poolLeak } from "./pool-leak.ts";
import { refused } from "./refused.ts";
import { slowCode } from "./slow-code.ts";
import { slowDependency } from "./slow-dependency.ts";

export const faultTable: Readonly<Record<FaultName, Fault>> = {
  "slow-code": slowCode,
  "exception-deploy": exceptionDeploy,
  "pool-leak": poolLeak,
  crash,
  "slow-dependency": slowDependency,
  "bad-flag": badFlag,
  "packet-loss": packetLoss,
  refused,
  "network-delay": networkDelay,
  "disk-throttle": diskThrottle,
  "cpu-quota": cpuQuota,
  "memory-limit": memoryLimit,
  "noisy-neighbour": noisyNeighbour,
};
