"""pip's and uv's settings, read as their owners read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lifecycle.runtimes import indexes
from lifecycle.runtimes.indexes import local_folder, package_settings, pip_settings


@pytest.fixture(autouse=True)
def _no_file_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(indexes, "SYSTEM_FILE", tmp_path / "none.conf")


def pip_conf(tmp_path: Path, text: str) -> dict[str, str]:
    file = tmp_path / "pip" / "pip.conf"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
        "XDG_CONFIG_DIRS": str(tmp_path / "none"),
    }


def test_pips_file_is_read_and_its_variables_win(tmp_path):
    environment = pip_conf(tmp_path, "[global]\nindex-url = https://one.example/simple\ncert = /ca.pem\n")

    settings = pip_settings({**environment, "PIP_INDEX_URL": "https://two.example/simple"})

    assert settings["index-url"] == "https://two.example/simple"
    assert settings["cert"] == "/ca.pem"


def test_the_install_section_wins_over_the_global_one(tmp_path):
    environment = pip_conf(
        tmp_path, "[install]\nproxy = http://near.example:1\n[global]\nproxy = http://far.example:1\n"
    )

    assert pip_settings(environment)["proxy"] == "http://near.example:1"


def test_pips_index_certificate_and_proxy_are_handed_to_uv(tmp_path):
    environment = pip_conf(
        tmp_path,
        "[global]\nindex-url = https://mirror.example/simple\ncert = /ca.pem\nproxy = http://proxy.example:3128\n"
        "trusted-host = mirror.example\n",
    )

    handed = package_settings(environment).environment

    assert handed == {
        "UV_INDEX_URL": "https://mirror.example/simple",
        "SSL_CERT_FILE": "/ca.pem",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "HTTP_PROXY": "http://proxy.example:3128",
        "UV_INSECURE_HOST": "mirror.example",
    }


def test_what_uv_was_told_by_its_owner_stays(tmp_path):
    environment = pip_conf(tmp_path, "[global]\nindex-url = https://mirror.example/simple\ncert = /ca.pem\n")

    handed = package_settings(
        {**environment, "UV_DEFAULT_INDEX": "https://mine.example/simple", "SSL_CERT_FILE": "/mine.pem"}
    ).environment

    assert handed == {}


def test_extra_indexes_are_all_searched_as_pip_does(tmp_path):
    environment = pip_conf(
        tmp_path, "[global]\nextra-index-url = https://a.example/simple\n    https://b.example/simple\n"
    )

    settings = package_settings(environment)

    assert settings.environment["UV_EXTRA_INDEX_URL"] == "https://a.example/simple https://b.example/simple"
    assert settings.searches_all


def test_folders_come_first_from_vlm_then_uv_then_pip_each_once(tmp_path):
    environment = pip_conf(tmp_path, "[global]\nfind-links = /pip/wheels https://links.example/wheels /vlm\n")

    settings = package_settings(
        {**environment, "VLM_WHEELS": "/vlm:/vlm2", "UV_FIND_LINKS": "file:///uv/my%20wheels"}
    )

    assert settings.folders == (Path("/vlm"), Path("/vlm2"), Path("/uv/my wheels"), Path("/pip/wheels"))
    assert settings.remote_links == ("https://links.example/wheels",)


def test_a_damaged_pip_file_counts_as_none(tmp_path):
    assert pip_settings(pip_conf(tmp_path, "index-url = no section\n")) == {}


def test_pips_files_can_be_switched_off_as_pip_allows(tmp_path):
    environment = pip_conf(tmp_path, "[global]\ncert = /ca.pem\n")

    assert pip_settings({**environment, "PIP_CONFIG_FILE": "/dev/null"}) == {}


def test_a_url_is_no_folder():
    assert local_folder("https://links.example/wheels") is None
    assert local_folder("wheels") == Path("wheels")


@pytest.mark.parametrize(("told", "expected"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_pips_word_that_no_index_counts_is_kept(tmp_path, told, expected):
    environment = {"HOME": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": told}

    assert package_settings(environment).no_index is expected
