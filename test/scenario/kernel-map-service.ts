/**
 * A service in a network namespace, in Python because it starts at once. It answers every request with 200, after it has asked Redis where
 * `redis` names one, and makes the calls that it is told on its standard input, each line one connection; it says `done` after each.
 */
export const serviceScript = `
import json, socket, sys, threading

plan = json.loads(sys.argv[1])
answer = b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"

def until(connection, ending):
    text = b""
    while not text.endswith(ending):
        piece = connection.recv(4096)
        if not piece: return None
        text += piece
    return text

def serve(connection):
    redis = socket.create_connection(plan["redis"]) if "redis" in plan else None
    while True:
        request = until(connection, b"\\r\\n\\r\\n")
        if request is None: break
        if redis is not None:
            redis.sendall(b"*2\\r\\n$3\\r\\nGET\\r\\n$4\\r\\nitem\\r\\n")
            until(redis, b"\\r\\n")
        connection.sendall(answer)
        if b"Connection: close" in request: break
    connection.close()
    if redis is not None: redis.close()

def listen():
    server = socket.create_server(("0.0.0.0", plan["listen"]))
    print("ready", flush=True)
    while True:
        connection, _ = server.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()

def call(to):
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if to.get("localPort"): connection.bind(("0.0.0.0", to["localPort"]))
    connection.connect((to["host"], to["port"]))
    for number in range(to["count"]):
        last = b"Connection: close\\r\\n" if number == to["count"] - 1 else b""
        connection.sendall(b"GET /orders/%d HTTP/1.1\\r\\nHost: x\\r\\n%s\\r\\n" % (number, last))
        until(connection, answer[-6:])
    # The server closes first, so that the client's port is free at once.
    connection.recv(1)
    connection.close()

if plan.get("listen"): threading.Thread(target=listen, daemon=True).start()
else: print("ready", flush=True)
for line in sys.stdin:
    call(json.loads(line))
    print("done", flush=True)
`;

export interface Call {
  readonly host: string;
  readonly port: number;
  /** The client's own port; any where it is not told. */
  readonly localPort?: number;
  /** Requests on the connection. */
  readonly count: number;
}

export interface ServicePlan {
  readonly listen?: number;
  readonly redis?: readonly [host: string, port: number];
}
