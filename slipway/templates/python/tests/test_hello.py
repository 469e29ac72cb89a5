"""The greeting through HTTP."""

from __future__ import annotations

from flask.testing import FlaskClient


def test_the_world_is_greeted(client: FlaskClient) -> None:
    answer = client.get("/hello")
    assert answer.status_code == 200
    assert answer.get_json()["greeting"] == "Hello, world!"
    assert answer.get_json()["service"] == "sample-service"


def test_a_name_is_greeted(client: FlaskClient) -> None:
    assert client.get("/hello?name=%20Ada ").get_json()["greeting"] == "Hello, Ada!"


def test_a_long_name_is_refused(client: FlaskClient) -> None:
    answer = client.get(f"/hello?name={'x' * 101}")
    assert answer.status_code == 422
    assert answer.get_json()["errors"] == [{"field": "name", "message": "Should have at most 100 characters"}]
