"""The orders through HTTP, wrong input included; a stand-in answers for user-service."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

ROPE = {"user_id": 1, "item": "rope", "quantity": 3}

pytestmark = pytest.mark.usefixtures("user_service")


def _fields(answer: Any) -> set[str]:
    assert answer.status_code == 422
    return {error["field"] for error in answer.get_json()["errors"]}


def test_there_are_no_orders_at_first(client: FlaskClient) -> None:
    assert client.get("/orders").get_json() == {"orders": [], "total": 0, "limit": 50, "offset": 0}


def test_an_order_is_placed_and_found(client: FlaskClient) -> None:
    placed = client.post("/orders", json=ROPE)
    assert placed.status_code == 201
    assert placed.get_json() == {"id": 1, **ROPE, "status": "open"}
    assert placed.headers["Location"] == "/orders/1"
    assert client.get("/orders/1").get_json() == placed.get_json()
    assert client.get("/orders").get_json()["orders"] == [placed.get_json()]


def test_lists_are_paged_and_taken_by_user(client: FlaskClient) -> None:
    for user_id in (1, 2, 1, 2, 1):
        client.post("/orders", json={**ROPE, "user_id": user_id})
    page = client.get("/orders?user_id=1&limit=2&offset=1").get_json()
    assert [order["id"] for order in page["orders"]] == [3, 5]
    assert (page["total"], page["limit"], page["offset"]) == (3, 2, 1)
    assert client.get("/orders").get_json()["total"] == 5
    assert client.get("/orders?user_id=9").get_json()["orders"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("offset=x", "offset"),
        ("user_id=0", "user_id"),
        ("status=lost", "status"),
        ("user=1", "user"),
    ],
)
def test_a_wrong_page_is_refused(client: FlaskClient, query: str, field: str) -> None:
    assert _fields(client.get(f"/orders?{query}")) == {field}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"user_id", "item", "quantity"}),
        ({**ROPE, "quantity": 0}, {"quantity"}),
        ({**ROPE, "quantity": -1}, {"quantity"}),
        ({**ROPE, "quantity": 1_000_001}, {"quantity"}),
        ({**ROPE, "quantity": 1.5}, {"quantity"}),
        ({**ROPE, "quantity": "3"}, {"quantity"}),
        ({**ROPE, "quantity": True}, {"quantity"}),
        ({**ROPE, "quantity": 10**30}, {"quantity"}),
        ({**ROPE, "user_id": 0}, {"user_id"}),
        ({**ROPE, "user_id": 2**31}, {"user_id"}),
        ({**ROPE, "user_id": "1/../2"}, {"user_id"}),
        ({**ROPE, "item": " "}, {"item"}),
        ({**ROPE, "item": "x" * 201}, {"item"}),
        ({**ROPE, "price": 1}, {"price"}),
        ([ROPE], {"body"}),
    ],
)
def test_wrong_fields_are_named_without_asking_user_service(
    client: FlaskClient, user_service: Any, body: Any, fields: set[str]
) -> None:
    assert _fields(client.post("/orders", json=body)) == fields
    assert user_service.seen == []


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"", "application/json", 400),
        (b'{"user_id": NaN}', "application/json", 422),
        (b"{}", "text/plain", 415),
        (b" " * 20_000, "application/json", 413),
    ],
)
def test_what_cannot_be_read_is_refused(client: FlaskClient, body: bytes, content_type: str, status: int) -> None:
    answer = client.post("/orders", data=body, content_type=content_type)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")


def test_an_order_for_an_unknown_user_is_refused(client: FlaskClient) -> None:
    answer = client.post("/orders", json={**ROPE, "user_id": 77})
    assert answer.status_code == 422
    assert answer.get_json()["errors"] == [{"field": "user_id", "message": "There is no user 77"}]
    assert client.get("/orders").get_json()["total"] == 0


@pytest.mark.parametrize("order_id", ["1", "2147483648", "9" * 40, "x"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_unknown_order_is_404(client: FlaskClient, method: str, order_id: str) -> None:
    assert client.open(f"/orders/{order_id}", method=method).status_code == 404


def test_a_deleted_order_is_gone(client: FlaskClient) -> None:
    client.post("/orders", json=ROPE)
    assert client.delete("/orders/1").status_code == 204
    assert client.get("/orders/1").status_code == 404
    assert client.delete("/orders/1").status_code == 404
    assert client.post("/orders", json=ROPE).get_json()["id"] == 2
