"""Where a setting comes from: flags, then environment, then files, then defaults."""

import os

import pytest

from lifecycle.domain.errors import UsageError
from lifecycle.settings import DEFAULT_TORCH, load_settings, masked


@pytest.fixture
def environment(tmp_path):
    return {"VLM_CONFIG": str(tmp_path / "user.toml"), "VLM_HOME": str(tmp_path / "home")}


def test_defaults_name_themselves(environment, tmp_path):
    settings = load_settings(environment, cwd=tmp_path)
    assert settings.default_torch == DEFAULT_TORCH
    assert settings.sources["default_torch"] == "default"
    assert settings.sources["home"] == "environment"


def test_the_environment_wins_over_the_user_file_and_flags_over_both(environment, tmp_path):
    (tmp_path / "user.toml").write_text('default_torch = "2.6.0"\noffline = true\n')
    from_file = load_settings(environment, cwd=tmp_path)
    from_environment = load_settings({**environment, "VLM_DEFAULT_TORCH": "2.9.1"}, cwd=tmp_path)
    from_flag = load_settings(environment, flags={"default_torch": "2.1.2"}, cwd=tmp_path)
    assert [s.default_torch for s in (from_file, from_environment, from_flag)] == ["2.6.0", "2.9.1", "2.1.2"]
    assert from_file.offline is True


def test_a_file_that_travels_with_the_registry_may_not_name_an_index(environment, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "vlm.toml").write_text('torch_index = "https://elsewhere.example"\n')
    with pytest.raises(UsageError, match="travels with the registry"):
        load_settings(environment, cwd=tmp_path)


def test_an_unknown_setting_is_an_error_that_names_the_file(environment, tmp_path):
    (tmp_path / "user.toml").write_text('defualt_torch = "2.6.0"\n')
    with pytest.raises(UsageError, match=r"defualt_torch.*user\.toml"):
        load_settings(environment, cwd=tmp_path)


def test_a_local_registry_is_used_only_if_the_keys_know_it(tmp_path):
    environment = {"VLM_CONFIG": str(tmp_path / "none"), "VLM_KEYS": str(tmp_path / "keys")}
    here = tmp_path / "project" / ".vlm"
    here.mkdir(parents=True)
    (here / "installation").write_text("ab" * 16)
    stranger = load_settings(environment, cwd=here.parent)
    (tmp_path / "keys" / ("ab" * 16)).mkdir(parents=True)
    (tmp_path / "keys" / ("ab" * 16) / "here").write_text(os.fspath(here.resolve()))
    known = load_settings(environment, cwd=here.parent)
    assert stranger.home != here
    assert known.home == here


def test_credentials_in_an_index_are_masked():
    assert masked("https://user:secret@index.example/simple") == "https://***@index.example/simple"
    assert masked("/a/plain/path") == "/a/plain/path"


def test_a_file_that_travels_with_the_registry_may_not_name_a_database(environment, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "vlm.toml").write_text('database_url = "postgresql://elsewhere/db"\n')
    with pytest.raises(UsageError, match="travels with the registry"):
        load_settings(environment, cwd=tmp_path)


def test_the_users_own_file_names_a_database(environment, tmp_path):
    (tmp_path / "user.toml").write_text('database_url = "postgresql://vlm@db.example/vlm"\n')
    assert load_settings(environment, cwd=tmp_path).database_url == "postgresql://vlm@db.example/vlm"


@pytest.mark.parametrize("url", ["", "sqlite"])
def test_without_a_url_the_registry_lies_in_the_home(environment, tmp_path, url):
    assert load_settings({**environment, "VLM_DATABASE_URL": url}, cwd=tmp_path).database_url is None


@pytest.mark.parametrize("url", ["mysql://a/b", "registry.db", "sqlite:///elsewhere.db"])
def test_a_database_of_another_kind_is_a_usage_error(environment, tmp_path, url):
    with pytest.raises(UsageError, match="database_url"):
        load_settings({**environment, "VLM_DATABASE_URL": url}, cwd=tmp_path)


def test_secrets_of_a_database_are_masked_and_not_in_any_representation(environment, tmp_path):
    url = "postgresql://vlm:se%40cret@db.example/vlm?sslmode=require&password=hidden&passfile=/x"
    shown = masked(url)
    assert shown == "postgresql://***@db.example/vlm?sslmode=require&password=***&passfile=***"
    assert "hidden" not in repr(load_settings({**environment, "VLM_DATABASE_URL": url}, cwd=tmp_path))
