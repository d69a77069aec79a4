"""What of `calendar` is called: by `ssl` and `email`, for dates. All others make calendars."""

from __future__ import annotations

import datetime

_EPOCH = datetime.date(1970, 1, 1).toordinal()


def timegm(tuple):
    """Return the seconds since 1970 of a date and time in UTC."""
    year, month, day, hour, minute, second = tuple[:6]
    days = datetime.date(year, month, 1).toordinal() - _EPOCH + day - 1
    return ((days * 24 + hour) * 60 + minute) * 60 + second
