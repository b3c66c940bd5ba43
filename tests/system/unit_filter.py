# SPDX-License-Identifier: AGPL-3.0-or-later
"""Runs a command as the unit would: `python unit_filter.py UNIT [--without NAME…] -- COMMAND…`.

No service manager runs where tests do. So this builds what systemd would build from the unit's own lines: its filter of
system calls (sets as `systemd-analyze syscall-filter` has them) and of address families, through libseccomp, without
new privileges. Standard library alone: nothing of ours has been loaded when the filter begins to hold.
"""

from __future__ import annotations

import ctypes
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

ALLOW, ERRNO = 0x7FFF0000, 0x00050000  # seccomp.h
EQUAL = 4  # SCMP_CMP_EQ
EPERM, EAFNOSUPPORT = 1, 97
MOST_FAMILIES = 64
PR_SET_NO_NEW_PRIVS = 38


class _Compare(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def library() -> ctypes.CDLL:
    """libseccomp, which systemd itself uses; OSError where it is not installed."""
    seccomp = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    seccomp.seccomp_init.argtypes = [ctypes.c_uint32]
    seccomp.seccomp_load.argtypes = [ctypes.c_void_p]
    seccomp.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Compare)
    ]  # fmt: skip
    return seccomp


def values(unit: Path, key: str) -> list[str]:
    """What the unit says for a key, line by line."""
    return re.findall(rf"^{key}=(.*)$", unit.read_text(), re.MULTILINE)


def members(name: str) -> set[str]:
    """A system call, or all those of an @set."""
    if not name.startswith("@"):
        return {name}
    answer = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True)
    lines = [line.strip() for line in answer.stdout.splitlines()[1:]]
    return {each for line in lines if line and line[0] != "#" for each in members(line)}


def allowed(unit: Path) -> set[str]:
    """The system calls that the unit's lines leave, in their order (systemd.exec(5)); @default is always in."""
    found = members("@default")
    for line in values(unit, "SystemCallFilter"):
        names = {each for name in line.removeprefix("~").split() for each in members(name)}
        found = found - names if line.startswith("~") else found | names
    return found


def restrict(unit: Path, without: set[str]) -> None:
    """From now on this process and its children may no more than the unit allows, and not `without`."""
    seccomp, names = library(), allowed(unit) - without  # before the filter: this starts processes
    if ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError("no_new_privs was refused")
    _load(seccomp, ALLOW, [("socket", ERRNO | EAFNOSUPPORT, family) for family in _refused_families(unit)])
    _load(seccomp, ERRNO | EPERM, [(name, ALLOW, None) for name in sorted(names)])


def _refused_families(unit: Path) -> set[int]:
    named = {int(getattr(socket, name)) for line in values(unit, "RestrictAddressFamilies") for name in line.split()}
    return set(range(MOST_FAMILIES)) - named


def _load(seccomp: ctypes.CDLL, default: int, rules: list[tuple[str, int, int | None]]) -> None:
    context = seccomp.seccomp_init(default)
    for name, action, argument in rules:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number < 0:  # of another architecture
            continue
        compare = (_Compare * 1)(_Compare(0, EQUAL, argument or 0, 0))
        if code := seccomp.seccomp_rule_add_array(context, action, number, int(argument is not None), compare):
            raise OSError(-code, f"seccomp rule for {name}")
    if code := seccomp.seccomp_load(context):
        raise OSError(-code, "the filter was refused")


def prefix(unit: Path, *without: str) -> list[str]:
    """What to put before a command: as root another user without capabilities, and the unit's filter."""
    here = Path(__file__).resolve()
    options = [option for name in without for option in ("--without", name)]
    filtered = [sys.executable, str(here), str(unit), *options, "--"]
    if os.getuid() != 0:
        return filtered
    lowered = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
    return [*lowered, f"--reuid={uid()}", "--clear-groups", *filtered]


def uid() -> int:
    """The user that it runs as: nobody, where the checkout is not hidden below a home folder; else ourselves."""
    hidden = any(not each.stat().st_mode & 0o001 for each in Path(sys.executable).resolve().parents)
    hidden = hidden or any(not each.stat().st_mode & 0o001 for each in Path(__file__).resolve().parents)
    return os.getuid() if hidden or os.getuid() != 0 else 65534


if __name__ == "__main__":
    split = sys.argv.index("--")
    restrict(Path(sys.argv[1]), set(sys.argv[3:split:2]))
    os.execvp(sys.argv[split + 1], sys.argv[split + 1 :])
