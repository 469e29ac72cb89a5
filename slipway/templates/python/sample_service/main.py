"""Puts sample-service together."""

from __future__ import annotations

from flask import Flask
from kit.health import init_health
from kit.problems import init_problems
from kit.telemetry import init_telemetry

from .routes import greetings


def create_app() -> Flask:
    """The WSGI application."""
    app = Flask(__name__)
    init_telemetry(app)
    init_problems(app)
    init_health(app)
    app.register_blueprint(greetings)
    return app
