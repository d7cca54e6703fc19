"""Run inside a container: makes each named system call with harmless arguments and prints the error numbers as JSON.

Calls are made by number, since the C library has no function for many of them; -1 where the processor has none.
"""

from __future__ import annotations

import ctypes
import json
import platform
import socket
import sys

#: Name: number on x86_64, number on aarch64.
NUMBERS = {
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "unshare": (272, 97),
    "setns": (308, 268), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "open_tree": (428, 428), "move_mount": (429, 429), "mount_setattr": (442, 442),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "process_madvise": (440, 440),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89),
    "quotactl": (179, 60), "syslog": (103, 116), "sethostname": (170, 161), "setdomainname": (171, 162),
    "vhangup": (153, 58), "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171),
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264), "fanotify_init": (300, 262),
    "iopl": (172, -1), "ioperm": (173, -1), "modify_ldt": (154, -1),
    "mbind": (237, 235), "move_pages": (279, 239), "migrate_pages": (256, 238), "vmsplice": (278, 75),
}  # fmt: skip
CLONE, CLONE3, PERSONALITY, MKNODAT = (56, 220), (435, 435), (135, 92), (259, 33)
COLUMN = {"x86_64": 0, "aarch64": 1}[platform.machine()]
NAMESPACES = {
    "mount": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000,
    "user": 0x10000000, "pid": 0x20000000, "net": 0x40000000,
}  # fmt: skip
SOCKETS = {
    "packet": (17, 3, 0), "raw": (2, 3, 1), "raw6": (10, 3, 58), "vsock": (40, 1, 0), "alg": (38, 5, 0),
    "bluetooth": (31, 3, 1), "netfilter": (16, 3, 12), "audit": (16, 3, 9), "sctp": (2, 1, 132), "can": (29, 3, 1),
    "tipc": (30, 1, 0), "xdp": (44, 3, 0),
}  # fmt: skip

libc = ctypes.CDLL(None, use_errno=True)


def call(number: int, *arguments: int) -> int:
    """The error number; 0 when the call was made."""
    ctypes.set_errno(0)
    done = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(argument) for argument in arguments))
    return ctypes.get_errno() if done == -1 else 0


def open_socket(family: int, kind: int, protocol: int) -> int:
    """The error number of socket(2)."""
    try:
        socket.socket(family, kind, protocol).close()
    except OSError as error:
        return error.errno or -1
    return 0


def main() -> None:
    """All of them."""
    found = {name: call(both[COLUMN], -1, 0, 0, 0, 0, 0) for name, both in NUMBERS.items() if both[COLUMN] >= 0}
    found |= {f"clone {name}": call(CLONE[COLUMN], flag, 0, 0, 0, 0) for name, flag in NAMESPACES.items()}
    found |= {f"socket {name}": open_socket(*words) for name, words in SOCKETS.items()}
    found["personality ADDR_NO_RANDOMIZE"] = call(PERSONALITY[COLUMN], 0x40000)
    found["mknod of a disk"] = call(MKNODAT[COLUMN], -1, 0, 0o060600, 8 << 8)
    found["clone3"] = call(CLONE3[COLUMN], 0, 0)
    json.dump(found, sys.stdout)


main()
