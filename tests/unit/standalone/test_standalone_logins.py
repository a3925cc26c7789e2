"""Passwords of the embedded database's logins: each its own, none of them leading to another."""

from __future__ import annotations

from urllib.parse import urlsplit

from services.standalone.logins import ADMINISTRATOR, GROUPS, PEOPLE, password_of, url_of
from services.standalone.plan import SERVICES

SECRET = "an administrator's / password"


def test_every_service_has_a_login_in_its_own_group_alone() -> None:
    assert {login: groups for login, groups in GROUPS.items() if login != PEOPLE} == {
        service: (f"waybill_{service}",) for service in SERVICES
    }


def test_passwords_differ_and_are_the_same_the_next_time() -> None:
    logins = [ADMINISTRATOR, *GROUPS]
    passwords = {password_of(login, SECRET) for login in logins}
    assert len(passwords) == len(logins)
    assert passwords == {password_of(login, SECRET) for login in logins}
    assert passwords.isdisjoint({password_of(login, "another") for login in logins})
    assert password_of(ADMINISTRATOR, SECRET) == SECRET


def test_an_address_survives_any_password() -> None:
    parts = urlsplit(url_of(ADMINISTRATOR, SECRET, 5432))
    assert (parts.username, parts.hostname, parts.port, parts.path) == (ADMINISTRATOR, "127.0.0.1", 5432, "/waybill")
    assert SECRET not in parts.netloc
