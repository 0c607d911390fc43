"""The systemd unit of an appliance. Pure."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_STATE = Path("/var/lib")


@dataclass(frozen=True)
class Unit:
    """What a unit is made of: its command, the folders that it writes, the account it runs as if
    systemd makes none, where the program stands, and the lowest port it binds."""

    name: str
    argv: Sequence[str]
    data: Path
    caches: tuple[Path, ...]
    user: str
    program: Path
    port: int

    @property
    def dynamic(self) -> bool:
        """systemd makes an account of its own: where all that is written is one folder in /var/lib,
        which it then gives to that account."""
        return self.data.parent == _STATE and all(p.is_relative_to(self.data) for p in self.caches)

    def text(self) -> str:
        """The unit file."""
        if self.dynamic:
            account = [
                "DynamicUser=yes",
                f"StateDirectory={self.data.name}",
                "StateDirectoryMode=0700",
            ]
        else:
            account = [f"User={self.user}", f"ReadWritePaths={_paths(self.data, *self.caches)}"]
        below_home = [
            path
            for path in (self.program, Path(self.argv[0]), self.data)
            if path.is_relative_to("/home") or path.is_relative_to("/root")
        ]
        low = self.port < 1024
        lines = [
            "[Unit]",
            f"Description=Nearcast appliance {self.name}",
            "Wants=network-online.target",
            "After=network-online.target",
            "StartLimitIntervalSec=0",
            "",
            "[Service]",
            f"ExecStart={_command(self.argv)}",
            f"WorkingDirectory={_plain(str(self.program))}",
            *account,
            "Restart=always",
            "RestartSec=2",
            # It drains for 10 s, and ends its own children.
            "TimeoutStopSec=20",
            "KillMode=mixed",
            # A connection each, and a cached file each.
            "LimitNOFILE=262144",
            "UMask=0077",
            "NoNewPrivileges=yes",
            "ProtectSystem=strict",
            f"ProtectHome={'read-only' if below_home else 'yes'}",
            "PrivateTmp=yes",
            "PrivateDevices=yes",
            "ProtectClock=yes",
            "ProtectControlGroups=yes",
            "ProtectHostname=yes",
            "ProtectKernelLogs=yes",
            "ProtectKernelModules=yes",
            "ProtectKernelTunables=yes",
            "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
            "RestrictNamespaces=yes",
            "RestrictRealtime=yes",
            "RestrictSUIDSGID=yes",
            "LockPersonality=yes",
            "SystemCallArchitectures=native",
            "SystemCallFilter=@system-service",
            f"CapabilityBoundingSet={'CAP_NET_BIND_SERVICE' if low else ''}",
            *(["AmbientCapabilities=CAP_NET_BIND_SERVICE"] if low else []),
            "",
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        ]
        return "\n".join(lines)

    def first(self) -> list[str]:
        """What root has to do before it starts, in commands."""
        if self.dynamic:
            return []
        paths = shlex.join(str(path) for path in (self.data, *self.caches))
        return [
            f"id {self.user} || useradd --system --no-create-home {self.user}",
            f"mkdir -p {paths} && chown -R {self.user}: {paths}",
        ]


def _command(argv: Sequence[str]) -> str:
    return " ".join(_quoted(word.replace("$", "$$")) for word in argv)


def _paths(*paths: Path) -> str:
    return " ".join(_quoted(str(path)) for path in paths)


def _quoted(word: str) -> str:
    """A word, in quotes where systemd would split it."""
    plain = _plain(word.replace("\\", "\\\\").replace('"', '\\"'))
    return f'"{plain}"' if set(plain) & set(" '\"\\;") else plain


def _plain(text: str) -> str:
    """% begins a specifier."""
    return text.replace("%", "%%")
