"""The seccomp profile names what may be called; what could open a wall is not among it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from supervisor.sandbox import seccomp

PROFILE: dict[str, Any] = json.loads(seccomp.profile())
ALLOWED = {name for rule in PROFILE["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}
#: Allowed only with arguments that were judged.
JUDGED = {"clone", "personality", "mknod", "mknodat", "socket", "socketpair"}


def test_all_that_is_not_named_fails_with_eperm() -> None:
    assert (PROFILE["defaultAction"], PROFILE["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 1)


def test_only_the_two_processors_and_none_of_their_older_modes() -> None:
    assert PROFILE["archMap"] == [
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []},
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": []},
    ]


@pytest.mark.parametrize(
    "names",
    [
        "mount umount umount2 pivot_root chroot fsopen fsconfig fsmount fspick move_mount open_tree mount_setattr",
        "unshare setns",
        "ptrace process_vm_readv process_vm_writev process_madvise process_mrelease kcmp pidfd_getfd",
        "keyctl add_key request_key",
        "bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register",
        "kexec_load kexec_file_load init_module finit_module delete_module create_module",
        "reboot swapon swapoff acct quotactl quotactl_fd syslog sethostname setdomainname vhangup",
        "settimeofday stime clock_settime clock_adjtime adjtimex",
        "open_by_handle_at name_to_handle_at fanotify_init fanotify_mark lookup_dcookie memfd_secret",
        "iopl ioperm modify_ldt vm86 vm86old uselib ustat sysfs _sysctl nfsservctl remap_file_pages",
        "mbind set_mempolicy get_mempolicy move_pages migrate_pages vmsplice socketcall ipc",
    ],
)
def test_what_opens_walls_or_is_seldom_needed_is_not_allowed(names: str) -> None:
    assert not ALLOWED & set(names.split())


def test_calls_with_a_dangerous_side_are_allowed_by_their_arguments_only() -> None:
    for rule in PROFILE["syscalls"]:
        if JUDGED & set(rule["names"]):
            assert rule.get("args"), rule
    assert JUDGED <= ALLOWED


def test_a_call_whose_flags_cannot_be_judged_is_as_if_the_kernel_had_none() -> None:
    rule = next(rule for rule in PROFILE["syscalls"] if "clone3" in rule["names"])
    assert (rule["action"], rule["errnoRet"]) == ("SCMP_ACT_ERRNO", 38)


def test_no_argument_is_compared_twice_in_one_rule() -> None:
    """runc reads such a rule as "one of them", which would allow everything."""
    for rule in PROFILE["syscalls"]:
        compared = [argument["index"] for argument in rule.get("args", ())]
        assert len(compared) == len(set(compared)), rule
