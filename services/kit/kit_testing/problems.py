"""Refusals and failures as problem documents."""

from __future__ import annotations

from flask import Flask, redirect
from flask.testing import FlaskClient
from werkzeug.exceptions import ServiceUnavailable
from werkzeug.wrappers import Response


def test_an_unknown_path_is_404(client: FlaskClient) -> None:
    answer = client.get("/nowhere")
    assert answer.status_code == 404
    assert answer.content_type == "application/problem+json"
    body = answer.get_json()
    assert (body["type"], body["title"], body["status"]) == ("about:blank", "Not Found", 404)
    assert body["detail"]


def test_a_wrong_method_is_405_and_says_what_is_allowed(client: FlaskClient) -> None:
    answer = client.put("/healthz")
    assert answer.status_code == 405
    assert answer.get_json()["status"] == 405
    assert {"GET", "HEAD", "OPTIONS"} == set(answer.headers["Allow"].split(", "))


def test_a_crash_is_500_and_tells_callers_nothing_of_the_inside(app: Flask) -> None:
    @app.get("/crash")
    def crash() -> str:
        raise RuntimeError("a secret detail")

    answer = app.test_client().get("/crash")
    assert answer.status_code == 500
    assert answer.get_json()["status"] == 500
    assert "secret" not in answer.get_data(as_text=True)


def test_the_headers_of_a_failure_stay(app: Flask) -> None:
    @app.get("/busy")
    def busy() -> str:
        raise ServiceUnavailable("later", retry_after=7)

    answer = app.test_client().get("/busy")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")
    assert answer.get_json()["detail"] == "later"
    assert int(answer.headers["Content-Length"]) == len(answer.data)


def test_a_redirection_is_no_problem(app: Flask) -> None:
    @app.get("/old")
    def old() -> Response:
        return redirect("/new")

    @app.get("/folder/")
    def folder() -> str:
        return "here"

    assert app.test_client().get("/old").location == "/new"
    assert app.test_client().get("/folder").status_code == 308
