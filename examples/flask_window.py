"""A window with Flask. Run: CROSSHALL_RP_SETTINGS=window.toml gunicorn 'examples.flask_window:create_app()'"""

from __future__ import annotations

from flask import Flask, render_template_string

from relying_party_sdk import RelyingParty, Settings
from relying_party_sdk.adapters.flask import CrosshallRP

HOME = """<!doctype html><title>窗口</title>
{% if person %}<p>{{ person.kind }}, {{ person.level }}
<form method="post" action="{{ sign_out }}"><button>退出</button></form>
{% else %}<a href="{{ sign_in }}">登录</a>{% endif %}"""


def create_app(party: RelyingParty | None = None) -> Flask:
    """The application; settings from the environment."""
    app = Flask(__name__)
    rp = CrosshallRP(app, party=party or RelyingParty(Settings.from_environment()))

    @app.get("/")
    def home() -> str:
        return render_template_string(
            HOME, person=rp.person, sign_in=rp.sign_in_address("/"), sign_out=rp.sign_out_address
        )

    @app.get("/matters/<number>")
    @rp.require(level=2)
    def matter(number: str) -> dict[str, str]:
        assert rp.person
        return {"matter": number, "name": rp.person.attributes().name}

    @app.get("/transfer")
    @rp.require(level=3, max_age=600)
    def transfer() -> str:
        return "transfer"

    return app
