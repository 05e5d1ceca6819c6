# Sourced by the commands in scripts/: finds a Python and runs the tool of the same name with it.
# PYTHON=/path/to/python chooses another one.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

usable() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
        && "$1" -c 'import venv, ensurepip' >/dev/null 2>&1
}

find_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        usable "$PYTHON" || { echo "PYTHON=$PYTHON is no Python 3.11 or newer with venv and pip." >&2; return 1; }
        echo "$PYTHON"
        return
    fi
    for candidate in python3 python3.13 python3.14 python3.12 python3.11 \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[1-9]*/bin/python; do
        if usable "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "This needs Python 3.11 or newer with venv and pip, and found none." >&2
    echo "On Debian and Ubuntu: apt install python3 python3-venv. Or name one: PYTHON=/path/to/python $0" >&2
    return 1
}

# run_tool NAME ARGUMENT...
run_tool() {
    local python tool=$1
    shift
    python=$(find_python) || exit 1
    cd "$root" && exec "$python" -m "scripts.tools.$tool" "$@"
}
