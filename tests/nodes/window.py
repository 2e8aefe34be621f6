"""The window of the tests: the Flask example, and one matter that is for a line that is up."""

from __future__ import annotations

from flask import Flask

from examples import flask_window
from relying_party_sdk.adapters.flask import CrosshallRP


def create_app() -> Flask:
    """The example with `/today`: who comes on data older than a quarter of an hour is asked to come back later."""
    app = flask_window.create_app()
    rp: CrosshallRP = app.extensions["crosshall_rp"]

    @app.get("/today")
    @rp.require(rung="fresh")
    def today() -> str:
        return "the line is up"

    return app
