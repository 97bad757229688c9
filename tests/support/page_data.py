"""The data in a page of a report, read from its file."""

import json
import re

HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>{{7*7}}\"&amp;\u2028"
"""Text that would run or change the page if it were not escaped."""


def data(folder, name="report.html"):
    """Return the data that the page called ``name`` in ``folder`` was made of."""
    page = (folder / name).read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])
