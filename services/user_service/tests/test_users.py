"""The users through HTTP, wrong input included."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

ADA = {"name": "Ada", "email": "ada@example.org"}


def _fields(answer: Any) -> set[str]:
    assert answer.status_code == 422
    return {error["field"] for error in answer.get_json()["errors"]}


def test_there_are_no_users_at_first(client: FlaskClient) -> None:
    answer = client.get("/users")
    assert answer.status_code == 200
    assert answer.get_json() == {"users": [], "total": 0, "limit": 50, "offset": 0}


def test_a_user_is_made_and_found(client: FlaskClient) -> None:
    made = client.post("/users", json={"name": "  Ada Lovelace ", "email": "Ada@Example.org"})
    assert made.status_code == 201
    assert made.get_json() == {"id": 1, "name": "Ada Lovelace", "email": "ada@example.org"}
    assert made.headers["Location"] == "/users/1"
    assert client.get(made.headers["Location"]).get_json() == made.get_json()
    assert client.get("/users").get_json()["users"] == [made.get_json()]


def test_names_are_any_text(client: FlaskClient) -> None:
    name = "Søren 李 🛥 O'Brien; DROP TABLE users"
    assert client.post("/users", json={"name": name, "email": "a@b.c"}).get_json()["name"] == name


def test_lists_are_paged(client: FlaskClient) -> None:
    for number in range(5):
        client.post("/users", json={"name": f"U{number}", "email": f"u{number}@example.org"})
    page = client.get("/users?limit=2&offset=3").get_json()
    assert [user["name"] for user in page["users"]] == ["U3", "U4"]
    assert (page["total"], page["limit"], page["offset"]) == (5, 2, 3)
    assert client.get("/users?offset=9").get_json()["users"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("limit=", "limit"),
        ("offset=-1", "offset"),
        ("offset=99999999999999999999", "offset"),
        ("colour=red", "colour"),
    ],
)
def test_a_wrong_page_is_refused(client: FlaskClient, query: str, field: str) -> None:
    assert _fields(client.get(f"/users?{query}")) == {field}


def test_an_email_address_is_one_user(client: FlaskClient) -> None:
    assert client.post("/users", json=ADA).status_code == 201
    again = client.post("/users", json={"name": "Other", "email": "ADA@example.org"})
    assert again.status_code == 409
    assert "ada@example.org" in again.get_json()["detail"]
    assert client.get("/users").get_json()["total"] == 1


def test_an_email_address_sent_many_times_at_once_is_one_user(app: Flask) -> None:
    statuses: list[int] = []

    def send() -> None:
        statuses.append(app.test_client().post("/users", json=ADA).status_code)

    senders = [threading.Thread(target=send) for _ in range(8)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert sorted(statuses) == [201] + [409] * 7


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"name", "email"}),
        ({"name": "", "email": "a@b.c"}, {"name"}),
        ({"name": "   ", "email": "a@b.c"}, {"name"}),
        ({"name": "x" * 201, "email": "a@b.c"}, {"name"}),
        ({"name": "nul \0", "email": "a@b.c"}, {"name"}),
        ({"name": "two\nlines", "email": "a@b.c"}, {"name"}),
        ({"name": 7, "email": "a@b.c"}, {"name"}),
        ({"name": None, "email": "a@b.c"}, {"name"}),
        ({"name": "A", "email": "nobody"}, {"email"}),
        ({"name": "A", "email": "a@b"}, {"email"}),
        ({"name": "A", "email": "a b@c.d"}, {"email"}),
        ({"name": "A", "email": "a@b@c.d"}, {"email"}),
        ({"name": "A", "email": f"{'a' * 65}@b.c"}, {"email"}),
        ({"name": "A", "email": f"a@{'b' * 260}.c"}, {"email"}),
        ({"name": "A", "email": "a@b.c", "admin": True}, {"admin"}),
        ({"name": 7, "email": "x", "id": 1}, {"name", "email", "id"}),
        ([], {"body"}),
        ("text", {"body"}),
    ],
)
def test_wrong_fields_are_named(client: FlaskClient, body: Any, fields: set[str]) -> None:
    answer = client.post("/users", json=body)
    assert _fields(answer) == fields
    assert all(error["message"] for error in answer.get_json()["errors"])
    assert client.get("/users").get_json()["total"] == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"name": "A",}',
        b"name=A",
        b"\xff\xfe",
        b'{"name": "\\ud800", "email": "a@b.c"}',
        b"[" * 10_000,
    ],
)
def test_what_is_no_json_is_400(client: FlaskClient, body: bytes) -> None:
    answer = client.post("/users", data=body, content_type="application/json")
    assert answer.status_code == 400
    assert answer.get_json()["detail"].startswith("the body is not JSON: ")


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_another_content_type_is_415(client: FlaskClient, content_type: str | None) -> None:
    answer = client.post("/users", data=json.dumps(ADA), content_type=content_type)
    assert answer.status_code == 415
    assert "application/json" in answer.get_json()["detail"]


def test_a_large_body_is_413(client: FlaskClient) -> None:
    answer = client.post("/users", json={**ADA, "name": "x" * 20_000})
    assert (answer.status_code, answer.content_type) == (413, "application/problem+json")


@pytest.mark.parametrize("user_id", ["1", "0", "2147483647", "2147483648", "9" * 40, "-1", "x", "1.5"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_unknown_user_is_404(client: FlaskClient, method: str, user_id: str) -> None:
    answer = client.open(f"/users/{user_id}", method=method)
    assert answer.status_code == 404
    assert answer.content_type == "application/problem+json"


def test_a_deleted_user_is_gone_and_its_id_is_not_given_again(client: FlaskClient) -> None:
    client.post("/users", json=ADA)
    deleted = client.delete("/users/1")
    assert (deleted.status_code, deleted.data) == (204, b"")
    assert client.get("/users/1").status_code == 404
    assert client.delete("/users/1").status_code == 404
    assert client.post("/users", json=ADA).get_json()["id"] == 2


@pytest.mark.parametrize(("method", "path"), [("PUT", "/users"), ("DELETE", "/users"), ("POST", "/users/1")])
def test_other_methods_are_405(client: FlaskClient, method: str, path: str) -> None:
    assert client.open(path, method=method).status_code == 405
