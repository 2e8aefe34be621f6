"""The pages of the hall and of the certificate host, and what is done with every error; `register(app)` adds them.

guard      hosts, Origin, anti-forgery tokens, cookies, headers
language   which language, and the words
pages      rendering; the page of every refusal
hall       /, /sign-in/<tx> and what follows
line       /status: the rung of the offline ladder, in plain words
abroad       /sign-in/<tx>/abroad, /abroad: sign-ins that come from and go to other halls
certificate  /c/<tx> at the certificate host
errors     what is done with an error anywhere in the app
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from flask import Flask

from ca_bridge.web import errors
from ca_bridge.web.abroad import abroad
from ca_bridge.web.certificate import certificate
from ca_bridge.web.hall import hall
from ca_bridge.web.line import line

_HERE = Path(__file__).resolve().parent


def register(app: Flask) -> None:
    """Add the pages, their static files, the headers and the error handlers to `app`.

    The services must be in `app.extensions["crosshall"]` when the first request arrives.
    """
    app.extensions["crosshall.assets"] = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()[:12] for file in (_HERE / "static").iterdir()
    }
    app.static_folder = str(_HERE / "static")
    if "static" not in app.view_functions:
        app.add_url_rule("/static/<path:filename>", endpoint="static", view_func=app.send_static_file)
    app.register_blueprint(hall)
    app.register_blueprint(abroad)
    app.register_blueprint(certificate)
    app.register_blueprint(line)
    errors.install(app)
