/**
 * Run as `node --import tsx kernel-load.ts <plan as JSON>`: after a line on the standard input it makes exactly the planned requests to real
 * servers, as fast as the plan says, and prints what it asked and was answered. It is a process of its own, as an agent does not observe itself.
 */
import { createConnection, type Socket } from "node:net";

export interface LoadPlan {
  readonly seconds: number;
  readonly http: { readonly port: number; readonly perSecond: number };
  /** One command in flight on each of some connections, and `many` in flight on one. */
  readonly redis: { readonly port: number; readonly perSecond: number; readonly multiplexedPerSecond: number };
  readonly postgres: { readonly port: number; readonly perSecond: number };
}

export interface LoadReport {
  readonly seconds: number;
  readonly asked: number;
  readonly answered: number;
  /** The connection with many commands in flight. */
  readonly multiplexed: { readonly port: number; readonly asked: number };
}

/** Commands of the multiplexed connection that are in flight at once. */
export const inFlight = 64;
const tickMs = 4;

/** How many whole answers a piece of a stream ends. */
interface Protocol {
  readonly port: number;
  /** Sent first; the connection is ready when `answersIn` says one. */
  readonly greeting: Buffer | null;
  request(number: number): Buffer;
  /** Answers that are whole in the bytes so far, and how many bytes they take. */
  answersIn(bytes: Buffer): { answers: number; bytes: number };
}

class Connection {
  readonly #socket: Socket;
  readonly #protocol: Protocol;
  readonly #onAnswers: (connection: Connection, answers: number) => void;
  readonly ready: Promise<void>;
  #bytes: Buffer = Buffer.alloc(0);
  #resolveReady: () => void = () => undefined;
  #isReady = false;

  constructor(protocol: Protocol, onAnswers: (connection: Connection, answers: number) => void) {
    this.#protocol = protocol;
    this.#onAnswers = onAnswers;
    this.ready = new Promise((resolve) => {
      this.#resolveReady = resolve;
    });
    this.#socket = createConnection({ host: "127.0.0.1", port: protocol.port, noDelay: true }, () => {
      if (protocol.greeting === null) this.#becomeReady();
      else this.#socket.write(protocol.greeting);
    });
    this.#socket.on("data", (data: Buffer) => this.#take(data));
    this.#socket.on("error", (error) => {
      process.stderr.write(`port ${protocol.port}: ${error.message}\n`);
      process.exit(1);
    });
  }

  get port(): number {
    return this.#socket.localPort ?? 0;
  }

  ask(number: number): void {
    this.#socket.write(this.#protocol.request(number));
  }

  end(): Promise<void> {
    return new Promise((resolve) => {
      this.#socket.once("close", () => resolve());
      this.#socket.end();
    });
  }

  #becomeReady(): void {
    this.#isReady = true;
    this.#resolveReady();
  }

  #take(data: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? data : Buffer.concat([this.#bytes, data]);
    const { answers, bytes } = this.#protocol.answersIn(this.#bytes);
    this.#bytes = this.#bytes.subarray(bytes);
    if (answers === 0) return;
    if (this.#isReady) this.#onAnswers(this, answers);
    else this.#becomeReady();
  }
}

/** Requests of one kind at a steady rate; what falls due while all connections wait is made as soon as one is free. */
class Stream {
  readonly #total: number;
  readonly #perSecond: number;
  readonly #connections: readonly Connection[];
  readonly #free: Connection[];
  readonly #burst: number;
  readonly #waiting = new Map<Connection, number>();
  asked = 0;
  answered = 0;
  #due = 0;

  constructor(protocol: Protocol, options: { perSecond: number; seconds: number; connections: number; burst: number }) {
    this.#perSecond = options.perSecond;
    this.#burst = options.burst;
    this.#total = Math.floor((options.perSecond * options.seconds) / options.burst) * options.burst;
    this.#connections = Array.from(
      { length: options.connections },
      () => new Connection(protocol, (from, count) => this.#take(from, count)),
    );
    this.#free = [...this.#connections];
  }

  async ready(): Promise<void> {
    await Promise.all(this.#connections.map((connection) => connection.ready));
  }

  get port(): number {
    return this.#connections[0]?.port ?? 0;
  }

  get isOver(): boolean {
    return this.answered >= this.#total;
  }

  tick(elapsedMs: number): void {
    this.#due = Math.min(this.#total, Math.floor((elapsedMs * this.#perSecond) / 1_000));
    this.#work();
  }

  async end(): Promise<void> {
    await Promise.all(this.#connections.map((connection) => connection.end()));
  }

  #work(): void {
    while (this.asked + this.#burst <= this.#due) {
      const connection = this.#free.pop();
      if (connection === undefined) return;
      this.#waiting.set(connection, this.#burst);
      for (let count = 0; count < this.#burst; count += 1) {
        connection.ask(this.asked);
        this.asked += 1;
      }
    }
  }

  #take(connection: Connection, answers: number): void {
    this.answered += answers;
    const left = (this.#waiting.get(connection) ?? 0) - answers;
    this.#waiting.set(connection, left);
    if (left > 0) return;
    this.#free.push(connection);
    this.#work();
  }
}

/** One answer of each kind, in a proportion that no round number hides. */
function httpPath(number: number): string {
  if (number % 11 === 3) return `/missing/${number}`;
  if (number % 17 === 5) return "/broken";
  if (number % 23 === 7) return `/moved/${number}`;
  if (number % 97 === 11) return "/large";
  return `/item/${number}`;
}

function http(port: number): Protocol {
  return {
    port,
    greeting: null,
    request: (number) => Buffer.from(`GET ${httpPath(number)} HTTP/1.1\r\nHost: shop\r\nUser-Agent: load\r\n\r\n`),
    answersIn: (bytes) => {
      const end = bytes.indexOf("\r\n\r\n");
      if (end < 0) return { answers: 0, bytes: 0 };
      const length = Number(/content-length: (\d+)/i.exec(bytes.toString("latin1", 0, end))?.[1] ?? 0);
      const whole = end + 4 + length;
      return bytes.length < whole ? { answers: 0, bytes: 0 } : { answers: 1, bytes: whole };
    },
  };
}

function command(...parts: readonly string[]): Buffer {
  return Buffer.from(`*${parts.length}\r\n${parts.map((part) => `$${part.length}\r\n${part}\r\n`).join("")}`);
}

function redis(port: number): Protocol {
  return {
    port,
    greeting: null,
    request: (number) => {
      if (number % 13 === 4) return command("LPUSH", "text", "x");
      if (number % 7 === 2) return command("INCR", "count");
      if (number % 5 === 1) return command("SET", `key:${number % 100}`, "v".repeat(number % 700));
      if (number % 19 === 8) return command("GET", "none");
      return command("GET", `key:${number % 100}`);
    },
    answersIn: (bytes) => {
      let at = 0;
      for (let answers = 0; ; answers += 1) {
        const line = bytes.indexOf("\r\n", at);
        if (line < 0) return { answers, bytes: at };
        const length = bytes[at] === 36 ? Number(bytes.toString("latin1", at + 1, line)) : -1;
        const end = length < 0 ? line + 2 : line + 2 + length + 2;
        if (bytes.length < end) return { answers, bytes: at };
        at = end;
      }
    },
  };
}

function message(type: string, body: string): Buffer {
  const head = Buffer.alloc(5);
  head.write(type, 0, "latin1");
  head.writeInt32BE(4 + body.length, 1);
  return Buffer.concat([head, Buffer.from(body, "latin1")]);
}

function startup(): Buffer {
  const body = Buffer.from("user\0postgres\0database\0postgres\0\0", "latin1");
  const head = Buffer.alloc(8);
  head.writeInt32BE(8 + body.length, 0);
  head.writeInt32BE(196_608, 4);
  return Buffer.concat([head, body]);
}

/** Parse, Bind with one parameter as text, Execute, Sync. */
function extended(sql: string, parameter: string): Buffer {
  const length = String.fromCharCode(0, 0, 0, parameter.length);
  const bind = message("B", `\0\0\0\0\0\x01${length}${parameter}\0\0`);
  return Buffer.concat([message("P", `\0${sql}\0\0\0`), bind, message("E", "\0\0\0\0\0"), message("S", "")]);
}

function postgres(port: number): Protocol {
  return {
    port,
    greeting: startup(),
    request: (number) => {
      const id = String(1 + (number % 50));
      if (number % 13 === 4) return message("Q", "SELECT * FROM missing\0");
      if (number % 7 === 2) return message("Q", `UPDATE item SET price = price + 1 WHERE id = ${id}\0`);
      if (number % 3 === 1) return extended("SELECT amount FROM stock WHERE id = $1", id);
      return message("Q", `SELECT price FROM item WHERE id = ${id}\0`);
    },
    answersIn: (bytes) => {
      let at = 0;
      let answers = 0;
      while (bytes.length >= at + 5) {
        const end = at + 1 + bytes.readInt32BE(at + 1);
        if (bytes.length < end) break;
        // ReadyForQuery ends an answer.
        if (bytes[at] === 0x5a) answers += 1;
        at = end;
      }
      return { answers, bytes: at };
    },
  };
}

async function run(plan: LoadPlan): Promise<void> {
  const { seconds } = plan;
  const single = { seconds, burst: 1 };
  const multiplexed = new Stream(redis(plan.redis.port), {
    ...{ seconds, connections: 1, burst: inFlight },
    perSecond: plan.redis.multiplexedPerSecond,
  });
  const streams = [
    multiplexed,
    new Stream(http(plan.http.port), { ...single, perSecond: plan.http.perSecond, connections: 16 }),
    new Stream(redis(plan.redis.port), { ...single, perSecond: plan.redis.perSecond, connections: 8 }),
    new Stream(postgres(plan.postgres.port), { ...single, perSecond: plan.postgres.perSecond, connections: 6 }),
  ];
  await Promise.all(streams.map((stream) => stream.ready()));
  const begun = performance.now();
  await new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      for (const stream of streams) stream.tick(performance.now() - begun);
      if (!streams.every((stream) => stream.isOver)) return;
      clearInterval(timer);
      resolve();
    }, tickMs);
  });
  const report: LoadReport = {
    seconds: (performance.now() - begun) / 1_000,
    asked: streams.reduce((sum, { asked }) => sum + asked, 0),
    answered: streams.reduce((sum, { answered }) => sum + answered, 0),
    multiplexed: { port: multiplexed.port, asked: multiplexed.asked },
  };
  process.stdout.write(`${JSON.stringify(report)}\n`);
  await new Promise((resolve) => process.stdin.once("data", resolve));
  await Promise.all(streams.map((stream) => stream.end()));
  process.exit(0);
}

if (process.argv[2] !== undefined && import.meta.url === `file://${process.argv[1]}`) {
  process.stdout.write("ready\n");
  process.stdin.once("data", () => void run(JSON.parse(process.argv[2] ?? "") as LoadPlan));
  process.stdin.once("end", () => process.exit(1));
}
