#!/bin/sh
# Starts an nbdist worker on this machine: the only thing that it needs is a Python 3.11 or later.
#
#   launch.sh [--with numpy,pandas] [--python PATH] [INVITE] [options of nbdist worker]
#
# INVITE is the address that the hub or `%distribute invite` printed; better in the environment variable NBDIST_INVITE, or
# typed when it is asked for, because every user of a machine can read the arguments of its processes. `worker.pyz` is
# taken from beside this file, or fetched from the hub, whose certificate is checked against the invite. `--with` makes
# an environment with these packages in the user's cache directory. Everything may be run again: what is there is used.
set -eu

usage() {
    sed -n '2,/^set -eu/{/^#/s/^# \{0,1\}//p;}' "$0"
}

fail() {
    printf 'launch.sh: %s\n' "$1" >&2
    exit 1
}

is_suitable() {
    "$1" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# Whether a process is one that this script has started: numbers of processes are used again.
is_worker() {
    [ "$1" != "$$" ] && kill -0 "$1" 2>/dev/null || return 1
    if command -v ps >/dev/null 2>&1; then
        ps -p "$1" -o args= | grep -q '[.]pyz'
    fi
}

find_python() {
    if [ -n "${wanted_python}" ]; then
        is_suitable "${wanted_python}" || fail "${wanted_python} is no Python 3.11 or later"
        command -v "${wanted_python}"
        return
    fi
    for candidate in python3 python python3.14 python3.13 python3.12 python3.11; do
        if is_suitable "${candidate}"; then
            command -v "${candidate}"
            return
        fi
    done
    fail 'no Python 3.11 or later was found; install one, or name it with --python PATH'
}

# Prints the path of a Python that has the packages of --with.
make_environment() {
    packages=$(printf '%s' "$2" | tr ',' '\n' | sed '/^ *$/d' | LC_ALL=C sort -u)
    name=$("$1" -c 'import hashlib, sys
print("env-%d.%d-%s" % (*sys.version_info[:2], hashlib.sha256((sys.prefix + sys.argv[1]).encode()).hexdigest()[:12]))' \
        "${packages}")
    environment="${cache}/${name}"
    if [ ! -e "${environment}/ready" ]; then
        printf 'launch.sh: making an environment with %s in %s\n' "$2" "${environment}" >&2
        rm -rf "${environment}"
        "$1" -m venv "${environment}" >&2
        # shellcheck disable=SC2086 # one word for each package
        "${environment}/bin/python" -m pip install --quiet --disable-pip-version-check ${packages} >&2 \
            || fail "these packages could not be installed: $2"
        : >"${environment}/ready"
    fi
    printf '%s\n' "${environment}/bin/python"
}

# Writes the hub's worker.pyz to $2; the certificate is checked before anything is asked for.
fetch_worker() {
    "$1" - "$2" <<'PYTHON'
import hashlib, http.client, os, ssl, sys, zipfile
from urllib.parse import parse_qs, urlsplit

target = sys.argv[1]
parts = urlsplit(os.environ["NBDIST_INVITE"])
fields = {name: values[0] for name, values in parse_qs(parts.fragment).items()}
failures = []
for host in filter(None, [parts.hostname, *fields.get("also", "").split(",")]):
    if parts.scheme == "wss":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # self-signed: compared below instead
        hub = http.client.HTTPSConnection(host, parts.port, timeout=20, context=context)
    else:
        hub = http.client.HTTPConnection(host, parts.port, timeout=20)
    try:
        hub.connect()
        if parts.scheme == "wss":
            found = hashlib.sha256(hub.sock.getpeercert(True)).hexdigest()
            if found != fields.get("cert", "").lower():
                sys.exit(f"launch.sh: another computer answers at {host}: ask for a new invite")
        hub.request("GET", "/worker.pyz")
        answer = hub.getresponse()
        data = answer.read()
        if answer.status != 200:
            raise OSError(f"the hub answers {answer.status}")
        draft = f"{target}.{os.getpid()}"
        with open(draft, "wb") as file:
            file.write(data)
        if not zipfile.is_zipfile(draft):
            os.unlink(draft)
            raise OSError("what the hub sent is no worker.pyz")
        os.replace(draft, target)
        break
    except (OSError, http.client.HTTPException) as error:
        failures.append(f"{host}: {error}")
    finally:
        hub.close()
else:
    sys.exit("launch.sh: worker.pyz could not be fetched: " + "; ".join(failures))
PYTHON
}

packages=
wanted_python=${NBDIST_PYTHON:-}
while [ $# -gt 0 ]; do
    case $1 in
        --with | --python)
            [ $# -ge 2 ] || fail "$1 needs a value"
            if [ "$1" = --with ]; then packages=$2; else wanted_python=$2; fi
            shift 2
            ;;
        --with=*) packages=${1#*=}; shift ;;
        --python=*) wanted_python=${1#*=}; shift ;;
        -h | --help) usage; exit 0 ;;
        ws://* | wss://*) NBDIST_INVITE=$1; shift ;;
        *) break ;;
    esac
done
if [ -z "${NBDIST_INVITE:-}" ]; then
    [ -t 0 ] || fail 'no invite: set NBDIST_INVITE, or give the address that the hub printed'
    printf 'Invite (the line that the hub printed): ' >&2
    IFS= read -r NBDIST_INVITE
fi
case ${NBDIST_INVITE} in
    ws://* | wss://*) export NBDIST_INVITE ;;
    *) fail 'this is no invite: it begins with ws:// or wss://' ;;
esac

cache="${XDG_CACHE_HOME:-${HOME}/.cache}/nbdist"
umask 077
mkdir -p "${cache}"
hub=$(printf '%s' "${NBDIST_INVITE%%#*}" | tr -c 'A-Za-z0-9.\n' '-')

running="${cache}/running-${hub}"
if [ -s "${running}" ] && is_worker "$(cat "${running}")"; then
    printf 'launch.sh: a worker for %s runs already (process %s)\n' "${NBDIST_INVITE%%#*}" "$(cat "${running}")" >&2
    exit 0
fi

python=$(find_python)
worker=$(dirname "$0")/worker.pyz
if [ ! -f "${worker}" ]; then
    worker="${cache}/worker-${hub}.pyz"
    fetch_worker "${python}" "${worker}" || [ -f "${worker}" ] || exit 1
fi
if [ -n "${packages}" ]; then
    python=$(make_environment "${python}" "${packages}")
fi

printf '%s\n' "$$" >"${running}"
exec "${python}" "${worker}" "$@"
