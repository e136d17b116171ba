"""A peer of its own making: datagrams by Python's socket module, as a client that checks echoes, or as an echo server."""
import socket
import sys

LENGTHS = [0, 1, 100, 1200, 1472, 1473, 9000, 65507]


def payload(length):
    return bytes((31 * index + length) % 256 for index in range(length))


def client(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as near:
        near.settimeout(10)
        near.connect((host, port))
        for length in LENGTHS:
            near.send(payload(length))
            answer = near.recv(65535)
            assert answer == payload(length), (length, len(answer))
    print("ok", len(LENGTHS))


def server():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.settimeout(10)
        far.bind(("127.0.0.1", 0))
        print(far.getsockname()[1], flush=True)
        for _ in LENGTHS:
            text, peer = far.recvfrom(65535)
            far.sendto(text, peer)


if sys.argv[1] == "client":
    client(sys.argv[2], int(sys.argv[3]))
else:
    server()
