# SPDX-License-Identifier: GPL-2.0-only
"""Reading what may be gone by then. For all suites."""


def read_text(path):
    """Nothing where there is no file, or no longer: of a process in /proc that is gone before it is read."""
    try:
        with open(path, errors='replace') as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return ''
