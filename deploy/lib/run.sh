# Sourced by the entry points beside this folder: finds a Python that every user of the machine can reach, and hands over.
# A Python from a home directory (pyenv, conda) is passed by: the web process, which is no root, could not start it.
here="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)"
for python in /usr/bin/python3 /usr/bin/python3.{14,13,12,11} /usr/local/bin/python3; do
    if [ -x "$python" ] && "$python" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        exec "$python" -I -B "$here/main.py" "$entry" "$@"
    fi
done
echo "deploy/$entry: Python 3.11 or newer is needed in /usr/bin or /usr/local/bin: install python3 (Debian 12, Ubuntu 24.04 or newer have it), then run this again." >&2
exit 1
