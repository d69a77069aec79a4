"""What of `gettext` is called: by argparse, whose words are English here in any locale."""

from __future__ import annotations


def gettext(message):
    return message


def ngettext(one, many, count):
    return one if count == 1 else many
