/** `npm run bench -- NAME …`: one benchmark by its name. */
import { toHeadwaterError } from "../contract/error.ts";
import { agentUsage, benchAgent } from "./agent.ts";
import { benchGraph, graphUsage } from "./graph.ts";
import { benchRanking, rankingUsage } from "./ranking.ts";

interface Benchmark {
  readonly usage: string;
  run(args: readonly string[], write: (text: string) => void): Promise<void>;
}

const benchmarks: Readonly<Record<string, Benchmark>> = {
  agent: { usage: agentUsage, run: benchAgent },
  graph: { usage: graphUsage, run: benchGraph },
  ranking: { usage: rankingUsage, run: benchRanking },
};

const usage = `usage: npm run bench -- NAME …\n${Object.values(benchmarks)
  .map((benchmark) => `  ${benchmark.usage}`)
  .join("\n")}\n`;

/** 0 done, 1 failed, 2 called wrongly. */
async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  const benchmark = name === undefined ? undefined : benchmarks[name];
  if (benchmark === undefined) {
    const known = Object.keys(benchmarks).join(", ");
    process.stderr.write(`${name === undefined ? "no benchmark named" : `unknown benchmark ${name}`}; known: ${known}\n${usage}`);
    return 2;
  }
  try {
    await benchmark.run(rest, (text) => process.stdout.write(text));
    return 0;
  } catch (error) {
    const failure = toHeadwaterError(error);
    process.stderr.write(`${failure.code}: ${failure.message}\n`);
    return failure.code === "REQUEST_INVALID" ? 2 : 1;
  }
}

process.exitCode = await main(process.argv.slice(2));
