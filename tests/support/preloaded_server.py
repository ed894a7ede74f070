"""Load stagebake once, then fork a process for each request on the Unix socket that is the one argument.

A request is a JSON list (arguments, folder, environment) with two file descriptors, stdout and stderr; the answer is
the exit code. What runs is a process like any other: it starts in its folder, and Python ends it.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
from pathlib import Path

import hcl2.parser
import python_on_whales  # noqa: F401 (stagebake loads it when it asks the engine something)

from stagebake.__main__ import load_verbs, main

_LONGEST_REQUEST = 1 << 17


def serve(address: Path) -> socket.socket:
    """Accept requests for ever; return each one's connection, in a new process."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nothing waits for these processes
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.bind(str(address))
        server.listen()
        while True:
            connection, _ = server.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                return connection
            connection.close()


def answer(connection: socket.socket) -> int:
    """Run what is asked for in one more process, and send its exit code."""
    request, outputs, _, _ = socket.recv_fds(connection, _LONGEST_REQUEST, 2)
    process = os.fork()
    if process == 0:
        connection.close()
        arguments, folder, environment = json.loads(request)
        return run(arguments, folder, environment, outputs)
    _, status = os.waitpid(process, 0)
    connection.send(str(os.waitstatus_to_exitcode(status)).encode())
    return 0


def run(arguments: list[str], folder: str, environment: dict[str, str], outputs: list[int]) -> int:
    """Become the process that a user would start."""
    for number, output in enumerate(outputs, start=1):
        os.dup2(output, number)
        os.close(output)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = arguments
    return main(arguments)


if __name__ == "__main__":
    hcl2.parser.parser()
    load_verbs()
    gc.freeze()  # or each run looks through all that is loaded when it ends
    sys.exit(answer(serve(Path(sys.argv[1]))))
