"""Addresses and ports of a consortium: what is said at its making is what the processes listen on."""

import socket

import pytest
import yaml

from common.errors import ConfigError, RunError
from server.__main__ import main
from server.consortium.home import ConsortiumSettings, Home
from server.service.start import _refuse_taken


def settings(tmp_path, address, *words):
    assert main(["init", "pilot", "--home", str(tmp_path / "c"), "--address", address, "--no-passphrase", *words]) == 0
    return yaml.safe_load((tmp_path / "c" / "consortium.yaml").read_text(encoding="utf-8"))


def test_an_ipv6_address_is_listened_on(tmp_path):
    told = settings(tmp_path, "[::1]:28443")
    assert (told["listen"], told["port"]) == ("::", 28443)
    assert Home(tmp_path / "c").settings.own_host == "::1"


def test_an_ipv4_address_or_a_name_is_listened_on_as_before(tmp_path):
    told = settings(tmp_path, "fl.example.org:28443")
    assert (told["listen"], told["port"], told["superlink_port"]) == ("0.0.0.0", 28443, 18000)  # noqa: S104


def test_the_inner_port_gives_way_to_the_outer_one(tmp_path):
    told = settings(tmp_path, "fl.example.org:18000")
    assert (told["port"], told["superlink_port"]) == (18000, 18001)
    with pytest.raises(ConfigError, match="port and superlink_port are both 9000"):
        ConsortiumSettings.parse({"consortium": "a", "address": "a:9000", "port": 9000, "superlink_port": 9000})


def test_the_gateway_is_looked_for_where_it_listens():
    content = {"consortium": "a", "address": "a:9000"}
    hosts = {"0.0.0.0": "127.0.0.1", "::": "::1", "192.0.2.7": "192.0.2.7"}  # noqa: S104
    for listen, expected in hosts.items():
        assert ConsortiumSettings.parse(content | {"listen": listen}).own_host == expected


def test_a_port_that_is_taken_is_named_with_its_key():
    match = r"Another can be set as superlink_port in consortium.yaml"
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(RunError, match=match):
        _refuse_taken(taken.getsockname()[1], "127.0.0.1", "superlink_port")
