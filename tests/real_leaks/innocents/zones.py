"""Times of many zones."""

import datetime
import itertools
import zoneinfo

ZONES = itertools.cycle(["Europe/Rome", "Asia/Seoul", "America/Lima", "Africa/Lagos", "UTC"])


def work():
    noon = datetime.datetime(2025, 3, 1, 12, tzinfo=zoneinfo.ZoneInfo(next(ZONES)))
    noon.astimezone(datetime.timezone.utc).isoformat()
