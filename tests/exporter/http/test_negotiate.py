"""Which representation clients get: those that exist, those that are odd, and those that are wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perwatt_exporter.http.negotiate import (
    OFFERS,
    OPENMETRICS,
    OPENMETRICS_DRAFT,
    TEXT,
    Encoding,
    Offer,
    choose_encoding,
    choose_offer,
)

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROTOBUF_FIRST = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,"
    f"{PROMETHEUS_3}"
)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


class TestChooseOffer:
    @pytest.mark.parametrize(
        ("expected", "accept"),
        [
            pytest.param(TEXT, "", id="says nothing"),
            pytest.param(TEXT, "*/*", id="curl"),
            pytest.param(TEXT, BROWSER, id="browser"),
            pytest.param(OPENMETRICS, PROMETHEUS_2, id="Prometheus 2"),
            pytest.param(OPENMETRICS, PROMETHEUS_3, id="Prometheus 3"),
            pytest.param(OPENMETRICS, PROTOBUF_FIRST, id="Prometheus with native histograms"),
            pytest.param(TEXT, "text/plain;version=0.0.4;q=1,*/*;q=0.1", id="VictoriaMetrics"),
            pytest.param(OPENMETRICS, "application/openmetrics-text", id="no version"),
            pytest.param(OPENMETRICS, "application/openmetrics-text; version=1.0.0", id="a space"),
            pytest.param(OPENMETRICS, 'Application/OpenMetrics-Text; Version="1.0.0"', id="case and quotes"),
            pytest.param(OPENMETRICS_DRAFT, "application/openmetrics-text;version=0.0.1", id="the draft"),
            pytest.param(TEXT, "application/openmetrics-text;version=2.0.0", id="a version from the future"),
            pytest.param(TEXT, "text/plain;version=1.0.0", id="a text version that is not offered"),
            pytest.param(TEXT, "application/json", id="unknown"),
            pytest.param(TEXT, "application/openmetrics-text;q=0.4,text/plain;q=0.5", id="quality"),
            pytest.param(OPENMETRICS, "text/plain;q=0.4,application/openmetrics-text;q=0.5", id="quality 2"),
            pytest.param(OPENMETRICS, "application/openmetrics-text,text/plain", id="first among equals"),
            pytest.param(TEXT, "text/plain,application/openmetrics-text", id="first among equals 2"),
            pytest.param(OPENMETRICS, "text/plain;q=0,*/*", id="refuses text"),
            pytest.param(TEXT, "application/openmetrics-text;q=0,*/*;q=0.1", id="refuses OpenMetrics"),
            pytest.param(TEXT, "application/openmetrics-text;q=0.1,*/*", id="closest range counts"),
            pytest.param(OPENMETRICS, "application/*", id="any application"),
            pytest.param(TEXT, "text/*;q=0.5", id="any text"),
            pytest.param(TEXT, "*/*;q=0", id="refuses all"),
            pytest.param(TEXT, "application/openmetrics-text;q=high", id="quality that is no number"),
            pytest.param(TEXT, "application/openmetrics-text;q=nan", id="quality that is not a number"),
            pytest.param(TEXT, "application/openmetrics-text;q=2", id="quality out of range"),
            pytest.param(TEXT, ",;=,;;q,=;", id="rubbish"),
        ],
    )
    def test_known(self, expected: Offer, accept: str) -> None:
        """The client gets what it likes best, by quality and closeness, and text when in doubt."""
        assert expected == choose_offer(accept)

    @given(st.text())
    def test_anything(self, accept: str) -> None:
        """Whatever the header, there is an answer."""
        assert choose_offer(accept) in OFFERS

    @pytest.mark.parametrize(
        ("expected", "offer"),
        [
            ("text/plain; version=0.0.4; charset=utf-8", TEXT),
            ("application/openmetrics-text; version=1.0.0; charset=utf-8", OPENMETRICS),
            ("application/openmetrics-text; version=0.0.1; charset=utf-8", OPENMETRICS_DRAFT),
        ],
    )
    def test_content_type(self, expected: str, offer: Offer) -> None:
        """The answer names its format in the words that Prometheus knows."""
        assert expected == offer.content_type


class TestChooseEncoding:
    @pytest.mark.parametrize(
        ("expected", "accept_encoding"),
        [
            ("identity", ""),
            ("gzip", "gzip"),
            ("gzip", "GZIP"),
            ("gzip", "deflate, gzip;q=1.0, br"),
            ("gzip", "*"),
            ("gzip", "gzip;q=0.1"),
            ("identity", "gzip;q=0"),
            ("identity", "gzip;q=0, *"),
            ("identity", "*;q=0"),
            ("identity", "identity"),
            ("identity", "identity, gzip;q=0.5"),
            ("gzip", "identity;q=0.5, gzip"),
            ("identity", "deflate, br, zstd"),
            ("identity", "gzip;q=rubbish"),
        ],
    )
    def test_known(self, expected: Encoding, accept_encoding: str) -> None:
        """A page is packed where the client takes it and does not like it better unpacked."""
        assert expected == choose_encoding(accept_encoding)

    @given(st.text())
    def test_anything(self, accept_encoding: str) -> None:
        """Whatever the header, there is an answer."""
        assert choose_encoding(accept_encoding) in ("gzip", "identity")
