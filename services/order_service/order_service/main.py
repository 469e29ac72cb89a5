"""Puts order-service together."""

from __future__ import annotations

import atexit

from flask import Flask
from kit.database import init_database
from kit.health import init_health
from kit.payload import init_payload
from kit.problems import init_problems
from kit.telemetry import init_telemetry

from .orders import open_database
from .routes import orders
from .settings import SERVICE, Settings
from .user_service import UserService


def create_app(settings: Settings | None = None) -> Flask:
    """The WSGI application; reads the environment where no settings are given."""
    settings = settings or Settings.from_environment()
    app = Flask(SERVICE)
    registry = init_telemetry(app)
    database = open_database(settings.database_url, SERVICE)
    user_service = UserService(settings.user_service_url, registry)
    app.extensions.update(database=database, user_service=user_service)
    init_problems(app)
    init_payload(app)
    init_database(app)
    # not user-service: orders can be listed while it is away, and its trouble must not take this service out too
    init_health(app, database.why_not_ready)
    app.register_blueprint(orders)
    database.start()
    atexit.register(database.close)
    atexit.register(user_service.close)
    return app
