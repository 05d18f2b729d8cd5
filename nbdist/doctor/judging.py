"""What was found on the way to a hub means this, and this is the next step. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from nbdist.doctor.findings import Invite, Line, Network, Reached, Software, State

CLOCK_SECONDS = 60.0
"""By so much two clocks may differ without a word."""
SOON_OVER_SECONDS = 600.0
MAX_REASON_CHARACTERS = 300
NEW_INVITE = (
    "ask for a new invite (%distribute invite in the notebook, nbdist invite on the hub's machine) and try that one"
)
NO_NETWORK = "connect this machine to the network of the hub's machine (Wi-Fi, cable or hotspot) and run this again"


def judge_hub(found: Sequence[Reached], software: Software) -> list[Line]:
    """The lines of all addresses of one hub, and then of the hub itself, if one of them led to it."""
    best = next((one for one in found if one.trouble is None), None)
    hub = best or next((one for one in found if one.trouble in ("access", "host", "old")), None)
    lines = [line for one in found for line in _way(one, is_only=len(found) == 1, is_needed=hub is None)]
    if hub is None:
        return lines
    if hub.trouble == "access":
        lines.append(Line("FAIL", "credential", _sentence(hub.error), _access_todo(hub.error)))
    elif hub.trouble == "host":
        todo = "use the address that the hub printed; through a tunnel or port forwarding, dial 127.0.0.1"
        lines.append(Line("FAIL", "hub", _sentence(hub.error), todo))
    elif hub.trouble == "old":
        text = f"the hub is of another nbdist than this one ({software.nbdist}) and cannot be asked about the invite"
        lines.append(Line("warn", "version", text, "install the same nbdist on both machines"))
    elif hub.invite is not None:
        lines += _joining(hub.invite, software)
    if hub.clock_ahead_seconds is not None:
        lines.append(_clock(hub.clock_ahead_seconds, hub.invite))
    return lines


# --- the way there ----------------------------------------------------------------------------------------------------


def _way(one: Reached, *, is_only: bool, is_needed: bool) -> list[Line]:
    """One address: name, port and certificate."""
    if one.trouble is not None and one.network.where == "loopback" and not is_only:
        text = f"{one.netloc} leads nowhere from here: that address means the hub only on the hub's own machine"
        return [Line("ok", "port", text)]
    bad: State = "FAIL" if is_needed else "warn"
    if one.trouble == "name":
        text = f"no computer is found under the name {one.host} ({one.error})"
        todo = "use the hub's numeric address, or join the network in which that name is known"
        return [Line(bad, "name", text, todo)]
    lines = []
    if one.resolved and one.resolved != (one.host,):
        lines.append(Line("ok", "name", f"{one.host} is {', '.join(one.resolved[:3])}"))
    if one.trouble in ("refused", "timeout", "unreachable"):
        text, todo = _no_answer(one)
        if not is_needed:
            text += "; another address of the hub works, joining only takes longer"
        return [*lines, Line(bad, "port", text, todo if is_needed else "")]
    lines.append(Line("ok", "port", f"{one.netloc} answers after {one.seconds * 1000:.0f} ms"))
    if one.tls:
        lines.append(_certificate(one, bad))
    if one.trouble == "broken" and not one.tls:
        lines.append(Line(bad, "hub", *_broken(one)))
    elif one.trouble == "no hub":
        text = f"something else than a hub of nbdist answers at {one.netloc} ({one.error})"
        lines.append(Line(bad, "hub", text, _stranger_todo(one)))
    elif one.trouble in (None, "access", "host", "old"):
        lines.append(Line("ok", "hub", f"a hub of nbdist answers at {one.netloc}"))
    return lines


def _no_answer(one: Reached) -> tuple[str, str]:
    """Why a port does not answer, and what to do."""
    network = one.network
    if one.trouble == "refused":
        is_here = network.where in ("loopback", "own")
        who = "this machine" if is_here else f"the computer at {one.host}"
        text = f"{who} answers, and nothing listens at port {one.port}"
        if network.where == "loopback":
            return (
                f"{text}: the hub has ended or has another port now ({one.host} means the hub on its own machine only)",
                "start the hub again, or open the notebook's pool; " + NEW_INVITE,
            )
        return (
            f"{text}: the hub has ended, or its door was closed (%distribute invite --close)",
            f"start the hub again with the same state, or open the door with %distribute invite; then {NEW_INVITE}",
        )
    if network.where == "far" and not network.own:
        return f"{one.netloc} cannot be reached: this machine is in no network at all", NO_NETWORK
    if network.where == "far":
        own = ", ".join(network.own[:4])
        return (
            f"{one.netloc} does not answer, and it is in none of this machine's networks ({own}): they are probably "
            "in different networks",
            "join the same Wi-Fi or cable as the hub's machine; behind a VPN or router, see that it lets "
            f"TCP port {one.port} through",
        )
    if network.where == "near" and network.host == "absent":
        return _absent(one, network)
    firewall = (
        f"open TCP port {one.port} in the firewall of the hub's machine (Linux: sudo ufw allow {one.port}/tcp; "
        "Windows: let Python through for private networks; macOS: allow incoming connections for Python)"
    )
    if network.where == "near" and network.host == "was":
        return (
            f"the computer at {one.host} was on this network a short while ago, and nothing comes back from port "
            f"{one.port}: a firewall drops it, or that computer has just left or gone to sleep",
            f"see whether the hub's machine is awake and online; if it is, {firewall}",
        )
    if network.where == "near":
        return (
            f"the computer at {one.host} is there (it answers on this network), but what is sent to port {one.port} "
            "is dropped: a firewall",
            firewall,
        )
    return f"nothing comes back from {one.netloc}: a firewall drops it, or the hub is too busy to answer", firewall


def _absent(one: Reached, network: Network) -> tuple[str, str]:
    """It should be on this cable or Wi-Fi, and does not answer even there."""
    if network.gateway_is_there or network.others:
        who = f"the router {network.gateway}" if network.gateway_is_there else f"{network.others} other computers"
        return (
            f"nobody answers at {one.host}, though {who} of the same network can be heard: the hub's machine is off, "
            "asleep or has another address now, or this Wi-Fi keeps its clients apart (guest networks often do)",
            "see at the hub's machine whether it is awake and still has this address; if so, use another Wi-Fi, a "
            "cable or a phone's hotspot for both",
        )
    return (
        f"nobody answers at {one.host}, nor does any other computer of this network: this machine's own connection "
        "is down, or its Wi-Fi keeps clients apart",
        NO_NETWORK,
    )


def _certificate(one: Reached, bad: State) -> Line:
    if one.trouble == "stranger":
        return Line(bad, "certificate", _sentence(one.error), _stranger_todo(one))
    if one.trouble == "no TLS":
        text = f"what answers at {one.netloc} does not speak TLS, so it is not the hub's door on the LAN ({one.error})"
        return Line(bad, "certificate", text, _stranger_todo(one))
    if one.trouble == "broken":
        return Line(bad, "certificate", *_broken(one))
    return Line("ok", "certificate", "it is the one that the invite names, so it is that hub and nobody in between")


def _broken(one: Reached) -> tuple[str, str]:
    return (
        f"the port of {one.netloc} answers, and then the connection breaks off ({one.error})",
        "see whether the hub still lives (nbdist status on its machine), and whether a proxy, virus scanner or VPN "
        "stands in between",
    )


def _stranger_todo(one: Reached) -> str:
    if one.network.where in ("loopback", "own"):
        return f"another program has port {one.port} now: {NEW_INVITE}"
    return f"check with the hub's machine that {one.host} is still its address; then {NEW_INVITE}"


# --- the hub ----------------------------------------------------------------------------------------------------------


def _joining(invite: Invite, software: Software) -> list[Line]:
    return [_credential(invite), _version(invite, software), *_python(invite, software)]


def _credential(invite: Invite) -> Line:
    if invite.role != "worker":
        text = f"the credential is a {invite.role}'s, and a worker needs a worker's invite"
        todo = "nbdist invite or %distribute invite prints one; the hub's 'invite' line holds one too"
        return Line("FAIL", "credential", text, todo)
    if not invite.is_invite:
        return Line("ok", "credential", "it is good, and one worker's own already")
    if not invite.valid_seconds:
        return Line("ok", "credential", "the invite is good, without an end")
    text = f"the invite is good for {span(invite.valid_seconds)} more"
    if invite.valid_seconds < SOON_OVER_SECONDS:
        return Line("warn", "credential", text, "join now, or ask for a new one")
    return Line("ok", "credential", text)


def _access_todo(reason: str) -> str:
    if "no credential" in reason:
        return "copy the whole line that the hub printed, with what stands behind '#'"
    return NEW_INVITE


def _version(invite: Invite, software: Software) -> Line:
    lowest, highest = max(invite.protocol[0], software.protocol[0]), min(invite.protocol[1], software.protocol[1])
    if invite.nbdist == software.nbdist and lowest <= highest:
        return Line("ok", "version", f"nbdist {software.nbdist} on both sides, protocol {highest}")
    text = f"the hub runs nbdist {invite.nbdist}, this machine runs {software.nbdist}"
    if lowest > highest:
        text += (
            f" (protocols {invite.protocol[0]}-{invite.protocol[1]} and {software.protocol[0]}-{software.protocol[1]})"
        )
    if software.is_one_file:
        return Line("FAIL", "version", text, "fetch worker.pyz from the hub again: the line that it printed does")
    return Line("FAIL", "version", text, f"{software.executable} -m pip install nbdist=={invite.nbdist}")


def _python(invite: Invite, software: Software) -> list[Line]:
    """To a machine with another minor version than the notebook's, code goes as source: not all of it can."""
    if not invite.pythons:
        return [Line("ok", "python", f"{software.kind}; no notebook is connected to compare it with")]
    shown = " and ".join(invite.pythons[:4])
    if software.kind in invite.pythons:
        return [Line("ok", "python", f"{software.kind}, as in the notebooks of the hub ({shown})")]
    version = invite.pythons[0].rpartition(" ")[2]
    text = f"the notebooks of the hub run {shown}, this is {software.kind}: it runs what can go there as source"
    todo = f"for all of their jobs, start the worker with {invite.pythons[0]} (python{version} …)"
    return [Line("warn", "python", text, todo)]


def _clock(ahead_seconds: float, invite: Invite | None) -> Line:
    if abs(ahead_seconds) <= CLOCK_SECONDS:
        return Line("ok", "clock", "it agrees with the hub's")
    how = f"{span(abs(ahead_seconds))} {'ahead of' if ahead_seconds > 0 else 'behind'} the hub's"
    if invite is not None and not invite.valid_seconds:
        return Line("ok", "clock", f"it is {how}, which matters to nothing here: the invite has no end")
    return Line("warn", "clock", f"it is {how}; how long an invite is good is counted by the hub's clock alone")


def span(seconds: float) -> str:
    """A time for people: `3 h`, `12 min`."""
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _sentence(text: str) -> str:
    """Text that came from elsewhere, in one bounded line that moves no cursor."""
    flat = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(flat.split())[:MAX_REASON_CHARACTERS]
