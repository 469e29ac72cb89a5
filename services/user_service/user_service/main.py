"""Puts user-service together."""

from __future__ import annotations

import atexit

from flask import Flask
from kit.database import Database, init_database
from kit.health import init_health
from kit.payload import init_payload
from kit.problems import init_problems
from kit.telemetry import init_telemetry

from .routes import users
from .settings import SERVICE, Settings
from .users import Base


def create_app(settings: Settings | None = None) -> Flask:
    """The WSGI application; reads the environment where no settings are given."""
    settings = settings or Settings.from_environment()
    app = Flask(SERVICE)
    database = Database(settings.database_url, Base.metadata, SERVICE)
    app.extensions["database"] = database
    init_telemetry(app)
    init_problems(app)
    init_payload(app)
    init_database(app)
    init_health(app, database.why_not_ready)
    app.register_blueprint(users)
    database.start()
    atexit.register(database.close)
    return app
