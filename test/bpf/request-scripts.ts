/** Programs of Python for the tests of requests: what Node has no call for. Each waits for a line before it begins, see `python`. */
import { join } from "node:path";

export const piecesScript = `
import socket, threading
server = socket.create_server(("127.0.0.1", 0))
def serve():
    connection, _ = server.accept()
    text = b""
    while not text.endswith(b"\\r\\n\\r\\n"): text += connection.recv(4096)
    connection.sendmsg([b"HTT", b"", b"P/1.1 4", b"04 No such thing\\r\\n", b"Content-Length: 300\\r\\n\\r\\n"] + [b"x"] * 300)
    connection.close()
thread = threading.Thread(target=serve)
thread.start()
client = socket.create_connection(server.getsockname())
client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
for piece in [b"GET /pie", b"ces HT"]: client.sendall(piece)
client.sendmsg([b"", b"TP/1.1", b"\\r\\nHost: x\\r\\n\\r\\n"])
while client.recv(1): pass
thread.join()
print("port", server.getsockname()[1])
`;

export const vectors = ["a", "b", "c", "d"].map((letter) => letter.repeat(3_001));

/** All of `vectors` in one call. Prints the server's port. */
export const vectorsScript = `
import socket
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
connection, _ = server.accept()
pieces = [letter * 3001 for letter in (b"a", b"b", b"c", b"d")]
assert client.sendmsg(pieces) == 12004
left = 12004
while left: left -= len(connection.recv(left))
print(server.getsockname()[1])
`;

export const unixScript = (path: string) => `
import os, socket
one, other = socket.socketpair()
one.send(b"between us")
other.recv(20)
client = socket.socket(socket.AF_UNIX)
client.connect(${JSON.stringify(path)})
client.sendall(b"*1\\r\\n$4\\r\\nPING\\r\\n")
client.recv(100)
client.close()
print(os.getpid())
`;

/** One socket that is connected, one that is not, two messages by one sendmmsg, and a datagram to a port that is not 53. */
export const datagramScript = (host: string) => `
import ctypes, socket
server = (${JSON.stringify(host)}, 53)
connected = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
connected.connect(server)
connected.send(b"q-one")
connected.recv(100)
free = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
free.sendto(b"q-two", server)
free.recvfrom(100)
class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_char_p), ("length", ctypes.c_size_t)]
class Message(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32), ("vectors", ctypes.POINTER(Vector)), ("count", ctypes.c_size_t),
        ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t), ("flags", ctypes.c_int), ("gap", ctypes.c_int), ("sent", ctypes.c_uint32)]
vectors = [Vector(b"m-one", 5), Vector(b"m-two", 5)]
messages = (Message * 2)(*[Message(None, 0, ctypes.pointer(vector), 1, None, 0, 0, 0, 0) for vector in vectors])
libc = ctypes.CDLL(None, use_errno=True)
assert ctypes.sizeof(Message) == 64
assert libc.sendmmsg(connected.fileno(), messages, 2, 0) == 2
connected.recv(100)
connected.recv(100)
plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
plain.bind(("127.0.0.1", 0))
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"no question", plain.getsockname())
plain.recv(100)
`;

/** A client that asks twice, gives up the second time after 200 ms and closes; the server answers that 400 ms after it was asked. */
export const givenUpScript = `
import socket, threading, time
server = socket.create_server(("127.0.0.1", 0))
def serve():
    connection, _ = server.accept()
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 204 X\\r\\n\\r\\n")
    connection.recv(4096)
    time.sleep(0.4)
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
    connection.close()
thread = threading.Thread(target=serve)
thread.start()
client = socket.create_connection(server.getsockname())
client.sendall(b"GET /quick HTTP/1.1\\r\\n\\r\\n")
client.recv(4096)
client.sendall(b"GET /slow HTTP/1.1\\r\\n\\r\\n")
client.settimeout(0.2)
try: client.recv(4096)
except TimeoutError: pass
client.close()
thread.join()
print(server.getsockname()[1])
`;

/** Prints its port, then a line once it was asked, and answers never. */
export const hangingScript = `
import socket, time
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
connection, _ = server.accept()
connection.recv(4096)
print("asked", flush=True)
time.sleep(60)
`;

/** The server answers a part of what it is sent and closes over the rest, which resets; the client reads the answer after that. */
export const readAfterResetScript = `
import socket, time
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
connection, _ = server.accept()
client.sendall(b"GET /late HTTP/1.1\\r\\n\\r\\n")
time.sleep(0.05)
connection.recv(10)
connection.sendall(b"HTTP/1.1 413 Large\\r\\n\\r\\n")
connection.close()
time.sleep(0.05)
assert client.recv(4096).startswith(b"HTTP/1.1 413")
client.close()
print(server.getsockname()[1])
`;

/** The whole answer is a file. */
export const sentFileScript = (folder: string) => `
import os, socket
path = ${JSON.stringify(join(folder, "answer"))}
with open(path, "wb") as file: file.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
connection, _ = server.accept()
client.sendall(b"GET /file HTTP/1.1\\r\\n\\r\\n")
connection.recv(4096)
with open(path, "rb") as file: os.sendfile(connection.fileno(), file.fileno(), 0, 40)
client.recv(4096)
client.close()
connection.recv(1)
connection.close()
print(server.getsockname()[1])
`;

export const sendfileScript = (folder: string) => `
import os, socket, threading
path = ${JSON.stringify(join(folder, "body"))}
with open(path, "wb") as file: file.write(b"HTTP/1.1 " * 3072)
server = socket.create_server(("127.0.0.1", 0))
def serve():
    connection, _ = server.accept()
    with open(path, "rb") as file:
        while True:
            connection.recv(10, socket.MSG_PEEK)
            if not connection.recv(4096): return
            connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 27648\\r\\n\\r\\n")
            os.sendfile(connection.fileno(), file.fileno(), 0, 27648)
thread = threading.Thread(target=serve)
thread.start()
client = socket.create_connection(server.getsockname())
for _ in range(3):
    client.sendall(b"GET /file HTTP/1.1\\r\\n\\r\\n")
    left = 27648 + 42
    while left: left -= len(client.recv(min(left, 8191)))
client.close()
thread.join()
print(server.getsockname()[1])
`;
