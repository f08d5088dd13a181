"""Packed text: the browser gets the same bytes, and equal text gives an equal page."""

import base64
import gzip
import hashlib
import re

from plotly.offline import get_plotlyjs

from dal.reports.offline.packed import content_policy, packed, packed_plotly


def unpacked(element):
    return gzip.decompress(base64.b64decode(re.search(r">([^<]*)<", element)[1])).decode()


def test_plotly_is_whole_and_has_less_than_half_of_its_size():
    element = packed_plotly()
    assert unpacked(element) == get_plotlyjs() and len(element) < len(get_plotlyjs()) / 2


def test_equal_text_gives_equal_bytes_without_a_date():
    element = packed("data", "</script>\udce9")
    assert element == packed("data", "</script>\udce9") and unpacked(element) == "</script>\\udce9"
    assert base64.b64decode(element.split(">")[1].split("<")[0])[4:8] == bytes(4)


def test_the_policy_allows_the_given_scripts_and_plotly_alone():
    policy = content_policy(["start()"])
    allowed = re.findall("'sha256-([^']*)'", policy)
    assert allowed == [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in ("start()", get_plotlyjs())
    ]
    assert "default-src 'none'" in policy and "unsafe-eval" not in policy
    assert "unsafe-inline" not in re.search("script-src [^;]*", policy)[0]
